"""Images by row number: the one interface of all data sets, the one decoder, and what was read of each row."""

import dataclasses
import errno
import io
import logging
import re
import stat
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from cache.errors import HeadstartError, ImageUnreadable
from cache.files import sha256
from cache.shard import Skipped

Pixels = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]

MAX_PIXELS = 89_478_485
"""Pillow's own limit (1 GiB of 24-bit pixels / 4): a PNG of 20 KB can declare 169 megapixels."""
MAX_BYTES = 2**30
"""The largest file that is read: MAX_PIXELS of four 16-bit channels, not compressed, are 0.7 GB."""

# broken files are refused by name here, or shown; catch_warnings around a decode would not be safe in threads
warnings.filterwarnings("ignore", module=r"PIL\.")
# where nobody listens, Python prints a library's log on the terminal; whoever configures logging still gets it
logging.getLogger("PIL").addHandler(logging.NullHandler())


@dataclasses.dataclass(frozen=True)
class Batch:
    """Rows from `start` on as read: uint8 (n, H, W, 3), the row numbers (n,) they belong to, and those left out.

    `fingerprints` holds, for every row asked for, the SHA-256 of what it was read from.
    """

    start: int
    pixels: Pixels
    rows: npt.NDArray[np.int64]
    fingerprints: Sequence[str]
    skipped: Sequence[Skipped] = ()


class Images(Protocol):
    """One split of a data set. Rows are numbered from 0 in the data set's own order; ranges are half-open.

    `notes` are what must be said wherever a figure from these images stands. `source` tells people where they are.
    """

    @property
    def name(self) -> str: ...
    @property
    def split(self) -> str: ...
    @property
    def classes(self) -> tuple[str, ...]: ...
    @property
    def rows(self) -> int: ...
    @property
    def notes(self) -> tuple[str, ...]: ...
    @property
    def source(self) -> str: ...

    def labels(self, start: int, stop: int) -> Labels:
        """Class indices (n,), -1 where unknown."""
        ...

    def ids(self, start: int, stop: int) -> list[bytes]:
        """What names each row: the path relative to the root in UTF-8, or the row number."""
        ...

    def fingerprints(self, start: int, stop: int) -> list[str]:
        """The SHA-256 of what each row is read from, without decoding it. Raises DataNotFound, DataInvalid."""
        ...

    def stat(self, start: int, stop: int) -> str | None:
        """A digest that stays the same only while `fingerprints`, ids and labels do: of these two, and of what the file
        system says of the files without reading them. None where there is no such shortcut."""
        ...

    def read(self, start: int, stop: int, image_size: int, workers: int) -> Batch:
        """The pixels: at their own size where all rows have one, else resized by Pillow to `image_size` squared.

        Rows that can't be decoded are in `skipped`, with the reason.
        """
        ...


def inputs_digest(ids: Sequence[bytes], labels: Labels, fingerprints: Sequence[str]) -> str:
    """The SHA-256 over ids, labels and fingerprints of some rows: what a shard is reused by."""
    rows = zip(ids, labels, fingerprints, strict=True)
    return sha256(*(b"%s\0%d\0%s\n" % (name, label, mark.encode()) for name, label, mark in rows))


@dataclasses.dataclass(frozen=True)
class ArrayImages:
    """Small images of one size, read from memory. `load(start, stop)` gives uint8 (n, H, W, 3) and int64 (n,)."""

    name: str
    split: str
    classes: tuple[str, ...]
    rows: int
    source: str
    load: Callable[[int, int], tuple[Pixels, Labels]]
    notes: tuple[str, ...] = ()

    def labels(self, start: int, stop: int) -> Labels:
        return self.load(start, stop)[1]

    def ids(self, start: int, stop: int) -> list[bytes]:
        return [b"%d" % row for row in range(start, stop)]

    def fingerprints(self, start: int, stop: int) -> list[str]:
        return [sha256(image.tobytes()) for image in self.load(start, stop)[0]]

    def stat(self, start: int, stop: int) -> str | None:
        return None

    def read(self, start: int, stop: int, image_size: int, workers: int) -> Batch:
        pixels = self.load(start, stop)[0]
        return Batch(start, pixels, np.arange(start, stop), [sha256(image.tobytes()) for image in pixels])


