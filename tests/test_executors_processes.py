"""Several processes on this machine: real children, killed and outlived, give what one process gives."""

import contextlib
import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cli_samples import Place
from extract_samples import ROOT, Interrupted, RecordingObserver, picture
from run_samples import shards

from headstart.core.cache.errors import ArgumentInvalid, DeviceUnavailable, ImageUnreadable
from headstart.core.cache.store import FeatureStore
from headstart.core.extract import executors
from headstart.core.extract.config import ExecutorConfig, ExtractConfig, ExtractionRequest
from headstart.core.extract.executors import processes
from headstart.core.extract.images.files import FileImages
from headstart.core.extract.job import Job
from headstart.core.extract.network.devices import Device
from headstart.core.extract.network.interface import Extractor
from headstart.core.extract.plan import load, plan
from headstart.core.extract.run import Outcome, extract

CONFIG = ExtractConfig(weights="random:0", image_size=32, device="cpu", shard_rows=3, batch_size=2, precision="fp32")


def pets(root: Path, count: int = 14) -> Path:
    """A folder of pictures in two classes, one of which has one picture; two are equal."""
    for number in range(count):
        path = root / ("dog" if number else "cat") / f"{number:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(40, 40, seed=2 if number == 11 else number).save(path)
    return root


def job_of(root: Path, views: int | None = None, **config: object) -> Job:
    """The last job over a folder: of its last view, where it has any."""
    own = dataclasses.replace(CONFIG, **config)  # type: ignore[arg-type]
    return plan(ExtractionRequest(("resnet18",), f"folder:{root}", config=own, views=views), root / "data")[-1]


def by(number: int | None, job: Job, store: FeatureStore, observer: RecordingObserver | None = None) -> Outcome:
    """A run by so many processes; None is this one."""

    def never(_: Job) -> Extractor:
        raise AssertionError("the driver loaded a network")

    way = ExecutorConfig("processes", number) if number else ExecutorConfig()
    return extract(job, never if number else load, store, observer or RecordingObserver(), executor=way)


def facts(outcome: Outcome) -> tuple[object, ...]:
    """What must be the same whoever computes; the digest is of every shard and of how they were computed."""
    manifest = outcome.features.manifest
    origin = manifest.provenance
    return outcome.features.folder.name, manifest.digest, manifest.rows, origin.parameters, origin.batch_size, origin.engine


