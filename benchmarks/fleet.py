"""A driver whose workers fail, stall and are heard of twice, for `scale.py`: the plan, the shards, their files and the
manifest are headstart's own; fake are the features and the workers' luck, and their time is that of a simulation."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import heapq
import json
import os
import time
from collections import Counter, deque
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from headstart.core.cache.digests import inputs_digest, to_hex
from headstart.core.cache.key import NamedKey
from headstart.core.cache.manifest import Provenance, ShardRecord
from headstart.core.cache.shard import Rows, Shard, encode_shard
from headstart.core.cache.shard_plan import Part, plan
from headstart.core.cache.store import FeatureStore
from headstart.core.cache.writer import SetWriter

SPLIT, DTYPE = "train", "float16"
CLASSES = ("even", "odd")
LINE = 8
"""Bytes of a line of the journal: what a killed driver did can be counted by the file's size."""
FATES = ("before", "middle", "after", "silent")
"""How an attempt fails: before it has written anything; killed while it writes, which leaves half a temporary file; with an
error after its shard is there; killed between the write and its report, which the driver takes `LEASE` to find out."""
STRAGGLES, LEASE, LATE = 20.0, 5.0, 30.0
"""A straggler takes so many times as long, a silent worker is given up after so many shards' time, and a late duplicate
arrives after so many; the time of a usual shard is 1, more or less (log-normal, sigma 0.2)."""


@dataclasses.dataclass(frozen=True)
class Fleet:
    """What is simulated: so many shards of `rows` x `dim`, and the shares of attempts that fail, that are delivered twice
    and that straggle."""

    shards: int
    rows: int
    dim: int
    fail: float
    duplicates: float
    stragglers: float
    workers: int
    seed: int

    @property
    def images(self) -> int:
        """N; the last shard is shorter, as a split's last shard usually is."""
        return self.shards * self.rows - self.rows // 2


KEY = NamedKey(
    backbone="fake",
    pooling="average",
    weights="random",
    weights_sha256="5c" * 32,
    image_size=224,
    interpolation="bilinear",
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
    precision="bf16",
    dataset="simulated",
    classes=CLASSES,
    feature_version=1,
)


def features(fleet: Fleet, start: int, stop: int) -> npt.NDArray[np.float16]:
    """What a backbone would give for these rows, (n, D): a hash of the seed, the row's number and the column's."""
    numbers = np.arange(start, stop, dtype=np.uint64)[:, None] * np.uint64(fleet.dim)
    mixed = (numbers + np.arange(fleet.dim, dtype=np.uint64) + np.uint64(fleet.seed)) * np.uint64(0x9E3779B97F4A7C15)
    return ((mixed >> np.uint64(53)).astype(np.float32) / 2048).astype(np.float16)  # eleven bits, which float16 holds


def digests(start: int, stop: int) -> npt.NDArray[np.uint8]:
    """The SHA-256 of each row's picture, (n, 32)."""
    found = b"".join(hashlib.sha256(b"%d" % number).digest() for number in range(start, stop))
    return np.frombuffer(found, dtype=np.uint8).reshape(-1, 32)


def shard(fleet: Fleet, part: Part) -> Shard:
    """A part of the plan as a worker makes it: of the plan and the part alone, so that all who make it make the same."""
    numbers = range(part.start, part.stop)
    ids, labels = np.array([b"%d" % number for number in numbers], dtype="S12"), np.arange(part.start, part.stop) % 2
    contents = digests(part.start, part.stop)
    rows = Rows(features(fleet, part.start, part.stop), labels.astype(np.int64), ids, contents)
    inputs = inputs_digest(ids.tolist(), rows.labels, to_hex(contents))
    return Shard(KEY.feature_key.digest, inputs, part.start, part.stop, rows)


def provenance(fleet: Fleet) -> Provenance:
    """Where the set comes from."""
    return Provenance(fleet.images, "nowhere", "a simulation", "d4" * 32, "none", 32, "2026-01-01T00:00:00+00:00", {})


@dataclasses.dataclass(order=True, frozen=True)
class Attempt:
    """A part on a worker: when it ends, in the simulation's time, and how: a fate, or `made`."""

    ends: float
    number: int
    part: Part
    fate: str = dataclasses.field(compare=False)


