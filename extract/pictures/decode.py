"""The one decoder: a picture's bytes to upright RGB, whatever the file is called.

Pillow warns of odd files and logs some; who runs the program decides whether that is shown. What can't be decoded is an
error here.
"""

import contextlib
import dataclasses
import io
import re
import threading
from collections.abc import Callable, Iterator, Sequence

from PIL import Image

from headstart.core.cache.errors import HeadstartError, ImageTooLarge, ImageUnreadable
from headstart.core.cache.files import sha256
from headstart.core.extract.pictures import grey
from headstart.core.extract.pictures.formats import is_whole_jpeg2000, readable
from headstart.core.extract.pictures.framing import Pixels, framed
from headstart.core.extract.pictures.preprocess import Preprocessing

MAX_PIXELS = 2 * 89_478_485
"""Pillow refuses more by itself (1 GiB of 24-bit pixels / 4, twice): a PNG of 20 KB can declare 169 megapixels."""
LARGE = 2**25
"""Pictures of more pixels are decoded one at a time: Pillow takes 4 bytes a pixel, again where one is turned, mirrored or
made opaque. Four threads with pictures of 177 megapixels each peaked at 2.1 GB."""
_one_large = threading.Lock()

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What makes a picture upright, by EXIF's orientation (EXIF 2.3, table 4.6.4)."""
_ORIENTATION = 0x0112
_STRIP = 256
DARK = 16
"""Of 256: the largest 12-bit value is a sixteenth of the largest 16-bit one."""


def _nobody(text: str) -> None:
    """Hears remarks where nobody asked for them."""


def decode(content: bytes, where: str, remark: Callable[[str], None] = _nobody) -> Image.Image:
    """Bytes of a format that `formats` lists to an upright RGB picture.

    EXIF rotation is applied, grey of more than 8 bits is scaled (see `grey`), transparent pixels lie on white, of an
    animation the first frame counts. `remark` is told what had to be guessed. Raises ImageUnreadable for anything that
    can't be decoded whole.
    """
    with _opened(content, where) as image:
        return _upright(image, remark)


def decode_at(content: bytes, where: str, transform: Preprocessing, remark: Callable[[str], None] = _nobody) -> Pixels:
    """As `decode`, then as `framed`. Large pictures take turns, so that threads don't each hold one."""
    with _opened(content, where) as image, _turn(image):
        return framed(_upright(image, remark), transform, sha256(content) if transform.random_crop else "")


def decode_within(content: bytes, where: str, size: int) -> Image.Image:
    """As `decode`, the longer side at most `size` px; a smaller picture keeps its size. To be looked at: a JPEG is decoded
    at an eighth or more of its size where that is enough, which no feature is computed from. Large pictures take turns.
    """
    with _opened(content, where) as image, _turn(image):
        image.draft(None, (size, size))
        found = _upright(image, _nobody)
        if max(found.size) > size:
            found.thumbnail((size, size))
        return found


@dataclasses.dataclass(frozen=True)
class Decoded:
    """A picture as several transforms prepare it: uint8 (S, S, 3) each, in their order. Its size is that of the upright
    picture in pixels, its format is called as Pillow calls it."""

    width: int
    height: int
    format: str
    pixels: tuple[Pixels, ...]


def decode_for(content: bytes, where: str, transforms: Sequence[Preprocessing], most: int = MAX_PIXELS) -> Decoded:
    """As `decode_at`, decoded once for several transforms. Raises ImageTooLarge for a picture that says that it has more
    than `most` pixels, before one of them is decoded."""
    with _opened(content, where, most) as image, _turn(image):
        form, found, digest = image.format or "", _upright(image, _nobody), ""
        if any(transform.random_crop for transform in transforms):
            digest = sha256(content)
        return Decoded(found.width, found.height, form, tuple(framed(found, one, digest) for one in transforms))


