"""Kills, signals, concurrent starts and readers: whatever happens to the processes, no number on the disk is wrong.

A part runs by default; HEADSTART_TORTURE=all runs the gates' whole counts, HEADSTART_TORTURE=N that percentage of them.
"""

import collections
import functools
import random
import shutil
import signal
from pathlib import Path

import harness
import pytest
import worker
from extract_samples import RecordingObserver
from harness import BEGUN, NOTED, RESUME, WAITING, Started, Workers, check, check_complete, moment, trials, workers

from headstart.console.signals import ECHO_S
from headstart.core.extract.run import extract

pytestmark = pytest.mark.torture

ROWS = 1000
SHORT = 300
KILLS_FOR_EACH_SET = 5
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture(scope="module")
def references(tmp_path_factory: pytest.TempPathFactory) -> "References":
    return References(tmp_path_factory.mktemp("references"))


class References:
    """Uninterrupted runs, each made once: the features directory and the digest of a set."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @functools.cache  # noqa: B019  one object for the module
    def digest(self, *steps: int) -> str:
        """Of the set that grows over these numbers of rows, which decide where its shards end."""
        found = ""
        with workers(self._folder(*steps)) as group:
            for rows in steps:
                found = group.start(rows).result()["digest"]
                check_complete(group, rows, found)
        return found

    def copy(self, rows: int, group: Workers) -> None:
        """Put a complete set of so many rows where the group writes."""
        self.digest(rows)
        shutil.copytree(Workers(self._folder(rows)).store.root, group.store.root)

    def _folder(self, *steps: int) -> Path:
        return self.folder / "-".join(map(str, steps))


def report(record_property: object, gate: str, count: int, wanted: int, more: object = "") -> None:
    """The summary line; a gate that ran other than its count is no gate."""
    assert callable(record_property)
    assert count >= wanted, f"{gate}: {count} trials, expected {wanted}"
    line = f"{gate}: {count} trials, 0 violations{f' ({more})' if more else ''}"
    record_property("gate", line)
    print(f"\n{line}")


# ---- (1) SIGKILL


@pytest.mark.parametrize("before", [0, SHORT], ids=["fresh", "extension"])
def test_sigkill_and_resume(tmp_path: Path, references: References, record_property: object, before: int) -> None:
    wanted, killed = trials(1000, 20) // 2, 0
    moments: collections.Counter[str] = collections.Counter()
    digest = references.digest(*([before] if before else []), ROWS)
    life = 0
    while killed < wanted:
        assert life < 2 * wanted, f"only {killed} of {life} runs could be killed: they end too soon"
        rng = random.Random(f"kill {before} {life}")
        with workers(tmp_path / f"life{life}") as group:
            if before:
                references.copy(before, group)
            hits = _kill_and_resume(group, rng, before, min(KILLS_FOR_EACH_SET, wanted - killed), f"life {life}")
            check_complete(group, ROWS, digest)
        moments.update(hits)
        killed += len(hits)
        shutil.rmtree(group.folder)
        life += 1
    report(record_property, f"SIGKILL, {'extension' if before else 'fresh'}", killed, wanted, dict(moments))


def _kill_and_resume(group: Workers, rng: random.Random, before: int, kills: int, what: str) -> list[str]:
    """Kill up to `kills` runs, then let one end; the moments at which a kill hit."""
    hits = []
    for _ in range(kills):
        started = group.start(ROWS, "--delay", 0.002)
        kind = moment(group, started, rng, ROWS)
        hit = started.kill()
        check(group, before)
        if not hit:
            assert started.code() == 0, f"{what}: {started.errors()}"
            break
        hits.append(kind)
    group.start(ROWS).result()
    return hits


# ---- (2) signals


def _shards(group: Workers, count: int) -> bool:
    return len(group.files("shard-*.h5")) >= count


def _ended_by(started: Started, number: int) -> None:
    """The exit code is the signal's, one line says how to go on, and nothing looks like a crash."""
    assert started.code() == 128 + number, started.errors()
    assert started.errors().count(RESUME) == 1, started.errors()
    assert "Traceback" not in started.errors()


def test_one_signal_ends_in_order(tmp_path: Path, references: References, record_property: object) -> None:
    wanted, count = trials(300, 12) // 3, 0
    digest = references.digest(ROWS)
    for trial in range(wanted):
        rng, number = random.Random(f"signal {trial}"), SIGNALS[trial % 3]
        with workers(tmp_path / f"signal{trial}") as group:
            started = group.start(ROWS, "--delay", 0.002, ignoring_sigint=trial % 2 == 0)
            _wait_for_work(group, started, rng)
            started.process.send_signal(number)
            _ended_by(started, number)
            assert group.files(".*.tmp") == []
            check(group)
            group.start(ROWS).result()
            check_complete(group, ROWS, digest)
        shutil.rmtree(group.folder)
        count += 1
    report(record_property, "one signal", count, wanted)


