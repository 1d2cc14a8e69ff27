"""Parquet files as packs of pictures: which columns hold pictures and labels, and the bytes of any rows.

Hugging Face stores a picture as a struct of `bytes` and `path`, or as the bytes alone, and names the classes of an integer
column in the schema's metadata (https://huggingface.co/docs/datasets/about_arrow). Needs pyarrow, the extra `parquet`.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from headstart.core.cache.errors import DataInvalid, DataNotFound
from headstart.core.cache.text import listed, safe
from headstart.core.extract.images.files import facts_of
from headstart.core.extract.images.labels import UNKNOWN
from headstart.core.extract.images.packed import Found

PICTURES = ("image", "img", "picture", "photo", "bytes", "jpg", "png", "webp")
LABELS = ("label", "labels", "class", "target", "category", "cls", "label_id")
"""What a column is called, in the order in which it is looked for."""
AHEAD_BYTES = 128 * 2**20
"""Pictures that are fetched together: a row group can't be entered in the middle."""
_ROWS = 64
_BUFFER = 2**20
"""Bytes that are read of a column at a time: else a whole row group's are, which may be a whole file's."""


@dataclasses.dataclass(frozen=True)
class Columns:
    """A file's columns: that of the pictures, that of the labels (None: there is none), and the names of the labels'
    numbers (None: they are their own names)."""

    picture: str
    label: str | None
    names: tuple[str, ...] | None


def parquet() -> ModuleType:
    """pyarrow's reader. Raises DataNotFound where it is not installed."""
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise DataNotFound(
            "Parquet files need pyarrow, which is not installed: pip install 'headstart[parquet]'"
        ) from error
    return cast(ModuleType, pyarrow.parquet)


def opened(path: Path) -> Any:
    """A file's reader. Raises DataInvalid."""
    reader = parquet()
    try:
        return reader.ParquetFile(path, buffer_size=_BUFFER)
    except OSError as error:
        raise DataInvalid(f"{path}: can't be read ({error.strerror or _reason(error)})") from error
    except Exception as error:  # ArrowInvalid, which is a ValueError, and what else a damaged file makes of it
        raise DataInvalid(f"{path}: no whole Parquet file ({_reason(error)}); make or fetch it anew") from error


def columns(file: Any, path: Path, wanted: Sequence[str]) -> Columns:
    """Which columns hold pictures and labels: those `wanted`, else those of the usual names. Raises DataInvalid where that
    can be meant in two ways."""
    schema, features = file.schema_arrow, _features(file.schema_arrow.metadata or {}, path)
    there = {name: schema.field(name).type for name in schema.names}
    if gone := [name for name in wanted if name not in there]:
        raise DataInvalid(f"{path}: has no column {listed(gone)}; there are {listed(there)}")
    pictures = [name for name, kind in there.items() if _holds_pictures(kind)]
    asked = [name for name in wanted if name in pictures] or pictures
    picture = _one(asked, PICTURES, "pictures (bytes, or a struct with them)", path, there)
    if picture is None:
        raise DataInvalid(
            f"{path}: no column of pictures, which are bytes or a struct with bytes; there are {listed(there)}"
        )
    others = [name for name in wanted if name not in pictures]
    known = [name for name, one in features.items() if name in there and one.get("_type") == "ClassLabel"]
    usual = [name for name in there if name.lower() in LABELS and name not in pictures]
    label = _one(others or known or usual, LABELS, "labels", path, there)
    return Columns(picture, label, _class_label(features.get(label or "", {}), path))


def _one(found: Sequence[str], usual: Sequence[str], what: str, path: Path, there: Mapping[str, object]) -> str | None:
    """The column of several that is called as usual. Raises DataInvalid where none or several are."""
    if len(found) <= 1:
        return found[0] if found else None
    called = [name for name in found if name.lower() == usual[0]]
    if len(called) != 1:
        raise DataInvalid(
            f"{path}: the columns {listed(found)} all hold {what}; say which one is meant: "
            f"--dataset 'parquet:{path}#{found[0]}'"
        )
    return called[0]


def _holds_pictures(kind: Any) -> bool:
    from pyarrow import types

    def binary(one: Any) -> bool:
        return bool(types.is_binary(one) or types.is_large_binary(one))

    if types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0 and binary(kind.field("bytes").type)
    return binary(kind)


def _features(metadata: Mapping[bytes, bytes], path: Path) -> dict[str, dict[str, Any]]:
    """What Hugging Face's metadata say of the columns; nothing where there are none."""
    try:
        found = json.loads(metadata.get(b"huggingface", b"{}"))["info"]["features"]
    except (KeyError, TypeError):
        return {}
    except (ValueError, RecursionError) as error:
        raise DataInvalid(f"{path}: the schema's metadata `huggingface` are no JSON ({error})") from error
    return {name: one for name, one in found.items() if isinstance(one, dict)} if isinstance(found, dict) else {}


