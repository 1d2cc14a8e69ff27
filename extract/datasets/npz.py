"""Pictures of one size in an .npz file: `npz:FILE`, with arrays `images` and `labels`, or by split as MedMNIST has them.

Images are uint8 (N, H, W) or (N, H, W, 3), labels integers or text (N,). Names may be `train_images` or `x_train`; an array
`class_names` of text names the numbers. Nothing pickled is read. https://medmnist.com
"""

import dataclasses
import functools
import math
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from headstart.core.cache.errors import DataInvalid, DataNotFound, HeadstartError, OutOfMemory
from headstart.core.cache.text import listed
from headstart.core.extract.images import Images, Pixels
from headstart.core.extract.images.arrays import ArrayImages
from headstart.core.extract.images.files import facts_of
from headstart.core.extract.images.labels import class_names, indices, spelled, summary
from headstart.core.extract.images.patterns import Argument, argument, one_file
from headstart.core.extract.images.splits import Kind, Splits, splits_of
from headstart.core.extract.pictures.layout import kind

ARGUMENT = "FILE"
SUFFIXES = (".npz",)
PICTURES = ("images", "image", "x", "data", "pixels")
LABELS = ("labels", "label", "y", "targets", "target", "classes")
CLASS_NAMES = ("class_names", "label_names")
_EXPECTED = "expected images, uint8 (N, H, W) or (N, H, W, 3), and labels, integers or text (N,); or train_images, …"


def given(text: str) -> Argument:
    """What the argument names. Raises DataNotFound where it is empty."""
    return argument("npz", text, "FILE.npz")


def splits(argument: str, data_dir: Path) -> tuple[str, ...]:
    """`train` and `test` as far as arrays are named so, or `all`. Raises DataNotFound, DataInvalid."""
    return tuple(_parts(_contents(given(argument))).splits)


def lacking(argument: str, data_dir: Path) -> None:
    """Nothing is downloaded."""


def open_split(argument: str, split: str, data_dir: Path) -> Images:
    """The images of one split, of which the labels are read; the pixels are when they are needed, all of them. Raises
    DataNotFound, DataInvalid."""
    place = given(argument)
    found = _contents(place)
    there = _parts(found)
    kind = there.splits[split]
    texts = {one: found.texts(one) for one in dict.fromkeys((kind, *there.training))}
    classes = found.names or class_names((text for one in there.training for text in texts[one]), found.path)
    targets = indices(texts[kind], classes, found.path, f"the {split} split")
    labels, facts, member = np.array(targets, dtype=np.int64), facts_of(found.path), found.pictures[kind]
    if not targets:
        raise DataNotFound(f"{found.path}: no images in {member}")
    return ArrayImages(
        name=place.name,
        split=split,
        classes=classes,
        rows=len(labels),
        source=str(found.path),
        load=lambda start, stop: (_rgb(_pixels(found.path, member, facts)[start:stop]), labels[start:stop]),
        remarks=(*summary(split, targets, classes), *there.remarks),
        top=found.path,
        file=found.path,
    ).sampled(labels, lambda places: (_rgb(_pixels(found.path, member, facts)[places]), labels[places]))


@dataclasses.dataclass(frozen=True)
class _Contents:
    """Which arrays of a file are what: by kind of rows the names of those with images, and the labels, text or numbers."""

    path: Path
    pictures: Mapping[Kind, str]
    labels: Mapping[Kind, npt.NDArray[Any]]
    names: tuple[str, ...]

    def texts(self, one: Kind) -> list[str]:
        """The labels of a kind of rows as class names. Raises DataInvalid."""
        values = self.labels[one]
        if not self.names:
            return spelled([str(value) for value in values.tolist()])
        if len(values) and (values.dtype.kind not in "iu" or values.max() >= len(self.names) or values.min() < -1):
            raise DataInvalid(f"{self.path}: labels that are no numbers of the {len(self.names)} class names in the file")
        return [self.names[value] if value >= 0 else "" for value in values.tolist()]


def _contents(place: Argument) -> _Contents:
    path = one_file(place, SUFFIXES)
    return _looked_at(path, facts_of(path))