def children() -> list[int]:
    """The workers of this process."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if path.read_text().rpartition(") ")[2].split()[1] == str(os.getpid()):
                words = (path.parent / "cmdline").read_bytes()
                found += [int(path.parent.name)] if b"distributed.child" in words else []
    return found


def until(found: Callable[[], object], seconds: float = 120.0) -> None:
    """Wait for something that comes. Fails where it does not."""
    end = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < end, "never came"
        time.sleep(0.02)


@dataclasses.dataclass
class Killing(RecordingObserver):
    """Kills a worker of this process when the first row is done."""

    killed: list[int] = dataclasses.field(default_factory=list)

    def advance(self, rows: int) -> None:
        super().advance(rows)
        if rows > 0 and not self.killed:
            self.killed = children()[:1]
            os.kill(self.killed[0], signal.SIGKILL)


def test_a_folder_and_its_change_by_processes_of_which_one_is_killed(tmp_path: Path) -> None:
    """One folder, as it is and changed: what is copied and what is computed, by two processes as by one."""
    root, alone, several = pets(tmp_path / "pets"), FeatureStore(tmp_path / "one"), FeatureStore(tmp_path / "two")
    one, observer = by(None, job_of(root), alone), Killing()
    two = by(2, job_of(root), several, observer)
    assert facts(two) == facts(one)
    assert shards(several) == shards(alone)
    assert len(observer.killed) == 1
    assert any("was killed by signal 9; shard " in note for note in observer.notes)
    assert not children()
    (root / "cat").rename(root / "cats")
    (root / "dog/03.png").unlink()
    shutil.copy(root / "dog/05.png", root / "dog/20.png")
    picture(40, 40, seed=50).save(root / "dog/04.png")
    picture(40, 40, seed=51).save(root / "dog/21.png")
    changed = [by(number, job_of(root), store) for number, store in ((None, alone), (2, several))]
    assert facts(changed[0])[0].endswith("-2")  # type: ignore[attr-defined]
    assert facts(changed[1]) == facts(changed[0])
    assert shards(several) == shards(alone)
    assert [each.computed for each in changed] == [2, 2]
    assert [each.change and each.change.kept for each in changed] == [13, 13]


def test_broken_pictures_views_and_more_processes_than_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, alone, several = pets(tmp_path / "pets", 5), FeatureStore(tmp_path / "one"), FeatureStore(tmp_path / "two")
    (root / "dog/03.png").write_bytes(b"no picture")
    with pytest.raises(ImageUnreadable, match=r"dog/03\.png"):
        by(1, job_of(root), several)
    for views in (None, 1):
        found = [by(n, job_of(root, views, on_error="skip"), store) for n, store in ((None, alone), (3, several))]
        assert facts(found[0]) == facts(found[1])
        assert [shard.skipped for shard in found[0].features.manifest.shards] == [
            shard.skipped for shard in found[1].features.manifest.shards
        ]
    assert shards(several) == shards(alone)
    monkeypatch.setattr(FileImages, "fingerprints", lambda *_: pytest.fail("read again"))
    assert by(2, job_of(root, on_error="skip"), several).computed == 0


def test_an_interruption_leaves_no_child(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path / "features")
    with pytest.raises(Interrupted):
        by(1, job_of(pets(tmp_path / "pets")), store, RecordingObserver(stop_after=4))
    assert not children()
    assert store.sets() == []
    assert shards(store)


WORDS = [
    "extract", "-m", "resnet18", "--weights", "random:0", "--image-size", "32", "--shard-rows", "100", "--batch-size", "4",
    "--dataset", "digits", "--split", "test", "--device", "cpu",
]  # fmt: skip


def alive(pids: list[int]) -> list[int]:
    """Those that still run; one that has ended and that nobody has waited for runs no more."""
    found = []
    for pid in pids:
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] not in "ZX":
                found.append(pid)
    return found


@contextlib.contextmanager
def command(features: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """The command in a process of its own."""
    words = [sys.executable, "-m", "headstart.core.cli", *WORDS, "--executor", "processes", "--num", "1"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([*words, "--features-dir", str(features)], env=environment, stderr=subprocess.DEVNULL) as one:
        try:
            yield one
        finally:
            one.kill()


def workers_of(pid: int) -> list[int]:
    """The children of a process."""
    try:
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def test_children_end_with_their_driver_and_the_same_command_goes_on(tmp_path: Path) -> None:
    place = Place(tmp_path)
    with command(tmp_path / "features") as driver:
        until(lambda: any(tmp_path.glob("features/*/shard-*.h5")) or driver.poll() is not None)
        own = workers_of(driver.pid)
        driver.kill()
        driver.wait()
    until(lambda: not alive(own), 30)
    assert not list(tmp_path.glob("features/*/manifest.json"))
    done = len(list(tmp_path.glob("features/*/shard-*.h5")))
    assert own
    assert done
    said = place.run(*WORDS, "--executor", "processes", "--num", "1").stdout
    assert f"{500 - 100 * done} images in" in said
    Place(tmp_path / "other").run(*WORDS)
    assert shards(FeatureStore(tmp_path / "features")) == shards(FeatureStore(tmp_path / "other/features"))


# What needs no child


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"name": "local", "num": 2}, r"--num does nothing with --executor local; leave it out, or take --executor proc"),
        ({"name": "local", "task": (1, 2)}, r"--task does nothing with --executor local; .* take --executor array$"),
        ({"name": "processes", "task": "1/2"}, r"--task does nothing with --executor processes"),
        ({"name": "processes", "address": "auto"}, r"--address does nothing with --executor processes; .*--executor ray$"),
        ({"name": "array", "num": 2}, r"--num does nothing with --executor array"),
        ({"name": "array", "address": "auto"}, r"--address does nothing with --executor array"),
        ({"name": "ray", "task": "1/2"}, r"--task does nothing with --executor ray"),
        (
            {"name": "arry"},
            r"--executor arry: unknown \(did you mean array\?\), expected one of local, array, processes, ray",
        ),
    ],
)
def test_options_that_do_nothing_are_refused(given: dict[str, object], said: str) -> None:
    with pytest.raises(ArgumentInvalid, match=said):
        executors.check(ExecutorConfig(**given))  # type: ignore[arg-type]


@pytest.mark.parametrize("task", ["0/3", "4/3", "x", "1", "1/2/3", "1/0", "-1/3", (1,), 3])
def test_a_task_that_is_none_is_refused(task: object) -> None:
    with pytest.raises(ArgumentInvalid, match="expected I/N: the I-th of N tasks, counted from 1, such as 3/16"):
        ExecutorConfig("array", task=task)  # type: ignore[arg-type]


def test_an_executor_is_checked_before_anything_else(tmp_path: Path) -> None:
    place = Place(tmp_path)
    for words in (["--num", "2"], ["--executor", "nobody"], ["--executor", "array", "--num", "2", "--dry-run"]):
        line = place.fails("extract", "--dataset", "folder:nowhere", *words)
        assert "--num does nothing" in line or "--executor nobody: unknown" in line
    assert list(tmp_path.iterdir()) == []


def on(device: Device, tmp_path: Path, **config: object) -> Job:
    return dataclasses.replace(job_of(pets(tmp_path / "pets", 2), **config), device=device)


def test_where_processes_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "cores", lambda: 12)
    monkeypatch.setattr(processes, "count", lambda kind: {"cuda": 4}[kind])
    monkeypatch.setattr(processes, "resolve", lambda name, precision: Device(name, precision, "a GPU"))
    cpu, gpu = on(Device("cpu", "fp32", "a CPU"), tmp_path), on(Device("cuda:0", "fp32", "a GPU"), tmp_path)
    places = processes._places
    assert places(5, cpu) == [("cpu", 2)] * 5
    assert places(50, cpu) == [("cpu", 1)] * 50
    assert places(None, gpu) == [(f"cuda:{i}", 3) for i in range(4)]
    assert places(2, gpu) == [("cuda:0", 6), ("cuda:1", 6)]
    named = on(Device("cuda:1", "fp32", "a GPU"), tmp_path)
    named = dataclasses.replace(named, config=dataclasses.replace(named.config, device="cuda:1"))
    assert places(None, named) == places(1, named) == [("cuda:1", 12)]
    with pytest.raises(ArgumentInvalid, match=r"--num 2: --device cuda:1 is one; --device cuda has a process on each"):
        places(2, named)
    with pytest.raises(ArgumentInvalid, match=r"--executor processes on cpu: say how many with --num N; 12 cores are here"):
        places(None, cpu)
    with pytest.raises(ArgumentInvalid, match=r"--num 2: there is one mps, which one process uses best; --executor local"):
        places(2, on(Device("mps", "fp32", "a Mac"), tmp_path))


def test_more_processes_than_gpus_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DeviceUnavailable, match=r"cuda:?"):
        processes._places(1000, on(Device("cuda:0", "fp32", "a GPU"), tmp_path))


def test_a_child_without_a_parent_ends() -> None:
    """As when the driver is killed before it has said anything."""
    read, write = os.pipe()
    words = [sys.executable, "-m", "headstart.core.extract.distributed.child", str(read)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(words, pass_fds=[read], env=environment, stderr=subprocess.PIPE) as child:
        os.close(read)
        threading.Timer(0.1, os.close, [write]).start()
        assert child.communicate(timeout=60)[1] == b""  # and not by a fault
        assert child.returncode == 1
