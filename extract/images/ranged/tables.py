"""Tables by blocks of rows: read through once, and each block again by its place. What a table is, `listing` says too."""

from __future__ import annotations

import codecs
import csv
import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from headstart.core.cache.errors import DataInvalid
from headstart.core.cache.text import listed
from headstart.core.extract.images.listing import DELIMITERS, as_object, as_text, delimiter_of, plain_columns, readable
from headstart.core.extract.images.tables import opened

BLOCK = 4096
"""Rows of a block of a table of text: all that is parsed to come to any of them."""
_PIECE = 2**16

Row = tuple[int, Sequence[str]]
"""The number of its line, and its cells as text."""


@dataclasses.dataclass(frozen=True)
class Block:
    """Where some rows begin: a byte of a text file and the number of the line there, or the number of a row group."""

    at: int
    line: int


class Table(Protocol):
    """A table by blocks. Each method raises DataInvalid, which names the line."""

    @property
    def path(self) -> Path: ...
    @property
    def columns(self) -> tuple[str, ...]: ...
    @property
    def line(self) -> str: ...

    def blocks(self, names: Sequence[str]) -> Iterator[tuple[Block, list[Row]]]:
        """All blocks in order, and the cells of the columns called `names` of each row, in that order."""
        ...

    def read(self, block: Block, names: Sequence[str]) -> list[Row]:
        """The rows of one block."""
        ...


def table(path: Path) -> Table:
    """The table in a file of one of `listing.SUFFIXES`. Raises DataInvalid."""
    suffix = path.suffix.lower()
    with readable(path):
        if suffix == ".parquet":
            return ParquetTable(path, plain_columns(opened(path)))
        if suffix == ".jsonl":
            return JsonTable(path, _keys(path))
        with path.open("rb") as file:
            first = _text(file.readline())
            delimiter = delimiter_of(first, DELIMITERS[suffix])
        return CsvTable(path, *_header(path, delimiter), delimiter)


def is_longer(path: Path, rows: int) -> bool:
    """Whether a table has more rows than that, or as good as: lines are counted. Raises DataInvalid."""
    with readable(path):
        if path.suffix.lower() == ".parquet":
            return int(opened(path).metadata.num_rows) > rows
        lines = 0
        with path.open("rb") as file:
            while lines <= rows and (piece := file.read(_PIECE)):
                lines += piece.count(b"\n")
    return lines > rows


class _Lines:
    """The lines of a file from a place on, as text. `at` is where the next one begins."""

    def __init__(self, file: BinaryIO, at: int) -> None:
        file.seek(at)
        self._file, self.at = file, at

    def __iter__(self) -> Iterator[str]:
        for line in self._file:
            start, self.at = self.at, self.at + len(line)
            yield _text(line) if start == 0 else line.decode("utf-8")


def _text(first: bytes) -> str:
    """The first line of a file, without the mark that spreadsheets put before it."""
    return first.removeprefix(codecs.BOM_UTF8).decode("utf-8")


@dataclasses.dataclass(frozen=True)
class CsvTable:
    """Comma-, semicolon- or tab-separated values, whose rows begin at byte `start` on line `first`. A row may go over
    several lines, so that only a reader knows where one begins."""

    path: Path
    columns: tuple[str, ...]
    start: int
    first: int
    delimiter: str
    line: str = "line"

    def blocks(self, names: Sequence[str]) -> Iterator[tuple[Block, list[Row]]]:
        with readable(self.path), self.path.open("rb") as file:
            yield from self._blocks(file, Block(self.start, self.first), names)

    def read(self, block: Block, names: Sequence[str]) -> list[Row]:
        with readable(self.path), self.path.open("rb") as file:
            return next(self._blocks(file, block, names), (block, []))[1]

    def _blocks(self, file: BinaryIO, block: Block, names: Sequence[str]) -> Iterator[tuple[Block, list[Row]]]:
        lines = _Lines(file, block.at)
        reader = csv.reader(lines, delimiter=self.delimiter, strict=True)
        places, before = [self.columns.index(name) for name in names], block.line - 1
        rows, line = list[Row](), block.line
        try:
            for cells in reader:
                if cells:
                    self._check(cells, line)
                    rows.append((line, [cells[place] for place in places]))
                line = before + reader.line_num + 1
                if len(rows) == BLOCK:
                    yield block, rows
                    block, rows = Block(lines.at, line), []
        except csv.Error as error:
            where = f"{self.path}, line {before + reader.line_num}"
            raise DataInvalid(f"{where}: {error}; a quotation mark may be missing") from error
        if rows:
            yield block, rows

    def _check(self, cells: Sequence[str], line: int) -> None:
        if len(cells) != len(self.columns):
            raise DataInvalid(
                f"{self.path}, line {line}: {len(cells)} cells, expected {len(self.columns)} as in the first line "
                f"({listed(self.columns)})"
            )


