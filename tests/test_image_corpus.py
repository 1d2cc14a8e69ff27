"""Every kind of odd or faulty picture, name and folder, made here and called by its name.

What holds for all: a picture is shown as people see it, or it is an error, or a recorded skip, with place and reason.
Nothing is put in its place, no label moves to another row, a file cut short is never shown in part, and nothing waits for
ever. Two limits are known: Pillow tells nobody of what libjpeg mends in a damaged JPEG that has its end marker, and libtiff
prints on the terminal by itself, which only its C interface or another process could keep from it.
"""

import contextlib
import logging
import os
import shutil
import socket
import tempfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from extract_samples import QuarterMeans, RecordingObserver, encoded, no_body, picture, printed_by_python, write_picture
from PIL import Image

from headstart.core.cache.errors import DataInvalid, DataNotFound, ImageUnreadable
from headstart.core.cache.manifest import read_manifest
from headstart.core.cache.store import FeatureStore
from headstart.core.extract.backbones import Backbone
from headstart.core.extract.config import ExtractConfig
from headstart.core.extract.datasets import folder
from headstart.core.extract.images import Pixels
from headstart.core.extract.images.files import FileImages
from headstart.core.extract.job import Job
from headstart.core.extract.network.devices import Device
from headstart.core.extract.pictures.decode import decode
from headstart.core.extract.pictures.files import MAX_BYTES
from headstart.core.extract.pictures.formats import has_scans_without_end
from headstart.core.extract.pictures.framing import framed
from headstart.core.extract.pictures.preprocess import Preprocessing
from headstart.core.extract.run import Outcome, extract
from headstart.core.extract.weights import Weights

PICTURE = encoded(picture(90, 90), "PNG")


def opened(root: Path, split: str = "all") -> FileImages:
    """A split with its rows in the order of their names."""
    images = folder.open_split(str(root), split, Path("unused"))
    assert isinstance(images, FileImages)
    return images.in_order("unknown")


def run(images: FileImages, top: Path, on_error: str = "skip") -> Outcome:
    """A whole extraction with the stand-in."""
    job = Job(
        images=images,
        backbone=Backbone("quarters", 4, no_body),
        weights=Weights("file", "0" * 64, "nowhere"),
        preprocessing=Preprocessing(16),
        device=Device("cpu", "fp32", "this CPU"),
        config=ExtractConfig(shard_rows=4, on_error=on_error),  # type: ignore[arg-type]
    )
    return extract(job, lambda _: QuarterMeans(), FeatureStore(top / "features"), RecordingObserver())


def reasons(images: FileImages) -> list[tuple[str, str]]:
    """What is skipped and why."""
    return [(image.id, image.reason) for image in images.read(0, images.rows, Preprocessing(16), 3).skipped]


# ---- odd pictures: all show red on the left and blue on the right


def halves(mode: str = "RGB") -> Image.Image:
    image = Image.new("RGB", (32, 16), "red")
    image.paste("blue", (16, 0, 32, 16))
    return image.convert(mode)


def rotated() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(halves().transpose(Image.Transpose.ROTATE_90), "JPEG", quality=95, subsampling=0, exif=exif)


def chunk(name: bytes, content: bytes) -> bytes:
    return len(content).to_bytes(4) + name + content + zlib.crc32(name + content).to_bytes(4)


def png(width: int, height: int, bits: int, rows: bytes, *more: bytes) -> bytes:
    """A PNG of colours of `bits` bits, put together by hand."""
    header = chunk(b"IHDR", width.to_bytes(4) + height.to_bytes(4) + bytes([bits, 2, 0, 0, 0]))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(more) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def deep_png() -> bytes:
    row = b"\0" + b"\xff\xff\0\0\0\0" * 16 + b"\0\0\0\0\xff\xff" * 16
    return png(32, 16, 16, row * 16)


def animated(form: str) -> bytes:
    options = {"lossless": True} if form == "WEBP" else {}
    return encoded(halves(), form, save_all=True, append_images=[Image.new("RGB", (32, 16), "lime")], **options)


