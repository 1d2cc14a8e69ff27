"""Images in files that hold many pictures (archives, tables): each told apart by its own bytes, as a file of its own is."""

import dataclasses
import threading
from array import array
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol, Self

import numpy as np
import numpy.typing as npt

from headstart.core.cache.errors import ImageUnreadable
from headstart.core.cache.files import sha256
from headstart.core.cache.known_files import NO_FACTS, Facts
from headstart.core.cache.manifest import Order
from headstart.core.extract.images import Batch, Labels, Pixels, batch_of, stat_digest
from headstart.core.extract.images.files import Tally, facts_of
from headstart.core.extract.images.order import is_grouped, stratified
from headstart.core.extract.pictures.decode import decode_at
from headstart.core.extract.pictures.files import printable
from headstart.core.extract.pictures.preprocess import Preprocessing

Found = bytes | str
"""A picture's bytes, or the reason why there are none."""


class Pack(Protocol):
    """Pictures by their place in the data set's own order."""

    @property
    def at_once(self) -> int:
        """How many pictures are best fetched together: 1 where each is as near as any other."""
        ...

    def fetch(self, places: Sequence[int]) -> Iterable[tuple[int, Found]]:
        """These pictures (rising places), each with its place. Raises nothing for one that can't be read."""
        ...

    def files(self) -> tuple[Sequence[Path], npt.NDArray[np.int64]]:
        """The files, and of each picture (N,) the number of the file that it is in."""
        ...

    def sizes(self) -> npt.NDArray[np.int64] | None:
        """The bytes of each picture (N,); None where only reading them would tell."""
        ...


class _Memory:
    """The pictures that were fetched last, by row. It stays behind when images are sent to another process."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.rows: dict[int, Found] = {}

    def __reduce__(self) -> tuple[type["_Memory"], tuple[()]]:
        return _Memory, ()


@dataclasses.dataclass(frozen=True)
class PackedImages:
    """Pictures of a `pack`; `names` (N,) tell them apart, `targets` (N,) are their class indices (-1: unknown).

    Names and targets are in the data set's own order; `places` (N,) are the places there of the rows, where they are in
    another. `source` is the folder that the names are relative to, `origin` what `--dataset KIND:` was given, and `top` the
    same as a path, where the set is a user's own.
    """

    name: str
    split: str
    classes: tuple[str, ...]
    source: str
    origin: str
    names: tuple[str, ...]
    targets: tuple[int, ...]
    pack: Pack
    notes: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    order: Order = "unknown"
    places: "array[int] | None" = None
    top: Path | None = None
    tally: Tally = dataclasses.field(default_factory=Tally, compare=False, repr=False)
    memory: _Memory = dataclasses.field(default_factory=_Memory, compare=False, repr=False)

    @property
    def rows(self) -> int:
        """How many pictures there are."""
        return len(self.names)

    def sampled(self) -> Self:
        """The same pictures in an order whose beginnings are samples: a stratified one where classes stand together."""
        labels = np.array(self.targets, dtype=np.int64)
        if not is_grouped(labels):
            return dataclasses.replace(self, order="mixed")
        places = stratified([_encoded(name) for name in self.names], labels)
        return self._placed(array("q", places.tobytes()), "stratified")

    def in_order(self, order: Order) -> Self:
        if order == self.order or self.places is None:
            return self
        return self._placed(None, order)

    def _placed(self, places: "array[int] | None", order: Order) -> Self:
        return dataclasses.replace(self, places=places, order=order, tally=Tally(), memory=_Memory())

    def _place(self, row: int) -> int:
        return row if self.places is None else self.places[row]

    def _own(self, start: int, stop: int) -> list[int]:
        return [self._place(row) for row in range(start, min(stop, self.rows))]

    def noticed(self) -> list[str]:
        return self.tally.taken(self._named)

    def labels(self, start: int, stop: int) -> Labels:
        return np.array([self.targets[place] for place in self._own(start, stop)], dtype=np.int64)

    def ids(self, start: int, stop: int) -> list[bytes]:
        return [_encoded(self.names[place]) for place in self._own(start, stop)]

    def fingerprints(self, start: int, stop: int) -> list[str]:
        found = list[str]()
        step = max(256, self.pack.at_once)
        for first in range(start, stop, step):
            rows = range(first, min(first + step, stop))
            fetched = self._fetched(rows)
            found += [_mark(fetched[row]) for row in rows]
        return found

    def facts(self, start: int, stop: int) -> Facts:
        """Those of the file that holds a picture: while they stay, all pictures in it do."""
        paths, number = self.pack.files()
        each = np.array([facts_of(path) for path in paths], dtype=np.int64).reshape(len(paths), len(NO_FACTS))
        found: Facts = each[number[self._own(start, stop)]]
        return found

    def stat(self, start: int, stop: int) -> str | None:
        return stat_digest(self, (start, stop), self.facts(start, stop))

    def may_be_equal(self) -> npt.NDArray[np.bool_]:
        sizes = self.pack.sizes()
        if sizes is None:
            return np.ones(self.rows, dtype=np.bool_)
        found, counts = np.unique(sizes, return_counts=True)
        alike: npt.NDArray[np.bool_] = np.isin(sizes[self._own(0, self.rows)], found[counts > 1])
        return alike

    def pick(self, rows: Sequence[int], transform: Preprocessing, workers: int) -> Batch:
        return self._batch(0, rows, transform, workers)

    def read(self, start: int, stop: int, transform: Preprocessing, workers: int) -> Batch:
        return self._batch(start, range(start, stop), transform, workers)

    def content(self, row: int) -> bytes:
        """A picture's bytes. Raises ImageUnreadable."""
        found = self._fetched([row])[row]
        if isinstance(found, str):
            raise ImageUnreadable(f"{self.source}/{self._named(row)}: {found}")
        return found

    def _batch(self, start: int, rows: Sequence[int], transform: Preprocessing, workers: int) -> Batch:
        """Some rows, numbered from `start`."""
        fetched = self._fetched(rows)
        with ThreadPoolExecutor(max_workers=max(1, workers)) as pool:
            read = list(pool.map(lambda row: self._decoded(row, fetched[row], transform), rows))
        marks = [_mark(fetched[row]) for row in rows]
        return batch_of(start, read, marks, lambda row: self._named(rows[row - start]))

    def _decoded(self, row: int, found: Found, transform: Preprocessing) -> Pixels | str:
        """The resized pixels, or the reason why there are none."""
        if isinstance(found, str):
            return found
        name = self._named(row)
        try:
            return decode_at(found, name, transform, lambda text: self.tally.add(text, row))
        except ImageUnreadable as error:
            return str(error).removeprefix(f"{name}: ")

    def _named(self, row: int) -> str:
        return printable(self.names[self._place(row)])

    def _fetched(self, rows: Sequence[int]) -> dict[int, Found]:
        """The pictures of some rows by row; where that is cheaper those that follow are fetched with them and kept."""
        with self.memory.lock:
            there = self.memory.rows
            if any(row not in there for row in rows):
                first = min(rows)
                ahead = range(first, min(first + self.pack.at_once, self.rows))
                by_place = {self._place(row): row for row in sorted({*rows, *ahead})}
                there = {by_place[place]: found for place, found in self.pack.fetch(sorted(by_place))}
                self.memory.rows = there if self.pack.at_once > 1 else {}
            return {row: there[row] for row in rows}


def _mark(found: Found) -> str:
    return f"unreadable: {found}" if isinstance(found, str) else sha256(found)


def _encoded(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")
