"""torchvision's classification sets: `torchvision:NAME`, spelled as in torchvision.datasets (MNIST, CIFAR100, Food101, …).

torchvision downloads what is not there, compares the MD5 of each archive with its own, and unpacks it; that is relied on.
What it unpacked it mostly trusts by the folder's name alone, so a mark lies beside a download until it is whole. Files, and
arrays whose classes stand together in torchvision's order, are put into a stratified order (`order`), other arrays
stay in torchvision's; the ids of an array's rows are torchvision's row numbers either way. A run that finds its features
there still imports torch here: torchvision reads the list of rows.

In torchvision 0.26 to 0.29 no class of the table below opens a pickle or a MATLAB file before its MD5 is right, except for
MNIST's old copies, which are refused here. https://docs.pytorch.org/vision/stable/datasets.html
"""

import contextlib
import dataclasses
import http.client
import os
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tarfile import TarError
from types import ModuleType
from typing import Any, cast

import numpy as np
from headstart.core.cache.errors import DataInvalid, DataNotFound, HeadstartError, OutOfMemory
from headstart.core.cache.text import did_you_mean, safe
from headstart.core.extract.datasets.images import ArrayImages, FileImages, Images, Labels, Pixels
from headstart.core.extract.datasets.order import is_grouped, stratified

ARGUMENT = "NAME"

Rows = tuple[Any, Any]
"""All pixels of a split as one array, or the paths of its files; and their labels."""


def _arrays(found: Any) -> Rows:
    return np.asarray(found.data), found.targets if hasattr(found, "targets") else found.labels


def _files(found: Any) -> Rows:
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
class Source:
    """How a class of torchvision is asked for each of our splits, and how its rows are read.

    `classes` stands where torchvision names none, `note` where a test split needs a word. The validation splits of DTD,
    Flowers102, Country211 and RenderedSST2 are not offered: `train-head` takes its validation rows from the training rows.
    """

    splits: _Splits
    read: Callable[[Any], Rows] = _files
    classes: tuple[str, ...] = ()
    note: str = ""

    def open(self, name: str, split: str, root: Path, download: bool) -> Any:
        """torchvision's object. Raises whatever torchvision does."""
        datasets = _torchvision()
        loader = {"loader": str} if self.read is _files else {}
        return getattr(datasets, name)(str(root), download=download, **self.splits[split], **loader)