def _wait_for_work(group: Workers, started: Started, rng: random.Random) -> None:
    """Some shards, or the moment in which one is being written and synced, well before the end."""
    assert started.says(BEGUN), started.errors()
    least = rng.randint(0, 8)
    assert started.wait_for(lambda: _shards(group, least), f"{least} shards")
    if rng.random() < 0.5:
        started.wait_for(lambda: bool(group.files(".shard-*.tmp")), "a temporary file")


def _caught_writing(group: Workers, rng: random.Random) -> Started:
    """A worker with a temporary file. On a busy machine one may be through before we look: its set is removed, and begun
    again."""
    for _ in range(10):
        started = group.start(ROWS, "--delay", 0.002)
        _wait_for_work(group, started, rng)
        if started.wait_for(lambda: bool(group.files(".shard-*.tmp")), "a temporary file"):
            return started
        assert started.code() == 0, started.errors()
        shutil.rmtree(group.set_folder())
    raise AssertionError("ten workers ended before one was caught writing")


def test_a_signal_while_the_manifest_is_written(tmp_path: Path, references: References, record_property: object) -> None:
    """Nothing is deferred here: the write is cut and cleaned up after, or it was through and the run ends well."""
    wanted, count = trials(300, 12) // 6, 0
    codes: collections.Counter[int] = collections.Counter()
    digest = references.digest(SHORT, ROWS)
    for trial in range(wanted):
        number = SIGNALS[trial % 3]
        with workers(tmp_path / f"manifest{trial}") as group:
            references.copy(SHORT, group)
            started = group.start(ROWS)
            started.wait_for(lambda: bool(group.files(".manifest.json.*.tmp")), "the manifest's temporary file")
            started.process.send_signal(number)
            codes[started.code()] += 1
            assert started.code() in {0, 128 + number, -number}, started.errors()
            assert "Traceback" not in started.errors()
            assert group.files(".*.tmp") == []
            check(group, SHORT if started.code() else ROWS)
            group.start(ROWS).result()
            check_complete(group, ROWS, digest)
        shutil.rmtree(group.folder)
        count += 1
    report(record_property, "one signal, in the manifest's write", count, wanted, f"exit codes {dict(codes)}")


