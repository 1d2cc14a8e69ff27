"""Pictures of pictures: Figure 1 tells the truth, thumbnails are never enlarged, and files say what they are."""

import base64
import io
import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from extract_samples import array_images, encoded, file_images, noise, picture
from matplotlib import cm
from PIL import Image

from headstart.core.cache.errors import DataInvalid, ImageUnreadable
from headstart.core.extract.datasets import open_split
from headstart.core.extract.pictures import files, preprocess
from headstart.core.extract.pictures import thumbnails as gallery
from headstart.core.extract.pictures.framing import framed
from headstart.core.extract.pictures.preprocess import Preprocessing

SMALL = Preprocessing(image_size=224)


def opened(content: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(content))
    image.load()
    return image


def values(content: bytes) -> npt.NDArray[np.float64]:
    return np.asarray(opened(content), dtype=np.float64) / 255


def figure(seed: int = 0) -> list[tuple[str, bytes]]:
    return gallery.figure_1(array_images(noise(3, 32, seed)), 1, SMALL)


def test_figure_1_has_four_pictures_that_say_what_they_are() -> None:
    titles = [title for title, _ in figure()]
    assert titles == [
        "tiny train row 1 (b), 32 x 32 px, shown enlarged by nearest neighbour",
        "resized to 224 x 224 px (bilinear)",
        "normalised, shown with the normalisation taken back",
        "normalised, shown as plt.imshow clips it to 0 to 1 (as in the study)",
    ]
    assert all(
        (opened(png).format, opened(png).size, opened(png).mode) == ("PNG", (224, 224), "RGB") for _, png in figure()
    )


def test_the_original_is_enlarged_by_repeating_its_pixels() -> None:
    shown = np.asarray(opened(figure()[0][1]))
    assert np.array_equal(shown, noise(3, 32)[1].repeat(7, axis=0).repeat(7, axis=1))


def test_the_resized_picture_is_pillows() -> None:
    assert np.array_equal(np.asarray(opened(figure()[1][1])), framed(Image.fromarray(noise(3, 32)[1]), Preprocessing(224)))


def test_a_crop_is_shown_as_the_backbone_sees_it_and_said() -> None:
    values = np.random.default_rng(0).integers(0, 256, (2, 20, 44, 3), dtype=np.uint8)
    own = Preprocessing(32, "bicubic", resize=36, crop="center")
    original, seen, *_ = gallery.figure_1(array_images(values), 1, own)
    assert original[0].startswith("tiny train row 1 (b), 44 x 20 px")
    assert seen[0] == "short side resized to 36 px (bicubic), the middle 32 x 32 px of that"
    assert np.array_equal(np.asarray(opened(seen[1])), framed(Image.fromarray(values[1]), own))
    assert np.array_equal(np.asarray(opened(gallery.thumbnail(array_images(values), 1, 64))), values[1])


@pytest.mark.parametrize("seed", range(3))
def test_the_normalisation_taken_back_gives_the_resized_picture(seed: int) -> None:
    shown = figure(seed)
    assert np.abs(values(shown[2][1]) - values(shown[1][1])).max() <= 1 / 255
    pixels = preprocess.resize(torch.from_numpy(noise(1, 32, seed)), 224)
    back = gallery.denormalise(preprocess.normalise(pixels, SMALL), SMALL)
    assert float((back - pixels / 255).abs().max()) < 1e-6


def test_the_clipped_picture_is_what_matplotlib_draws() -> None:
    pixels = preprocess.resize(torch.from_numpy(noise(3, 32)[1:2]), 224)
    normal = preprocess.normalise(pixels, SMALL)[0].permute(1, 2, 0).numpy()
    drawn = cm.ScalarMappable().to_rgba(np.clip(normal, 0, 1), bytes=True)[..., :3]
    shown = np.asarray(opened(figure()[3][1]))
    assert np.array_equal(shown, drawn)
    assert (shown == 0).mean() > 0.3  # about half of all values lie below the mean: this is the fault that is shown


def test_figure_1_of_the_studys_truck(shared: Path) -> None:
    shown = gallery.figure_1(open_split("cifar10", "train", shared), 1, SMALL)
    assert shown[0][0].startswith("cifar10 train row 1 (truck), 32 x 32 px")
    assert np.abs(values(shown[2][1]) - values(shown[1][1])).max() <= 1 / 255


def test_figure_1_of_a_file_shows_it_at_its_own_shape(tmp_path: Path) -> None:
    images = file_images(tmp_path, 2)  # 24 x 16 px
    shown = gallery.figure_1(images, 0, SMALL)
    assert shown[0][0] == "files all row 0 (a), 24 x 16 px, shown enlarged by nearest neighbour"
    assert opened(shown[0][1]).size == (224, 149)
    assert np.array_equal(np.asarray(opened(shown[1][1])), framed(picture(seed=0), Preprocessing(224)))