class Journal:
    """What happened, a line each, which outlives a driver that is killed."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)

    def write(self, word: str) -> None:
        """One line, by one call of the system."""
        os.write(self._file, word.encode().ljust(LINE - 1) + b"\n")


def events(path: Path) -> Counter[str]:
    """How often each word stands in a journal."""
    return Counter(path.read_text().split()) if path.exists() else Counter()


class Workers:
    """The workers of one driver: parts wait, are in flight for a while, and end as chance will have it."""

    def __init__(self, fleet: Fleet, missing: Sequence[Part], rng: np.random.Generator) -> None:
        self.fleet, self.rng, self.now, self.work = fleet, rng, 0.0, 0.0
        self.waiting = deque(missing)
        self.in_flight = list[Attempt]()
        self.late = list[Attempt]()
        self._again = set[int]()
        self._number = 0

    def fill(self, done: Collection[int]) -> None:
        """Give every free worker something: a part that waits, or one that another has had for long and not made."""
        while len(self.in_flight) < self.fleet.workers:
            if self.waiting:
                self.begin(self.waiting.popleft())
                continue
            slow = [one for one in self.in_flight if one.part.index not in done and one.part.index not in self._again]
            if not slow:
                return
            part = min(slow, key=lambda one: one.number).part
            self._again.add(part.index)
            self.begin(part, first=False)

    def begin(self, part: Part, first: bool = True) -> None:
        """Deliver a part to a worker; by mistake to a second one, too."""
        fleet, rng = self.fleet, self.rng
        seconds = rng.lognormal(0.0, 0.2) * (STRAGGLES if rng.random() < fleet.stragglers else 1.0)
        fate = FATES[rng.integers(len(FATES))] if rng.random() < fleet.fail else "made"
        self._number += 1
        self.work += seconds
        attempt = Attempt(self.now + seconds + LEASE * (fate == "silent"), self._number, part, fate)
        heapq.heappush(self.in_flight, attempt)
        if first:
            self.survive([part])

    def survive(self, parts: Sequence[Part]) -> None:
        """Have some of these made once more, some time: delivered twice, or by workers of a driver that was killed."""
        for part in parts:
            if self.rng.random() < self.fleet.duplicates:
                self._number += 1
                ends = self.now + self.rng.random() * LATE
                heapq.heappush(self.late, Attempt(ends, self._number, part, "made"))

    def end(self) -> Attempt:
        """The attempt that ends next."""
        late = self.late and (not self.in_flight or self.late[0] < self.in_flight[0])
        found = heapq.heappop(self.late if late else self.in_flight)
        self.now = max(self.now, found.ends)
        return found


def drive(root: Path, fleet: Fleet, turn: int) -> None:
    """One driver's life: what is there, what is missing, the workers until nothing is, the manifest. Run it in a process
    of its own, which may be killed at any moment; the next turn goes on."""
    journal, rng = Journal(root / "journal"), np.random.default_rng([fleet.seed, turn])
    started = time.perf_counter()
    with FeatureStore(root / "features").writing(KEY, SPLIT, lambda: journal.write("waited")) as writer:
        found = writer.present()
        looked = time.perf_counter() - started
        parts = plan(fleet.images, {i: (one.start, one.stop) for i, one in found.items()}, fleet.rows)
        kept = {part.index: found[part.index] for part in parts if part.index in found and found[part.index].part == part}
        workers = Workers(fleet, [part for part in parts if part.index not in kept], rng)
        missing = len(workers.waiting)
        workers.survive([part for part in parts if part.index in kept])
        while len(kept) < len(parts):
            workers.fill(kept)
            _ended(workers, writer, kept, journal)
        makespan, work = workers.now, workers.work
        journal.write("commit")
        committing = time.perf_counter()
        records = [kept[part.index] for part in parts]
        if (there := writer.manifest()) is None or there.shards != tuple(records):
            writer.commit(records, fleet.dim, DTYPE, provenance(fleet))
        committed = time.perf_counter() - committing
        while workers.late or workers.in_flight:  # nobody waits for these, but they write all the same
            _ended(workers, writer, kept, journal)
    facts = {"missing": missing, "look_s": looked, "commit_s": committed, "makespan": makespan, "work": work}
    (root / "last.json").write_text(json.dumps({**facts, "seconds": time.perf_counter() - started, "peak": peak_bytes()}))


def _ended(workers: Workers, writer: SetWriter, kept: dict[int, ShardRecord], journal: Journal) -> None:
    """Let the next attempt end: write what it writes, tell the driver what it tells."""
    attempt = workers.end()
    part, fate = attempt.part, attempt.fate
    put = functools.partial(writer.put, index=part.index, inputs_stat=None, elapsed_s=1.0)
    if fate == "middle":
        half = encode_shard(shard(workers.fleet, part))
        (writer.folder / f".{part.file}.{attempt.number:016x}.tmp").write_bytes(half[: len(half) // 2])
    elif fate in ("after", "silent"):
        put(shard(workers.fleet, part))
    if fate != "made":
        journal.write(fate)
        if part.index not in kept:
            workers.waiting.append(part)
        return
    record, before = put(shard(workers.fleet, part)), kept.get(part.index)
    if before is not None and before.sha256 != record.sha256:
        raise AssertionError(f"{part.file}: made twice, and not the same")
    journal.write("made" if before is None else "again")
    kept.setdefault(part.index, record)


def peak_bytes() -> int:
    """The most memory that this process has had, itself alone: what getrusage says begins with what its parent had."""
    status: dict[str, Any] = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) * 1024
