"""Pictures of pictures: the study's Figure 1, and thumbnails for contact sheets and maps, as bytes of PNG or JPEG files.

Nothing here is enlarged without its title saying so, and no text is escaped: that is for whoever makes a page of it.
"""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image

from headstart.core.cache.errors import DataInvalid, ImageUnreadable
from headstart.core.cache.files import sha256
from headstart.core.extract.images import Images
from headstart.core.extract.images.files import FileImages
from headstart.core.extract.images.packed import PackedImages
from headstart.core.extract.images.ranged.images import RangedImages
from headstart.core.extract.pictures import preprocess
from headstart.core.extract.pictures.decode import decode, decode_within
from headstart.core.extract.pictures.files import content
from headstart.core.extract.pictures.preprocess import Preprocessing

if TYPE_CHECKING:
    from torch import Tensor

PHOTOGRAPH = 160
"""The longer side of an outside photograph's thumbnail, in pixels."""

_LARGEST = Preprocessing(2**30)
"""A transform for which no array has to shrink: they are read as they are."""

_KINDS = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg"}


def figure_1(images: Images, row: int, preprocessing: Preprocessing) -> list[tuple[str, bytes]]:
    """One image before and after preprocessing, as titles and PNG files: at its own size, resized, normalised and shown
    with the normalisation taken back, and normalised as the study's figure showed it.

    Raises DataInvalid for a row that is not there, ImageUnreadable.
    """
    whole = own(images, row)
    resized = _resized(images, row, preprocessing)
    normal = preprocess.normalise(resized, preprocessing)
    return [
        _as_it_is(whole, f"{_name(images, row)}, {whole.width} x {whole.height} px", preprocessing.image_size),
        (preprocessing.words, _png(_picture(resized / 255))),
        ("normalised, shown with the normalisation taken back", _png(_picture(denormalise(normal, preprocessing)))),
        ("normalised, shown as plt.imshow clips it to 0 to 1 (as in the study)", _png(_imshow(normal))),
    ]


def denormalise(normal: Tensor, preprocessing: Preprocessing) -> Tensor:
    """The backbone's input (N, 3, H, W) back to float32 values of [0, 1]."""
    mean = normal.new_tensor(preprocessing.mean).view(3, 1, 1)
    std = normal.new_tensor(preprocessing.std).view(3, 1, 1)
    return normal * std + mean


def thumbnail(images: Images, row: int, size: int) -> bytes:
    """A row as a PNG file, its longer side at most `size` px; a smaller picture stays as it is.

    Raises DataInvalid for a row that is not there, ImageUnreadable.
    """
    return _png(_within(own(images, row), size))


def checked_thumbnail(images: Images, row: int, size: int, digest: str) -> bytes:
    """A row as a JPEG file, its longer side `size` px; a picture that is not larger stays as it is, a PNG file. Raises as
    `checked_picture`."""
    shown = checked_picture(images, row, size, digest)
    return _jpeg(shown) if max(shown.size) == size else _png(shown)


def checked_picture(images: Images, row: int, size: int, digest: str) -> Image.Image:
    """A row in RGB, its longer side at most `size` px. It is made of the very bytes or pixels whose SHA-256 is `digest`, 64
    hexadecimal digits.

    Raises ImageUnreadable where they are others by now or can't be decoded, DataInvalid for a row that is not there.
    """
    _check_row(images, row)
    if (file := _file(images, row)) is not None:
        _check_content(sha256(file[0]), digest, file[1])
        return decode_within(*file, size)
    batch = images.read(row, row + 1, _LARGEST, 1)
    _check_content(batch.fingerprints[0], digest, _name(images, row))
    return _within(Image.fromarray(batch.pixels[0]), size)


def photograph(path: Path, size: int = PHOTOGRAPH) -> bytes:
    """A file from outside as a JPEG, its longer side at most `size` px; a smaller picture keeps its size.

    Raises ImageUnreadable.
    """
    return _jpeg(_within(decode(_content(path), str(path)), size))


