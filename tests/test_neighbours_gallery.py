"""Training pictures, small: of the very pictures that features were made of, whatever became of the files since."""

import dataclasses
import io
from pathlib import Path

import numpy as np
import pytest
from cli_samples import Place
from extract_samples import encoded, picture
from PIL import Image

from headstart.core.cache.errors import DataNotFound, ImageUnreadable
from headstart.core.cache.feature_set import FeatureSet
from headstart.core.cache.store import FeatureStore
from headstart.core.extract import datasets
from headstart.core.extract.pictures.preprocess import Preprocessing
from headstart.serve.neighbours import gallery as module
from headstart.serve.neighbours.gallery import Gallery
from headstart.serve.neighbours.learned import Learned, Part, located

SMALL = ("-m", "resnet18", "--weights", "random:0", "--image-size", "32", "--precision", "fp32")


def extracted(root: Path, dataset: str, *more: str) -> FeatureSet:
    Place(root).run("extract", *SMALL, "--dataset", dataset, *more)
    (found,) = [one for one in FeatureStore(root / "features").sets() if one.manifest.split in ("all", "train")]
    return found


def rows_of(source: FeatureSet) -> Learned:
    return located((Part(source, source.manifest.row_numbers()),))


def nearest(shown: Image.Image, names: list[str], root: Path) -> str:
    """Which of the pictures it is, by its pixels."""

    def distance(name: str) -> float:
        own = Image.open(root / name).convert("RGB").resize(shown.size)
        return float(np.abs(np.asarray(own, dtype=float) - np.asarray(shown, dtype=float)).mean())

    return min(names, key=distance)


def opened(content: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(content))
    image.load()
    return image


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """A folder of two classes: large JPEG files, one of them lying on its side, and small PNG files."""
    for name, seed in (("cat", 0), ("dog", 10)):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for number in range(3):
            large, small = picture(640, 480, seed + number), picture(20, 30, seed + number)
            (tmp_path / "pets" / name / f"large{number}.jpg").write_bytes(encoded(large, "JPEG"))
            (tmp_path / "pets" / name / f"small{number}.png").write_bytes(encoded(small, "PNG"))
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "pets" / "cat" / "large0.jpg").write_bytes(encoded(picture(640, 480), "JPEG", exif=exif))
    return tmp_path / "pets"


def test_each_row_shows_its_own_picture(pets: Path) -> None:
    source = extracted(pets.parent, f"folder:{pets}")
    rows, gallery = rows_of(source), Gallery([source], pets.parent / "data")
    names = [name.decode() for name in rows.ids.tolist()]
    for row, name in enumerate(names):
        content, own = gallery.thumbnail(rows, row), opened((pets / name).read_bytes())
        shown = opened(content)
        if name == "cat/large0.jpg":
            assert shown.size == (144, 192)  # upright
        elif "large" in name:
            assert (shown.format, shown.size) == ("JPEG", (192, 144))
            assert nearest(shown, [one for one in names if "large" in one], pets) == name
        else:
            assert shown.format == "PNG"
            assert np.array_equal(np.asarray(shown), np.asarray(own.convert("RGB")))
        assert gallery.thumbnail(rows, row) is content


def test_a_picture_that_changed_is_not_shown_as_the_one_it_was(pets: Path) -> None:
    source = extracted(pets.parent, f"folder:{pets}")
    rows, gallery = rows_of(source), Gallery([source], pets.parent / "data")
    names = [name.decode() for name in rows.ids.tolist()]
    (pets / "cat/small0.png").write_bytes(encoded(picture(20, 30, 99), "PNG"))
    (pets / "cat/small1.png").unlink()
    with pytest.raises(ImageUnreadable, match=r"small0\.png: is another picture by now, its SHA-256 is"):
        gallery.thumbnail(rows, names.index("cat/small0.png"))
    with pytest.raises(ImageUnreadable, match=r"small1\.png: can't be opened: No such file"):
        gallery.thumbnail(rows, names.index("cat/small1.png"))
    assert gallery.thumbnail(rows, names.index("cat/small2.png"))


def test_pictures_are_found_where_others_came_or_went(pets: Path) -> None:
    source = extracted(pets.parent, f"folder:{pets}")
    rows = rows_of(source)
    before = Gallery([source], pets.parent / "data")
    kept = [before.thumbnail(rows, row) for row in range(len(rows.ids))]
    (pets / "cat/small1.png").unlink()
    for number in range(7):
        (pets / "dog" / f"new{number}.png").write_bytes(encoded(picture(seed=50 + number), "PNG"))
    after = Gallery([source], pets.parent / "data")
    for row, name in enumerate(rows.ids.tolist()):
        if name == b"cat/small1.png":
            with pytest.raises(ImageUnreadable, match=r"the picture cat/small1\.png is no longer there"):
                after.thumbnail(rows, row)
        else:
            assert after.thumbnail(rows, row) == kept[row]


@pytest.mark.parametrize("row", [-1, 12, 10**12])
def test_no_other_row_is_shown(row: int, pets: Path) -> None:
    source = extracted(pets.parent, f"folder:{pets}")
    rows, gallery = rows_of(source), Gallery([source], pets.parent / "data")
    with pytest.raises(ImageUnreadable, match=rf"row {row}: not there, expected 0 to 11"):
        gallery.thumbnail(rows, row)
    old = dataclasses.replace(rows, digests=None)
    with pytest.raises(ImageUnreadable, match="not there"):
        gallery.thumbnail(old, 0)


def test_what_is_kept_is_bounded(pets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = extracted(pets.parent, f"folder:{pets}")
    rows, gallery = rows_of(source), Gallery([source], pets.parent / "data")
    monkeypatch.setattr(module, "MOST_BYTES", 20_000)
    for row in range(12):
        gallery.thumbnail(rows, row)
    assert 0 < sum(map(len, gallery._made.values())) <= 20_000


def test_pictures_in_memory_are_shown(tmp_path: Path) -> None:
    source = extracted(tmp_path, "digits", "--limit", "10")
    rows, gallery = rows_of(source), Gallery([source], tmp_path / "data")
    images = datasets.open_split("digits", "train", tmp_path)
    pixels = images.read(0, 10, Preprocessing(8), 1).pixels
    for row in range(10):
        assert np.array_equal(np.asarray(opened(gallery.thumbnail(rows, row))), pixels[row])


def test_a_folder_that_is_gone_or_has_other_classes_has_none(pets: Path) -> None:
    source = extracted(pets.parent, f"folder:{pets}")
    (pets / "bird").mkdir()
    (pets / "bird/one.png").write_bytes(encoded(picture(), "PNG"))
    with pytest.raises(DataNotFound, match=r"no pictures of it: .*pets has other classes by now"):
        Gallery([source], pets.parent / "data")
    pets.rename(pets.parent / "elsewhere")
    with pytest.raises(DataNotFound, match=r"no pictures of it: .*pets: no such folder"):
        Gallery([source], pets.parent / "data")


def test_nothing_is_downloaded(tmp_path: Path) -> None:
    source = extracted(tmp_path, "digits", "--limit", "10")
    other = dataclasses.replace(source, manifest=dataclasses.replace(source.manifest, dataset="cifar10"))
    with pytest.raises(DataNotFound, match="no pictures of it: cifar10 would have to be downloaded"):
        Gallery([other], tmp_path / "data")
