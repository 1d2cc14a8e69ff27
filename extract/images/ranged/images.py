"""The pictures of a list that is too long to be held: each range of rows is read from the list when it is asked for."""

from __future__ import annotations

import collections
import dataclasses
import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from headstart.core.cache.known_files import NO_FACTS, Facts
from headstart.core.cache.manifest import Order
from headstart.core.extract.images import Batch, Labels, stat_digest
from headstart.core.extract.images.files import FileImages, Tally
from headstart.core.extract.images.ranged.index import Index, whole_folder
from headstart.core.extract.images.splits import Kind
from headstart.core.extract.pictures.files import printable
from headstart.core.extract.pictures.preprocess import Preprocessing

KEPT_ROWS = 2**16
"""Rows that stay parsed, for whoever asks for the ids, labels and pictures of a shard one after the other."""

Listed = tuple[str, int, str]
"""A row: the path below the root, the class index, the group."""


@dataclasses.dataclass(frozen=True)
class RangedImages:
    """The rows of one kind of a list, in its own order. `targets` are the class indices by the labels as written."""

    name: str
    split: str
    classes: tuple[str, ...]
    index: Index
    kind: Kind
    targets: Mapping[str, int]
    top: Path | None
    made_from: str
    remarks: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    order: Order = "unknown"
    tally: Tally = dataclasses.field(default_factory=Tally, compare=False, repr=False)
    parsed: Parsed = dataclasses.field(default_factory=lambda: Parsed(), compare=False, repr=False)

    @property
    def rows(self) -> int:
        """How many there are."""
        return self.index.rows(self.kind)

    @property
    def source(self) -> str:
        """The folder that the paths are relative to."""
        return str(self.index.root)

    @property
    def origin(self) -> str:
        """The list."""
        return self.made_from

    def path(self, row: int) -> Path:
        """A row's file. Raises DataInvalid."""
        return self.index.root / self._part(row, row + 1).paths[0]

    def in_order(self, order: Order) -> Self:
        return self

    def noticed(self) -> list[str]:
        return self.tally.taken(lambda row: printable(self._part(row, row + 1).paths[0]))

    def labels(self, start: int, stop: int) -> Labels:
        found = [np.array([target for _, target, _ in rows], dtype=np.int64) for rows in self._blocks(start, stop)]
        return np.concatenate(found) if found else np.zeros(0, dtype=np.int64)

    def ids(self, start: int, stop: int) -> list[bytes]:
        return self._part(start, stop).ids(0, stop - start)

    def fingerprints(self, start: int, stop: int) -> list[str]:
        return self._part(start, stop).fingerprints(0, stop - start)

    def facts(self, start: int, stop: int) -> Facts:
        found = self._part(start, stop).facts(0, stop - start)
        return found.reshape(stop - start, len(NO_FACTS))

    def stat(self, start: int, stop: int) -> str | None:
        return stat_digest(self, (start, stop), self.facts(start, stop))

    def may_be_equal(self) -> npt.NDArray[np.bool_]:
        return np.zeros(self.rows, dtype=np.bool_)  # nobody asks the sizes of so many files: equal ones are computed each

    def read(self, start: int, stop: int, transform: Preprocessing, workers: int) -> Batch:
        return self._read(range(start, stop), self._part(start, stop), start, transform, workers)

    def pick(self, rows: Sequence[int], transform: Preprocessing, workers: int) -> Batch:
        listed = [next(iter(self._blocks(row, row + 1)))[0] for row in rows]
        return self._read(rows, self._images(listed), 0, transform, workers)

    def _read(self, rows: Sequence[int], part: FileImages, start: int, transform: Preprocessing, workers: int) -> Batch:
        """The pictures of a part, which are these rows, numbered from `start`."""
        own = dataclasses.replace(part, tally=_Renumbered(self.tally, rows))
        found = own.read(0, len(rows), transform, workers)
        skipped = [dataclasses.replace(image, row=image.row + start) for image in found.skipped]
        return dataclasses.replace(found, start=start, rows=found.rows + start, skipped=skipped)

    def _part(self, start: int, stop: int) -> FileImages:
        return self._images([row for rows in self._blocks(start, stop) for row in rows])

    def _images(self, rows: Sequence[Listed]) -> FileImages:
        paths, targets, groups = zip(*rows, strict=True) if rows else ((), (), ())
        grouped = "group" in self.index.columns
        own = self.name, self.split, self.classes, self.index.root, paths, targets
        return FileImages(*own, groups=groups if grouped else ())

    def _blocks(self, start: int, stop: int) -> Sequence[Sequence[Listed]]:
        """The rows from `start` to `stop`, block by block."""
        found, before = list[Sequence[Listed]](), self.index.before[self.kind]
        for number in self.index.blocks(self.kind, start, stop):
            rows, first = self.parsed.get(number, self), int(before[number])
            found.append(rows[max(0, start - first) : stop - first])
        return found

    def listed(self, number: int) -> list[Listed]:
        """The rows of a block, parsed. Raises DataInvalid."""
        folder, root = str(self.index.table.path.parent), str(self.index.root)
        above: dict[str, str] = {}
        found = []
        for cells in self.index.read(number, self.kind):
            head, name = os.path.split(cells["path"])
            if head not in above:
                below = os.path.relpath(whole_folder(folder, head), root)
                above[head] = "" if below == "." else f"{below}{os.sep}"
            path = os.path.normpath(above[head] + name)
            found.append((path, self.targets[cells.get("label", "")], cells.get("group", "")))
        return found


class Parsed:
    """The blocks that were parsed last: of `KEPT_ROWS` rows in all, or one. Threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._blocks = collections.OrderedDict[int, list[Listed]]()

    def __reduce__(self) -> tuple[type[Parsed], tuple[()]]:
        return Parsed, ()  # images are sent to processes, locks are not

    def get(self, number: int, images: RangedImages) -> list[Listed]:
        """A block's rows. Raises DataInvalid."""
        with self._lock:
            if number not in self._blocks:
                self._blocks[number] = images.listed(number)
            self._blocks.move_to_end(number)
            found = self._blocks[number]
            while len(self._blocks) > 1 and sum(map(len, self._blocks.values())) > KEPT_ROWS:
                self._blocks.popitem(last=False)
        return found


class _Renumbered(Tally):
    """The remarks on some rows, numbered from 0, go to another tally under their own numbers."""

    def __init__(self, tally: Tally, rows: Sequence[int]) -> None:
        super().__init__()
        self._tally, self._numbers = tally, rows

    def add(self, remark: str, row: int) -> None:
        self._tally.add(remark, self._numbers[row])
