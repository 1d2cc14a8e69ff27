"""The shards that a set lacks: rows that are kept elsewhere are copied, the others are computed, equal pictures once."""

import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

from headstart.core.cache.digests import to_hex
from headstart.core.cache.known import Known, Source
from headstart.core.cache.manifest import ShardRecord
from headstart.core.cache.shard import Shard, Skipped
from headstart.core.cache.shard_plan import Part
from headstart.core.cache.writer import ShardWriter
from headstart.core.extract.images.contents import Contents
from headstart.core.extract.job import Job
from headstart.core.extract.shards import Computed, assembled

GROUP_BYTES = 256 * 2**20
"""Features that are put together at once where rows are copied: each shard that gives rows is read once for all of them."""

Compute = Callable[[Sequence[int]], Computed]
Made = tuple[Shard, str | None, float]
"""A shard, its files' stat from before they were read, and the seconds it took."""


@dataclasses.dataclass
class _Group:
    """Missing parts that are filled together: their rows `numbers` (n,) and features (n, D), as far as `filled` says."""

    parts: Sequence[Part]
    numbers: npt.NDArray[np.int64]
    features: npt.NDArray[Any]
    filled: npt.NDArray[np.bool_]

    def spans(self) -> Iterator[tuple[Part, slice]]:
        """Each part, and where its rows are."""
        done = 0
        for part in self.parts:
            yield part, slice(done, done + part.rows)
            done += part.rows


@dataclasses.dataclass
class Maker:
    """Makes missing parts of a job's set. `compute` gives rows from the backbone."""

    job: Job
    known: Known
    contents: Contents
    compute: Compute

    def make(self, parts: Sequence[Part], writer: ShardWriter) -> list[ShardRecord]:
        """The shards, each written by a thread while the next one is made."""
        writing: list[Future[ShardRecord]] = []
        with ThreadPoolExecutor(max_workers=1) as thread:
            for group in self._groups(parts):
                self.known.fill(group.numbers, group.features, group.filled)
                begun = len(writing)
                for part, (shard, stat, elapsed_s) in self._made(group):
                    if writing:
                        writing[-1].result()  # a full disk ends the run here, and no more than two shards wait for it
                    writing.append(thread.submit(writer.put, shard, part.index, stat, elapsed_s))
                if self._wanted_later(group, parts):
                    for future in writing[begun:]:
                        record = future.result()
                        self.known.add(Source(writer.folder / record.file, record, self.job.key.digest))
            return [future.result() for future in writing]

    def _groups(self, parts: Sequence[Part]) -> Iterator[_Group]:
        """The parts one by one; several at once where rows are copied."""
        wanted = self.known.wanted
        copies = bool(wanted.found.any()) or len(wanted.first) < len(wanted.contents)
        most, taken = GROUP_BYTES // self.job.row_bytes if copies else 0, list[Part]()
        for part in parts:
            if taken and sum(one.rows for one in taken) + part.rows > most:
                yield self._group(taken)
                taken = []
            taken.append(part)
        if taken:
            yield self._group(taken)

    def _group(self, parts: Sequence[Part]) -> _Group:
        numbers = _numbers(parts)
        features = np.empty((len(numbers), self.job.backbone.feature_dim), dtype=self.job.dtype)
        return _Group(tuple(parts), numbers, features, np.zeros(len(numbers), dtype=np.bool_))

    def _made(self, group: _Group) -> Iterator[tuple[Part, Made]]:
        for part, span in group.spans():
            stat = self.contents.stat(part.start, part.stop)
            started = time.perf_counter()
            skipped = self._computed(group, span)
            marks = self.contents.marks(part.start, part.stop)
            features = group.features[span][group.filled[span]]
            shard = assembled(self.job, part, features, marks, skipped)
            yield part, (shard, stat, round(time.perf_counter() - started, 3))

    def _computed(self, group: _Group, span: slice) -> list[Skipped]:
        """Compute what a part lacks, of equal pictures one; then what is still open, which was left out, or of a file that
        changed since it was hashed. Those left out."""
        wanted, skipped = self.known.wanted, list[Skipped]()
        lacking = group.numbers[span][~group.filled[span]]
        first = np.sort(np.unique(wanted.content(lacking), return_index=True)[1])
        self._take(group, lacking[first], skipped)
        left_out = [image.row for image in skipped]
        self._take(group, np.setdiff1d(group.numbers[span][~group.filled[span]], left_out), skipped)
        return skipped

    def _take(self, group: _Group, numbers: npt.NDArray[np.int64], skipped: list[Skipped]) -> None:
        """Compute these rows, and give their features to all rows of the group that are equal to them."""
        if not len(numbers):
            return
        found, wanted = self.compute(numbers.tolist()), self.known.wanted
        for row, mark in found.fingerprints.items():
            self.contents.learn(row, mark)
        skipped += found.skipped
        places = np.searchsorted(group.numbers, found.numbers)
        group.features[places], group.filled[places] = found.features, True
        expected = to_hex(wanted.digest(found.numbers))
        pairs = zip(found.numbers.tolist(), expected, strict=True)
        sure = np.array([found.fingerprints[row] == mark for row, mark in pairs], dtype=np.bool_)
        given, first = np.unique(wanted.content(found.numbers[sure]), return_index=True)
        others = np.flatnonzero(~group.filled & np.isin(wanted.content(group.numbers), given))
        own = places[sure][first][np.searchsorted(given, wanted.content(group.numbers[others]))]
        group.features[others], group.filled[others] = group.features[own], True

    def _wanted_later(self, group: _Group, parts: Sequence[Part]) -> bool:
        """Whether a later part has a picture that was computed in this group."""
        wanted = self.known.wanted
        later = _numbers([part for part in parts if part.index > group.parts[-1].index])
        nowhere = wanted.content(wanted.missing(later))
        return bool(np.isin(nowhere, wanted.content(group.numbers)).any())


def to_compute(known: Known, parts: Sequence[Part]) -> int:
    """How many rows of these parts will have to go through the backbone."""
    return len(np.unique(known.wanted.content(known.wanted.missing(_numbers(parts)))))


def _numbers(parts: Sequence[Part]) -> npt.NDArray[np.int64]:
    """The rows of some parts, rising."""
    return np.concatenate([np.zeros(0, dtype=np.int64), *(np.arange(part.start, part.stop) for part in parts)])
