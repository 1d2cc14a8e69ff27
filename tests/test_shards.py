"""One shard: each batch is asked for before the one before it is waited for, and every row lands where it belongs."""

import dataclasses
import re
import threading
from pathlib import Path

import hypothesis
import numpy as np
import numpy.typing as npt
import pytest
from extract_samples import QuarterMeans, array_images, file_images, no_body, noise, picture
from hypothesis import strategies as st

from headstart.core.cache.errors import DataNotFound, FeaturesInvalid, ImageUnreadable, OutOfMemory
from headstart.core.cache.shard import Shard
from headstart.core.cache.shard_plan import Part
from headstart.core.extract.backbones import Backbone
from headstart.core.extract.config import ExtractConfig
from headstart.core.extract.images import Batch, Images
from headstart.core.extract.images.files import FileImages
from headstart.core.extract.job import Job
from headstart.core.extract.network.devices import Device
from headstart.core.extract.network.interface import Extractor, Pending
from headstart.core.extract.pictures.framing import framed
from headstart.core.extract.pictures.preprocess import Preprocessing
from headstart.core.extract.reading import Reader
from headstart.core.extract.shards import compute_shard, computed
from headstart.core.extract.weights import Weights

PIXELS = noise(18, 16)


def job(images: Images, **config: object) -> Job:
    return Job(
        images=images,
        backbone=Backbone("quarters", 4, no_body),
        weights=Weights("file", "0" * 64, "nowhere"),
        preprocessing=Preprocessing(16),
        device=Device("cpu", "fp32", "this CPU"),
        config=ExtractConfig(**config),  # type: ignore[arg-type]
    )


@dataclasses.dataclass
class OwnPace(QuarterMeans):
    """A device that works on its own: features are there only when waited for. `told` keeps what was asked of it.

    `bad_submit` and `bad_wait` are the numbers of the batches where it fails.
    """

    told: list[str] = dataclasses.field(default_factory=list)
    bad_submit: int | None = None
    bad_wait: int | None = None
    submitted: int = 0
    error: Exception = dataclasses.field(default_factory=lambda: OutOfMemory("no room in this test"))

    def submit(self, images: npt.NDArray[np.uint8]) -> Pending:
        number = self.submitted
        self.submitted += 1
        self.told.append(f"submit {number}")
        if number == self.bad_submit:
            raise self.error
        return Asked(self, number, images)


@dataclasses.dataclass
class Asked:
    """A batch that a device of its own pace was asked for."""

    device: OwnPace
    number: int
    images: npt.NDArray[np.uint8]

    def result(self) -> npt.NDArray[np.float32]:
        self.device.told.append(f"wait {self.number}")
        if self.number == self.device.bad_wait:
            raise self.device.error
        return self.device(self.images)

    def cancel(self) -> None:
        self.device.told.append(f"cancel {self.number}")


def make(task: Job, extractor: Extractor, start: int, stop: int, advanced: list[int] | None = None) -> Shard:
    return compute_shard(task, extractor, Part(0, start, stop), ([] if advanced is None else advanced).append)


def in_turn(batches: int) -> list[str]:
    """Submit 0, then each batch before the one before it is waited for, and the last wait."""
    pairs = [(f"submit {i}", f"wait {i - 1}") for i in range(1, batches)]
    return ["submit 0", *[told for pair in pairs for told in pair], f"wait {batches - 1}"]


@pytest.mark.parametrize(("rows", "batches"), [(3, 1), (1, 1), (4, 2), (6, 2), (10, 4)])
def test_a_batch_is_asked_for_before_the_one_before_it_is_waited_for(rows: int, batches: int) -> None:
    device, advanced = OwnPace(), list[int]()
    shard = make(job(array_images(PIXELS)), device, 0, rows, advanced)
    assert device.told == in_turn(batches)
    assert sum(advanced) == rows
    assert np.array_equal(shard.rows.features, QuarterMeans()(PIXELS[:rows]))


