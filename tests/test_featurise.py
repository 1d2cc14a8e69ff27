"""Outside pictures: in batches no larger than there are pictures for, and the features do not depend on it."""

from pathlib import Path

import hypothesis
import numpy as np
import numpy.typing as npt
import pytest
from extract_samples import QuarterMeans, file_images, picture
from hypothesis import strategies as st

from headstart.core.cache.errors import DataNotFound
from headstart.core.extract.featurise import Outside, expand, featurise, outside
from headstart.core.extract.network.interface import EngineConfig, Pending
from headstart.core.extract.pictures.framing import framed
from headstart.core.extract.pictures.preprocess import Preprocessing


class Counting(QuarterMeans):
    """Keeps the ways it was asked to run in."""

    ways: list[EngineConfig]

    def running(self, way: EngineConfig) -> QuarterMeans:
        self.ways = [*getattr(self, "ways", []), way]
        return super().running(way)


def gathered(paths: list[Path], extractor: QuarterMeans, workers: int = 1, batch_size: int | None = None) -> Outside:
    """All that `featurise` gives, in one."""
    notes = list[str]()
    found = list(featurise(outside(paths), extractor, workers, batch_size, notes.append))
    assert notes == []
    return Outside(
        [row for part in found for row in part.features],
        [row for part in found for row in part.rows],
        [image for part in found for image in part.skipped],
    )


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    root = tmp_path_factory.mktemp("photos")
    file_images(root, 30)
    return sorted(root.iterdir())


@pytest.mark.parametrize(("count", "size"), [(1, 1), (2, 2), (3, 4), (4, 4), (5, 8), (8, 8), (9, 12), (12, 12)])
def test_a_few_pictures_make_a_small_batch(photos: list[Path], count: int, size: int) -> None:
    extractor = Counting(batch_size=12)
    found = gathered(photos[:count], extractor)
    assert extractor.ways == [EngineConfig("eager", size)]
    assert (len(found.features), found.rows, found.skipped) == (count, list(range(count)), [])


@pytest.mark.parametrize(("count", "size"), [(1, 1), (2, 1), (3, 2), (4, 2), (9, 8), (17, 12), (24, 12)])
def test_a_few_pictures_are_shared_out_to_the_lanes(photos: list[Path], count: int, size: int) -> None:
    extractor = Counting(batch_size=12, concurrent_batches=2)
    assert gathered(photos[:count], extractor).rows == list(range(count))
    assert extractor.ways == [EngineConfig("eager", size)]


def test_no_pictures_are_no_work() -> None:
    extractor = Counting()
    assert gathered([], extractor) == Outside([], [], [])
    assert not hasattr(extractor, "ways")


class InLanes(QuarterMeans):
    """A stand-in that may not be asked for batches."""

    def submit(self, images: npt.NDArray[np.uint8]) -> Pending:
        raise AssertionError("one picture has all threads")


def test_one_picture_has_all_threads(photos: list[Path]) -> None:
    assert gathered(photos[:1], InLanes(batch_size=1, concurrent_batches=2)).rows == [0]


def test_one_picture_that_can_not_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"text")
    found = gathered([tmp_path / "bad.png"], InLanes(batch_size=1))
    assert (found.features, found.rows, [image.row for image in found.skipped]) == ([], [], [0])


def test_many_pictures_are_computed_as_an_extraction_would(photos: list[Path]) -> None:
    extractor = Counting(batch_size=4)
    gathered(photos, extractor, batch_size=5)
    assert extractor.ways == [EngineConfig("eager", 5)]
    known = Counting(batch_size=4)
    known.tuning.chosen, known.tuning.rows = EngineConfig("compiled", 16), 24_000  # by an extraction in this process
    known.tuning.ready[EngineConfig("compiled", 16)] = "its network"
    gathered(photos, known)
    assert known.ways == [EngineConfig("compiled", 16)]


@hypothesis.given(count=st.integers(1, 30), batch_size=st.integers(1, 20), lanes=st.integers(1, 4))
@hypothesis.settings(max_examples=20)
def test_features_do_not_depend_on_how_many_pictures_there_are(
    photos: list[Path], count: int, batch_size: int, lanes: int
) -> None:
    found = gathered(photos[:count], QuarterMeans(batch_size=batch_size, concurrent_batches=lanes))
    pixels = np.array([framed(picture(seed=row), Preprocessing(16)) for row in range(count)], dtype=np.uint8)
    assert np.array_equal(np.stack(found.features), QuarterMeans()(pixels))


@pytest.mark.parametrize("lanes", [1, 2])
def test_pictures_that_can_not_be_read_are_named_and_the_others_are_there(
    photos: list[Path], tmp_path: Path, lanes: int
) -> None:
    bad = [tmp_path / f"bad{i}.png" for i in range(8)]
    for path in bad:
        path.write_bytes(b"text")
    found = gathered([photos[0], *bad, photos[1]], QuarterMeans(batch_size=2, concurrent_batches=lanes))
    assert found.rows == [0, 9]
    assert [image.row for image in found.skipped] == list(range(1, 9))


def test_features_are_handed_on_before_all_are_there(photos: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headstart.core.extract.featurise.BLOCK", 6)
    extractor = QuarterMeans(batch_size=3)
    parts = featurise(outside(photos), extractor, 1, 3, lambda _: None)
    assert next(parts).rows == list(range(6))
    assert extractor.seen <= 12
    parts.close()
    sizes = [len(part.rows) for part in featurise(outside(photos[:20]), extractor, 1, 3, lambda _: None)]
    assert sizes == [6, 6, 6, 2]


def test_what_names_no_picture_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataNotFound, match=r"no picture there; expected a file, a folder of pictures, or a pattern"):
        expand([str(tmp_path / "*.jpg")])