def test_a_second_signal_leaves_at_once(tmp_path: Path, references: References, record_property: object) -> None:
    """A batch takes longer than a worker is given to end: only leaving at once can pass."""
    wanted, count = trials(300, 12) // 4, 0
    digest = references.digest(SHORT, ROWS)
    for trial in range(wanted):
        first, second = SIGNALS[trial % 3], SIGNALS[trial // 3 % 3]
        with workers(tmp_path / f"double{trial}") as group:
            references.copy(SHORT, group)
            started = group.start(ROWS, "--delay", 10 * harness.DEADLINE_S, ignoring_sigint=trial % 2 == 0)
            assert started.says(BEGUN), started.errors()
            started.process.send_signal(first)
            assert started.says(NOTED), started.errors()
            harness.pause(started, 1.5 * ECHO_S)
            started.process.send_signal(second)
            assert started.code() == 128 + second, started.errors()
            assert "Traceback" not in started.errors()
            check(group, SHORT)
            group.start(ROWS).result()
            check_complete(group, ROWS, digest)
        shutil.rmtree(group.folder)
        count += 1
    report(record_property, "two signals, in a batch", count, wanted)


def test_two_signals_in_a_row_while_a_shard_is_written(
    tmp_path: Path, references: References, record_property: object
) -> None:
    """Both may arrive before, during or after the write and its fsync, so either of them may be the one that ends it."""
    wanted, count = trials(300, 12) // 4, 0
    codes: collections.Counter[int] = collections.Counter()
    digest = references.digest(ROWS)
    for trial in range(wanted):
        rng, pair = random.Random(f"row {trial}"), (SIGNALS[trial % 3], SIGNALS[trial // 3 % 3])
        with workers(tmp_path / f"row{trial}") as group:
            started = _caught_writing(group, rng)
            started.process.send_signal(pair[0])
            harness.pause(started, rng.choice([0.0, rng.uniform(0.0, 0.006)]))
            started.process.send_signal(pair[1])
            codes[started.code()] += 1
            # between our handlers' end and the process's own the second one meets the default, and kills
            assert started.code() in {128 + number for number in pair} | {-number for number in pair}, started.errors()
            errors = started.errors()
            assert errors.count("Traceback") == errors.count("Exception ignored"), errors  # the interpreter's, at its end
            check(group)
            group.start(ROWS).result()
            check_complete(group, ROWS, digest)
        shutil.rmtree(group.folder)
        count += 1
    report(record_property, "two signals, in a write", count, wanted, f"exit codes {dict(codes)}")


# ---- (3) concurrent starts


@pytest.mark.parametrize("processes", [2, 8])
def test_concurrent_starts_on_one_key(
    tmp_path: Path, references: References, record_property: object, processes: int
) -> None:
    """The one that computes holds its first batch until all the others have said that they wait."""
    wanted, count = trials(20, 2 if processes == 2 else 1), 0
    digest = references.digest(SHORT)
    for trial in range(wanted):
        with workers(tmp_path / f"start{trial}") as group:
            hold = group.folder / "hold"
            everyone = [group.start(SHORT, "--gate", "--hold", hold) for _ in range(processes)]
            _release(everyone)
            assert everyone[0].wait_for(functools.partial(_all_decided, everyone), "one computes, the others wait")
            hold.touch()
            results = [started.result() for started in everyone]
            assert sorted(found["computed"] for found in results) == [0] * (processes - 1) + [SHORT]
            assert {found["digest"] for found in results} == {digest}
            for started, found in zip(everyone, results, strict=True):
                assert (WAITING in started.errors()) == (found["computed"] == 0), started.errors()
            check_complete(group, SHORT, digest)
        count += 1
    report(record_property, f"{processes} starts at once", count, wanted)


def _release(everyone: list[Started]) -> None:
    for started in everyone:
        started.ready()
    for started in everyone:
        started.go()


def _all_decided(everyone: list[Started]) -> bool:
    texts = [started.errors() for started in everyone]
    return sum(BEGUN in text for text in texts) == 1 and sum(WAITING in text for text in texts) == len(texts) - 1


def test_different_data_sets_at_once_do_not_meet(tmp_path: Path, record_property: object) -> None:
    wanted, count = trials(20, 1), 0
    for trial in range(wanted):
        with workers(tmp_path / f"keys{trial}") as group:
            names = [f"tiny{i}" for i in range(4)]
            everyone = [group.start(SHORT, "--gate", "--dataset", name) for name in names]
            _release(everyone)
            results = [started.result() for started in everyone]
            assert [found["computed"] for found in results] == [SHORT] * len(names)
            assert len({found["digest"] for found in results}) == len(names)
            assert all(WAITING not in started.errors() for started in everyone)
            sets = group.store.sets()
            assert [found.folder for found in sets] == [group.set_folder(name) for name in names]
            assert all(worker.equal(found.load(), worker.expected(seed, 0, SHORT)) for seed, found in enumerate(sets))
        count += 1
    report(record_property, "4 different keys at once", count, wanted)


def test_a_killed_holder_of_the_lock_lets_another_go_on(
    tmp_path: Path, references: References, record_property: object
) -> None:
    wanted, count = trials(20, 2), 0
    digest = references.digest(SHORT)
    for trial in range(wanted):
        with workers(tmp_path / f"holder{trial}") as group:
            hold = group.folder / "hold"
            holder = group.start(SHORT, "--hold", hold)
            assert holder.says(BEGUN), holder.errors()
            waiting = group.start(SHORT)
            assert waiting.says(WAITING), waiting.errors()
            assert holder.kill()
            assert waiting.result() == {"computed": SHORT, "digest": digest}
            check_complete(group, SHORT, digest)
        count += 1
    report(record_property, "SIGKILL of the lock's holder", count, wanted)


# ---- (4) readers


def test_readers_while_a_set_is_rewritten_and_extended(tmp_path: Path, record_property: object) -> None:
    """Each round makes another snapshot beside the last one, from other pictures, and extends it."""
    wanted, count = trials(100, 10), 0
    with workers(tmp_path / "readers") as group:
        readers = [group.start(ROWS, "--read") for _ in range(2)]
        for reader in readers:
            reader.ready()
        for trial in range(wanted):
            for rows, force in ((SHORT, True), (ROWS, False)):
                task = worker.job(rows, harness.SHARD_ROWS, seed=trial % 2, force=force)
                outcome = extract(task, lambda _: worker.StandIn(0.001), group.store, RecordingObserver())
                there = 0 if trial < 2 else ROWS - SHORT  # in the snapshots of the rounds before
                assert outcome.computed == (rows if force else ROWS - SHORT - there)
            count += 1
        for reader in readers:
            reader.go()
        found = [reader.result() for reader in readers]
    answers = sum((collections.Counter(reader["answers"]) for reader in found), collections.Counter[str]())
    assert set(answers) <= {"right", "absent", "damaged", "vanished"}, answers
    assert answers["right"] > 0
    assert {answer for reader in found for answer in reader["last"].values()} == {"right"}
    report(record_property, "rewrites under readers", count, wanted, dict(answers))