def ahead(batches: int, concurrent: int) -> list[str]:
    """Twice as many batches as are computed at once asked for before the oldest is waited for."""
    told = [f"submit {i}" for i in range(min(batches, 2 * concurrent))]
    for i in range(batches):
        told.append(f"wait {i}")
        if i + 2 * concurrent < batches:
            told.append(f"submit {i + 2 * concurrent}")
    return told


@pytest.mark.parametrize("concurrent", [1, 2, 3, 8])
@pytest.mark.parametrize("batches", [1, 2, 5, 6])
def test_twice_as_many_batches_are_in_flight_as_are_computed_at_once(batches: int, concurrent: int) -> None:
    device = OwnPace(concurrent_batches=concurrent)
    shard = make(job(array_images(PIXELS)), device, 0, 3 * batches)
    assert device.told == ahead(batches, concurrent)
    assert np.array_equal(shard.rows.features, QuarterMeans()(PIXELS[: 3 * batches]))


def test_an_observer_that_ends_the_run_ends_what_was_asked_for() -> None:
    device = OwnPace(concurrent_batches=2)

    def interrupt(rows: int) -> None:
        raise KeyboardInterrupt("Ctrl-C")

    with pytest.raises(KeyboardInterrupt, match="Ctrl-C"):
        compute_shard(job(array_images(PIXELS)), device, Part(0, 0, 18), interrupt)
    assert device.told == [*(f"submit {i}" for i in range(4)), "wait 0", *(f"cancel {i}" for i in (1, 2, 3))]


@hypothesis.given(start=st.integers(0, 17), rows=st.integers(1, 18), batch_size=st.integers(1, 20))
def test_rows_are_right_and_in_order_whatever_the_batches(start: int, rows: int, batch_size: int) -> None:
    stop = min(18, start + rows)
    shard = make(job(array_images(PIXELS)), OwnPace(batch_size), start, stop)
    assert np.array_equal(shard.rows.features, QuarterMeans()(PIXELS[start:stop]))
    assert shard.rows.labels.tolist() == [i % 3 for i in range(start, stop)]
    assert shard.rows.ids.tolist() == [b"%d" % i for i in range(start, stop)]
    assert (shard.start, shard.stop, shard.skipped) == (start, stop, ())


ROWS = 9


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> FileImages:
    return file_images(tmp_path_factory.mktemp("photos"), ROWS)


def spoil(images: FileImages, folder: Path, bad: set[int]) -> FileImages:
    """The same pictures, of which those of the rows `bad` can't be read."""
    for row, name in enumerate(images.paths):
        (folder / name).write_bytes(b"text" if row in bad else (images.root / name).read_bytes())
    return dataclasses.replace(images, root=folder)


@hypothesis.given(bad=st.sets(st.integers(0, ROWS - 1)), batch_size=st.integers(1, 5))
@hypothesis.example(bad=set(range(ROWS)), batch_size=3)
@hypothesis.example(bad={3, 4, 5}, batch_size=3)
@hypothesis.example(bad={0, 1, 2}, batch_size=3)
@hypothesis.example(bad={6, 7, 8}, batch_size=3)
@hypothesis.settings(max_examples=30)
def test_skipped_pictures_and_batches_without_any_leave_the_rest_aligned(
    photos: FileImages, tmp_path_factory: pytest.TempPathFactory, bad: set[int], batch_size: int
) -> None:
    images = spoil(photos, tmp_path_factory.mktemp("spoiled"), bad)
    device, advanced = OwnPace(batch_size), list[int]()
    shard = make(job(images, on_error="skip"), device, 0, ROWS, advanced)
    kept = [row for row in range(ROWS) if row not in bad]
    pixels = np.array([framed(picture(seed=row), Preprocessing(16)) for row in kept], dtype=np.uint8).reshape(-1, 16, 16, 3)
    assert np.array_equal(shard.rows.features, QuarterMeans()(pixels))
    assert shard.rows.features.shape == (len(kept), 4)
    assert shard.rows.labels.tolist() == [row % 3 for row in kept]
    assert shard.rows.ids.tolist() == [b"%02d.png" % row for row in kept]
    assert [image.row for image in shard.skipped] == sorted(bad)
    assert sum(advanced) == ROWS
    readable = [b for b in range(0, ROWS, batch_size) if set(range(b, min(ROWS, b + batch_size))) - bad]
    assert device.submitted == len(readable)  # a batch without a readable picture is not asked for
    assert sorted(device.told) == sorted([f"{what} {i}" for i in range(len(readable)) for what in ("submit", "wait")])