SOURCES = {
    "CIFAR100": Source(_BY_FLAG, _arrays),
    "Caltech101": Source(_ONE, _caltech101),
    "Country211": Source(_BY_NAME),
    "DTD": Source(_BY_NAME),
    "EuroSAT": Source(_ONE),
    "FashionMNIST": Source(_BY_FLAG, _arrays),
    "Flowers102": Source(_BY_NAME),
    "Food101": Source(_BY_NAME),
    "Imagenette": Source(
        {"train": {"split": "train"}, "test": {"split": "val"}},
        note="the test images are Imagenette's validation split, the only one it has beside training",
    ),
    "KMNIST": Source(_BY_FLAG, _arrays),
    "MNIST": Source(_BY_FLAG, _arrays),
    "OxfordIIITPet": Source({"train": {"split": "trainval"}, "test": {"split": "test"}}, _pets),
    "RenderedSST2": Source(_BY_NAME),
    "SEMEION": Source(_ONE, _arrays, DIGITS),  # torchvision names no classes; a label is the digit
    # its third split, half a million "extra" images, is left out: by default all splits are extracted
    "SVHN": Source(_BY_NAME, _arrays, DIGITS),  # torchvision names no classes, and moves the file's label 10 to 0
    # torchvision reads the names from a file whose MD5 it doesn't know; these are https://cs.stanford.edu/~acoates/stl10
    "STL10": Source(
        _BY_NAME, _arrays, ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck")
    ),
    "USPS": Source(_BY_FLAG, _arrays, DIGITS),  # torchvision names no classes, and takes one off the file's labels
}
"""What `torchvision:NAME` may name; adding one is adding a line, when its reading and its hashes were looked at."""
LEFT_OUT = {
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


def splits(argument: str, data_dir: Path) -> tuple[str, ...]:
    """Train and test, or `all` for a set that torchvision doesn't divide. Imports no torch. Raises DataNotFound."""
    return tuple(_source(argument).splits)


def open_split(argument: str, split: str, data_dir: Path) -> Images:
    """One split from below `data_dir`, downloaded into it if it is not there; files are listed, not read.

    Grey images get three equal channels. Raises DataNotFound, DataInvalid, OutOfMemory.
    """
    source = _source(argument)
    _torchvision()
    try:
        return _images(source, argument, split, data_dir)
    except HeadstartError:
        raise
    except MemoryError as error:
        raise OutOfMemory(f"{data_dir}: {argument} is read in one piece, and there is no memory for it") from error
    except PermissionError as error:
        raise DataNotFound(f"{error.filename or data_dir}: no access ({error.strerror}); give yourself access") from error
    except ImportError as error:  # of SciPy, which torchvision imports where it needs it
        raise DataNotFound(f"--dataset torchvision:{argument}: {_line(error)}; install it beside headstart") from error
    except Exception as error:  # broken files raise ten classes and more, assertions and KeyErrors among them
        raise DataInvalid(
            f"{data_dir}: torchvision can't read its {argument} ({_line(error)}); "
            f"remove that set's files to have them downloaded anew"
        ) from error


def _torchvision() -> ModuleType:
    try:
        import torchvision.datasets
    except (ImportError, RuntimeError, OSError) as error:  # a build for another torch raises each of these
        raise DataNotFound(f"torchvision can't be imported ({_line(error)}); install the one that fits torch") from error
    return cast(ModuleType, torchvision.datasets)


def _source(name: str) -> Source:
    """The table's line. Raises DataNotFound with the closest names."""
    if name in SOURCES:
        return SOURCES[name]
    if name in LEFT_OUT:
        raise DataNotFound(f"--dataset torchvision:{name}: left out, since {LEFT_OUT[name]}")
    what = f"unknown{did_you_mean(name, SOURCES)}" if name else "no name"
    raise DataNotFound(f"--dataset torchvision:{safe(name)}: {what}, expected one of {', '.join(SOURCES)}")


# ---- there, or downloaded


def _found(source: Source, name: str, split: str, data_dir: Path) -> Any:
    """torchvision's object, after a download where it says that there is none."""
    root = data_dir.absolute()  # torchvision would expand a tilde
    for copy in (root / name / "processed").glob("*.pt"):  # of old versions; a new one still prefers them
        raise DataInvalid(f"{copy}: pickled and without a hash; remove {copy.parent}, so that the originals are read")
    mark = root / f".{name}.download"
    try:
        found = source.open(name, split, root, download=False)
    except (RuntimeError, FileNotFoundError) as error:
        if isinstance(error, RuntimeError) and not str(error).startswith("Dataset not found"):
            raise
        return _downloaded(source, name, split, root, mark)
    if mark.exists():
        raise DataInvalid(
            f"{mark}: a download of {name} broke off here, and what it left may be a part only; "
            f"remove what is there of {name}, and this mark"
        )
    return found


def _downloaded(source: Source, name: str, split: str, root: Path, mark: Path) -> Any:
    try:
        root.mkdir(parents=True, exist_ok=True)
        mark.touch()
        found = source.open(name, split, root, download=True)
        mark.unlink()
    except Exception as error:
        if not _passes_for_whole(source, name, split, root):
            with contextlib.suppress(OSError):
                mark.unlink()
        if isinstance(error, FileNotFoundError) or not isinstance(error, _DOWNLOAD_FAILED):
            raise  # what torchvision took for whole can't be read
        raise DataNotFound(
            f"{root}: torchvision finds no whole {name} there, and downloading it failed ({_line(error)}); put it there, "
            f"point --data-dir at it, or try --dataset digits, which needs no download"
        ) from error
    return found


_DOWNLOAD_FAILED = (RuntimeError, OSError, EOFError, http.client.HTTPException, TarError, zipfile.BadZipFile)


def _passes_for_whole(source: Source, name: str, split: str, root: Path) -> bool:
    """Whether torchvision would open what a failed download left."""
    try:
        source.open(name, split, root, download=False)
    except Exception:  # see open_split
        return False
    return True


def _line(error: Exception) -> str:
    """An error's text on one line; its class where it has none."""
    return " ".join(str(error).split()) or type(error).__name__


# ---- rows


def _images(source: Source, name: str, split: str, data_dir: Path) -> Images:
    """Raises ValueError for rows that don't fit together, and whatever torchvision does."""
    found = _found(source, name, split, data_dir)
    pictures, labels = source.read(found)
    classes = _classes(source, found)
    rows = _checked(np.asarray(labels, dtype=np.int64), len(pictures), len(classes))
    notes = (source.note,) if source.note and split == "test" else ()
    make = _array_images if isinstance(pictures, np.ndarray) else _file_images
    return make(f"torchvision-{name}", split, classes, data_dir, pictures, rows, notes)


def _classes(source: Source, found: Any) -> tuple[str, ...]:
    """The class names; of several names of a class the first (Imagenette)."""
    names: Sequence[str | tuple[str, ...]] = source.classes or getattr(found, "classes", None) or found.categories
    return tuple(name if isinstance(name, str) else name[0] for name in names)


def _checked(labels: Labels, pictures: int, classes: int) -> Labels:
    """Labels (N,), one for each picture. Raises ValueError."""
    if labels.shape != (pictures,) or not pictures:
        raise ValueError(f"{pictures} images, and labels of shape {labels.shape}")
    if labels.min() < 0 or labels.max() >= classes:
        row = int(((labels < 0) | (labels >= classes)).argmax())
        raise ValueError(f"row {row} has the label {labels[row]}, expected 0 to {classes - 1}")
    return labels


def _array_images(
    name: str, split: str, classes: tuple[str, ...], root: Path, pixels: Any, labels: Labels, notes: tuple[str, ...]
) -> Images:
    if pixels.dtype != np.uint8 or not (pixels.ndim == 3 or (pixels.ndim == 4 and 3 in pixels.shape[1::2])):
        raise ValueError(f"images of {pixels.dtype} {pixels.shape}")

    def own(start: int, stop: int) -> tuple[Pixels, Labels]:
        return _rgb(pixels[start:stop]), labels[start:stop]

    images = ArrayImages(
        name=name,
        split=split,
        classes=classes,
        rows=len(labels),
        source=str(root),
        load=own,
        notes=notes,
        order="mixed",
    )
    if not is_grouped(labels):
        return images
    places = stratified(images.ids(0, images.rows), labels)

    def load(start: int, stop: int) -> tuple[Pixels, Labels]:
        return _rgb(pixels[places[start:stop]]), labels[places[start:stop]]

    return dataclasses.replace(images, load=load, load_own=own, numbers=places, order="stratified")


def _rgb(pixels: Pixels) -> Pixels:
    """Grey (n, H, W) or planes (n, 3, H, W) as uint8 (n, H, W, 3)."""
    if pixels.ndim == 3:
        return np.repeat(pixels[..., np.newaxis], 3, axis=3)
    return pixels if pixels.shape[3] == 3 else np.ascontiguousarray(pixels.transpose(0, 2, 3, 1))


def _file_images(
    name: str, split: str, classes: tuple[str, ...], root: Path, paths: Any, labels: Labels, notes: tuple[str, ...]
) -> Images:
    relative = tuple(os.path.relpath(path, root.absolute()) for path in paths)
    for path in relative:
        if path.startswith(os.pardir + os.sep):
            raise ValueError(f"{path} lies outside of it")
    targets, which = tuple(labels.tolist()), "" if split == "all" else f"{split}: "
    remark = f"{which}{len(relative):,} pictures of {len(classes):,} classes"
    return FileImages(name, split, classes, root.absolute(), relative, targets, notes, (remark,)).stratified()