def data_uri(picture: bytes) -> str:
    """A PNG or JPEG file as a `data:` address for a page that must stand alone (RFC 2397). Raises ValueError for others."""
    for start, kind in _KINDS.items():
        if picture.startswith(start):
            return f"data:{kind};base64,{base64.b64encode(picture).decode('ascii')}"
    raise ValueError(f"neither a PNG nor a JPEG file: it begins with {picture[:8]!r}")


def own(images: Images, row: int) -> Image.Image:
    """A row at its own size, upright and in RGB. Raises DataInvalid for a row that is not there, ImageUnreadable."""
    _check_row(images, row)
    file = _file(images, row)  # `read` would resize it
    return Image.fromarray(_read(images, row, _LARGEST)[0]) if file is None else decode(*file)


def _check_row(images: Images, row: int) -> None:
    if not 0 <= row < images.rows:
        raise DataInvalid(f"{images.source}: row {row} is not there, expected 0 to {images.rows - 1}; choose another")


def _file(images: Images, row: int) -> tuple[bytes, str] | None:
    """The bytes of a row's file, and its name for people; None for rows that are pixels."""
    if isinstance(images, FileImages):
        path = images.root / images.paths[row]
        return _content(path), str(path)
    if isinstance(images, RangedImages):
        path = images.path(row)
        return _content(path), str(path)
    if isinstance(images, PackedImages):
        return images.content(row), f"{images.source}/{images.ids(row, row + 1)[0].decode('utf-8', 'replace')}"
    return None


def _check_content(found: str, expected: str, where: str) -> None:
    if found != expected:
        raise ImageUnreadable(
            f"{where}: is another picture by now, its SHA-256 is {found[:12]}…, expected {expected[:12]}…"
        )


def _read(images: Images, row: int, transform: Preprocessing) -> npt.NDArray[np.uint8]:
    """A row as data sets give it, uint8 (1, H, W, 3): at its own size where all rows have one, else prepared."""
    batch = images.read(row, row + 1, transform, 1)
    if batch.skipped:
        raise ImageUnreadable(f"{images.source}/{batch.skipped[0].id}: {batch.skipped[0].reason}")
    return batch.pixels


def _content(path: Path) -> bytes:
    try:
        return content(path)
    except OSError as error:
        raise ImageUnreadable(f"{path}: can't be opened: {error.strerror}") from error


def _resized(images: Images, row: int, transform: Preprocessing) -> Tensor:
    """float32 (1, 3, S, S) of 0 to 255: a row read and resized as for its features."""
    import torch

    pixels = _read(images, row, transform)
    return preprocess.resize(torch.from_numpy(np.require(pixels, requirements=("C", "W"))), transform.image_size)


def _name(images: Images, row: int) -> str:
    label = int(images.labels(row, row + 1)[0])
    return f"{images.name} {images.split} row {row}" + (f" ({images.classes[label]})" if label >= 0 else "")


def _as_it_is(picture: Image.Image, title: str, size: int) -> tuple[str, bytes]:
    """The picture at a size that people can see, which the title tells."""
    longer = max(picture.size)
    if longer == size:
        return title, _png(picture)
    if longer > size:
        return f"{title}, shown smaller", _png(_within(picture, size))
    width, height = (max(1, round(side * size / longer)) for side in picture.size)
    shown = picture.resize((width, height), Image.Resampling.NEAREST)
    return f"{title}, shown enlarged by nearest neighbour", _png(shown)


def _within(picture: Image.Image, size: int) -> Image.Image:
    shown = picture.copy()
    shown.thumbnail((size, size))  # never enlarges
    return shown


def _picture(values: Tensor) -> Image.Image:
    """float32 (1, 3, H, W) of [0, 1] to the nearest 8-bit values."""
    pixels = values[0].permute(1, 2, 0).mul(255).round().clamp(0, 255)
    return Image.fromarray(pixels.numpy().astype(np.uint8))


def _imshow(values: Tensor) -> Image.Image:
    """float32 (1, 3, H, W) as matplotlib draws it: clipped to [0, 1], then cut to 8 bits."""
    pixels = values[0].permute(1, 2, 0).clamp(0, 1).mul(255)
    return Image.fromarray(pixels.numpy().astype(np.uint8))


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def _jpeg(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()
