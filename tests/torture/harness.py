"""Start workers, kill them, and judge what they leave on the disk. Nothing here waits without a deadline."""

import contextlib
import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import worker

from headstart.core.cache.execution import NAME as EXECUTION
from headstart.core.cache.execution import read_execution
from headstart.core.cache.feature_set import FeatureSet
from headstart.core.cache.manifest import NAME, read_manifest
from headstart.core.cache.receipts import NAME as RECEIPTS
from headstart.core.cache.shard import decode_shard
from headstart.core.cache.store import FeatureStore
from headstart.core.cache.verify import problems

DEADLINE_S = 120.0
SHARD_ROWS = 64
RESUME = "the same command goes on from there"
NOTED = "ending after the batch in hand"
WAITING = "waiting for it"
BEGUN = "images to do"
_WORKER = Path(worker.__file__)


def trials(full: int, least: int) -> int:
    """How many of a gate's `full` trials to run: HEADSTART_TORTURE is `all` or a percentage, 2 by default."""
    asked = os.environ.get("HEADSTART_TORTURE", "2")
    return full if asked == "all" else min(full, max(least, round(full * float(asked) / 100)))


@dataclasses.dataclass
class Started:
    """A worker process; what it says goes to files, so that no full pipe can block it."""

    process: subprocess.Popen[bytes]
    stdout: Path
    stderr: Path

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self.process.poll() is None

    def errors(self) -> str:
        """What it has said on stderr so far."""
        return self.stderr.read_text()

    def wait_for(self, condition: Callable[[], bool], what: str) -> bool:
        """True as soon as the condition holds, False if the worker ends before; fails after the deadline."""
        deadline = time.monotonic() + DEADLINE_S
        while not condition():
            if not self.running:
                return condition()
            assert time.monotonic() < deadline, f"{what} did not happen in {DEADLINE_S} s: {self.errors()}"
            time.sleep(0.0005)
        return True

    def says(self, text: str) -> bool:
        """Wait until stderr holds the text."""
        return self.wait_for(lambda: text in self.errors(), text)

    def ready(self) -> None:
        """Wait until a gated worker or a reader is about to begin."""
        assert self.wait_for(lambda: "ready\n" in self.stdout.read_text(), "ready"), self.errors()

    def go(self) -> None:
        """Close its stdin: a gated worker starts, a reader ends."""
        assert self.process.stdin is not None
        self.process.stdin.close()

    def kill(self) -> bool:
        """SIGKILL; whether it was that which ended the worker."""
        self.process.kill()
        return self.code() == -signal.SIGKILL

    def code(self) -> int:
        """The exit code, negative for a signal."""
        return self.process.wait(timeout=DEADLINE_S)

    def result(self) -> dict[str, Any]:
        """The JSON document of a worker that ended well."""
        assert self.code() == 0, self.errors()
        found: dict[str, Any] = json.loads(self.stdout.read_text().splitlines()[-1])
        return found


@dataclasses.dataclass
class Workers:
    """The workers of one trial over one features directory, in a folder of its own."""

    folder: Path
    started: list[Started] = dataclasses.field(default_factory=list)

    @property
    def store(self) -> FeatureStore:
        """Where they write."""
        return FeatureStore(self.folder / "features")

    def start(self, rows: int, *options: object, ignoring_sigint: bool = False) -> Started:
        """Start one on the first `rows` pictures."""
        number = len(self.started)
        stdout, stderr = (self.folder / f"{number}.{name}" for name in ("out", "err"))
        command = [sys.executable, str(_WORKER), str(self.store.root), str(rows), str(SHARD_ROWS), *map(str, options)]
        if ignoring_sigint:  # as a shell does it for what runs in its background
            command = ["sh", "-c", 'trap "" INT; exec "$@"', "sh", *command]
        with stdout.open("wb") as out, stderr.open("wb") as err:
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=out, stderr=err)
        self.started.append(Started(process, stdout, stderr))
        return self.started[-1]

    def set_folder(self, dataset: str = "tiny") -> Path:
        """Where the set lies or would lie."""
        task = worker.job(1, SHARD_ROWS, dataset)
        return self.store.folder(task.named, task.images.split)

    def files(self, pattern: str) -> list[Path]:
        """The files of the set that match, by name; temporary ones begin with a dot."""
        return sorted(self.set_folder().glob(pattern))


