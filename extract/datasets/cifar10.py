"""CIFAR-10: 50,000 training and 10,000 test images of 32 x 32 px in ten classes.

A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009 (https://www.cs.toronto.edu/~kriz/cifar.html).
The *binary version* is preferred because no pickle has to be executed to read it: files of 10,000 records, each one
label byte and 3,072 bytes of pixels, planes R, G, B.
"""

import functools
import hashlib
import http.client
import tarfile
import urllib.request
from pathlib import Path

import numpy as np

from headstart.core.cache.errors import DataInvalid, DataNotFound
from headstart.core.cache.files import write_durably
from headstart.core.extract.config import Download
from headstart.core.extract.images import Images, Labels, Pixels
from headstart.core.extract.images.arrays import ArrayImages

ARGUMENT = None
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
MD5 = "c32a1d4ab5d03f1284b67883e8d87530"
ARCHIVE = "cifar-10-binary.tar.gz"
BINARY, PYTHON = "cifar-10-batches-bin", "cifar-10-batches-py"
RECORD = 1 + 3 * 32 * 32
ROWS_PER_FILE = 10_000
_FILES = {"train": tuple(f"data_batch_{i}.bin" for i in range(1, 6)), "test": ("test_batch.bin",)}
STAND_IN = "the test images are not CIFAR-10's official test set (which has exactly 1,000 images of each class)"


def splits(argument: str, data_dir: Path) -> tuple[str, ...]:
    """Always train and test."""
    if argument:
        raise DataNotFound(f"--dataset cifar10:{argument}: cifar10 takes no argument; its place is --data-dir PATH")
    return ("train", "test")


def open_split(argument: str, split: str, data_dir: Path) -> Images:
    """The split from either version below `data_dir`, or `data_dir` itself; the binary version is downloaded if neither
    is there. A binary file is opened only when rows of it are read. Raises DataNotFound, DataInvalid."""
    if (binary := _binary_folder(data_dir)) is not None:
        return _binary(binary, split)
    if (pickled := _python_folder(data_dir)) is not None:
        return _python(pickled, split)
    return _binary(download(data_dir), split)


def lacking(argument: str, data_dir: Path) -> Download | None:
    """The archive, where neither version is there."""
    here = _binary_folder(data_dir) or _python_folder(data_dir) or (data_dir / ARCHIVE).is_file()
    return None if here else Download("cifar10", URL, data_dir / ARCHIVE)


def _binary_folder(data_dir: Path) -> Path | None:
    files = [name for names in _FILES.values() for name in names]
    folders = (data_dir, data_dir / BINARY)
    return next((folder for folder in folders if any((folder / name).is_file() for name in files)), None)


def _python_folder(data_dir: Path) -> Path | None:
    return next((folder for folder in (data_dir, data_dir / PYTHON) if (folder / "batches.meta").is_file()), None)


def _binary(folder: Path, split: str) -> Images:
    files = _FILES[split]
    return ArrayImages(
        name="cifar10",
        split=split,
        classes=CLASSES,
        rows=ROWS_PER_FILE * len(files),
        source=str(folder),
        load=lambda start, stop: _rows(folder, files, start, stop),
        notes=_notes(_rows(folder, files, 0, ROWS_PER_FILE)[1]) if split == "test" else (),
        order="mixed",
    )


def _notes(test_labels: Labels) -> tuple[str, ...]:
    """Whether these are the official test images: "exactly 1000 randomly-selected images from each class" (its page)."""
    return () if (np.bincount(test_labels, minlength=len(CLASSES)) == 1000).all() else (STAND_IN,)


def _rows(folder: Path, files: tuple[str, ...], start: int, stop: int) -> tuple[Pixels, Labels]:
    first, last = start // ROWS_PER_FILE, max(start, stop - 1) // ROWS_PER_FILE
    needed = [_file(folder / files[i]) for i in range(first, last + 1)]
    offset = first * ROWS_PER_FILE
    if len(needed) == 1:  # a view, no copy: the usual case
        pixels, labels = needed[0]
    else:
        pixels, labels = (np.concatenate(parts) for parts in zip(*needed, strict=True))
    return pixels[start - offset : stop - offset], labels[start - offset : stop - offset]


@functools.lru_cache(maxsize=6)
def _file(path: Path) -> tuple[Pixels, Labels]:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        there = sum((path.parent / name).is_file() for name in _FILES["train"])
        raise DataNotFound(
            f"{path}: missing, and rows of it were asked for; put it there, or ask for less with --limit "
            f"(the {there} training files that are there hold {there * ROWS_PER_FILE} rows)"
        ) from None
    if len(content) != ROWS_PER_FILE * RECORD:
        raise DataInvalid(f"{path}: {len(content)} bytes, expected {ROWS_PER_FILE * RECORD}; fetch {URL} again")
    records = np.frombuffer(content, dtype=np.uint8).reshape(ROWS_PER_FILE, RECORD)
    labels = records[:, 0].astype(np.int64)
    if labels.max() >= len(CLASSES):
        row = int((labels >= len(CLASSES)).argmax())
        raise DataInvalid(f"{path}: record {row} has the label {labels[row]}, expected 0 to 9; fetch {URL} again")
    planes = records[:, 1:].reshape(ROWS_PER_FILE, 3, 32, 32)
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), labels


def _python(folder: Path, split: str) -> Images:
    """torchvision's reader, which checks the MD5 of each of these pickles before it opens them."""
    from torchvision.datasets import CIFAR10

    try:
        found = CIFAR10(str(folder.parent), train=split == "train", download=False)
    except RuntimeError as error:
        raise DataInvalid(f"{folder}: torchvision finds files missing or altered ({error}); fetch {URL} instead") from error
    pixels, labels = np.asarray(found.data), np.asarray(found.targets, dtype=np.int64)
    return ArrayImages(
        name="cifar10",
        split=split,
        classes=CLASSES,
        rows=len(labels),
        source=str(folder),
        load=lambda start, stop: (pixels[start:stop], labels[start:stop]),
        order="mixed",
    )


def download(data_dir: Path, url: str = URL, md5: str = MD5) -> Path:
    """Fetch the binary version into `data_dir` and return its folder. Raises DataNotFound with the ways out."""
    archive = data_dir / ARCHIVE
    try:
        if not archive.is_file():
            with urllib.request.urlopen(url, timeout=60) as response:
                write_durably(archive, response.read())
        found = hashlib.md5(archive.read_bytes(), usedforsecurity=False).hexdigest()
    except (OSError, http.client.HTTPException) as error:
        raise DataNotFound(
            f"{data_dir}: holds neither {BINARY} nor {PYTHON}, and downloading {url} failed ({error}); "
            f"put one of them there, point --data-dir at it, or try --dataset digits, which needs no download"
        ) from error
    if found != md5:
        raise DataInvalid(f"{archive}: MD5 is {found}, expected {md5}; remove the file to download it anew")
    with tarfile.open(archive) as tar:
        tar.extractall(data_dir, filter="data")
    return data_dir / BINARY
