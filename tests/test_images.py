"""The decoder shows odd pictures as people see them and refuses broken ones; reading keeps order, reasons, fingerprints."""

import contextlib
import hashlib
import itertools
import os
import re
import zlib
from collections.abc import Callable
from pathlib import Path

import hypothesis
import numpy as np
import numpy.typing as npt
import pytest
from extract_samples import array_images, encoded, file_images, noise, picture, write_picture
from hypothesis import strategies as st
from PIL import Image
from torchvision import transforms

from headstart.core.cache.digests import inputs_digest
from headstart.core.cache.errors import ImageUnreadable
from headstart.core.extract.images.files import FileImages
from headstart.core.extract.pictures.decode import MAX_PIXELS, decode
from headstart.core.extract.pictures.formats import readable, suffixes
from headstart.core.extract.pictures.framing import framed
from headstart.core.extract.pictures.preprocess import Preprocessing


def needs(form: str) -> pytest.MarkDecorator:
    # Pillow may be built without the libraries for AVIF and JPEG 2000: nothing can then write a file to read
    return pytest.mark.skipif(form not in readable(), reason=f"this Pillow reads no {form}")


def pixels(image: Image.Image) -> npt.NDArray[np.uint8]:
    assert image.mode == "RGB"
    return np.asarray(image)


def shown(image: Image.Image, form: str, **options: object) -> npt.NDArray[np.uint8]:
    """What the decoder makes of a picture saved as `form`."""
    return pixels(decode(encoded(image, form, **options), "there"))


def one_pixel(mode: str, colour: object) -> Image.Image:
    return Image.new(mode, (4, 3), colour)  # type: ignore[arg-type]


# ---- what the decoder shows