def _header(path: Path, delimiter: str) -> tuple[tuple[str, ...], int, int]:
    """The columns of a file, and the byte and the line where its rows begin. Raises DataInvalid."""
    with path.open("rb") as file:
        lines = _Lines(file, 0)
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        try:
            columns = tuple(name.strip() for name in next(reader, []))
        except csv.Error as error:
            raise DataInvalid(f"{path}, line {reader.line_num}: {error}; a quotation mark may be missing") from error
        return columns, lines.at, reader.line_num + 1


@dataclasses.dataclass(frozen=True)
class JsonTable:
    """JSON Lines: each line an object, whose keys are the columns."""

    path: Path
    columns: tuple[str, ...]
    line: str = "line"

    def blocks(self, names: Sequence[str]) -> Iterator[tuple[Block, list[Row]]]:
        with readable(self.path), self.path.open("rb") as file:
            yield from self._blocks(file, Block(0, 1), names)

    def read(self, block: Block, names: Sequence[str]) -> list[Row]:
        with readable(self.path), self.path.open("rb") as file:
            return next(self._blocks(file, block, names), (block, []))[1]

    def _blocks(self, file: BinaryIO, block: Block, names: Sequence[str]) -> Iterator[tuple[Block, list[Row]]]:
        lines, rows = _Lines(file, block.at), list[Row]()
        for number, text in enumerate(lines, block.line):
            if text.strip():
                value = as_object(text, self.path, number)
                rows.append((number, [as_text(value.get(name)) for name in names]))
            if len(rows) == BLOCK:
                yield block, rows
                block, rows = Block(lines.at, number + 1), []
        if rows:
            yield block, rows


def _keys(path: Path) -> tuple[str, ...]:
    """All keys of the objects of a file, in the order in which they come."""
    found: dict[str, None] = {}
    with path.open("rb") as file:
        for number, text in enumerate(_Lines(file, 0), 1):
            if text.strip():
                found.update(dict.fromkeys(as_object(text, path, number)))
    return tuple(found)


@dataclasses.dataclass(frozen=True)
class ParquetTable:
    """A Parquet file, whose row groups are the blocks: a group can't be entered in the middle."""

    path: Path
    columns: tuple[str, ...]
    line: str = "row"

    def blocks(self, names: Sequence[str]) -> Iterator[tuple[Block, list[Row]]]:
        with readable(self.path):
            first = 0
            with opened(self.path) as file:
                for group in range(file.num_row_groups):
                    block = Block(group, first)
                    if rows := self._rows(file, block, names):
                        yield block, rows
                    first += len(rows)

    def read(self, block: Block, names: Sequence[str]) -> list[Row]:
        with readable(self.path), opened(self.path) as file:
            return self._rows(file, block, names)

    def _rows(self, file: Any, block: Block, names: Sequence[str]) -> list[Row]:
        try:
            found = file.read_row_group(block.at, columns=[*names], use_threads=False)
            cells = [found.column(name).to_pylist() for name in names]
        except Exception as error:  # a damaged page raises OSErrors and ValueErrors of Arrow's, and more
            reason = " ".join(str(error).split())[:200]
            raise DataInvalid(f"{self.path}: can't be read ({reason}); fetch the file anew") from error
        return [(row, [as_text(cell) for cell in own]) for row, own in enumerate(zip(*cells, strict=True), block.line)]
