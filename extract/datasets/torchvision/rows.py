"""The rows of torchvision's object for a split, checked, as images.

Files, and arrays whose classes stand together in torchvision's order, are put into a stratified order, other arrays stay in
torchvision's; the ids of an array's rows are torchvision's row numbers either way.
"""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from headstart.core.extract.datasets.torchvision.sets import TorchvisionSet
from headstart.core.extract.images import Images, Labels, Pixels
from headstart.core.extract.images.arrays import ArrayImages
from headstart.core.extract.images.files import FileImages
from headstart.core.extract.images.labels import pictures_of


@dataclasses.dataclass(frozen=True)
class _Split:
    """What is the same for arrays and files."""

    name: str
    split: str
    classes: tuple[str, ...]
    root: Path
    labels: Labels
    notes: tuple[str, ...]


def images(found: Any, line: TorchvisionSet, name: str, split: str, data_dir: Path) -> Images:
    """The rows of torchvision's object `found`, whose set is called `name` and lies below `data_dir`.

    Grey images get three equal channels. Raises ValueError for rows that don't fit together, and whatever torchvision does.
    """
    pictures, labels = line.read(found)
    classes = _classes(line, found)
    rows = _checked(np.asarray(labels, dtype=np.int64), len(pictures), len(classes))
    notes = (line.note,) if line.note and split == "test" else ()
    facts = _Split(f"torchvision-{name}", split, classes, data_dir, rows, notes)
    return _arrays(facts, pictures) if isinstance(pictures, np.ndarray) else _files(facts, pictures)


def _classes(line: TorchvisionSet, found: Any) -> tuple[str, ...]:
    """The class names; of several names of a class the first (Imagenette)."""
    names: Sequence[str | tuple[str, ...]] = line.classes or getattr(found, "classes", None) or found.categories
    return tuple(name if isinstance(name, str) else name[0] for name in names)


def _checked(labels: Labels, pictures: int, classes: int) -> Labels:
    """Labels (N,), one for each picture. Raises ValueError."""
    if labels.shape != (pictures,) or not pictures:
        raise ValueError(f"{pictures} images, and labels of shape {labels.shape}")
    if labels.min() < 0 or labels.max() >= classes:
        row = int(((labels < 0) | (labels >= classes)).argmax())
        raise ValueError(f"row {row} has the label {labels[row]}, expected 0 to {classes - 1}")
    return labels


def _arrays(facts: _Split, pixels: Any) -> Images:
    if pixels.dtype != np.uint8 or not (pixels.ndim == 3 or (pixels.ndim == 4 and 3 in pixels.shape[1::2])):
        raise ValueError(f"images of {pixels.dtype} {pixels.shape}")
    labels = facts.labels
    return ArrayImages(
        name=facts.name,
        split=facts.split,
        classes=facts.classes,
        rows=len(labels),
        source=str(facts.root),
        load=lambda start, stop: (_rgb(pixels[start:stop]), labels[start:stop]),
        notes=facts.notes,
    ).sampled(labels, lambda places: (_rgb(pixels[places]), labels[places]))


def _rgb(pixels: Pixels) -> Pixels:
    """Grey (n, H, W) or planes (n, 3, H, W) as uint8 (n, H, W, 3)."""
    if pixels.ndim == 3:
        return np.repeat(pixels[..., np.newaxis], 3, axis=3)
    return pixels if pixels.shape[3] == 3 else np.ascontiguousarray(pixels.transpose(0, 2, 3, 1))


def _files(facts: _Split, paths: Sequence[Path]) -> Images:
    root = facts.root.absolute()
    relative = tuple(os.path.relpath(path, root) for path in paths)
    for path in relative:
        if path.startswith(os.pardir + os.sep):
            raise ValueError(f"{path} lies outside of it")
    targets = facts.labels.tolist()
    return FileImages(
        name=facts.name,
        split=facts.split,
        classes=facts.classes,
        root=root,
        paths=relative,
        targets=tuple(targets),
        notes=facts.notes,
        remarks=(pictures_of(facts.split, targets, facts.classes),),
    ).stratified()