ODD: dict[str, bytes] = {
    "animated gif": animated("GIF"),
    "animated png": animated("PNG"),
    "animated webp": animated("WEBP"),
    "of several pages": animated("TIFF"),
    "wrong extension": encoded(halves(), "BMP"),
    "16-bit": deep_png(),
    "cmyk": encoded(halves("CMYK"), "JPEG", quality=95, subsampling=0),
    "cmyk tiff": encoded(halves("CMYK"), "TIFF"),
    "palette": encoded(halves().quantize(2), "PNG"),
    "palette bmp": encoded(halves().quantize(2), "BMP"),
    "rgba": encoded(halves("RGBA"), "PNG"),
    "exif-rotated": rotated(),
    "progressive": encoded(halves(), "JPEG", quality=95, subsampling=0, progressive=True),
    "with a comment": png(32, 16, 8, (b"\0" + b"\xff\0\0" * 16 + b"\0\0\xff" * 16) * 16, chunk(b"tEXt", b"a\0b")),
}


def assert_halves(pixels: Pixels) -> None:
    width = pixels.shape[1]
    left, right = pixels[:, : width // 4], pixels[:, -(width // 4) :]
    assert np.abs(left.astype(int) - (255, 0, 0)).max() <= 3
    assert np.abs(right.astype(int) - (0, 0, 255)).max() <= 3


@pytest.mark.parametrize("name", ODD)
def test_an_odd_picture_is_shown_as_people_see_it(name: str) -> None:
    image = decode(ODD[name], name)
    assert image.size == (32, 16)
    assert_halves(np.asarray(image))


# ---- faulty pictures


def bmp_of_no_width() -> bytes:
    content = bytearray(encoded(picture(), "BMP"))
    content[18:22] = bytes(4)
    return bytes(content)


def of_scans(count: int, side: int = 64) -> bytes:
    """A progressive JPEG whose last scan stands there so often that it has `count` of them."""
    content = encoded(Image.new("RGB", (side, side), "red"), "JPEG", progressive=True)
    last, end = content.rindex(b"\xff\xda"), content.rindex(b"\xff\xd9")
    return content[:last] + content[last:end] * (count - content.count(b"\xff\xda") + 1) + content[end:]


FAULTY: dict[str, tuple[bytes, str]] = {
    "truncated png": (PICTURE[: len(PICTURE) // 2], "truncated|incomplete|broken"),
    "truncated jpeg": (encoded(picture(90, 90), "JPEG")[:1500], "truncated"),
    "truncated gif": (encoded(picture(90, 90), "GIF")[:4000], "truncated|broken"),
    "truncated webp": (encoded(picture(90, 90), "WEBP")[:300], "cannot identify|decode|could not create"),
    "truncated tiff": (encoded(picture(90, 90), "TIFF")[:4000], "truncated|cannot identify|not process"),
    "truncated bmp": (encoded(picture(90, 90), "BMP")[:4000], "truncated"),
    "empty": (b"", "cannot identify image file"),
    "text": (b"not a picture\n", "cannot identify image file"),
    "zeros": (bytes(4096), "cannot identify image file"),
    "zero pixels": (png(0, 16, 8, b""), "cannot identify|broken|invalid"),
    "zero pixels in a bmp": (bmp_of_no_width(), "cannot identify|tile|broken|zero|empty|size"),
    "huge": (png(20_000, 20_000, 8, b""), "exceeds limit|more than"),
    "unpacks to gigabytes": (png(8, 8, 8, bytes(8), chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(2**24)))), "too large"),
    "scans without end": (of_scans(101), "a JPEG of more than 100 scans"),
    "declares more than it holds": (png(64, 64, 8, bytes(100)), "truncated|incomplete|broken"),
}


@pytest.mark.parametrize("name", FAULTY)
def test_a_faulty_picture_is_refused_with_its_place_and_the_reason(name: str) -> None:
    content, reason = FAULTY[name]
    with pytest.raises(ImageUnreadable, match=rf"^cat/a\.jpg: .*({reason})"):
        decode(content, "cat/a.jpg")


def test_a_corpus_of_all_kinds_keeps_labels_ids_and_reasons_with_their_pictures(tmp_path: Path) -> None:
    kinds: dict[str, bytes | None] = dict(ODD)
    kinds |= {name: content for name, (content, _) in FAULTY.items()}
    labels = {}
    for number, (name, content) in enumerate(sorted(kinds.items())):
        path = tmp_path / "photos" / "abc"[number % 3] / f"{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content or b"")
        labels[f"{path.parent.name}/{path.name}"] = number % 3
    manifest = (outcome := run(opened(tmp_path / "photos"), tmp_path)).features.manifest
    rows = outcome.features.load()
    found = dict(zip([name.decode() for name in rows.ids], rows.labels.tolist(), strict=True))
    assert found == {path: label for path, label in labels.items() if Path(path).stem in ODD}
    skipped = {image.id: image.reason for record in manifest.shards for image in record.skipped}
    assert set(skipped) == {path for path in labels if Path(path).stem in FAULTY}
    assert all(skipped.values())
    assert np.abs(rows.features - [85, 85, 85, 85]).max() <= 3  # each quarter is all red or all blue
    assert manifest.stop == len(ODD) + len(FAULTY)


@pytest.mark.parametrize("name", FAULTY)
def test_one_faulty_picture_stops_a_run_that_may_not_skip(tmp_path: Path, name: str) -> None:
    write_picture(tmp_path / "photos/a/0.png")
    (tmp_path / "photos/a/1.png").write_bytes(FAULTY[name][0])
    with pytest.raises(ImageUnreadable, match=r"photos/a/1\.png: .+; --on-error skip leaves such images out"):
        run(opened(tmp_path / "photos"), tmp_path, "fail")


@pytest.mark.parametrize(
    "content",
    [
        of_scans(100),
        encoded(halves(), "JPEG", progressive=True) + b"\xff\xda" * 500,  # a film behind the picture, as phones have it
        encoded(halves(), "JPEG", comment=b"\xff\xda\0\2" * 200),
    ],
)
def test_what_only_looks_like_scans_without_end_is_shown(content: bytes) -> None:
    assert decode(content, "it").mode == "RGB"


def test_scans_are_counted_in_short_time() -> None:
    segments = b"\xff\xfe\0\4\xff\xda" * 300_000  # would take a second in Pillow alone
    assert has_scans_without_end(b"\xff\xd8" + segments)


# ---- what is no file


def zeros_without_end(path: Path) -> None:
    path.symlink_to("/dev/zero")


def listening(path: Path) -> None:
    os.chdir(path.parent)  # a socket's path may have 108 bytes
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path.name)


