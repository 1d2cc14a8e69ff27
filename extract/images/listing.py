"""A table of text as people write it, .csv, .tsv, .jsonl or .parquet: its columns, and its rows with their line numbers."""

import contextlib
import csv
import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.core.cache.errors import DataInvalid, HeadstartError
from headstart.core.cache.text import listed, safe
from headstart.core.extract.images.tables import opened

if TYPE_CHECKING:
    import _csv

SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")
DELIMITERS = {".csv": ",;", ".tsv": "\t"}


@dataclasses.dataclass(frozen=True)
class Listing:
    """The columns' names, and the rows: the number of each one's line, and its cells as text, empty where there is none."""

    columns: tuple[str, ...]
    rows: tuple[tuple[int, Sequence[str]], ...]
    line: str = "line"


def listing(path: Path) -> Listing:
    """A table's rows. Raises DataInvalid, which names the line, and DataNotFound where a reader is not installed."""
    suffix = path.suffix.lower()
    with readable(path):
        if suffix == ".parquet":
            return _of_parquet(path)
        if suffix in (".jsonl", ".ndjson"):
            return _of_json(path)
        if suffix in DELIMITERS:
            return _of_csv(path, DELIMITERS[suffix])
    raise DataInvalid(f"{path}: a list is a file that ends in {', '.join(SUFFIXES)}")


@contextlib.contextmanager
def readable(path: Path) -> Iterator[None]:
    """What goes wrong with a file that is read inside becomes DataInvalid."""
    try:
        yield
    except HeadstartError:
        raise
    except UnicodeDecodeError as error:
        what = f"byte {error.start:,} of what was read is no UTF-8"
        raise DataInvalid(f"{path}: {what}; save the list as UTF-8") from error
    except OSError as error:
        raise DataInvalid(f"{path}: can't be read ({error.strerror or error}); give yourself access") from error


def _of_csv(path: Path, delimiters: str) -> Listing:
    with path.open(encoding="utf-8-sig", newline="") as file:
        delimiter = delimiter_of(file.readline(), delimiters)
        file.seek(0)
        reader = csv.reader(file, delimiter=delimiter, strict=True)
        try:
            header = tuple(name.strip() for name in next(reader, []))
            rows = tuple((line, cells) for line, cells in _records(reader) if cells)
        except csv.Error as error:
            raise DataInvalid(f"{path}, line {reader.line_num}: {error}; a quotation mark may be missing") from error
    for line, cells in rows:
        if len(cells) != len(header):
            raise DataInvalid(
                f"{path}, line {line}: {len(cells)} cells, expected {len(header)} as in the first line ({listed(header)})"
            )
    return Listing(header, rows)


def _records(reader: "_csv.Reader") -> Iterator[tuple[int, list[str]]]:
    """Each record with the number of the line that it begins on."""
    line = reader.line_num + 1
    for cells in reader:
        yield line, cells
        line = reader.line_num + 1


def delimiter_of(first: str, delimiters: str) -> str:
    """The one that the first line has most of, as spreadsheets in half of Europe write semicolons."""
    return max(delimiters, key=first.count)


def _of_json(path: Path) -> Listing:
    found = list[tuple[int, dict[str, object]]]()
    with path.open(encoding="utf-8-sig") as file:
        for line, text in enumerate(file, 1):
            if not text.strip():
                continue
            found.append((line, as_object(text, path, line)))
    columns = tuple(dict.fromkeys(name for _, value in found for name in value))
    return Listing(columns, tuple((line, [as_text(value.get(name)) for name in columns]) for line, value in found))


def as_object(text: str, path: Path, line: int) -> dict[str, object]:
    """The object that a line is. Raises DataInvalid."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataInvalid(f"{path}, line {line}: no JSON ({error}); each line is one object") from error
    if not isinstance(value, dict):
        raise DataInvalid(f"{path}, line {line}: a {type(value).__name__}, expected an object such as {_EXAMPLE}")
    return value


_EXAMPLE = '{"path": "cat/1.jpg", "label": "cat"}'


def _of_parquet(path: Path) -> Listing:
    file = opened(path)
    plain = plain_columns(file)
    try:
        cells = [file.read(columns=[name]).column(0).to_pylist() for name in plain]
    except HeadstartError:
        raise
    except Exception as error:  # a damaged page raises OSErrors and ValueErrors of Arrow's, and more
        raise DataInvalid(f"{path}: can't be read ({' '.join(str(error).split())[:200]}); fetch the file anew") from error
    rows = tuple((row, [as_text(cell) for cell in row_cells]) for row, row_cells in enumerate(zip(*cells, strict=True)))
    return Listing(plain, rows, "row")


def plain_columns(file: Any) -> tuple[str, ...]:
    """The columns of a Parquet file that can be cells: neither structures nor bytes."""
    from pyarrow import types

    schema = file.schema_arrow
    plain = [name for name in schema.names if not types.is_nested(schema.field(name).type)]
    return tuple(name for name in plain if not types.is_binary(schema.field(name).type))


def as_text(value: object) -> str:
    """A cell as a CSV file would have it; a structure as what no path or label can be."""
    if value is None or value != value:  # NaN is what pandas makes of a gap
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return safe(value) if isinstance(value, list | dict) else str(value)
