"""Rows whose features are on the disk, in blocks: one is being used while a thread reads, checks and widens the next."""

import dataclasses
import mmap
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from headstart.core.cache.errors import FeaturesInvalid
from headstart.core.cache.row_reader import RowReader

Features = npt.NDArray[np.float32]
Places = npt.NDArray[np.int64]
Real = TypeVar("Real", np.float32, np.float64)
IN_FLIGHT = 2
"""Blocks that are in memory at once: one is used, one is filled."""


def room(shape: tuple[int, int], dtype: type[Real]) -> npt.NDArray[Real]:
    """An array that is given back to the system as soon as nobody has it: what C's allocator is given back it may keep,
    up to 64 MB on Linux (https://man7.org/linux/man-pages/man3/mallopt.3.html, M_TRIM_THRESHOLD)."""
    count = shape[0] * shape[1]
    return np.frombuffer(mmap.mmap(-1, max(1, count * np.dtype(dtype).itemsize)), dtype, count).reshape(shape)


@dataclasses.dataclass(frozen=True)
class Block:
    """Some of the rows: their places among all (n,), and their features (n, D) float32. These are the last rows of `room`,
    in which `spare` rows before them are free. All of it may be written to, until the next block but one is asked for."""

    places: Places
    room: Features
    spare: int

    @property
    def features(self) -> Features:
        """(n, D)."""
        return self.room[self.spare : self.spare + len(self.places)]


class OnDisk:
    """N rows of one or more sets: their `labels` (N,), and where they are: `places` (N,), rising, among the rows of all
    readers one after the other."""

    def __init__(self, readers: Sequence[RowReader], places: Places, labels: Places) -> None:
        self.labels, self._readers = labels, readers
        firsts = np.cumsum([0, *(reader.rows for reader in readers)])
        self._chunks = [(which, chunk) for which, one in enumerate(readers) for chunk in range(len(one.starts))]
        starts = np.concatenate([first + one.starts for first, one in zip(firsts[:-1], readers, strict=True)])
        self._starts = starts
        self._bounds = np.searchsorted(places, [*starts.tolist(), firsts[-1]])
        self._places = places

    @property
    def dim(self) -> int:
        """D."""
        return self._readers[0].dim

    @property
    def chunk_rows(self) -> int:
        """The most rows that are read at once."""
        return max(reader.chunk_rows for reader in self._readers)

    @property
    def nbytes(self) -> int:
        """Bytes of the chunks that hold any of the rows: what one pass reads."""
        there = np.flatnonzero(np.diff(self._bounds))
        sizes = [one.chunk_rows * one.dim * one.dtype.itemsize for one in self._readers]
        return sum(sizes[self._chunks[chunk][0]] for chunk in there.tolist())

    def blocks(
        self, chosen: npt.NDArray[np.bool_], most: int, *, rng: np.random.Generator | None = None, spare: int = 0
    ) -> Iterator[Block]:
        """The rows that are `chosen` (N,), up to `most` of them at a time, in their order; with `rng`, chunks come in an
        order that it draws, so that each block has rows from all over the sets. Raises FeaturesDamaged, and
        FeaturesInvalid for features that are not finite."""
        packs = self._packed(chosen, max(most, self.chunk_rows), rng)
        if not packs:
            return
        shape = spare + max(most, self.chunk_rows), self.dim
        rooms = [room(shape, np.float32) for _ in range(min(IN_FLIGHT, len(packs)))]
        with ThreadPoolExecutor(max_workers=1) as thread:
            ahead = thread.submit(self._filled, packs[0], chosen, rooms[0], spare)
            for number, pack in enumerate(packs[1:], 1):
                block = ahead.result()
                ahead = thread.submit(self._filled, pack, chosen, rooms[number % IN_FLIGHT], spare)
                yield block
            yield ahead.result()

    def _packed(self, chosen: npt.NDArray[np.bool_], most: int, rng: np.random.Generator | None) -> list[Places]:
        """The chunks that hold chosen rows, by block."""
        sums = np.concatenate([[0], np.cumsum(chosen)])
        counts = np.diff(sums[self._bounds])
        order = np.flatnonzero(counts)
        if rng is not None:
            order = rng.permutation(order)
        packs, begun, rows = list[Places](), 0, 0
        for place, count in enumerate(counts[order].tolist()):
            if rows + count > most:
                packs.append(order[begun:place])
                begun, rows = place, 0
            rows += count
        return [*packs, order[begun:]] if begun < len(order) else packs

    def _filled(self, pack: Places, chosen: npt.NDArray[np.bool_], room: Features, spare: int) -> Block:
        places, done = list[Places](), spare
        for chunk in pack.tolist():
            low, high = self._bounds[chunk : chunk + 2]
            own = low + np.flatnonzero(chosen[low:high])
            which, number = self._chunks[chunk]
            features = self._readers[which].read(number)
            inside = self._places[own] - self._starts[chunk]
            target = room[done : done + len(own)]
            target[:] = features if len(own) == len(features) else features[inside]
            self._check(target, which, own)
            places.append(own)
            done += len(own)
        return Block(np.concatenate(places), room, spare)

    def _check(self, features: Features, which: int, places: Places) -> None:
        # a sum is finite where all are, and may be too large where they are: only then each of them is looked at
        with np.errstate(over="ignore", invalid="ignore"):
            total = features.sum()
        if not np.isfinite(total) and not (finite := np.isfinite(features).all(axis=1)).all():
            first = sum(reader.rows for reader in self._readers[:which])
            source, row = self._readers[which].source, self._places[places[int(finite.argmin())]] - first
            number = int(source.manifest.row_numbers()[row])
            raise FeaturesInvalid(
                f"{source.folder}: the features of image number {number} of the split are not finite; `headstart extract "
                f"--force` makes them anew"
            )