def sparse(path: Path) -> None:
    path.touch()
    os.truncate(path, MAX_BYTES + 1)


NO_FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "pipe": (os.mkfifo, "not a regular file"),
    "device": (zeros_without_end, "not a regular file"),
    "socket": (listening, "not a regular file"),
    "larger than any picture": (sparse, f"{MAX_BYTES + 1} bytes, more than {MAX_BYTES}"),
    "link to nowhere": (lambda path: path.symlink_to("nowhere"), "No such file or directory"),
    "link to itself": (lambda path: path.symlink_to(path.name), "Too many levels of symbolic links"),
    "link below a file": (lambda path: path.symlink_to("0.png/x"), "Not a directory"),
}


@pytest.mark.parametrize("kind", NO_FILES)
def test_what_cannot_be_read_is_a_skip_with_its_reason_or_an_error(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # gives the folder back afterwards
    make, reason = NO_FILES[kind]
    for number in (0, 2):
        write_picture(tmp_path / f"photos/a/{number}.png", number)
    make(tmp_path / "photos/a/1.png")
    images = opened(tmp_path / "photos")
    assert images.paths == ("a/0.png", "a/1.png", "a/2.png")
    assert reasons(images) == [("a/1.png", f"can't be opened: {reason}")]
    assert images.fingerprints(1, 2) == [f"unreadable: {reason}"]
    assert run(images, tmp_path).features.load().ids.tolist() == [b"a/0.png", b"a/2.png"]
    shutil.rmtree(tmp_path / "features")
    with pytest.raises(ImageUnreadable, match=rf"photos/a/1\.png: can't be opened: {reason}; --on-error skip"):
        run(images, tmp_path, "fail")


# ---- links


def test_links_to_pictures_and_to_class_folders_are_followed(tmp_path: Path) -> None:
    write_picture(tmp_path / "elsewhere/0.png", 5)
    write_picture(tmp_path / "photos/a/1.png", 6)
    (tmp_path / "photos/a/2.png").symlink_to(tmp_path / "elsewhere/0.png")
    (tmp_path / "photos/b").symlink_to(tmp_path / "elsewhere")
    images = opened(tmp_path / "photos")
    assert (images.paths, images.targets) == (("a/1.png", "a/2.png", "b/0.png"), (0, 0, 1))
    pixels = images.read(0, 3, Preprocessing(16), 1).pixels
    assert np.array_equal(pixels, np.stack([framed(picture(seed=seed), Preprocessing(16)) for seed in (6, 5, 5)]))


@pytest.mark.parametrize("target", ["..", "../..", ".", "../a", "/"])
def test_a_link_below_a_class_to_a_folder_around_it_neither_hangs_nor_adds_pictures(tmp_path: Path, target: str) -> None:
    write_picture(tmp_path / "photos/a/0.png")
    write_picture(tmp_path / "photos/b/1.png")
    (tmp_path / "photos/a/loop").symlink_to(target)
    images = opened(tmp_path / "photos")
    assert (images.classes, images.paths) == (("a", "b"), ("a/0.png", "b/1.png"))


@pytest.mark.parametrize("target", [".", "..", "../photos", "/"])
def test_a_class_that_is_a_link_to_a_folder_around_it_is_an_error(tmp_path: Path, target: str) -> None:
    write_picture(tmp_path / "photos/a/0.png")
    (tmp_path / "photos/loop").symlink_to(target)
    with pytest.raises(DataInvalid, match=r"photos/loop: a link to a folder that it lies in; remove it"):
        opened(tmp_path / "photos")


@pytest.mark.parametrize(
    ("target", "reason"), [("nowhere", "No such file or directory"), ("b", "Too many levels of symbolic links")]
)
@pytest.mark.parametrize("below", ["", "train"])
def test_a_class_that_is_a_link_to_nowhere_is_an_error_and_shifts_no_label(
    tmp_path: Path, target: str, reason: str, below: str
) -> None:
    for name in "ac":
        write_picture(tmp_path / below / name / "0.png")
    (tmp_path / below / "b").symlink_to(target)
    message = rf"{tmp_path / below}/b: a link that can't be followed \({reason}\); mend it or remove it"
    with pytest.raises(DataInvalid, match=message):
        opened(tmp_path, below or "all")


def test_a_training_folder_that_is_a_link_to_nowhere_is_an_error(tmp_path: Path) -> None:
    write_picture(tmp_path / "test/a/0.png")
    (tmp_path / "train").symlink_to("nowhere")
    with pytest.raises(DataInvalid, match=r"/train: a link that can't be followed \(No such file or directory\)"):
        folder.splits(str(tmp_path), tmp_path)


def test_a_picture_beside_classes_that_is_a_link_to_nowhere_is_no_class(tmp_path: Path) -> None:
    write_picture(tmp_path / "a/0.png")
    (tmp_path / "1.png").symlink_to("nowhere")
    (tmp_path / ".hidden").symlink_to("nowhere")
    assert opened(tmp_path).classes == ("a",)


def test_an_unlabelled_picture_that_is_a_link_to_nowhere_is_skipped_with_its_reason(tmp_path: Path) -> None:
    write_picture(tmp_path / "0.png")
    (tmp_path / "1.png").symlink_to("nowhere")
    assert reasons(opened(tmp_path)) == [("1.png", "can't be opened: No such file or directory")]


# ---- no access


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user can reach, which pytest's own is not."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@contextlib.contextmanager
def unprivileged() -> Iterator[None]:
    """As a user whom the files' rights bind: to root they mean nothing."""
    if os.geteuid() != 0:
        yield
        return
    try:
        os.seteuid(65534)
    except OSError:
        pytest.skip("needs a user who is not root")
    try:
        yield
    finally:
        os.seteuid(0)


@contextlib.contextmanager
def locked(path: Path, mode: int) -> Iterator[None]:
    before = path.stat().st_mode
    path.chmod(mode)
    try:
        yield
    finally:
        path.chmod(before)


@pytest.mark.parametrize("mode", [0o000, 0o111], ids=oct)
@pytest.mark.parametrize("below", ["", "b", "b/young"])
def test_a_folder_that_may_not_be_listed_is_an_error_that_names_it(open_folder: Path, below: str, mode: int) -> None:
    for name in ("photos/a/0.png", "photos/b/young/1.png", "photos/c/2.png"):
        write_picture(open_folder / name)
    place = open_folder / "photos" / below
    message = rf"^{place}: can't be read \(Permission denied\); give yourself access or move it out of the data set$"
    with locked(place, mode), unprivileged(), pytest.raises(DataNotFound, match=message):
        opened(open_folder / "photos")


def test_a_data_set_in_a_folder_that_may_not_be_entered_is_an_error(open_folder: Path) -> None:
    write_picture(open_folder / "mine/photos/a/0.png")
    message = rf"^{open_folder}/mine/photos: can't be read \(Permission denied\)"
    with locked(open_folder / "mine", 0o000), unprivileged(), pytest.raises(DataNotFound, match=message):
        opened(open_folder / "mine/photos")


def test_a_class_folder_that_may_be_listed_but_not_entered_gives_unreadable_pictures(open_folder: Path) -> None:
    write_picture(open_folder / "photos/a/0.png")
    with locked(open_folder / "photos/a", 0o444), unprivileged():
        images = opened(open_folder / "photos")
        assert reasons(images) == [("a/0.png", "can't be opened: Permission denied")]
        assert images.stat(0, 1) is None


def test_a_file_that_may_not_be_read_is_skipped_with_its_reason(open_folder: Path) -> None:
    for number in range(3):
        write_picture(open_folder / f"photos/a/{number}.png", number)
    decode(PICTURE, "there")  # what Pillow imports only now, a user without rights might not be able to
    with locked(open_folder / "photos/a/1.png", 0o000), unprivileged():
        images = opened(open_folder / "photos")
        batch = images.read(0, 3, Preprocessing(16), 2)
        assert images.fingerprints(1, 2) == ["unreadable: Permission denied"]
    assert batch.rows.tolist() == [0, 2]
    assert [(image.row, image.reason) for image in batch.skipped] == [(1, "can't be opened: Permission denied")]


@pytest.fixture
def too_deep(tmp_path: Path) -> Iterator[Path]:
    """A class with a picture below so many folders that their path is longer than the system takes, for root too."""
    write_picture(tmp_path / "photos/a/0.png")
    write_picture(tmp_path / "photos/b/1.png")
    here = os.open(tmp_path / "photos/b", os.O_RDONLY)
    for _ in range(17):
        os.mkdir("d" * 250, dir_fd=here)
        below = os.open("d" * 250, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    yield tmp_path / "photos"
    shutil.rmtree(tmp_path / "photos/b")


def test_a_folder_that_nobody_can_list_is_an_error_that_names_it(too_deep: Path) -> None:
    with pytest.raises(DataNotFound, match=rf"^{too_deep}/b/d+/.*: can't be read \(File name too long\); give yourself"):
        opened(too_deep)


def test_a_picture_that_became_a_folder_is_skipped_with_its_reason(tmp_path: Path) -> None:
    images = opened(write_picture(tmp_path / "photos/a/0.png").parents[1])
    (tmp_path / "photos/a/0.png").unlink()
    (tmp_path / "photos/a/0.png").mkdir()
    assert reasons(images) == [("a/0.png", "can't be opened: Is a directory")]


# ---- names

NAMES: dict[str, bytes] = {
    "newline": b"one\ntwo.png",
    "carriage return": b"one\rtwo.png",
    "no UTF-8": b"caf\xe9\xff.png",
    "255 bytes": b"n" * 251 + b".png",
    "255 bytes of two-byte letters": "é".encode() * 125 + b"x.png",
    "terminal escapes": b"\x1b[31mred\x1b]0;title\x07.png",
    "spaces": b" a b .png",
    "quotes": b"'\"`$(x).png",
    "backslash": b"a\\nb.png",
    "right to left": "a\u202egnp.png".encode(),
    "leading dash": b"-rf.png",
}


@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.parametrize("content", [PICTURE, b"text"], ids=["picture", "faulty"])
def test_a_picture_of_any_name_keeps_it_as_its_id(tmp_path: Path, kind: str, content: bytes) -> None:
    path = tmp_path / "photos/a" / os.fsdecode(NAMES[kind])
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    write_picture(tmp_path / "photos/b/other.png")
    images = opened(tmp_path / "photos")
    assert images.ids(0, 2) == [b"a/" + NAMES[kind], b"b/other.png"]
    features = run(images, tmp_path).features
    whole = content == PICTURE
    assert features.load().ids.tolist() == images.ids(0 if whole else 1, 2)
    assert features.load().labels.tolist() == ([0, 1] if whole else [1])
    skipped = read_manifest(features.folder).shards[0].skipped
    expected = "a/" + NAMES[kind].decode("utf-8", "backslashreplace")
    assert [image.id for image in skipped] == ([] if whole else [expected])


@pytest.mark.parametrize("kind", NAMES)
def test_a_class_of_any_name_is_found_again_by_it(tmp_path: Path, kind: str) -> None:
    name = os.fsdecode(NAMES[kind])
    write_picture(tmp_path / "photos" / name / "0.png")
    images = opened(tmp_path / "photos")
    assert images.classes == (name,)
    first = run(images, tmp_path)
    again = run(opened(tmp_path / "photos"), tmp_path)
    assert (first.computed, again.computed) == (1, 0)
    assert read_manifest(first.features.folder).key == first.features.manifest.key


# ---- what libraries say


def odd_samples() -> bytes:
    """A TIFF of 200 channels, on which Pillow logs an error."""
    content = encoded(picture(), "TIFF")
    entry = (277).to_bytes(2, "little") + (3).to_bytes(2, "little") + (1).to_bytes(4, "little")
    assert content.count(entry) == 1
    place = content.index(entry) + len(entry)
    return content[:place] + (200).to_bytes(2, "little") + content[place + 2 :]


def test_what_pillow_logs_is_not_printed_but_can_be_listened_to(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, logger="PIL"), pytest.raises(ImageUnreadable, match="there: can't be decoded"):
        decode(odd_samples(), "there")
    assert [record.getMessage() for record in caplog.records] == ["More samples per pixel than can be decoded: 200"]
    code = (
        "import os; os.dup2(1, 2); from headstart.core.extract.pictures.decode import decode\n"
        "from headstart.core.cache.errors import ImageUnreadable\n"
        "from headstart.console.group import quiet_pillow; quiet_pillow()\n"
        f"try: decode(bytes.fromhex({odd_samples().hex()!r}), 'there')\n"
        "except ImageUnreadable: print('refused')"
    )
    assert printed_by_python(code) == "refused\n"