@contextlib.contextmanager
def workers(folder: Path) -> Iterator[Workers]:
    """A features directory with workers, none of which outlives the trial."""
    folder.mkdir(parents=True, exist_ok=True)
    found = Workers(folder)
    try:
        yield found
    finally:
        for started in found.started:
            started.process.kill()
            started.process.wait(timeout=DEADLINE_S)
            if started.process.stdin is not None:
                started.process.stdin.close()


# ---- when to strike


def moment(group: Workers, started: Started, rng: random.Random, rows: int) -> str:
    """Wait for a seeded moment in the worker's life and name it; the worker may have ended before it came."""
    there = len(group.files("shard-*.h5"))
    kind = rng.choice(["delay", "shards", "temporary", "manifest", "begun"])
    if kind == "delay":
        pause(started, rng.uniform(0.0, 0.7))
    elif kind == "shards":
        count = rng.randint(there, max(there, rows // SHARD_ROWS - 1))
        started.wait_for(lambda: len(group.files("shard-*.h5")) >= count, f"{count} shards")
    elif kind == "temporary":
        started.wait_for(_after(rng.randint(0, 8), lambda: bool(group.files(".shard-*.tmp"))), "a temporary file")
    elif kind == "manifest":
        started.wait_for(lambda: bool(group.files(f".{NAME}.*.tmp")), "the manifest's temporary file")
    else:
        started.says(BEGUN)
    if rng.random() < 0.5:
        pause(started, rng.uniform(0.0, 0.004))
    return kind


def pause(started: Started, seconds: float) -> None:
    """Let the worker go on for a while, so that a strike meets it anywhere; no assertion rests on how far it comes."""
    end = time.monotonic() + seconds
    started.wait_for(lambda: time.monotonic() >= end, f"{seconds} s")


def _after(count: int, condition: Callable[[], bool]) -> Callable[[], bool]:
    """The condition, once it has held in `count` looks before."""
    held = 0

    def holds() -> bool:
        nonlocal held
        held += condition()
        return held > count

    return holds


# ---- what must hold


def check(group: Workers, least: int = 0) -> None:
    """The invariants after any end of a worker, at rest: whatever has its final name is whole and right.

    `least` are the rows of a set that was complete before, which nothing may take away.
    """
    folder = group.set_folder()
    if not folder.exists():
        assert least == 0
        return
    stop = _check_manifest(folder)
    assert stop >= least, f"a complete set of {least} rows was there, now {stop}"
    for path in sorted(folder.iterdir()):
        if path.name.endswith(".tmp"):
            assert path.name.startswith("."), path
        elif path.name == EXECUTION:
            assert read_execution(folder) is not None, path
        elif path.name not in (NAME, RECEIPTS):
            _check_shard(path)


def _check_manifest(folder: Path) -> int:
    """How many rows the manifest promises and gives; 0 where there is none."""
    faults = problems(folder)
    if not (folder / NAME).exists():
        assert len(faults) == 1, faults
        assert "the set is not complete" in faults[0], faults
        return 0
    assert faults == []
    features = FeatureSet(folder, read_manifest(folder))
    stop = features.manifest.stop
    assert worker.equal(features.load(), worker.expected(0, 0, stop)), f"{stop} rows are not the reference's"
    return stop


def _check_shard(path: Path) -> None:
    shard = decode_shard(path.read_bytes(), str(path))
    assert worker.equal(shard.rows, worker.expected(0, shard.start, shard.stop)), path


def check_complete(group: Workers, rows: int, digest: str | None = None) -> None:
    """The invariants at the end: the set is there in full, as an uninterrupted run leaves it, and nothing else is."""
    manifest = read_manifest(group.set_folder())
    assert manifest.stop == rows, f"the run ended well, yet the set holds {manifest.stop} of {rows} rows"
    check(group, least=rows)
    assert digest in (None, manifest.digest), "the shards are not the reference's, byte for byte"
    expected = {NAME, *(shard.file for shard in manifest.shards)}
    for name in (EXECUTION, RECEIPTS):  # left by a kill between the manifest's coming and their going
        (group.set_folder() / name).unlink(missing_ok=True)
    assert {path.name for path in group.set_folder().iterdir()} == expected