@pytest.mark.parametrize(("width", "words", "size"), [(500, ", shown smaller", (224, 112)), (224, "", (224, 112))])
def test_a_large_original_is_shown_smaller_and_one_of_the_size_as_it_is(
    width: int, words: str, size: tuple[int, int], tmp_path: Path
) -> None:
    images = file_images(tmp_path, 1)
    picture(width, width // 2).save(tmp_path / "00.png")
    title, png = gallery.figure_1(images, 0, SMALL)[0]
    assert title == f"files all row 0 (a), {width} x {width // 2} px{words}"
    assert opened(png).size == size


def test_the_same_picture_gives_the_same_bytes() -> None:
    assert figure() == figure()


@pytest.mark.parametrize("row", [-1, 3])
def test_a_row_that_is_not_there_is_refused(row: int) -> None:
    with pytest.raises(DataInvalid, match=f"memory: row {row} is not there, expected 0 to 2; choose another"):
        gallery.thumbnail(array_images(noise(3, 8)), row, 8)


def test_a_thumbnail_is_no_larger_than_asked_and_never_larger_than_the_picture() -> None:
    images = array_images(noise(2, 32))
    assert np.array_equal(np.asarray(opened(gallery.thumbnail(images, 1, 64))), noise(2, 32)[1])
    assert opened(gallery.thumbnail(images, 1, 20)).size == (20, 20)


def test_a_thumbnail_of_a_file_keeps_its_shape(tmp_path: Path) -> None:
    images = file_images(tmp_path, 1)
    picture(300, 100).save(tmp_path / "00.png")
    thumbnail = opened(gallery.thumbnail(images, 0, 60))
    assert (thumbnail.format, thumbnail.size) == ("PNG", (60, 20))


def test_a_broken_file_has_no_thumbnail(tmp_path: Path) -> None:
    images = file_images(tmp_path, 1)
    (tmp_path / "00.png").write_bytes(b"not a picture")
    with pytest.raises(ImageUnreadable, match=r"00\.png: can't be decoded"):
        gallery.thumbnail(images, 0, 60)
    with pytest.raises(ImageUnreadable, match=r"00\.png: can't be decoded"):
        gallery.figure_1(images, 0, SMALL)


def test_a_checked_thumbnail_is_of_the_bytes_that_were_named(tmp_path: Path) -> None:
    images = file_images(tmp_path, 2)
    marks = images.fingerprints(0, 2)
    assert opened(gallery.checked_thumbnail(images, 1, 10, marks[1])).format == "JPEG"
    small = gallery.checked_thumbnail(images, 1, 100, marks[1])
    assert opened(small).format == "PNG"
    assert np.array_equal(values(small), values((images.root / images.paths[1]).read_bytes()))
    with pytest.raises(ImageUnreadable, match=r"is another picture by now, its SHA-256 is .*…, expected .*…"):
        gallery.checked_thumbnail(images, 1, 100, marks[0])
    with pytest.raises(DataInvalid, match="row 2 is not there, expected 0 to 1"):
        gallery.checked_thumbnail(images, 2, 100, marks[0])
    (images.root / images.paths[1]).unlink()
    with pytest.raises(ImageUnreadable, match="can't be opened: No such file"):
        gallery.checked_thumbnail(images, 1, 100, marks[1])


def test_a_checked_thumbnail_of_pixels_is_of_those_that_were_named() -> None:
    images = array_images(noise(3, 32))
    marks = images.fingerprints(0, 3)
    shown = opened(gallery.checked_thumbnail(images, 2, 64, marks[2]))
    assert np.array_equal(np.asarray(shown), noise(3, 32)[2])
    assert opened(gallery.checked_thumbnail(images, 2, 16, marks[2])).size == (16, 16)
    with pytest.raises(ImageUnreadable, match=r"tiny train row 2 .* is another picture by now"):
        gallery.checked_thumbnail(images, 2, 64, marks[1])


def test_a_photograph_becomes_a_small_upright_jpeg(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    (tmp_path / "a.jpg").write_bytes(encoded(picture(640, 320), "JPEG", exif=exif))
    shown = opened(gallery.photograph(tmp_path / "a.jpg"))
    assert (shown.format, shown.size) == ("JPEG", (80, 160))
    assert not shown.getexif()  # nor where it was taken


def test_a_small_photograph_keeps_its_size(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(picture(24, 16), "PNG"))
    assert opened(gallery.photograph(tmp_path / "a.png")).size == (24, 16)


def test_real_photographs_have_small_thumbnails(shared: Path) -> None:
    for path in sorted((shared / "photos").glob("*.jpg")):
        content = gallery.photograph(path)
        assert max(opened(content).size) == 160
        assert len(content) < 20_000


def test_photographs_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageUnreadable, match=r"gone\.jpg: can't be opened: No such file"):
        gallery.photograph(tmp_path / "gone.jpg")
    with pytest.raises(ImageUnreadable, match="can't be opened: Is a directory"):
        gallery.photograph(tmp_path)
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(ImageUnreadable, match=r"pipe\.jpg: can't be opened: not a regular file"):
        gallery.photograph(tmp_path / "pipe.jpg")


def test_a_file_that_is_too_large_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_BYTES", 10)
    (tmp_path / "a.png").write_bytes(b"0" * 11)
    with pytest.raises(ImageUnreadable, match=r"a\.png: can't be opened: 11 bytes, more than 10"):
        gallery.photograph(tmp_path / "a.png")


@pytest.mark.parametrize(("form", "kind"), [("PNG", "image/png"), ("JPEG", "image/jpeg")])
def test_a_data_uri_holds_the_file_and_its_kind(form: str, kind: str) -> None:
    content = encoded(picture(), form)
    head, _, data = gallery.data_uri(content).partition(",")
    assert head == f"data:{kind};base64"
    assert base64.b64decode(data, validate=True) == content


def test_what_is_no_picture_gets_no_data_uri() -> None:
    with pytest.raises(ValueError, match="neither a PNG nor a JPEG file: it begins with b'<svg>'"):
        gallery.data_uri(b"<svg>")