def test_a_batch_without_a_picture_does_not_hold_up_the_next(photos: FileImages, tmp_path: Path) -> None:
    device = OwnPace()
    make(job(spoil(photos, tmp_path, {3, 4, 5}), on_error="skip"), device, 0, ROWS)
    assert device.told == ["submit 0", "wait 0", "submit 1", "wait 1"]


def test_an_unreadable_picture_ends_the_shard_before_its_batch_is_asked_for(photos: FileImages, tmp_path: Path) -> None:
    device = OwnPace()
    images = spoil(photos, tmp_path, {4})
    with pytest.raises(ImageUnreadable, match=r"04\.png: .*; --on-error skip leaves such images out"):
        make(job(images), device, 0, ROWS)
    assert "submit 1" not in device.told


# ---- errors


@pytest.mark.parametrize("error", [OutOfMemory("no room in this test"), RuntimeError("the device is gone")], ids=str)
@pytest.mark.parametrize("when", ["bad_submit", "bad_wait"])
@pytest.mark.parametrize("batch", [0, 1, 3])
def test_an_error_of_the_device_ends_the_shard_and_its_threads(error: Exception, when: str, batch: int) -> None:
    device, advanced, threads = OwnPace(error=error, **{when: batch}), list[int](), threading.active_count()  # type: ignore[arg-type]
    with pytest.raises(type(error), match=re.escape(str(error))):
        make(job(array_images(PIXELS)), device, 0, 12, advanced)
    done = {"bad_submit": max(0, batch - 1), "bad_wait": batch}[when]
    assert advanced == [3] * done
    assert threading.active_count() == threads
    left = {"bad_submit": range(done, batch), "bad_wait": range(done, min(4, done + 2))}[when]
    assert [told for told in device.told if "cancel" in told] == [f"cancel {number}" for number in left]


def test_an_error_of_the_reader_comes_after_what_was_read_before() -> None:
    images = array_images(PIXELS)

    def half(start: int, stop: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
        if stop > 6:
            raise DataNotFound("the second half is missing")
        return images.load(start, stop)

    device, threads = OwnPace(), threading.active_count()
    with pytest.raises(DataNotFound, match="the second half is missing"):
        make(job(dataclasses.replace(images, load=half)), device, 0, 12)
    assert device.told[:3] == ["submit 0", "submit 1", "wait 0"]
    assert threading.active_count() == threads


def test_a_feature_that_is_not_finite_names_the_picture_of_its_own_batch() -> None:
    pixels = PIXELS // 2
    pixels[7] = 255
    with pytest.raises(FeaturesInvalid, match="memory: image 7 gives features that are not finite in float32"):
        make(job(array_images(pixels)), OwnPace(scale=2e36), 0, 12)


def test_the_next_batch_is_read_while_one_is_computed() -> None:
    read = threading.Event()

    @dataclasses.dataclass
    class Waits(QuarterMeans):
        """Gives the first features only when the second batch is being read."""

        def __call__(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
            assert read.wait(timeout=30)
            return super().__call__(images)

    @dataclasses.dataclass(frozen=True)
    class Tells:
        """Images that tell when the second batch is read."""

        images: Images

        def __getattr__(self, name: str) -> object:
            return getattr(self.images, name)

        def read(self, start: int, stop: int, transform: Preprocessing, workers: int) -> Batch:
            if start == 3:
                read.set()
            return self.images.read(start, stop, transform, workers)

    shard = make(job(Tells(array_images(PIXELS))), Waits(), 0, 6)  # type: ignore[arg-type]
    assert np.array_equal(shard.rows.features, QuarterMeans()(PIXELS[:6]))


def test_an_empty_span_has_no_batches() -> None:
    assert list(computed(Reader(array_images(PIXELS), Preprocessing(16), 1), QuarterMeans(), (5, 5), lambda _: None)) == []
