"""1,797 real scans of handwritten digits, 8 x 8 px, which scikit-learn ships: data for where there is no network.

Optical Recognition of Handwritten Digits, E. Alpaydin and C. Kaynak, UCI Machine Learning Repository, 1998
(https://archive.ics.uci.edu/dataset/80).
"""

import functools
from pathlib import Path

import numpy as np

from headstart.core.cache.errors import DataNotFound
from headstart.core.extract.images import Images, Labels, Pixels
from headstart.core.extract.images.arrays import ArrayImages

ARGUMENT = None
TRAIN_ROWS = 1297
"""The last 500 scans are the test set; the file's order has no classes or writers sorted together."""


def splits(argument: str, data_dir: Path) -> tuple[str, ...]:
    """Always train and test."""
    if argument:
        raise DataNotFound(f"--dataset digits:{argument}: digits takes no argument; expected --dataset digits")
    return ("train", "test")


def lacking(argument: str, data_dir: Path) -> None:
    """Nothing is downloaded."""


def open_split(argument: str, split: str, data_dir: Path) -> Images:
    """The first 1,297 scans (train) or the last 500 (test)."""
    pixels, labels = _scans()
    part = slice(0, TRAIN_ROWS) if split == "train" else slice(TRAIN_ROWS, None)
    pixels, labels = pixels[part], labels[part]
    return ArrayImages(
        name="digits",
        split=split,
        classes=tuple("0123456789"),
        rows=len(labels),
        source="scikit-learn's load_digits",
        load=lambda start, stop: (pixels[start:stop], labels[start:stop]),
        order="mixed",
    )


@functools.cache
def _scans() -> tuple[Pixels, Labels]:
    from sklearn.datasets import load_digits

    found = load_digits()
    grey = np.rint(found.images * (255 / 16)).astype(np.uint8)  # the scans count ink in 17 steps
    return np.repeat(grey[..., np.newaxis], 3, axis=3), found.target.astype(np.int64)