def upright(image: Image.Image, where: str, remark: Callable[[str], None] = _nobody) -> Image.Image:
    """A picture that Pillow has opened, as `decode` gives it: upright RGB. Raises ImageUnreadable."""
    with _told(where):
        return _upright(image, remark)


@contextlib.contextmanager
def _opened(content: bytes, where: str, most: int = MAX_PIXELS) -> Iterator[Image.Image]:
    """The picture, its pixels not decoded yet. Whatever goes wrong with it becomes ImageUnreadable."""
    with _told(where), Image.open(io.BytesIO(content), formats=readable()) as image:
        if image.width * image.height > most:
            raise ImageTooLarge(f"{where}: {image.width}x{image.height} px, more than {most} pixels")
        if image.format == "JPEG2000" and not is_whole_jpeg2000(content):
            raise ImageUnreadable(f"{where}: can't be decoded (JPEG 2000 file is truncated)")
        yield image


@contextlib.contextmanager
def _told(where: str) -> Iterator[None]:
    """Turn whatever Pillow raises into ImageUnreadable."""
    try:
        yield
    except HeadstartError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:  # a warning where those are errors
        raise ImageTooLarge(f"{where}: can't be decoded ({error})") from error
    except Exception as error:  # Pillow's plugins raise ten classes for broken files, eight of them not OSErrors
        reason = re.sub(r" <_io\.BytesIO object at 0x[0-9a-f]+>", "", str(error)).splitlines()
        raise ImageUnreadable(f"{where}: can't be decoded ({reason[0] if reason else type(error).__name__})") from error


def _turn(image: Image.Image) -> contextlib.AbstractContextManager[object]:
    return _one_large if image.width * image.height > LARGE else contextlib.nullcontext()


def _upright(image: Image.Image, remark: Callable[[str], None]) -> Image.Image:
    cut = any(";16" in str(tile[3]) for tile in getattr(image, "tile", ()))  # of 16 bits a colour Pillow keeps the upper 8
    image.load()
    if cut and not grey.is_deep(image) and _highest(image) < DARK:
        remark("colours of 16 bits with none above 1/16, as 12-bit values in a 16-bit file are: shown nearly black")
    turn = _TURNS.get(_orientation(image))
    found = _to_rgb(image, remark)
    return found if turn is None else found.transpose(turn)


def _orientation(image: Image.Image) -> int:
    """EXIF's orientation; upright where the EXIF block itself is broken, as picture viewers have it."""
    try:
        found = image.getexif().get(_ORIENTATION)
    except Exception:  # not a TIFF header, wrong lengths, a text that is no hexadecimal number, and more
        return 1
    return found if isinstance(found, int) else 1


def _to_rgb(image: Image.Image, remark: Callable[[str], None]) -> Image.Image:
    if grey.is_deep(image):
        return grey.to_8_bits(image, remark).convert("RGB")
    if image.has_transparency_data:  # convert("RGB") would show colours that nobody was meant to see
        return _on_white(_in_mode(image, "RGBA"))
    return _in_mode(image, "RGB")


def _in_mode(image: Image.Image, mode: str) -> Image.Image:
    """The picture converted, or itself: Pillow would copy it."""
    return image if image.mode == mode else image.convert(mode)


def _on_white(image: Image.Image) -> Image.Image:
    """RGBA on white, in strips: three more copies of the largest picture would take 2 GB."""
    found = Image.new("RGB", image.size)
    for top in range(0, image.height, _STRIP):
        part = image.crop((0, top, image.width, min(top + _STRIP, image.height)))
        found.paste(Image.alpha_composite(Image.new("RGBA", part.size, "white"), part).convert("RGB"), (0, top))
    return found


def _highest(image: Image.Image) -> int:
    """The largest value of all colours, without transparency."""
    bands = zip(image.getbands(), image.split(), strict=True)
    return max(int(band.getextrema()[1]) for name, band in bands if name != "A")  # type: ignore[arg-type]
