"""A sparse index of a long list of pictures, made in one pass: where its blocks begin, how many rows of each split are
before each, the labels that occur, and the folder that all pictures are below."""

from __future__ import annotations

import collections
import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from headstart.core.cache.errors import DataInvalid
from headstart.core.extract.images.files import facts_of
from headstart.core.extract.images.labels import spelled
from headstart.core.extract.images.ranged.tables import Block, Row, Table
from headstart.core.extract.images.splits import Kind, kind_of_word

MOST_LABELS = 1_000_000
"""Different labels that are kept: more are no classes, but names of pictures in the wrong column."""

Check = Callable[[str, str], None]
"""Raises DataInvalid where a path can't be meant; the second is the place, for the message."""


@dataclasses.dataclass(frozen=True)
class Index:
    """`columns` are the table's by what they hold: path, and perhaps label, split and group. Of B blocks `at` and `line`
    (B,) say where each begins, `before` (B + 1,) of each kind how many of its rows come before. `names` are the classes'
    names by the labels as written, `counts` how often each name occurs in each kind. `facts` are the file's, from before it
    was read."""

    table: Table
    columns: Mapping[str, str]
    root: Path
    at: npt.NDArray[np.int64]
    line: npt.NDArray[np.int64]
    before: Mapping[Kind, npt.NDArray[np.int64]]
    names: Mapping[str, str]
    counts: Mapping[Kind, Mapping[str, int]]
    facts: tuple[int, ...]

    def rows(self, kind: Kind) -> int:
        """How many rows of a kind there are."""
        return int(self.before[kind][-1])

    def blocks(self, kind: Kind, start: int, stop: int) -> range:
        """The blocks that rows `start` to `stop` of a kind are in."""
        before = self.before[kind]
        first = int(np.searchsorted(before, start, side="right")) - 1
        return range(first, int(np.searchsorted(before, stop, side="left")))

    def read(self, number: int, kind: Kind) -> list[Mapping[str, str]]:
        """The cells of each row of a kind in a block, by what they hold. Raises DataInvalid."""
        path, what = self.table.path, [*self.columns]
        block = Block(int(self.at[number]), int(self.line[number]))
        self._same()
        rows = self.table.read(block, [*self.columns.values()])
        self._same()
        found: list[Mapping[str, str]] = [dict(zip(what, cells, strict=True)) for _, cells in rows]
        return [cells for cells in found if kind_of_word(cells.get("split", ""), path) == kind]

    def _same(self) -> None:
        if facts_of(self.table.path) != self.facts:
            raise DataInvalid(f"{self.table.path}: changed while it was read; run the command again")


def indexed(table: Table, columns: Mapping[str, str], check: Check, facts: tuple[int, ...]) -> Index:
    """The index of a table, whose file has these `facts`. Raises DataInvalid, which names a row that can't be meant."""
    building = _Building(table, list(columns), check)
    at, line, before = list[int](), list[int](), list[Mapping[Kind, int]]()
    for block, rows in table.blocks([*columns.values()]):
        at.append(block.at)
        line.append(block.line)
        before.append({kind: labels.total() for kind, labels in building.labels.items()})
        building.add(rows)
    texts = list(dict.fromkeys(text for labels in building.labels.values() for text in labels))
    names = dict(zip(texts, spelled(texts), strict=True))
    counts: dict[Kind, collections.Counter[str]] = {}
    for kind, labels in building.labels.items():
        counts[kind] = collections.Counter()
        for text, count in labels.items():
            counts[kind][names[text]] += count
    edges = {
        kind: np.array([*(one.get(kind, 0) for one in before), labels.total()], dtype=np.int64)
        for kind, labels in building.labels.items()
    }
    places = np.array(at, dtype=np.int64), np.array(line, dtype=np.int64)
    return Index(table, dict(columns), building.root, *places, edges, names, counts, facts)


class _Building:
    """What is gathered of all rows, none of which is kept."""

    def __init__(self, table: Table, what: Sequence[str], check: Check) -> None:
        self.table, self.what, self.check = table, what, check
        self.labels = collections.defaultdict[Kind, collections.Counter[str]](collections.Counter)
        self._kinds: dict[str, Kind] = {}
        self._common: str | None = None
        self._outside = False

    def add(self, rows: Sequence[Row]) -> None:
        folders = set[str]()
        place = {what: number for number, what in enumerate(self.what)}
        path, label, split = place["path"], place.get("label"), place.get("split")
        for line, cells in rows:
            self.check(cells[path], f"{self.table.path}, {self.table.line} {line}")
            folders.add(_folder(cells[path]))
            kind = self._kind("" if split is None else cells[split], line)
            self.labels[kind]["" if label is None else cells[label]] += 1
        if sum(map(len, self.labels.values())) > MOST_LABELS:
            raise DataInvalid(f"{self.table.path}: more than {MOST_LABELS:,} different labels; say which column has them")
        self._below(folders)

    def _kind(self, word: str, line: int) -> Kind:
        if word not in self._kinds:
            self._kinds[word] = kind_of_word(word, f"{self.table.path}, {self.table.line} {line}")
        return self._kinds[word]

    def _below(self, folders: set[str]) -> None:
        own = str(self.table.path.parent)
        whole = {whole_folder(own, folder) for folder in folders}
        self._outside = self._outside or any(os.path.commonpath([own, folder]) != own for folder in whole)
        self._common = os.path.commonpath([*whole, *([] if self._common is None else [self._common])])

    @property
    def root(self) -> Path:
        """The table's own folder, and where a picture lies outside of it the deepest one that all are below."""
        return Path(self._common or "/") if self._outside else self.table.path.parent


def _folder(path: str) -> str:
    """As `os.path.split` has it, but for separators at its end, which go later. A billion rows are split."""
    return path.rpartition(os.sep)[0] if not path.startswith(os.sep) else os.path.split(path)[0]


def whole_folder(folder: str, above: str) -> str:
    """The folder `above` of a picture in a list in `folder`: what a link leads to may lie elsewhere than the names say."""
    found = os.path.join(folder, above)
    return os.path.normpath(os.path.realpath(found) if ".." in found else found)
