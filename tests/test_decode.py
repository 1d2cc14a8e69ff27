"""The decoder's manners: what it heeds of a file beside its pixels, how much memory it takes, and what it leaves alone."""

import threading
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from extract_samples import encoded, picture, printed_by_python
from PIL import Image

from headstart.core.cache.errors import ImageUnreadable
from headstart.core.extract.pictures import decode as module
from headstart.core.extract.pictures.decode import MAX_PIXELS, decode, decode_at, decode_within
from headstart.core.extract.pictures.framing import framed
from headstart.core.extract.pictures.preprocess import Preprocessing


def chunk(name: bytes, content: bytes) -> bytes:
    return len(content).to_bytes(4) + name + content + zlib.crc32(name + content).to_bytes(4)


def png(width: int, height: int, rows: bytes, bits: int = 8, colour: int = 0, *more: bytes) -> bytes:
    header = width.to_bytes(4) + height.to_bytes(4) + bytes([bits, colour, 0, 0, 0])
    end = chunk(b"IDAT", zlib.compress(rows, 1)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(more) + end


PICTURE = encoded(picture(90, 90), "PNG")


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
def test_a_picture_with_a_broken_exif_block_is_shown_as_it_is(form: str) -> None:
    found = decode(encoded(picture(), form, exif=b"Exif\0\0nothing of the kind"), "there")
    assert found.size == (24, 16)
    if form == "PNG":
        assert np.array_equal(np.asarray(found), np.asarray(picture()))


def test_exif_of_an_avif_turns_it() -> None:
    pytest.importorskip("PIL._avif")
    exif = Image.Exif()
    exif[0x0112] = 6
    assert decode(encoded(picture(), "AVIF", exif=exif), "there").size == (16, 24)


def test_what_is_decoded_at_a_size_is_what_is_decoded_and_framed() -> None:
    for content in (encoded(picture(), "JPEG"), encoded(picture().convert("RGBA"), "PNG")):
        assert np.array_equal(
            decode_at(content, "there", Preprocessing(10)), framed(decode(content, "there"), Preprocessing(10))
        )


@pytest.mark.parametrize("colour", [2, 6], ids=["RGB", "RGBA"])
def test_12_bit_colours_in_a_16_bit_file_are_shown_dark_but_not_silently(colour: int) -> None:
    pixel = b"\x0f\xff" * 3 + (b"\xff\xff" if colour == 6 else b"")
    said: list[str] = []
    decode(png(3, 1, b"\0" + pixel * 3, 16, colour), "there", said.append)
    assert said == ["colours of 16 bits with none above 1/16, as 12-bit values in a 16-bit file are: shown nearly black"]
    decode(png(3, 1, b"\0" + b"\x10" * 3 * len(pixel), 16, colour), "there", said.append)
    assert len(said) == 1


def test_strips_show_what_the_whole_would(monkeypatch: pytest.MonkeyPatch) -> None:
    alpha = Image.linear_gradient("L").resize((24, 16))
    content = encoded(Image.merge("RGBA", (*picture().split(), alpha)), "PNG")
    whole = np.asarray(decode(content, "there"))
    monkeypatch.setattr(module, "_STRIP", 5)
    assert np.array_equal(np.asarray(decode(content, "there")), whole)


# ---- large pictures


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_photograph_of_108_megapixels_is_read() -> None:
    content = png(12_000, 9_000, (b"\0" + bytes(1500)) * 9_000, 1)
    assert decode_at(content, "there", Preprocessing(8)).shape == (8, 8, 3)
    assert MAX_PIXELS > 12_000 * 9_000


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_more_pixels_than_pillow_takes_are_refused() -> None:
    with pytest.raises(ImageUnreadable, match=r"there: .*exceeds limit of 178956970 pixels"):
        decode(png(14_000, 14_000, b""), "there")


def test_large_pictures_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGE", 100)
    inside, most, guard = [0], [0], threading.Lock()

    def watched(image: Image.Image, transform: Preprocessing, digest: str = "") -> np.ndarray:
        with guard:
            inside[0] += 1
            most[0] = max(most[0], inside[0])
        found = framed(image, transform, digest)
        with guard:
            inside[0] -= 1
        return found

    monkeypatch.setattr(module, "framed", watched)
    content = encoded(picture(300, 300), "PNG")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: decode_at(content, "there", Preprocessing(200)), range(8)))
    assert most == [1]


def test_a_large_picture_that_fails_lets_the_next_one_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGE", 1)
    for _ in range(2):
        with pytest.raises(ImageUnreadable, match="can't be decoded"):
            decode_at(PICTURE[: len(PICTURE) // 2], "there", Preprocessing(8))


# ---- what belongs to the process


def test_importing_changes_nothing_that_belongs_to_the_process() -> None:
    code = (
        "import warnings, logging, PIL.Image, headstart.core.cache.store\n"  # h5py and numpy have filters of their own
        "before = list(warnings.filters), list(logging.getLogger('PIL').handlers), PIL.Image.MAX_IMAGE_PIXELS\n"
        "from headstart.core.extract import featurise; from headstart.core.extract.datasets import folder\n"
        "from headstart.core.extract.pictures import thumbnails, walk\n"
        "print(before == (list(warnings.filters), list(logging.getLogger('PIL').handlers), PIL.Image.MAX_IMAGE_PIXELS))"
    )
    assert printed_by_python(code) == "True\n"


def test_the_program_says_nothing_of_what_pillow_warns_of(tmp_path: Path) -> None:
    (tmp_path / "large.png").write_bytes(png(12_000, 9_000, (b"\0" + bytes(1500)) * 9_000, 1))
    code = (
        "import os; os.dup2(1, 2); from headstart.console.group import quiet_pillow; quiet_pillow()\n"
        "from pathlib import Path; from headstart.core.extract.pictures import thumbnails as gallery\n"
        f"print(len(gallery.photograph(Path({str(tmp_path / 'large.png')!r}))) > 100)"
    )
    assert printed_by_python(code) == "True\n"


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
@pytest.mark.parametrize(("size", "expected"), [((900, 300), (90, 30)), ((60, 90), (60, 90)), ((80, 1800), (4, 90))])
def test_what_is_only_looked_at_is_no_larger_than_asked(
    form: str, size: tuple[int, int], expected: tuple[int, int]
) -> None:
    smooth = Image.linear_gradient("L").resize(size).convert("RGB")
    found = decode_within(encoded(smooth, form), "there", 90)
    assert (found.size, found.mode) == (expected, "RGB")
    whole = np.asarray(decode(encoded(smooth, form), "there").resize(expected), dtype=float)
    assert np.abs(np.asarray(found, dtype=float) - whole).mean() < 3


def test_what_is_only_looked_at_is_upright_and_whole() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    assert decode_within(encoded(picture(900, 300), "JPEG", exif=exif), "there", 90).size == (30, 90)
    with pytest.raises(ImageUnreadable, match="there: can't be decoded"):
        decode_within(encoded(picture(900, 300), "JPEG")[:2000], "there", 90)


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_of_endless_scans_is_refused_before_they_are_decoded(progressive: bool) -> None:
    """31 bytes make a decoder pass over all pixels once more."""
    content = encoded(picture(64, 64), "JPEG", progressive=progressive)
    start = content.rindex(b"\xff\xda")
    many = content[:start] + 101 * content[start:-2] + content[-2:]
    with pytest.raises(ImageUnreadable, match=r"there: can.t be decoded \(a JPEG of more than 100 scans\)"):
        decode(many, "there")
    assert decode(content + 200 * content[start:-2], "there").size == (64, 64)  # what comes behind is not decoded
