"""Pictures in Parquet files, as Hugging Face stores data sets: `parquet:GLOB`, with a column of pictures and one of labels.

`#image,label` after the path says which columns are meant. Splits are told by the files' names, as in
`train-00000-of-00002.parquet`. A row's id is its file and its number there.
"""

import functools
from pathlib import Path
from typing import Any

import numpy as np

from headstart.core.cache.errors import DataInvalid, DataNotFound
from headstart.core.cache.text import listed
from headstart.core.extract.images import Images
from headstart.core.extract.images.files import facts_of
from headstart.core.extract.images.labels import class_names, indices, spelled, summary
from headstart.core.extract.images.packed import PackedImages
from headstart.core.extract.images.patterns import Argument, argument, files
from headstart.core.extract.images.splits import Kind, Splits, by_kind, splits_of
from headstart.core.extract.images.tables import Columns, Tables, at_once, columns, opened, parquet, read_labels

ARGUMENT = "GLOB"
SUFFIXES = (".parquet",)


def given(text: str) -> Argument:
    """What the argument names. Raises DataNotFound where it is empty."""
    return argument("parquet", text, "'data/*.parquet'")


def splits(argument: str, data_dir: Path) -> tuple[str, ...]:
    """`train` and `test` as far as files are named so, or `all`. Raises DataNotFound, DataInvalid."""
    return tuple(_parts(given(argument)).splits)


def lacking(argument: str, data_dir: Path) -> None:
    """Nothing is downloaded."""


def open_split(argument: str, split: str, data_dir: Path) -> Images:
    """The pictures of one split; labels are read, no picture. Raises DataNotFound, DataInvalid."""
    parquet()
    place = given(argument)
    found, kinds = _parts(place), _by_kind(place)
    own = kinds[found.splits[split]]
    training = [path for kind in found.training for path in kinds[kind]]
    read = {path: _labels(path, place.columns, facts_of(path)) for path in dict.fromkeys((*own, *training))}
    named = _class_names(place, {path: one for path, (one, _) in read.items() if path in training})
    labels = _spelled({path: texts for path, (_, texts) in read.items()}, named)
    classes = named or class_names((label for path in training for label in labels[path]), place.path)
    targets = indices([label for path in own for label in labels[path]], classes, place.path, f"the {split} split")
    if not targets:
        raise DataNotFound(f"{place.path}: no rows in {listed(path.name for path in own)}")
    sizes = [len(labels[path]) for path in own]
    return PackedImages(
        name=place.name,
        split=split,
        classes=classes,
        source=str(place.root),
        origin=place.origin,
        names=tuple(f"{path.relative_to(place.root)}#{row}" for path in own for row in range(len(labels[path]))),
        targets=tuple(targets),
        pack=Tables(
            tuple(own),
            tuple(facts_of(path) for path in own),
            tuple(read[path][0].picture for path in own),
            np.repeat(np.arange(len(own)), sizes),
            np.concatenate([np.arange(size) for size in sizes]),
            at_once([opened(path) for path in own], [read[path][0].picture for path in own]),
        ),
        top=Path(place.origin),
        remarks=(*summary(split, targets, classes), *_of_columns(read[own[0]][0], place), *found.remarks),
    ).sampled()


def _by_kind(place: Argument) -> dict[Kind, list[Path]]:
    return by_kind(files(place, SUFFIXES), place.root)


def _parts(place: Argument) -> Splits:
    return splits_of(_by_kind(place), place.path)


@functools.lru_cache(maxsize=4096)
def _labels(path: Path, wanted: tuple[str, ...], facts: tuple[int, ...]) -> tuple[Columns, list[str]]:
    """A file's columns and labels, read again only where the file has changed."""
    file: Any = opened(path)
    found = columns(file, path, wanted)
    return found, read_labels(file, path, found)


def _class_names(place: Argument, training: dict[Path, Columns]) -> tuple[str, ...]:
    """The class names that the training files' schemas have; none where they have none. Raises DataInvalid where two
    differ: the numbers would mean other classes."""
    found = {one.names: path for path, one in training.items()}
    if len(found) > 1:
        first, second = list(found.values())[:2]
        raise DataInvalid(f"{second}: its schema names other classes than that of {first}; take them as two data sets")
    return next(iter(found), None) or ()


def _spelled(texts: dict[Path, list[str]], named: tuple[str, ...]) -> dict[Path, list[str]]:
    """The labels of all files, spelled alike; names from a schema stay as they are."""
    if named:
        return texts
    found, done, labels = spelled([text for own in texts.values() for text in own]), 0, dict[Path, list[str]]()
    for path, own in texts.items():
        labels[path], done = found[done : done + len(own)], done + len(own)
    return labels


def _of_columns(found: Columns, place: Argument) -> list[str]:
    """Which columns were taken, where that was not said."""
    if place.columns:
        return []
    label = f", labels from {found.label}" if found.label else ", no column of labels (label, class, target, category)"
    return [f"pictures from the column {found.picture}{label}"]
