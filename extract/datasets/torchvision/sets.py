"""The table of torchvision's classification sets: how each is asked for our splits, and how its rows are read.

In torchvision 0.26 to 0.29 no class of the table opens a pickle or a MATLAB file before its MD5 is right, except for
MNIST's old copies, which `download` refuses. https://docs.pytorch.org/vision/stable/datasets.html
"""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from headstart.core.cache.errors import ArgumentInvalid
from headstart.core.cache.text import did_you_mean, safe

Rows = tuple[Any, Any]
"""All pixels of a split as one array, or the paths of its files; and their labels."""


def _arrays(found: Any) -> Rows:
    return np.asarray(found.data), found.targets if hasattr(found, "targets") else found.labels


def read_files(found: Any) -> Rows:
    """Such classes give what `loader` makes of a path, which is the path itself: nothing is decoded."""
    rows = [found[row] for row in range(len(found))]
    return [path for path, _ in rows], [label for _, label in rows]


def _pets(found: Any) -> Rows:
    return found._images, found._labels  # this class takes no loader


def _caltech101(found: Any) -> Rows:
    """Takes no loader either: its files are numbered within each class."""
    top, rows = Path(found.root) / "101_ObjectCategories", zip(found.index, found.y, strict=True)
    return [top / found.categories[label] / f"image_{number:04d}.jpg" for number, label in rows], found.y


_Splits = Mapping[str, Mapping[str, object]]
_ONE: _Splits = {"all": {}}
_BY_FLAG: _Splits = {"train": {"train": True}, "test": {"train": False}}
_BY_NAME: _Splits = {"train": {"split": "train"}, "test": {"split": "test"}}
DIGITS = tuple("0123456789")


@dataclasses.dataclass(frozen=True)
class TorchvisionSet:
    """How a class of torchvision is asked for each of our splits, and how its rows are read.

    `splits` maps our splits to torchvision's arguments. `classes` stands where torchvision names none, `note` where a test
    split needs a word. The validation splits of DTD, Flowers102, Country211 and RenderedSST2 are not offered: `train-head`
    takes its validation rows from the training rows.
    """

    splits: _Splits
    read: Callable[[Any], Rows] = read_files
    classes: tuple[str, ...] = ()
    note: str = ""


SETS: Mapping[str, TorchvisionSet] = {
    "CIFAR100": TorchvisionSet(_BY_FLAG, _arrays),
    "Caltech101": TorchvisionSet(_ONE, _caltech101),
    "Country211": TorchvisionSet(_BY_NAME),
    "DTD": TorchvisionSet(_BY_NAME),
    "EuroSAT": TorchvisionSet(_ONE),
    "FashionMNIST": TorchvisionSet(_BY_FLAG, _arrays),
    "Flowers102": TorchvisionSet(_BY_NAME),
    "Food101": TorchvisionSet(_BY_NAME),
    "Imagenette": TorchvisionSet(
        {"train": {"split": "train"}, "test": {"split": "val"}},
        note="the test images are Imagenette's validation split, the only one it has beside training",
    ),
    "KMNIST": TorchvisionSet(_BY_FLAG, _arrays),
    "MNIST": TorchvisionSet(_BY_FLAG, _arrays),
    "OxfordIIITPet": TorchvisionSet({"train": {"split": "trainval"}, "test": {"split": "test"}}, _pets),
    "RenderedSST2": TorchvisionSet(_BY_NAME),
    "SEMEION": TorchvisionSet(_ONE, _arrays, DIGITS),  # torchvision names no classes; a label is the digit
    # its third split, half a million "extra" images, is left out: by default all splits are extracted
    "SVHN": TorchvisionSet(_BY_NAME, _arrays, DIGITS),  # torchvision names no classes, and moves the file's label 10 to 0
    # torchvision reads the names from a file whose MD5 it doesn't know; these are https://cs.stanford.edu/~acoates/stl10
    "STL10": TorchvisionSet(
        _BY_NAME, _arrays, ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck")
    ),
    "USPS": TorchvisionSet(_BY_FLAG, _arrays, DIGITS),  # torchvision names no classes, and takes one off the file's labels
}
"""What `torchvision:NAME` may name; adding one is adding a line, when its reading and its hashes were looked at."""

LEFT_OUT: Mapping[str, str] = {
    "CIFAR10": "--dataset cifar10 reads the same images, without pickle",
    "FGVCAircraft": "torchvision downloads it without a hash",
    "FakeData": "random floats as bytes differ between processors; --dataset digits is there offline",
    "GTSRB": "torchvision names none of its classes; use --dataset folder:PATH",
    "ImageNet": "torchvision unpickles its class names unverified; use --dataset folder:PATH",
    "LSUN": "torchvision unpickles its index unverified",
    "PCAM": "torchvision reads its HDF5 files unverified, and fetches them from Google Drive",
    "SUN397": "torchvision lists its files in the file system's order; use --dataset folder:PATH",
    "StanfordCars": "torchvision reads its MATLAB files unverified; use --dataset folder:PATH",
}
"""Classes of torchvision that one could expect here, and why they aren't."""


def find(name: str) -> TorchvisionSet:
    """The line of `name`. Raises ArgumentInvalid with the closest names."""
    if name in SETS:
        return SETS[name]
    if name in LEFT_OUT:
        raise ArgumentInvalid(f"--dataset torchvision:{name}: left out, since {LEFT_OUT[name]}")
    what = f"unknown{did_you_mean(name, SETS)}" if name else "no name"
    raise ArgumentInvalid(f"--dataset torchvision:{safe(name)}: {what}, expected one of {', '.join(SETS)}")