@functools.lru_cache(maxsize=8)
def _looked_at(path: Path, facts: tuple[int, ...]) -> _Contents:
    """The file's arrays, looked at again only where it has changed."""
    if not zipfile.is_zipfile(path):
        raise DataInvalid(f"{path}: no .npz file, which is a zip archive; {_EXPECTED}")
    try:
        with path.open("rb") as content, np.load(content, allow_pickle=False) as file:
            pictures, labels, names = _named(file.files, path)
            heads = {one: _head(file, name, path) for one, name in pictures.items()}
            own = {one: _labels(file[labels[one]], labels[one], path) if one in labels else None for one in pictures}
            classes = tuple(str(name) for name in file[names].ravel().tolist()) if names else ()
    except HeadstartError:
        raise
    except Exception as error:  # BadZipFile, zlib's and NumPy's own errors, and what else a damaged file makes of them
        raise _unread(path, error) from error
    for one, count in heads.items():
        values = own[one]
        if values is not None and len(values) != count:
            raise DataInvalid(f"{path}: {pictures[one]} has {count:,} images, {labels[one]} {len(values):,} labels")
    known = {one: np.full(heads[one], "") if values is None else values for one, values in own.items()}
    return _Contents(path, pictures, known, classes)


def _unread(path: Path, error: Exception) -> HeadstartError:
    if isinstance(error, MemoryError):
        return OutOfMemory(f"{path}: is read in one piece, and there is no memory for it")
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    if "allow_pickle" in reason:
        reason = "an array of Python objects, which are pickled"
    return DataInvalid(f"{path}: can't be read ({reason}); {_EXPECTED}")


def _named(names: list[str], path: Path) -> tuple[dict[Kind, str], dict[Kind, str], str | None]:
    """The arrays of images and of labels by kind of rows, and that of class names. Raises DataInvalid."""
    pictures, labels = dict[Kind, str](), dict[Kind, str]()
    for name in names:
        words = re.split(r"[_-]", name.lower())
        kinds = [its for word in words if (its := kind(word))]
        rest = "_".join(word for word in words if kind(word) is None)
        for usual, found in ((PICTURES, pictures), (LABELS, labels)):
            one = kinds[0] if kinds else None
            if rest in usual and len(kinds) <= 1:
                if one in found:
                    raise DataInvalid(f"{path}: {found[one]} and {name} may be the same; {_EXPECTED}")
                found[one] = name
    if not pictures:
        raise DataInvalid(f"{path}: holds {listed(names) or 'nothing'}; {_EXPECTED}")
    return pictures, labels, next((name for name in names if name.lower() in CLASS_NAMES), None)


def _head(file: Any, name: str, path: Path) -> int:
    """How many images an array has, of which only the head is read. Raises DataInvalid for one that is no images."""
    with file.zip.open(f"{name}.npy") as member:
        version = np.lib.format.read_magic(member)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(member)
    if file.zip.getinfo(f"{name}.npy").file_size < math.prod(shape):
        raise DataInvalid(f"{path}: {name} ends before its last image; make or fetch the file anew")
    if dtype != np.uint8:
        hint = "; (x * 255).round().astype('uint8') makes that of numbers from 0 to 1" if dtype.kind == "f" else ""
        raise DataInvalid(f"{path}: {name} is {dtype} {shape}, expected uint8 (N, H, W) or (N, H, W, 3){hint}")
    if len(shape) not in (3, 4) or (len(shape) == 4 and shape[3] not in (1, 3)) or 0 in shape[1:]:
        raise DataInvalid(f"{path}: {name} is {dtype} {shape}, expected uint8 (N, H, W) or (N, H, W, 3)")
    return int(shape[0])


def _labels(found: npt.NDArray[Any], name: str, path: Path) -> npt.NDArray[Any]:
    """Labels (N,), of which a column (N, 1) is taken too. Raises DataInvalid."""
    if found.dtype.kind not in "iuU" or found.ndim not in (1, 2) or (found.ndim == 2 and found.shape[1] != 1):
        several = "; several labels for a picture can't be learned here" if found.ndim == 2 and found.shape[1] > 1 else ""
        raise DataInvalid(f"{path}: {name} is {found.dtype} {found.shape}, expected integers or text (N,){several}")
    return found.reshape(-1)


@functools.lru_cache(maxsize=2)
def _pixels(path: Path, member: str, facts: tuple[int, ...]) -> Pixels:
    """All images of a split, (N, H, W) or (N, H, W, C). Raises DataInvalid, OutOfMemory."""
    if facts_of(path) != facts:
        raise DataInvalid(f"{path}: changed while it was read; start again")
    try:
        with path.open("rb") as content, np.load(content, allow_pickle=False) as file:
            found: Pixels = file[member]
            return found
    except Exception as error:
        raise _unread(path, error) from error


def _rgb(pixels: Pixels) -> Pixels:
    """Grey (n, H, W) or (n, H, W, 1) as uint8 (n, H, W, 3)."""
    if pixels.ndim == 4 and pixels.shape[3] == 3:
        return pixels
    return np.repeat(pixels.reshape(*pixels.shape[:3], 1), 3, axis=3)


def _parts(found: _Contents) -> Splits:
    return splits_of(found.pictures, found.path)
