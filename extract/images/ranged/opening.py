"""A split of a list that is too long to be held, from the list's index."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from headstart.core.cache.errors import DataNotFound
from headstart.core.extract.images.labels import UNKNOWN, class_names, counted, indices
from headstart.core.extract.images.ranged.images import RangedImages
from headstart.core.extract.images.ranged.index import Index
from headstart.core.extract.images.splits import Splits, splits_of

LEAST_ROWS = 1_000_000
"""Rows from which a list is read by range. So many took 21 s and 575 MB to be opened, files that lie in memory included
(docs/scale.md); below that an order by which the first rows are a sample, and each picture once, are worth more."""

REMARK = (
    f"the list has more than {LEAST_ROWS:,} rows and is read as they are needed: they stay in its own order, so that "
    "the first ones need not be a sample of all; a picture that is listed twice is two rows; files are looked for when "
    "they are read"
)


def splits_there(index: Index) -> Splits:
    """The splits of a list. Raises DataNotFound where it has no row, DataInvalid."""
    path = index.table.path
    if not index.before:
        raise DataNotFound(f"{path}: lists no pictures; expected a column path and one label, and a row for each picture")
    return splits_of(index.before, path)


def opened_split(index: Index, split: str, name: str, origin: str, remarks: Sequence[str]) -> RangedImages:
    """The rows of a split. Raises DataInvalid, DataNotFound."""
    path, there = index.table.path, splits_there(index)
    kind = there.splits[split]
    classes = class_names((label for one in there.training for label in index.counts[one]), path)
    own = index.counts[kind]
    numbers = dict(zip(own, indices([*own], classes, path, f"the {split} split"), strict=True))
    said = counted(split, {numbers[label]: count for label, count in own.items()}, classes)
    return RangedImages(
        name=name,
        split=split,
        classes=classes,
        index=index,
        kind=kind,
        targets={text: numbers[label] for text, label in index.names.items() if label in numbers} | {UNKNOWN: -1},
        top=Path(origin),
        made_from=origin,
        remarks=(*said, REMARK, *remarks, *there.remarks),
    )
