"""Pictures as a caller has them: told apart, named by content, read."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from extract_samples import encoded, noise, picture, write_picture
from PIL import Image

from headstart.api.pictures import Pictures
from headstart.core.extract.images.files import FileImages
from headstart.core.extract.pictures.preprocess import Preprocessing


def test_one_picture_or_several_are_a_list(tmp_path: Path) -> None:
    path, image, array = write_picture(tmp_path / "a.png"), picture(), np.asarray(picture())
    for one in (path, str(path), image, array):
        assert Pictures.of(one).rows == 1
    assert Pictures.of([path, image, array]).names == (str(path), "picture 1", "picture 2")
    assert Pictures.of(noise(4, 8)).rows == 4
    assert Pictures.of(np.array([str(path)] * 3)).rows == 3
    assert Pictures.of(np.array([[str(path)], [str(path)]], dtype=object)).rows == 2
    assert Pictures.of(iter([path])).rows == 1


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (3, "a int found, expected paths"),
        (b"bytes", "a bytes found"),
        ([], "none found"),
        ([picture(), 3], "picture 1: a int found"),
        (np.zeros((4, 8), np.uint8), r"uint8 \(4, 8\) found"),
        (np.zeros((8, 8, 3)), r"picture 0: float64 \(8, 8, 3\) found, expected uint8 \(H, W, 3\), the channels last"),
        (np.zeros((2, 3, 8, 8), np.uint8), r"picture 0: uint8 \(3, 8, 8\) found"),
    ],
)
def test_what_is_no_picture_is_said(given: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        Pictures.of(given)


def test_marks_name_contents(tmp_path: Path) -> None:
    image, path = picture(seed=1), write_picture(tmp_path / "a.png", 1)
    marks = Pictures.of([image, np.asarray(image), image.convert("RGBA"), path, picture(seed=2)]).marked(2).marks
    assert marks[0] == marks[1] == marks[2]
    assert len({*marks}) == 3
    tall, wide = np.zeros((4, 2, 3), np.uint8), np.zeros((2, 4, 3), np.uint8)
    assert len({*Pictures.of([tall, wide]).marked(1).marks}) == 2


def test_all_kinds_are_read_as_a_data_set_reads_files(tmp_path: Path) -> None:
    turned, exif = picture(seed=3), Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "a.jpg").write_bytes(encoded(turned, "JPEG", exif=exif))
    files = FileImages("files", "all", (), tmp_path, ("a.jpg",), (-1,))
    expected = files.read(0, 1, Preprocessing(16), 1).pixels
    with Image.open(tmp_path / "a.jpg") as opened:
        for given in (tmp_path / "a.jpg", opened):
            assert np.array_equal(Pictures.of(given).read(0, 1, Preprocessing(16), 1).pixels, expected)


def test_small_arrays_of_one_size_stay_as_they_are() -> None:
    batch = Pictures.of(noise(3, 8)).read(1, 3, Preprocessing(16), 1)
    assert np.array_equal(batch.pixels, noise(3, 8)[1:])
    assert batch.rows.tolist() == [1, 2]
    assert Pictures.of([*noise(1, 8), *noise(1, 9)]).read(0, 2, Preprocessing(16), 1).pixels.shape == (2, 16, 16, 3)
    assert Pictures.of(noise(1, 40)).read(0, 1, Preprocessing(16), 1).pixels.shape == (1, 16, 16, 3)


def test_a_file_that_changed_since_it_was_marked_is_left_out(tmp_path: Path) -> None:
    path = write_picture(tmp_path / "a.png", 1)
    marked = Pictures.of([path, write_picture(tmp_path / "b.png", 2)]).marked(1)
    write_picture(path, 3)
    batch = marked.only([1, 0]).read(0, 2, Preprocessing(16), 2)
    assert batch.rows.tolist() == [0]
    assert [(image.id, image.reason) for image in batch.skipped] == [(str(path), "the file changed while it was read")]


def test_files_that_can_not_be_read_are_left_out_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"none")
    batch = Pictures.of([tmp_path / "a.png", tmp_path / "b.png"]).read(0, 2, Preprocessing(16), 1)
    assert len(batch.pixels) == 0
    assert [image.reason.partition(":")[0] for image in batch.skipped] == [
        "can't be decoded (cannot identify image file)",
        "can't be opened",
    ]


def test_what_had_to_be_guessed_is_told_once() -> None:
    deep = Image.fromarray(np.full((4, 4), 300, dtype=np.uint16))
    pictures = Pictures.of([deep, deep])
    pictures.read(0, 2, Preprocessing(16), 1)
    assert len(pictures.noticed()) == 1
    assert pictures.noticed() == []
