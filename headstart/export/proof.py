"""The test pictures of a file: small ones that anybody's Pillow decodes, made here or copied from pictures given."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from headstart.core.extract.pictures.decode import decode
from headstart.core.extract.pictures.files import content
from headstart.core.extract.pictures.framing import framed
from headstart.core.extract.pictures.preprocess import Preprocessing

COPIES, LONGER_SIDE = 4, 256
"""How many pictures are copied at most, and the longer side of a copy, in pixels."""
SMALL = 64
"""The longer side of copies that lose nothing."""

_GENERATED = {"tall.png": (61, 97), "wide.png": (150, 40), "photograph.jpg": (160, 120), "tiny.png": (9, 7)}


def generated() -> dict[str, bytes]:
    """PNG and JPEG files by their names: waves and blocks in all colours, the same in every call."""
    drawn = np.random.default_rng(16)
    return {name: encoded(_waves(drawn, *size), name) for name, size in _GENERATED.items()}


def _waves(drawn: np.random.Generator, width: int, height: int) -> Image.Image:
    y, x = np.mgrid[0:height, 0:width] / max(width, height)
    waves = [np.sin(drawn.uniform(4, 20) * x + drawn.uniform(4, 20) * y + drawn.uniform(0, 6)) for _ in range(3)]
    blocks: npt.NDArray[np.int64] = drawn.integers(-40, 41, (height // 8 + 1, width // 8 + 1, 3))
    values = 127.5 + 90 * np.stack(waves, axis=-1) + blocks.repeat(8, axis=0).repeat(8, axis=1)[:height, :width]
    return Image.fromarray(values.clip(0, 255).astype(np.uint8))


def copied(paths: Sequence[Path]) -> dict[str, bytes]:
    """The same of the first pictures given, made smaller where they are large, and without what else their files hold.
    Raises ImageUnreadable, OSError."""
    found: dict[str, bytes] = {}
    for place, path in enumerate(paths[:COPIES]):
        picture = decode(content(path), str(path))
        picture.thumbnail((LONGER_SIDE, LONGER_SIDE))
        name = f"{place + 1}.{'png' if max(picture.size) <= SMALL else 'jpg'}"
        found[name] = encoded(picture, name)
    return found


def framed_files(files: dict[str, bytes], transform: Preprocessing) -> dict[str, bytes]:
    """The same pictures as the backbone sees them, for a file that does not resize."""
    return {name: encoded(Image.fromarray(framed(decode(own, name), transform)), "x.png") for name, own in files.items()}


def encoded(picture: Image.Image, name: str) -> bytes:
    """A picture as the bytes of a PNG or JPEG file, as its name says."""
    buffer = io.BytesIO()
    if name.endswith(".png"):
        picture.save(buffer, "PNG", optimize=True)
    else:
        picture.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()