def _class_label(feature: Mapping[str, Any], path: Path) -> tuple[str, ...] | None:
    names = feature.get("names")
    if feature.get("_type") != "ClassLabel" or not names:
        return None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names) or len({*names}) < len(names):
        raise DataInvalid(f"{path}: the class names in the schema's metadata are no list of different names")
    return tuple(names)


def read_labels(file: Any, path: Path, found: Columns) -> list[str]:
    """The labels of all rows as text, that of an unlabelled one empty; no picture is read. Raises DataInvalid."""
    if found.label is None:
        return [UNKNOWN] * int(file.metadata.num_rows)
    try:
        values = file.read(columns=[found.label]).column(0).to_pylist()
    except Exception as error:
        raise DataInvalid(
            f"{path}: the column {found.label} can't be read ({_reason(error)}); fetch the file anew"
        ) from error
    return [_label(value, row, path, found) for row, value in enumerate(values)]


def _label(value: object, row: int, path: Path, found: Columns) -> str:
    if value is None or value == -1 or value != value:  # NaN is what pandas makes of a gap
        return UNKNOWN
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if found.names is not None and isinstance(value, int):
        if 0 <= value < len(found.names):
            return found.names[value]
        raise DataInvalid(f"{path}: row {row} has the label {value}, expected 0 to {len(found.names) - 1}")
    if isinstance(value, str | int) and not isinstance(value, bool):
        return str(value)
    kind = type(value).__name__
    raise DataInvalid(
        f"{path}: the label of row {row} in the column {found.label} is a {kind}, expected text or an integer"
    )


@dataclasses.dataclass(frozen=True)
class Tables:
    """The pictures of several files: paths, facts from when they were opened, the column of each one's pictures, and of
    each picture (N,) the number of its file and its row there."""

    paths: tuple[Path, ...]
    facts: tuple[tuple[int, int, int, int], ...]
    column: tuple[str, ...]
    number: npt.NDArray[np.int64]
    row: npt.NDArray[np.int64]
    at_once: int

    def files(self) -> tuple[Sequence[Path], npt.NDArray[np.int64]]:
        return self.paths, self.number

    def sizes(self) -> npt.NDArray[np.int64] | None:
        return None

    def fetch(self, places: Sequence[int]) -> Iterator[tuple[int, Found]]:
        """The pictures, from as much of each row group as must be read; none where a file is no longer what was opened."""
        by_file: dict[int, dict[int, int]] = {}
        for place in places:
            by_file.setdefault(int(self.number[place]), {})[int(self.row[place])] = place
        for number, wanted in by_file.items():
            done = set[int]()
            try:
                if facts_of(self.paths[number]) != self.facts[number]:
                    raise ValueError("the file changed while it was read")
                for row, found in self._rows(number, wanted):
                    done.add(row)
                    yield wanted[row], found
            except Exception as error:  # a damaged page raises OSErrors and ValueErrors of Arrow's, and more
                yield from ((place, f"can't be read: {_reason(error)}") for row, place in wanted.items() if row not in done)

    def _rows(self, number: int, wanted: Mapping[int, int]) -> Iterator[tuple[int, Found]]:
        """The wanted rows of a file, group by group."""
        with opened(self.paths[number]) as file:
            first = 0
            for group in range(file.num_row_groups):
                stop = first + file.metadata.row_group(group).num_rows
                own = sorted(row for row in wanted if first <= row < stop)
                if own:
                    yield from self._of_group(file, number, group, first, own)
                first = stop

    def _of_group(self, file: Any, number: int, group: int, first: int, own: Sequence[int]) -> Iterator[tuple[int, Found]]:
        """Wanted rows of a row group that begins with row `first`; it is read no further than to the last of them."""
        column, begin = self.column[number], first
        batches = file.iter_batches(batch_size=_ROWS, row_groups=[group], columns=[column], use_threads=False)
        left = list(own)
        for batch in batches:
            values = batch.column(0)
            while left and left[0] < begin + batch.num_rows:
                row = left.pop(0)
                yield row, _picture(values[row - begin].as_py())
            begin += batch.num_rows
            if not left:
                return
        raise ValueError(f"row group {group} ends before row {left[0]}")


def _picture(value: object) -> Found:
    found = value.get("bytes") if isinstance(value, dict) else value
    if isinstance(found, bytes):
        return found
    path = value.get("path") if isinstance(value, dict) else None
    return f"the row has no bytes, only the path {safe(path)}" if path else "the row has no picture"


def at_once(files: Sequence[Any], names: Sequence[str]) -> int:
    """How many pictures take `AHEAD_BYTES`, by what the files say of their columns."""
    total = rows = 0
    for file, name in zip(files, names, strict=True):
        metadata = file.metadata
        rows += metadata.num_rows
        for group in range(metadata.num_row_groups):
            one = metadata.row_group(group)
            own = (one.column(place) for place in range(one.num_columns))
            total += sum(column.total_uncompressed_size for column in own if column.path_in_schema.split(".")[0] == name)
    return max(_ROWS, AHEAD_BYTES * rows // max(1, total)) if rows else _ROWS


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
