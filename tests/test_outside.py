"""Outside pictures: in batches no larger than there are pictures for, and the features do not depend on it."""

from pathlib import Path

import hypothesis
import numpy as np
import pytest
from extract_samples import QuarterMeans, file_images, picture
from hypothesis import strategies as st

from cache.errors import DataNotFound
from extract.outside import expand, featurise
from extract.pictures.decode import shrink
from extract.tune import Way


class Counting(QuarterMeans):
    """Keeps the ways it was asked to run in."""

    ways: list[Way]

    def running(self, way: Way) -> QuarterMeans:
        self.ways = [*getattr(self, "ways", []), way]
        return super().running(way)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    root = tmp_path_factory.mktemp("photos")
    file_images(root, 9)
    return sorted(root.iterdir())


@pytest.mark.parametrize(("count", "size"), [(0, 1), (1, 1), (2, 2), (3, 4), (4, 4), (5, 8), (8, 8), (9, 12)])
def test_a_few_pictures_make_a_small_batch(photos: list[Path], count: int, size: int) -> None:
    extractor = Counting(batch_size=12)
    found = featurise(photos[:count], extractor, 16, 1)
    assert extractor.ways == [Way("eager", size)]
    assert (len(found.features), found.rows, found.skipped) == (count, list(range(count)), [])


@hypothesis.given(count=st.integers(1, 9), batch_size=st.integers(1, 20))
@hypothesis.settings(max_examples=20)
def test_features_do_not_depend_on_how_many_pictures_there_are(photos: list[Path], count: int, batch_size: int) -> None:
    found = featurise(photos[:count], QuarterMeans(batch_size=batch_size), 16, 1)
    pixels = np.array([shrink(picture(seed=row), 16) for row in range(count)], dtype=np.uint8)
    assert np.array_equal(np.stack(found.features), QuarterMeans()(pixels))


def test_a_picture_that_can_not_be_read_is_named_and_the_others_are_there(photos: list[Path], tmp_path: Path) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"text")
    found = featurise([photos[0], bad, photos[1]], QuarterMeans(), 16, 1)
    assert found.rows == [0, 2]
    assert [image.row for image in found.skipped] == [1]


def test_what_names_no_picture_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataNotFound, match=r"no picture there; expected a file, a folder of pictures, or a pattern"):
        expand([str(tmp_path / "*.jpg")])