@dataclasses.dataclass(frozen=True)
class FileImages:
    """Image files below `root`; `paths` are relative to it, `targets` the class index of each (-1: unknown)."""

    name: str
    split: str
    classes: tuple[str, ...]
    root: Path
    paths: tuple[str, ...]
    targets: tuple[int, ...]
    notes: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        """How many files there are."""
        return len(self.paths)

    @property
    def source(self) -> str:
        """The folder that the paths are relative to."""
        return str(self.root)

    def labels(self, start: int, stop: int) -> Labels:
        return np.array(self.targets[start:stop], dtype=np.int64)

    def ids(self, start: int, stop: int) -> list[bytes]:
        return [path.encode("utf-8", "surrogateescape") for path in self.paths[start:stop]]

    def fingerprints(self, start: int, stop: int) -> list[str]:
        return [_fingerprint(self.root / path) for path in self.paths[start:stop]]

    def stat(self, start: int, stop: int) -> str | None:
        try:
            found = [(self.root / path).stat() for path in self.paths[start:stop]]
        except OSError:
            return None
        # as git's index: anyone can set a modification time, nobody the time of the change itself; the inode tells apart
        # files that an archive gave one time and whose folders were exchanged
        facts = [b"%d %d %d %d" % (file.st_size, file.st_mtime_ns, file.st_ctime_ns, file.st_ino) for file in found]
        rows = zip(self.ids(start, stop), self.targets[start:stop], facts, strict=True)
        return sha256(*(b"%s\0%d\0%s\n" % row for row in rows))

    def read(self, start: int, stop: int, image_size: int, workers: int) -> Batch:
        paths = [self.root / path for path in self.paths[start:stop]]
        with ThreadPoolExecutor(max_workers=max(1, workers)) as pool:
            read = list(pool.map(lambda path: _read(path, image_size), paths))
        marks = [mark for mark, _ in read]
        found = [(row, image) for row, (_, image) in enumerate(read, start) if not isinstance(image, str)]
        failed = [(row, reason) for row, (_, reason) in enumerate(read, start) if isinstance(reason, str)]
        skipped = [Skipped(row, _printable(self.paths[row]), reason) for row, reason in failed]
        if not found:
            return Batch(start, np.zeros((0, 1, 1, 3), dtype=np.uint8), np.zeros(0, dtype=np.int64), marks, skipped)
        rows, images = zip(*found, strict=True)
        return Batch(start, np.stack(images), np.array(rows), marks, skipped)


def _printable(path: str) -> str:
    """A path as text that JSON can hold: bytes that are no UTF-8 are spelled out."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _fingerprint(path: Path) -> str:
    try:
        return sha256(_content(path))
    except OSError as error:
        return f"unreadable: {error.strerror}"


def _content(path: Path) -> bytes:
    """The bytes of a file. Raises OSError, for a pipe or a device too: reading these can last for ever."""
    found = path.stat()
    if not stat.S_ISREG(found.st_mode) and not stat.S_ISDIR(found.st_mode):  # a folder's own error says what it is
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    if found.st_size > MAX_BYTES:
        raise OSError(errno.EFBIG, f"{found.st_size} bytes, more than {MAX_BYTES}", str(path))
    return path.read_bytes()


def _read(path: Path, image_size: int) -> tuple[str, Pixels | str]:
    """A file's fingerprint, and its resized pixels or the reason why it has none."""
    try:
        content = _content(path)
    except OSError as error:
        return f"unreadable: {error.strerror}", f"can't be opened: {error.strerror}"
    try:
        return sha256(content), shrink(decode(content, str(path)), image_size)
    except ImageUnreadable as error:
        return sha256(content), str(error).removeprefix(f"{path}: ")


def shrink(image: Image.Image, image_size: int) -> Pixels:
    """The picture at `image_size` squared as uint8 (S, S, 3), as torchvision's Resize((S, S)) gives it."""
    return np.asarray(image.resize((image_size, image_size), Image.Resampling.BILINEAR))


def decode(content: bytes, where: str) -> Image.Image:
    """The one decoder: bytes of a JPEG, PNG, WebP, GIF, BMP or TIFF to an upright RGB picture.

    EXIF rotation is applied, 16-bit grey is scaled to 8 bits, transparent pixels lie on white, of an animation the first
    frame counts. Raises ImageUnreadable for anything that can't be decoded whole.
    """
    try:
        with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ImageUnreadable(f"{where}: {image.width}x{image.height} px, more than {MAX_PIXELS} pixels")
            return _to_rgb(ImageOps.exif_transpose(image))
    except HeadstartError:
        raise
    except Exception as error:  # Pillow's plugins raise ten classes for broken files, eight of them not OSErrors
        reason = re.sub(r" <_io\.BytesIO object at 0x[0-9a-f]+>", "", str(error)).splitlines()
        raise ImageUnreadable(f"{where}: can't be decoded ({reason[0] if reason else type(error).__name__})") from error


_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
SUFFIXES = (".jpg", ".jpeg", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")
"""File names that are taken for images, in lower case."""


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":  # convert("RGB") would clip all above 255
        return Image.fromarray(_to_8_bits(np.asarray(image))).convert("RGB")
    if image.has_transparency_data:  # convert("RGB") would show colours that nobody was meant to see
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return image.convert("RGB")


def _to_8_bits(grey: npt.NDArray[np.generic]) -> Pixels:
    """Grey of more than 8 bits to 8: 16-bit integers by 257, floats as [0, 1]."""
    values = grey.astype(np.float64)
    scaled = values * 255 if grey.dtype.kind == "f" else values / 257
    if not np.isfinite(scaled).all() or scaled.min() < 0 or scaled.max() > 255.5:
        raise ValueError("grey values outside of 16 bits or of [0, 1]")
    return np.rint(scaled).astype(np.uint8)