@pytest.mark.parametrize(
    ("form", "options"),
    [
        ("PNG", {}),
        ("BMP", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("WEBP", {"lossless": True}),
        ("PPM", {}),
        pytest.param("JPEG2000", {}, marks=needs("JPEG2000")),
    ],
)
def test_lossless_formats_give_their_pixels(form: str, options: dict[str, object]) -> None:
    assert np.array_equal(shown(picture(), form, **options), pixels(picture()))


@pytest.mark.parametrize(
    ("form", "options"),
    [
        ("JPEG", {"quality": 95}),
        ("WEBP", {"quality": 95}),
        pytest.param("AVIF", {"quality": 95}, marks=needs("AVIF")),
        pytest.param("HEIF", {"quality": 95}, marks=needs("HEIF")),
    ],
)
def test_lossy_formats_give_nearly_their_pixels(form: str, options: dict[str, object]) -> None:
    smooth = Image.linear_gradient("L").convert("RGB")
    assert np.abs(shown(smooth, form, **options).astype(int) - pixels(smooth)).max() <= 4


@needs("HEIF")
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_telephones_picture_is_shown_upright_once(orientation: int) -> None:
    """libheif turns pictures by itself, and pillow-heif says so by an orientation of 1."""
    smooth = Image.linear_gradient("L").convert("RGB").resize((64, 32))
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned = {1: smooth, 3: smooth.rotate(180), 6: smooth.rotate(-90, expand=True), 8: smooth.rotate(90, expand=True)}
    found = shown(smooth, "HEIF", quality=95, exif=exif.tobytes())
    assert found.shape == pixels(turned[orientation]).shape
    assert np.abs(found.astype(int) - pixels(turned[orientation])).max() <= 8


def test_a_gif_gives_its_colours() -> None:
    few = picture().quantize(16)
    assert np.array_equal(shown(few, "GIF"), pixels(few.convert("RGB")))


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP", "TIFF", pytest.param("AVIF", marks=needs("AVIF"))])
def test_of_an_animation_the_first_frame_counts(form: str) -> None:
    frames = [one_pixel("RGB", colour) for colour in ("red", "lime", "blue")]
    options = {"lossless": True} if form == "WEBP" else {}
    found = shown(frames[0], form, save_all=True, append_images=frames[1:], **options)
    assert np.abs(found.astype(int) - (255, 0, 0)).max() <= (2 if form == "AVIF" else 0)


def test_of_a_stereo_picture_as_cameras_write_it_the_first_counts() -> None:
    frames = [one_pixel("RGB", colour) for colour in ("red", "blue")]
    assert np.abs(shown(frames[0], "MPO", save_all=True, append_images=frames[1:]).astype(int) - (255, 0, 0)).max() <= 3


@pytest.mark.parametrize(
    ("alpha", "expected"),
    [(0, (255, 255, 255)), (255, (200, 100, 0)), (51, (244, 224, 204))],
    ids=["clear", "solid", "fifth"],
)
def test_transparent_pixels_lie_on_white(alpha: int, expected: tuple[int, int, int]) -> None:
    assert (shown(one_pixel("RGBA", (200, 100, 0, alpha)), "PNG") == expected).all()


def test_transparent_grey_lies_on_white() -> None:
    assert (shown(one_pixel("LA", (0, 0)), "PNG") == 255).all()


@pytest.mark.parametrize("form", ["PNG", "GIF"])
def test_a_transparent_palette_colour_lies_on_white(form: str) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putpixel((1, 0), 1)
    assert shown(image, form, transparency=0).tolist() == [[[255, 255, 255], [0, 0, 255]]]


def test_a_transparent_colour_key_lies_on_white() -> None:
    image = Image.new("RGB", (2, 1), "red")
    image.putpixel((1, 0), (0, 0, 255))
    assert shown(image, "PNG", transparency=(255, 0, 0)).tolist() == [[[255, 255, 255], [0, 0, 255]]]


@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF", "BMP"])
def test_grey_gives_three_equal_channels(form: str) -> None:
    assert (shown(one_pixel("L", 77), form) == 77).all()


def test_black_and_white_is_0_and_255() -> None:
    image = Image.new("1", (2, 1))
    image.putpixel((1, 0), 1)
    assert shown(image, "PNG").tolist() == [[[0] * 3, [255] * 3]]


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_not_clipped(form: str) -> None:
    values = np.arange(256, dtype=np.uint16).reshape(16, 16)
    found = shown(Image.fromarray(values * 257), form)
    assert np.array_equal(found, np.repeat(values[..., np.newaxis], 3, axis=2))


def test_grey_in_floats_is_taken_from_0_to_1() -> None:
    values = np.array([[0, 0.2, 1]], dtype=np.float32)
    assert shown(Image.fromarray(values), "TIFF")[0, :, 0].tolist() == [0, 51, 255]


@pytest.mark.parametrize("values", [[0.0, 7.5], [-1.0, 0.0], [0.0, float("nan")]], ids=["large", "negative", "nan"])
def test_grey_of_unknown_range_is_refused(values: list[float]) -> None:
    with pytest.raises(ImageUnreadable, match=r"there: can't be decoded \(grey values outside of 16 bits or of \[0, 1\]\)"):
        shown(Image.fromarray(np.array([values], dtype=np.float32)), "TIFF")


def test_a_cmyk_jpeg_is_shown_in_rgb() -> None:
    found = shown(one_pixel("CMYK", (255, 0, 0, 0)), "JPEG", quality=95)
    assert np.abs(found.astype(int) - (0, 255, 255)).max() <= 3


_TO_STORED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.mark.parametrize("orientation", _TO_STORED)
def test_every_exif_orientation_is_shown_upright(orientation: int) -> None:
    turn = _TO_STORED[orientation]
    stored = picture() if turn is None else picture().transpose(turn)
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert np.array_equal(shown(stored, "PNG", exif=exif), pixels(picture()))


def test_a_rotated_jpeg_is_shown_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    assert shown(picture(24, 16).transpose(Image.Transpose.ROTATE_90), "JPEG", exif=exif).shape == (16, 24, 3)


# ---- what it refuses


def png_that_declares(width: int, height: int) -> bytes:
    """A well-formed PNG header without a picture behind it."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return len(content).to_bytes(4) + name + content + zlib.crc32(name + content).to_bytes(4)

    header = width.to_bytes(4) + height.to_bytes(4) + bytes([8, 2, 0, 0, 0])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def half(content: bytes) -> bytes:
    return content[: len(content) // 2]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "cannot identify image file"),
        (b"just some text\n", "cannot identify image file"),
        (bytes(5000), "cannot identify image file"),
        (b"%PDF-1.7\n", "cannot identify image file"),
        (half(encoded(picture(200, 200), "JPEG")), "truncated"),
        (half(encoded(picture(200, 200), "PNG")), "truncated|incomplete|broken"),
        (half(encoded(picture(200, 200), "BMP")), "truncated"),
        (png_that_declares(8, 8), "truncated|incomplete|broken"),
        (encoded(picture(), "TGA"), "cannot identify image file"),
    ],
    ids=["empty", "text", "zeros", "pdf", "half a jpeg", "half a png", "half a bmp", "header only", "another format"],
)
def test_what_is_no_whole_picture_is_refused_with_place_and_reason(content: bytes, reason: str) -> None:
    with pytest.raises(ImageUnreadable, match=rf"^photos/a\.jpg: can't be decoded \(.*({reason})"):
        decode(content, "photos/a.jpg")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(("width", "height"), [(14_000, 14_000), (MAX_PIXELS + 1, 1), (60_000, 60_000)])
def test_a_small_file_that_declares_a_huge_picture_is_refused(width: int, height: int) -> None:
    content = png_that_declares(width, height)
    assert len(content) < 100
    with pytest.raises(ImageUnreadable, match=rf"there: .*({width}x{height} px, more than|exceeds limit of)"):
        decode(content, "there")


def test_a_reason_is_the_same_in_every_run() -> None:
    with pytest.raises(ImageUnreadable, match="can't be decoded") as caught:
        decode(b"text", "there")
    assert not re.search("0x[0-9a-f]+", str(caught.value))  # reasons are stored in shards, which must not differ by run


@hypothesis.given(st.binary(max_size=300))
def test_any_bytes_give_a_picture_or_image_unreadable(content: bytes) -> None:
    assert_picture_or_refused(content)


@hypothesis.given(
    st.sampled_from(readable()),
    st.integers(0, 10**6),
    st.integers(1, 255),
    st.booleans(),
)
@hypothesis.settings(max_examples=300)
def test_a_damaged_file_gives_a_picture_or_image_unreadable(form: str, place: int, mask: int, cut: bool) -> None:
    content = bytearray(encoded(picture(), form))
    place %= len(content)
    content[place] ^= mask
    assert_picture_or_refused(bytes(content[: place + 1] if cut else content))


def assert_picture_or_refused(content: bytes) -> None:
    with contextlib.suppress(ImageUnreadable):
        assert decode(content, "there").mode == "RGB"


@pytest.mark.parametrize(
    ("form", "options"),
    [
        ("JPEG", {}),
        ("PNG", {}),
        ("WEBP", {}),
        ("PPM", {}),
        pytest.param("JPEG2000", {"tile_size": (8, 8)}, marks=needs("JPEG2000")),
        pytest.param("JPEG2000", {"tile_size": (8, 8), "no_jp2": True}, marks=needs("JPEG2000")),
        pytest.param("AVIF", {}, marks=needs("AVIF")),
    ],
)
def test_a_file_cut_anywhere_is_never_shown_in_part(form: str, options: dict[str, object]) -> None:
    content = encoded(picture(), form, **options)
    whole = decode(content, "there")
    for length in range(len(content)):
        try:
            assert np.array_equal(pixels(decode(content[:length], "there")), pixels(whole)), length
        except ImageUnreadable:
            continue


# ---- resizing


@pytest.mark.parametrize("size", [(24, 16), (300, 200), (7, 90), (64, 64)])
def test_shrinking_is_torchvisions_resize(size: tuple[int, int]) -> None:
    expected = np.asarray(transforms.Resize((64, 64))(picture(*size)))
    assert np.array_equal(framed(picture(*size), Preprocessing(64)), expected)


# ---- reading


@pytest.mark.parametrize("workers", [1, 4])
def test_many_workers_fill_the_rows_in_order(tmp_path: Path, workers: int) -> None:
    images = file_images(tmp_path, 40)
    batch = images.read(5, 37, Preprocessing(32), workers)
    assert batch.start == 5
    assert batch.rows.tolist() == list(range(5, 37))
    assert batch.pixels.dtype == np.uint8
    assert np.array_equal(batch.pixels, np.stack([framed(picture(seed=row), Preprocessing(32)) for row in range(5, 37)]))


def test_what_was_guessed_of_pictures_is_told_once_with_the_first_of_them(tmp_path: Path) -> None:
    images = file_images(tmp_path, 5)
    for name in ("03.png", "01.png"):
        (tmp_path / name).write_bytes(encoded(Image.fromarray(np.full((4, 4), 900, dtype=np.uint16)), "PNG"))
    images.read(0, 5, Preprocessing(16), 3)
    images.read(0, 4, Preprocessing(16), 3)  # read again, as where memory ran out
    (said,) = images.noticed()
    assert said.startswith("2 pictures, first 01.png: no value above 1023 in a file of 16 or 32 bits")
    assert images.noticed() == array_images(noise(2, 8)).noticed() == []


def test_ids_are_the_relative_paths_and_labels_the_targets(tmp_path: Path) -> None:
    images = file_images(tmp_path, 5)
    assert images.ids(1, 4) == [b"01.png", b"02.png", b"03.png"]
    assert images.labels(1, 4).tolist() == [1, 2, 0]
    assert images.labels(1, 4).dtype == np.int64
    assert (images.rows, images.source) == (5, str(tmp_path))


def test_unreadable_files_are_left_out_with_their_reasons(tmp_path: Path) -> None:
    images = file_images(tmp_path, 6)
    (tmp_path / "01.png").write_bytes(b"")
    (tmp_path / "03.png").unlink()
    (tmp_path / "04.png").unlink()
    (tmp_path / "04.png").mkdir()
    batch = images.read(1, 6, Preprocessing(16), 3)
    assert batch.rows.tolist() == [2, 5]
    assert np.array_equal(batch.pixels, np.stack([framed(picture(seed=row), Preprocessing(16)) for row in (2, 5)]))
    assert [(image.row, image.id) for image in batch.skipped] == [(1, "01.png"), (3, "03.png"), (4, "04.png")]
    reasons = [image.reason for image in batch.skipped]
    assert reasons[0].startswith("can't be decoded (cannot identify image file")
    assert reasons[1:] == ["can't be opened: No such file or directory", "can't be opened: Is a directory"]


def test_a_batch_of_unreadable_files_is_empty(tmp_path: Path) -> None:
    images = file_images(tmp_path, 2)
    for name in images.paths:
        (tmp_path / name).write_bytes(b"text")
    batch = images.read(0, 2, Preprocessing(16), 2)
    assert (len(batch.pixels), len(batch.rows), len(batch.skipped), len(batch.fingerprints)) == (0, 0, 2, 2)


def test_a_file_is_decoded_by_its_content_not_its_name(tmp_path: Path) -> None:
    images = file_images(tmp_path, 1)
    (tmp_path / "00.png").write_bytes(encoded(picture(seed=5), "BMP"))
    assert np.array_equal(images.read(0, 1, Preprocessing(16), 1).pixels[0], framed(picture(seed=5), Preprocessing(16)))


def test_fingerprints_without_decoding_are_those_of_reading(tmp_path: Path) -> None:
    files = file_images(tmp_path, 4)
    (tmp_path / "01.png").write_bytes(b"text")
    (tmp_path / "02.png").unlink()
    assert files.fingerprints(0, 4) == list(files.read(0, 4, Preprocessing(16), 2).fingerprints)
    arrays = array_images(noise(6, 8))
    assert arrays.fingerprints(1, 5) == list(arrays.read(1, 5, Preprocessing(16), 2).fingerprints)
    assert len({*files.fingerprints(0, 4), *arrays.fingerprints(0, 6)}) == 10


def test_equal_bytes_of_another_shape_are_another_picture() -> None:
    pixels = noise(1, 8)
    wide, high = array_images(pixels.reshape(1, 4, 16, 3)), array_images(pixels.reshape(1, 16, 4, 3))
    marks = {images.fingerprints(0, 1)[0] for images in (array_images(pixels), wide, high)}
    assert len(marks) == 3
    assert wide.fingerprints(0, 1) == list(wide.pick([0], Preprocessing(16), 1).fingerprints)
    assert array_images(pixels).fingerprints(0, 1) == [hashlib.sha256(pixels.tobytes()).hexdigest()]  # as it always was


def test_a_name_that_is_no_utf8_is_still_an_id(tmp_path: Path) -> None:
    path = os.fsdecode(b"caf\xe9.png")
    write_picture(tmp_path / path)
    images = FileImages("files", "all", (), tmp_path, (path,), (-1,))
    assert images.ids(0, 1) == [b"caf\xe9.png"]
    assert images.read(0, 1, Preprocessing(16), 1).rows.tolist() == [0]


CHANGES: dict[str, Callable[[Path], None]] = {
    "time": lambda path: os.utime(path, ns=(0, path.stat().st_mtime_ns + 1)),
    "size": lambda path: path.write_bytes(path.read_bytes() + b"\0"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_stat_digest_changes_with_any_files_size_or_time(tmp_path: Path, change: str) -> None:
    images = file_images(tmp_path, 3)
    before, times = images.stat(0, 3), (tmp_path / "02.png").stat()
    assert images.stat(0, 3) == before is not None
    CHANGES[change](tmp_path / "02.png")
    if change == "size":
        os.utime(tmp_path / "02.png", ns=(times.st_atime_ns, times.st_mtime_ns))
    assert images.stat(0, 3) != before
    assert images.stat(0, 2) == file_images_stat(images, 2)


def file_images_stat(images: FileImages, stop: int) -> str | None:
    """The digest of a data set that has only the first `stop` files."""
    return FileImages(images.name, "all", (), images.root, images.paths[:stop], images.targets[:stop]).stat(0, stop)


def test_there_is_no_stat_digest_where_a_file_is_missing_or_there_are_no_files(tmp_path: Path) -> None:
    images = file_images(tmp_path, 2)
    (tmp_path / "01.png").unlink()
    assert images.stat(0, 2) is None
    assert array_images(noise(2, 8)).stat(0, 2) is None


def test_arrays_are_read_at_their_own_size() -> None:
    images = noise(9, 8)
    batch = array_images(images).read(2, 7, Preprocessing(224), 4)
    assert np.array_equal(batch.pixels, images[2:7])
    assert (batch.start, batch.rows.tolist(), batch.skipped) == (2, [2, 3, 4, 5, 6], ())
    assert array_images(images).ids(2, 4) == [b"2", b"3"]


def test_every_suffix_is_one_that_the_decoder_knows() -> None:
    known = Image.registered_extensions() | {".mpo": "JPEG", ".dib": "BMP"}  # the same files under other names
    assert {known[suffix] for suffix in suffixes()} == set(readable())


# ---- the inputs' digest


def digest(found: list[tuple[bytes, int, str]]) -> str:
    ids, labels, marks = [row[0] for row in found], [row[1] for row in found], [row[2] for row in found]
    return inputs_digest(ids, np.array(labels, dtype=np.int64), marks)


def test_all_lists_of_similar_rows_have_digests_of_their_own() -> None:
    # alike, so that parts or rows that run into each other would give the same bytes
    row = list(itertools.product([b"", b"a", b"a1", b"1"], [-1, 1, 11], ["1", "11", "1a"]))
    lists = [[], *([one] for one in row), *([one, other] for one in row for other in row)]
    assert len({digest(found) for found in lists}) == len(lists)


@pytest.mark.parametrize("row", [(b"b", 0, "x"), (b"a", 1, "x"), (b"a", 0, "y")], ids=["id", "label", "content"])
def test_the_digest_changes_with_each_part_of_a_row(row: tuple[bytes, int, str]) -> None:
    assert digest([(b"first", 2, "z"), row]) != digest([(b"first", 2, "z"), (b"a", 0, "x")])


def test_a_row_without_a_fingerprint_is_an_error() -> None:
    with pytest.raises(ValueError, match="shorter"):
        inputs_digest([b"a", b"b"], np.zeros(2, dtype=np.int64), ["x"])
