"""The extraction run, with a stand-in for the backbone: what is there and right is kept, all else is made or refused."""

import dataclasses
import errno
import gc
import json
import os
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import numpy.typing as npt
import pytest
from extract_samples import (
    Interrupted,
    QuarterMeans,
    RecordingObserver,
    array_images,
    encoded,
    file_images,
    no_body,
    noise,
    picture,
    printed_by_python,
)
from headstart.core.cache.errors import (
    DataNotFound,
    DeviceUnavailable,
    FeaturesInvalid,
    FeaturesNotFound,
    FeaturesOfAnotherVersion,
    FeaturesStale,
    ImageUnreadable,
    OutOfMemory,
    WeightsMismatch,
)
from headstart.core.cache.execution import NAME as EXECUTION
from headstart.core.cache.execution import Execution, read_execution
from headstart.core.cache.files import canonical_json, sha256
from headstart.core.cache.manifest import NAME as MANIFEST
from headstart.core.cache.manifest import VERSION, ShardRecord
from headstart.core.cache.shard import Rows, Shard
from headstart.core.cache.shard_plan import Part
from headstart.core.cache.store import FeatureStore
from headstart.core.cache.writer import SetWriter
from headstart.core.extract import datasets
from headstart.core.extract.backbones import Backbone
from headstart.core.extract.config import ExtractConfig
from headstart.core.extract.images import Images
from headstart.core.extract.images.files import FileImages
from headstart.core.extract.job import Job
from headstart.core.extract.network.devices import Device
from headstart.core.extract.network.interface import EngineConfig, Extractor
from headstart.core.extract.pictures.decode import shrink
from headstart.core.extract.pictures.preprocess import Preprocessing
from headstart.core.extract.reading import Pace
from headstart.core.extract.reuse import survey
from headstart.core.extract.run import Outcome, extract
from headstart.core.extract.shards import compute_shard
from headstart.core.extract.weights import Weights
from hypothesis import strategies as st

SHARD_ROWS = 4
PIXELS = noise(18, 8)


def job(images: Images, precision: str = "fp32", weights: str = "file", **config: object) -> Job:
    """A job for the stand-in, in shards of four rows."""
    return Job(
        images=images,
        backbone=Backbone("quarters", 4, no_body),
        weights=Weights(weights, "0" * 64, "nowhere"),
        preprocessing=Preprocessing(16),
        device=Device("cpu", precision, "this CPU"),
        config=ExtractConfig(**{"shard_rows": SHARD_ROWS, "batch_size": 3, **config}),  # type: ignore[arg-type]
    )


def tiny(rows: int = 18, **config: object) -> Job:
    """A job over the first pictures in memory."""
    return job(array_images(PIXELS[:rows]), **config)  # type: ignore[arg-type]


def run(
    job: Job, store: FeatureStore, extractor: Extractor | None = None, observer: RecordingObserver | None = None
) -> Outcome:
    return extract(job, lambda _: extractor or QuarterMeans(), store, observer or RecordingObserver())


def run_finding_all(job: Job, store: FeatureStore) -> Outcome:
    """A run in which nothing may be missing."""

    def load(_: Job) -> Extractor:
        raise AssertionError("the backbone was loaded")

    outcome = extract(job, load, store, RecordingObserver())
    assert (outcome.computed, outcome.elapsed_s) == (0, 0.0)
    return outcome


def files(store: FeatureStore) -> dict[str, tuple[bytes, int]]:
    """Every shard's bytes and modification time."""
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in sorted(store.root.glob("*/shard-*.h5"))}


def shards(store: FeatureStore) -> dict[str, bytes]:
    return {name: content for name, (content, _) in files(store).items()}


def assert_equal(found: Rows, expected: Rows) -> None:
    for name in ("features", "labels", "ids"):
        assert np.array_equal(getattr(found, name), getattr(expected, name)), name


def expected_rows(images: npt.NDArray[np.uint8]) -> Rows:
    """What the stand-in gives for whole pictures in memory, at once."""
    count = len(images)
    return Rows(QuarterMeans()(images), np.arange(count) % 3, np.array([b"%d" % i for i in range(count)]))


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    return FeatureStore(tmp_path / "features")


# ---- a whole run


def test_a_run_stores_every_rows_feature_label_and_id(store: FeatureStore) -> None:
    outcome = run(tiny(), store)
    assert outcome.computed == 18
    assert_equal(outcome.features.load(), expected_rows(PIXELS))
    manifest = outcome.features.manifest
    assert (manifest.rows, manifest.stop, manifest.feature_dim, manifest.dtype) == (18, 18, 4, "float32")
    assert [(record.start, record.stop) for record in manifest.shards] == [(0, 4), (4, 8), (8, 12), (12, 16), (16, 18)]


def test_the_manifest_tells_where_the_features_came_from(store: FeatureStore) -> None:
    images = dataclasses.replace(array_images(PIXELS), notes=("a stand-in",))
    found = run(job(images, limit=5), store).features.manifest
    origin = found.provenance
    assert (origin.split_rows, origin.weights_from, origin.data_from, origin.notes) == (
        18,
        "nowhere",
        "memory",
        ("a stand-in",),
    )
    assert (origin.parameters, origin.device, origin.batch_size) == ("parameters of the stand-in", "this CPU", 3)
    assert {"torch", "torchvision", "h5py", "numpy", "pillow", "headstart"} == set(origin.versions)
    assert found.elapsed_s is not None


def refused(_: Job) -> Extractor:
    raise WeightsMismatch("w.pth: lacks conv1.weight")


def test_weights_that_are_refused_leave_nothing_behind(store: FeatureStore) -> None:
    with pytest.raises(WeightsMismatch, match=r"w\.pth: lacks conv1\.weight"):
        extract(tiny(), refused, store, RecordingObserver())
    assert not store.root.exists()


def test_weights_that_are_refused_leave_the_old_set_whole(store: FeatureStore) -> None:
    features = run(tiny(), store).features
    with pytest.raises(WeightsMismatch, match=r"w\.pth: lacks conv1\.weight"):
        extract(tiny(force=True), refused, store, RecordingObserver())
    assert_equal(features.load(), expected_rows(PIXELS))


class ReadOnly:
    """A disk that can only be read: opening a file to write it fails, as does making or renaming one."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        opened = os.open

        def only_read(path: Any, flags: int, *rest: Any, **named: Any) -> int:
            if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                raise OSError(errno.EROFS, "Read-only file system", str(path))
            return opened(path, flags, *rest, **named)

        def never(path: Any, *_: Any, **__: Any) -> None:
            raise OSError(errno.EROFS, "Read-only file system", str(path))

        patch.setattr(os, "open", only_read)
        for name in ("mkdir", "unlink", "replace", "rename"):
            patch.setattr(os, name, never)


def test_a_set_on_a_read_only_disk_is_found_there(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    before = run(tiny(), store).features
    for lock in store.root.glob(".*.lock"):
        lock.unlink()
    ReadOnly(monkeypatch)
    assert run_finding_all(tiny(), store).features == before
    assert run_finding_all(tiny(limit=5), store).features == before


def test_touched_pictures_on_a_read_only_disk_are_found_the_same(
    store: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = file_images(tmp_path / "pictures", 6)
    before = run(job(images), store).features
    os.utime(images.root / images.paths[0], (1, 1))
    ReadOnly(monkeypatch)
    assert run_finding_all(job(images), store).features == before


def test_what_is_missing_on_a_read_only_disk_is_refused_with_the_way_out(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tiny(limit=5), store)
    ReadOnly(monkeypatch)
    message = r"Read-only file system, so the set can't be locked and written; choose another --features-dir: '.*lock'"
    with pytest.raises(OSError, match=message):
        run(tiny(), store)


def test_a_complete_set_is_found_while_another_process_extends_it(store: FeatureStore) -> None:
    before = run(tiny(limit=10), store).features
    with store.writing(tiny().key, "train", lambda: None):  # as a longer run would hold it for hours
        assert run_finding_all(tiny(limit=10), store).features == before


def test_where_pictures_came_from_is_a_whole_path(
    tmp_path: Path, store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = dataclasses.replace(file_images(tmp_path / "pictures", 3), root=Path("pictures"))
    monkeypatch.chdir(tmp_path)
    assert run(job(images), store).features.manifest.provenance.data_from == str(tmp_path / "pictures")


def test_a_set_that_is_there_needs_no_backbone_and_is_not_written(store: FeatureStore) -> None:
    first = run(tiny(), store)
    before, manifest = files(store), (first.features.folder / "manifest.json").stat().st_mtime_ns
    again = run_finding_all(tiny(), store)
    assert again.features == first.features
    assert files(store) == before
    assert (first.features.folder / "manifest.json").stat().st_mtime_ns == manifest


def test_a_longer_limit_adds_only_the_missing_shards(store: FeatureStore) -> None:
    run(tiny(limit=10), store)
    before, extractor, observer = files(store), QuarterMeans(), RecordingObserver()
    outcome = run(tiny(), store, extractor, observer)
    assert (outcome.computed, extractor.seen) == (8, 8)
    assert observer.begun == [("quarters tiny train", 18, 10)]
    assert {name: files(store)[name] for name in before} == before
    assert_equal(outcome.features.load(), expected_rows(PIXELS))


def test_a_set_shorter_than_asked_names_the_limit_that_completes_it(store: FeatureStore) -> None:
    features = run(tiny(limit=6), store).features
    with pytest.raises(FeaturesNotFound, match=r"holds the first 6 rows, 18 were asked for; .* --limit 18"):
        features.load(limit=18)


@hypothesis.given(
    limits=st.lists(st.integers(1, 18), min_size=1, max_size=4),
    shard_rows=st.integers(1, 7),
    batch_size=st.integers(1, 5),
)
@hypothesis.settings(max_examples=20)
def test_rows_depend_on_no_limit_shard_or_batch_size(
    tmp_path_factory: pytest.TempPathFactory, limits: list[int], shard_rows: int, batch_size: int
) -> None:
    store = FeatureStore(tmp_path_factory.mktemp("features"))
    for limit in limits:
        outcome = run(tiny(limit=limit, shard_rows=shard_rows), store, QuarterMeans(batch_size))
    assert outcome.features.manifest.stop == max(limits)
    assert_equal(outcome.features.load(), expected_rows(PIXELS[: max(limits)]))


def test_a_shard_depends_on_its_arguments_alone() -> None:
    shards = [compute_shard(tiny(), QuarterMeans(), Part(i, 4 * i, 4 * i + 4), lambda _: None) for i in (2, 0, 2)]
    assert_equal(shards[0].rows, shards[2].rows)
    assert shards[0].inputs == shards[2].inputs != shards[1].inputs
    assert (shards[0].start, shards[0].stop) == (8, 12)


def test_progress_adds_up(store: FeatureStore) -> None:
    observer = RecordingObserver()
    run(tiny(), store, observer=observer)
    assert observer.begun == [("quarters tiny train", 18, 0)]
    assert sum(observer.advanced) == 18
    assert observer.advanced == [3, 1, 3, 1, 3, 1, 3, 1, 2]  # batches of three end with their shard of four
    assert (observer.ended, observer.notes) == (1, [])


def test_nothing_to_do_is_said_by_silence(store: FeatureStore) -> None:
    run(tiny(), store)
    observer = RecordingObserver()
    run(tiny(), store, observer=observer)
    assert observer == RecordingObserver()


# ---- keys


@pytest.mark.parametrize(
    ("precision", "weights", "dtype"),
    [
        ("fp32", "file", "float32"),
        ("tf32", "file", "float32"),
        ("bf16", "file", "float16"),
        ("fp16", "file", "float16"),
        ("bf16", "random:0", "float32"),
    ],
)
def test_low_precisions_are_stored_in_16_bits_unless_untrained(
    store: FeatureStore, precision: str, weights: str, dtype: str
) -> None:
    outcome = run(tiny(precision=precision, weights=weights), store)
    assert outcome.features.manifest.dtype == dtype
    assert outcome.features.load().features.dtype == dtype


# ---- changed inputs


def test_other_parameters_than_the_sets_are_refused_for_an_extension(store: FeatureStore) -> None:
    run(tiny(limit=8), store)
    with pytest.raises(FeaturesStale, match="made with other parameters than nowhere gives now; --force"):
        run(tiny(), store, QuarterMeans(parameters="others"))


@pytest.mark.parametrize("left", [15, 16])
def test_pictures_that_are_gone_are_refused_wherever_shards_end(store: FeatureStore, left: int) -> None:
    run(tiny(), store)
    with pytest.raises(FeaturesStale, match=rf"made from 1[68] images or more, memory has {left}; --force"):
        run(tiny(left), store)


@pytest.mark.parametrize("how", ["same", "changed"])
def test_force_makes_everything_anew(store: FeatureStore, how: str) -> None:
    run(tiny(), store)
    pixels = PIXELS if how == "same" else PIXELS[::-1].copy()
    extractor = QuarterMeans()
    outcome = run(job(array_images(pixels), force=True), store, extractor)
    assert (outcome.computed, extractor.seen) == (18, 18)
    assert_equal(outcome.features.load(), expected_rows(pixels))


def test_force_for_fewer_rows_leaves_no_old_shard(store: FeatureStore) -> None:
    run(tiny(), store)
    assert run(tiny(limit=6, force=True), store).features.manifest.stop == 6
    assert list(files(store)) == ["shard-00000.h5", "shard-00001.h5"]


# ---- damage and interruption


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "flipped bit": flip,
    "cut": lambda path: os.truncate(path, 100),
    "empty": lambda path: path.write_bytes(b""),
    "gone": Path.unlink,
    "another shard": lambda path: path.write_bytes((path.parent / "shard-00000.h5").read_bytes()),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_shard_alone_is_made_anew_and_named(store: FeatureStore, damage: str) -> None:
    folder = run(tiny(), store).features.folder
    before = files(store)
    DAMAGE[damage](folder / "shard-00002.h5")
    extractor, observer = QuarterMeans(), RecordingObserver()
    outcome = run(tiny(), store, extractor, observer)
    assert (outcome.computed, extractor.seen) == (4, 4)
    assert observer.notes == [f"{folder / 'shard-00002.h5'} is damaged and will be made anew"]
    assert shards(store) == {name: content for name, (content, _) in before.items()}
    assert {name for name, file in files(store).items() if file[1] != before[name][1]} == {"shard-00002.h5"}
    assert_equal(outcome.features.load(), expected_rows(PIXELS))


def test_a_set_mended_under_a_smaller_limit_keeps_its_other_rows(store: FeatureStore) -> None:
    folder = run(tiny(), store).features.folder
    flip(folder / "shard-00001.h5")
    outcome = run(tiny(limit=8), store)
    assert outcome.computed == 4
    assert_equal(outcome.features.load(), expected_rows(PIXELS))


def test_a_deleted_manifest_is_written_again_without_computing_a_row(store: FeatureStore) -> None:
    folder = run(tiny(), store).features.folder
    before = files(store)
    (folder / "manifest.json").unlink()
    extractor = QuarterMeans()
    outcome = run(tiny(), store, extractor)
    assert (outcome.computed, extractor.seen) == (0, 0)
    assert files(store) == before
    assert_equal(outcome.features.load(), expected_rows(PIXELS))
    assert outcome.features.manifest.elapsed_s is None
    run_finding_all(tiny(), store)


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"\xff"], ids=["empty", "object", "list", "bytes"])
def test_a_damaged_manifest_is_noted_once_and_written_again(store: FeatureStore, content: bytes) -> None:
    folder = run(tiny(), store).features.folder
    (folder / "manifest.json").write_bytes(content)
    observer = RecordingObserver()
    outcome = run(tiny(), store, observer=observer)
    assert outcome.computed == 0
    assert observer.notes == [f"{folder / 'manifest.json'} is damaged and will be made anew"]
    assert_equal(outcome.features.load(), expected_rows(PIXELS))


@pytest.mark.parametrize("done", [0, 1, 2, 4])
def test_an_interrupted_run_goes_on_and_ends_as_an_uninterrupted_one(tmp_path: Path, done: int) -> None:
    whole, broken = FeatureStore(tmp_path / "whole"), FeatureStore(tmp_path / "broken")
    expected = run(tiny(), whole).features
    with pytest.raises(Interrupted, match=r"^$"):
        run(tiny(), broken, observer=RecordingObserver(stop_after=done * SHARD_ROWS))
    assert len(files(broken)) == done
    assert broken.sets() == []
    before, extractor = files(broken), QuarterMeans()
    outcome = run(tiny(), broken, extractor)
    assert extractor.seen == 18 - done * SHARD_ROWS
    assert {name: files(broken)[name] for name in before} == before
    assert shards(broken) == shards(whole)
    assert outcome.features.manifest.digest == expected.manifest.digest


def test_an_interrupted_extension_leaves_the_old_set_whole(store: FeatureStore) -> None:
    features = run(tiny(limit=10), store).features
    with pytest.raises(Interrupted, match=r"^$"):
        run(tiny(), store, observer=RecordingObserver(stop_after=4))
    assert_equal(features.load(), expected_rows(PIXELS[:10]))
    assert_equal(store.sets()[0].load(), expected_rows(PIXELS[:10]))
    outcome = run(tiny(), store)
    assert outcome.computed == 4
    assert_equal(outcome.features.load(), expected_rows(PIXELS))


def test_data_missing_midway_keeps_the_shards_before(store: FeatureStore) -> None:
    images = array_images(PIXELS)

    def half(start: int, stop: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
        if stop > 10:
            raise DataNotFound("data_batch_2.bin: missing")
        return images.load(start, stop)

    with pytest.raises(DataNotFound, match=r"data_batch_2\.bin: missing"):
        run(job(dataclasses.replace(images, load=half)), store)
    assert list(files(store)) == ["shard-00000.h5", "shard-00001.h5"]
    assert run(job(dataclasses.replace(images, load=half), limit=8), store).computed == 0


# ---- numbers that can't be stored


@pytest.mark.parametrize(("precision", "scale"), [("fp32", 2e36), ("bf16", 300.0)], ids=["float32", "float16"])
def test_a_feature_that_is_not_finite_is_refused_with_its_image(store: FeatureStore, precision: str, scale: float) -> None:
    pixels = PIXELS // 2
    pixels[13] = 255
    dtype = {"fp32": "float32", "bf16": "float16"}[precision]
    way_out = {
        "fp32": "they are too large or undefined with these weights; try other --weights",
        "bf16": "try --precision fp32",
    }
    message = f"memory: image 13 gives features that are not finite in {dtype}; {way_out[precision]}"
    with pytest.raises(FeaturesInvalid, match=message):
        run(job(array_images(pixels), precision=precision), store, QuarterMeans(scale=scale))
    assert len(files(store)) == 3
    assert store.sets() == []


# ---- unreadable pictures


@pytest.fixture
def spoiled(tmp_path: Path) -> FileImages:
    """Ten picture files, three of which can't be read: 1, 4 and 9."""
    images = file_images(tmp_path / "photos", 10)
    (images.root / "01.png").write_bytes(b"")
    (images.root / "04.png").write_bytes(encoded(picture(90, 90), "PNG")[:300])
    (images.root / "09.png").unlink()
    return images


def test_an_unreadable_picture_stops_the_run_with_its_name(store: FeatureStore, spoiled: FileImages) -> None:
    message = r"/photos/01\.png: can't be decoded \(.*\); --on-error skip leaves such images out"
    with pytest.raises(ImageUnreadable, match=message):
        run(job(spoiled), store)


def test_skipped_pictures_are_recorded_and_the_other_rows_stay_aligned(store: FeatureStore, spoiled: FileImages) -> None:
    outcome = run(job(spoiled, on_error="skip"), store)
    kept = [0, 2, 3, 5, 6, 7, 8]
    rows, pixels = outcome.features.load(), np.stack([shrink(picture(seed=i), 16) for i in kept])
    assert_equal(rows, Rows(QuarterMeans()(pixels), np.array(kept) % 3, np.array([b"%02d.png" % i for i in kept])))
    manifest = outcome.features.manifest
    assert (manifest.rows, manifest.stop, manifest.skipped) == (7, 10, 3)
    skipped = [image for record in manifest.shards for image in record.skipped]
    assert [(image.row, image.id) for image in skipped] == [(1, "01.png"), (4, "04.png"), (9, "09.png")]
    assert skipped[2].reason == "can't be opened: No such file or directory"


def test_a_limit_counts_pictures_skipped_or_not(store: FeatureStore, spoiled: FileImages) -> None:
    features = run(job(spoiled, on_error="skip"), store).features
    assert [len(features.load(limit=limit)) for limit in (1, 2, 3, 5, 6, 10)] == [1, 1, 2, 3, 4, 7]


def test_skipping_again_finds_all_there(store: FeatureStore, spoiled: FileImages) -> None:
    run(job(spoiled, on_error="skip"), store)
    run_finding_all(job(spoiled, on_error="skip"), store)


def test_two_runs_that_skip_give_the_same_bytes(tmp_path: Path, spoiled: FileImages) -> None:
    stores = [FeatureStore(tmp_path / name) for name in ("first", "second")]
    run(job(spoiled, on_error="skip", workers=1), stores[0])
    run(job(spoiled, on_error="skip", workers=3), stores[1], QuarterMeans(batch_size=2))
    assert shards(stores[0]) == shards(stores[1])


def test_a_shard_without_a_single_readable_picture_is_empty(store: FeatureStore, spoiled: FileImages) -> None:
    for i in range(4, 8):
        (spoiled.root / f"{i:02d}.png").write_bytes(b"text")
    outcome = run(job(spoiled, on_error="skip"), store)
    assert [record.rows for record in outcome.features.manifest.shards] == [3, 0, 1]
    assert outcome.features.load().ids.tolist() == [b"00.png", b"02.png", b"03.png", b"08.png"]


@pytest.mark.parametrize("content", [encoded(picture(), "PNG"), b"text"], ids=["picture", "unreadable"])
def test_names_that_are_no_utf8_are_taken_like_others(store: FeatureStore, tmp_path: Path, content: bytes) -> None:
    name = os.fsdecode(b"caf\xe9")
    path = tmp_path / name / name / f"{name}.png"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    images = datasets.open_split(f"folder:{tmp_path / name}", "all", tmp_path)
    outcome = run(job(images, on_error="skip"), store)
    assert outcome.features.manifest.rows + outcome.features.manifest.skipped == 1
    assert outcome.features.load().ids.tolist() == images.ids(0, 1)[: outcome.features.manifest.rows]
    run_finding_all(job(images, on_error="skip"), store)


# ---- files and their times


def test_touched_files_are_read_again_and_found_the_same(store: FeatureStore, tmp_path: Path) -> None:
    images = file_images(tmp_path / "photos", 6)
    run(job(images), store)
    for path in images.paths:
        os.utime(images.root / path, ns=(0, 0))
    run_finding_all(job(images), store)


@dataclasses.dataclass(frozen=True)
class NeverRead(FileImages):
    """Picture files that nobody may read."""

    def fingerprints(self, start: int, stop: int) -> list[str]:
        raise AssertionError("the files were read")


@pytest.mark.parametrize("touched", [range(6), [5]], ids=["all", "one"])
def test_touched_files_are_read_once_and_their_new_times_kept(
    store: FeatureStore, tmp_path: Path, touched: list[int]
) -> None:
    images = file_images(tmp_path / "photos", 6)
    first = run(job(images), store).features
    before = files(store)
    for i in touched:
        os.utime(images.root / images.paths[i], ns=(0, 0))
    with pytest.raises(AssertionError, match="the files were read"):
        run_finding_all(job(NeverRead(**dataclasses.asdict(images))), store)
    second = run_finding_all(job(images), store).features
    third = run_finding_all(job(NeverRead(**dataclasses.asdict(images))), store).features
    assert third == second
    assert store.sets() == [second]
    assert (second.manifest.digest, second.manifest.provenance) == (first.manifest.digest, first.manifest.provenance)
    assert second.manifest.shards != first.manifest.shards
    assert files(store) == before


def test_touched_files_beyond_the_limit_are_not_read(store: FeatureStore, tmp_path: Path) -> None:
    images = file_images(tmp_path / "photos", 6)
    first = run(job(images), store).features
    os.utime(images.root / "05.png", ns=(0, 0))
    assert run_finding_all(job(NeverRead(**dataclasses.asdict(images)), limit=4), store).features == first


def test_an_untouched_file_is_not_read_again(store: FeatureStore, tmp_path: Path) -> None:
    images = file_images(tmp_path / "photos", 6)
    run(job(images), store)
    run_finding_all(job(NeverRead(**dataclasses.asdict(images))), store)


def test_a_changed_file_is_refused_even_at_its_old_size(store: FeatureStore, tmp_path: Path) -> None:
    images = file_images(tmp_path / "photos", 6)
    run(job(images), store)
    path = images.root / "05.png"
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    os.utime(path, ns=(0, 0))
    with pytest.raises(FeaturesStale, match=r"rows 4 to 5 of .*photos have changed"):
        run(job(images), store)


# ---- several processes, and what is said without computing


def test_a_second_run_says_that_it_waits_and_goes_on_when_the_first_is_done(store: FeatureStore) -> None:
    asked, outcomes = threading.Event(), []

    class Waiting(RecordingObserver):
        def note(self, text: str) -> None:
            super().note(text)
            asked.set()

    observer = Waiting()
    with store.writing(tiny().key, "train", lambda: None) as writer:
        second = threading.Thread(target=lambda: outcomes.append(run(tiny(), store, observer=observer)))
        second.start()
        assert asked.wait(timeout=30)
        assert outcomes == []
    second.join()
    assert observer.notes == [f"another process is writing {writer.folder}; waiting for it"]
    assert outcomes[0].computed == 18


def plan_of(job: Job, store: FeatureStore) -> list[tuple[int, int, bool]]:
    return [(part.start, part.stop, there) for part, there in survey(job, store)]


def test_a_survey_tells_what_is_there_and_what_is_missing(store: FeatureStore) -> None:
    assert plan_of(tiny(limit=10), store) == [(0, 4, False), (4, 8, False), (8, 10, False)]
    run(tiny(limit=10), store)
    assert plan_of(tiny(limit=10), store) == [(0, 4, True), (4, 8, True), (8, 10, True)]
    assert plan_of(tiny(limit=5), store) == [(0, 4, True), (4, 8, True)]
    assert plan_of(tiny(), store)[2:] == [(8, 10, True), (10, 14, False), (14, 18, False)]


def test_a_survey_misses_a_shard_that_is_gone(store: FeatureStore) -> None:
    (run(tiny(limit=10), store).features.folder / "shard-00001.h5").unlink()
    assert plan_of(tiny(limit=10), store) == [(0, 4, True), (4, 8, False), (8, 10, True)]


def test_a_survey_writes_nothing(store: FeatureStore) -> None:
    survey(tiny(), store)
    assert not store.root.exists()


def test_a_run_imports_no_torch() -> None:
    assert printed_by_python("import sys, extract.run; print('torch' in sys.modules)") == "False\n"


# ---- memory


def test_memory_running_out_halves_the_batch_and_loses_nothing(store: FeatureStore) -> None:
    observer = RecordingObserver()
    outcome = run(tiny(batch_size=8), store, QuarterMeans(batch_size=8, room=2), observer)
    assert_equal(outcome.features.load(), expected_rows(PIXELS))
    assert observer.notes == [f"out of memory; going on with batches of {size}" for size in (4, 2)]
    assert sum(observer.advanced) == len(PIXELS)
    assert outcome.features.manifest.provenance.batch_size == 2


def test_no_room_for_a_single_image_is_an_error_and_keeps_what_was_there(store: FeatureStore) -> None:
    run(tiny(8), store)
    before = shards(store)
    with pytest.raises(OutOfMemory, match="no room for 1 images"):
        run(tiny(), store, QuarterMeans(batch_size=4, room=0))
    assert shards(store) == before


def test_an_extension_killed_before_its_manifest_is_completed_by_the_next_run(store: FeatureStore) -> None:
    first = run(tiny(10), store)
    manifest = first.features.folder / "manifest.json"
    before = manifest.read_bytes()
    run(tiny(18), store)
    manifest.write_bytes(before)
    outcome = run(tiny(18), store, QuarterMeans(scale=float("nan")))
    assert (outcome.computed, outcome.features.manifest.stop) == (0, 18)
    assert_equal(outcome.features.load(), expected_rows(PIXELS))


def test_a_backbone_that_changed_while_it_ran_leaves_nothing_of_that_run(store: FeatureStore) -> None:
    run(tiny(10), store)
    before = files(store)
    with pytest.raises(FeaturesInvalid, match="the stand-in changed"):
        run(tiny(), store, QuarterMeans(thawed=True))
    assert files(store) == before
    assert_equal(run_finding_all(tiny(10), store).features.load(), expected_rows(PIXELS[:10]))
    assert_equal(run(tiny(), store).features.load(), expected_rows(PIXELS))


# ---- engine and batch size


ENGINES = Device("cpu", "bf16", "this CPU")
"""A device with two engines; the stand-in gives the same features on each."""


def open_job(rows: int = 18, device: Device = ENGINES, **config: object) -> Job:
    """A job that leaves the batch size and the engine to us unless `config` names them."""
    return dataclasses.replace(tiny(rows, **{"batch_size": None, **config}), device=device)


def begun(store: FeatureStore) -> Execution | None:
    """The record of a run under way."""
    return read_execution(store.folder(open_job().key, "train"))


def config_of(outcome: Outcome) -> EngineConfig:
    return EngineConfig(outcome.features.manifest.provenance.engine, outcome.features.manifest.provenance.batch_size)


def interrupted(job: Job, store: FeatureStore, after: int = 4) -> None:
    """A run that ends when more than `after` rows are computed."""
    with pytest.raises(Interrupted, match=r"^$"):
        run(job, store, observer=RecordingObserver(stop_after=after))


def test_a_short_run_takes_the_first_way_without_a_trial(store: FeatureStore) -> None:
    extractor, observer = QuarterMeans(batch_size=16), RecordingObserver()
    outcome = run(open_job(), store, extractor, observer)
    assert (config_of(outcome), extractor.seen, observer.notes) == (EngineConfig("eager", 16), 18, [])


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"engine": "compiled"}, EngineConfig("compiled", 16)),
        ({"batch_size": 5}, EngineConfig("eager", 5)),
        ({"batch_size": 5, "engine": "compiled"}, EngineConfig("compiled", 5)),
    ],
    ids=str,
)
def test_what_is_asked_for_is_done_and_told_by_the_manifest(
    store: FeatureStore, config: dict[str, object], expected: EngineConfig
) -> None:
    outcome = run(open_job(**config), store)
    assert config_of(outcome) == expected
    assert store.sets()[0].manifest.provenance == outcome.features.manifest.provenance
    assert np.array_equal(outcome.features.load().ids, expected_rows(PIXELS).ids)


@dataclasses.dataclass
class Looking(QuarterMeans):
    """Keeps the execution record that it finds in the set's folder when it is given a batch."""

    store: FeatureStore | None = None
    found: list[Execution | None] = dataclasses.field(default_factory=list)

    def __call__(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        assert self.store is not None
        self.found.append(begun(self.store))
        return super().__call__(images)


def test_the_way_is_on_the_disk_before_the_first_batch_and_until_the_manifest_tells_it(store: FeatureStore) -> None:
    looking = Looking(store=store)
    run(open_job(engine="compiled", batch_size=5), store, looking)
    assert set(looking.found) == {Execution("compiled", 5, 18, "this CPU")}
    assert begun(store) is None


def test_a_killed_run_is_resumed_in_the_way_it_was_begun(store: FeatureStore) -> None:
    interrupted(open_job(engine="compiled", batch_size=5), store)
    assert begun(store) == Execution("compiled", 5, 18, "this CPU")
    observer = RecordingObserver()
    outcome = run(open_job(), store, observer=observer)
    assert (outcome.computed, config_of(outcome)) == (14, EngineConfig("compiled", 5))
    assert observer.notes == ["preparing the compiled engine for batches of 5"]


def test_a_killed_run_is_resumed_in_its_way_for_fewer_rows_too(store: FeatureStore) -> None:
    interrupted(open_job(engine="compiled", batch_size=5), store)
    assert config_of(run(open_job(limit=8), store)) == EngineConfig("compiled", 5)


def test_what_a_killed_run_chose_outlives_a_shorter_one(store: FeatureStore) -> None:
    interrupted(open_job(engine="compiled", batch_size=5), store)
    run(open_job(limit=8), store)
    assert begun(store) == Execution("compiled", 5, 18, "this CPU")
    assert config_of(run(open_job(), store)) == EngineConfig("compiled", 5)
    assert begun(store) is None


def test_what_a_killed_extension_chose_outlives_a_touched_file(store: FeatureStore, tmp_path: Path) -> None:
    images = file_images(tmp_path / "photos", 12)

    def photos(**config: object) -> Job:
        return dataclasses.replace(open_job(), images=images, config=open_job(**config).config)

    run(photos(limit=4), store)
    interrupted(photos(limit=12, engine="compiled", batch_size=5), store, after=4)
    chosen = Execution("compiled", 5, 12, "this CPU")
    folder = store.folder(photos().key, images.split)
    assert read_execution(folder) == chosen
    os.utime(images.root / "00.png", ns=(0, 0))
    run_finding_all(photos(limit=4), store)
    assert read_execution(folder) == chosen
    assert config_of(run(photos(limit=12), store)) == EngineConfig("compiled", 5)
    assert read_execution(folder) is None


def test_a_shard_is_mended_in_the_way_the_set_was_made(store: FeatureStore) -> None:
    folder = run(open_job(engine="compiled", batch_size=5), store).features.folder
    flip(folder / "shard-00001.h5")
    outcome = run(open_job(), store)
    assert (outcome.computed, config_of(outcome)) == (4, EngineConfig("compiled", 5))


def test_an_extension_beyond_the_plan_is_decided_anew(store: FeatureStore) -> None:
    run(open_job(limit=8, engine="compiled", batch_size=5), store)
    interrupted(open_job(), store, after=0)
    assert begun(store) == Execution("eager", 16, 18, "this CPU")
    assert config_of(run(open_job(), store)) == EngineConfig("eager", 16)


def test_a_killed_run_whose_plan_grows_is_decided_anew(store: FeatureStore) -> None:
    interrupted(open_job(limit=8, engine="compiled", batch_size=5), store)
    assert config_of(run(open_job(), store)) == EngineConfig("eager", 16)


@pytest.mark.parametrize("killed", [True, False], ids=["killed", "complete"])
def test_another_device_decides_anew(store: FeatureStore, killed: bool) -> None:
    asked = open_job(engine="compiled", batch_size=5)
    if killed:
        interrupted(asked, store)
    else:
        flip(run(asked, store).features.folder / "shard-00001.h5")
    other = dataclasses.replace(ENGINES, description="another CPU")
    outcome = run(open_job(device=other), store)
    assert config_of(outcome) == EngineConfig("eager", 16)
    assert outcome.features.manifest.provenance.device == "another CPU"


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"batch_size": 7}, EngineConfig("compiled", 7)),
        ({"engine": "eager"}, EngineConfig("eager", 5)),
        ({"batch_size": 7, "engine": "eager"}, EngineConfig("eager", 7)),
    ],
    ids=str,
)
def test_what_is_asked_for_wins_over_what_was_recorded_and_is_recorded(
    store: FeatureStore, config: dict[str, object], expected: EngineConfig
) -> None:
    interrupted(open_job(engine="compiled", batch_size=5), store)
    interrupted(open_job(**config), store)
    assert begun(store) == Execution(expected.engine, expected.batch_size, 18, "this CPU")
    assert config_of(run(open_job(), store)) == expected


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"\xff"], ids=["empty", "object", "list", "bytes"])
def test_a_damaged_record_is_made_anew(store: FeatureStore, content: bytes) -> None:
    interrupted(open_job(engine="compiled", batch_size=5), store)
    (store.folder(open_job().key, "train") / EXECUTION).write_bytes(content)
    assert config_of(run(open_job(), store)) == EngineConfig("eager", 16)


def test_a_run_killed_just_before_its_manifest_is_told_as_it_was_computed(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise Interrupted

    with monkeypatch.context() as patch:
        patch.setattr(SetWriter, "commit", killed)
        with pytest.raises(Interrupted, match=r"^$"):
            run(open_job(engine="compiled", batch_size=5), store)
    outcome = run(open_job(), store)
    assert (outcome.computed, config_of(outcome)) == (0, EngineConfig("compiled", 5))
    assert begun(store) is None


def test_a_run_that_finds_all_there_decides_and_records_nothing(store: FeatureStore) -> None:
    first = run(open_job(), store)
    folder = first.features.folder
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    for config in ({}, {"engine": "compiled"}, {"batch_size": 7}, {"limit": 5, "engine": "compiled"}):
        assert config_of(run_finding_all(open_job(**config), store)) == config_of(first)  # type: ignore[arg-type]
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    assert EXECUTION not in before


class NoCompiler(QuarterMeans):
    """A stand-in on a machine that can't compile."""

    def running(self, config: EngineConfig) -> QuarterMeans:
        if config.engine == "compiled":
            raise DeviceUnavailable("compiling failed (no compiler here); use --engine eager")
        return super().running(config)


def test_an_engine_that_was_asked_for_and_is_not_there_is_an_error(store: FeatureStore) -> None:
    with pytest.raises(DeviceUnavailable, match=r"compiling failed \(no compiler here\); use --engine eager"):
        run(open_job(engine="compiled"), store, NoCompiler())
    assert list(store.folder(open_job().key, "train").iterdir()) == []
    assert config_of(run(open_job(), store, NoCompiler())) == EngineConfig("eager", 16)


def test_the_engine_of_a_killed_run_that_is_not_there_any_more_is_an_error_that_loses_nothing(store: FeatureStore) -> None:
    interrupted(open_job(engine="compiled", batch_size=5), store)
    before = files(store)
    assert len(before) == 1
    with pytest.raises(DeviceUnavailable, match="use --engine eager"):
        run(open_job(), store, NoCompiler())
    assert files(store) == before
    outcome = run(open_job(engine="eager"), store, NoCompiler())
    assert (outcome.computed, config_of(outcome)) == (14, EngineConfig("eager", 5))


def test_force_forgets_the_way_too(store: FeatureStore) -> None:
    interrupted(open_job(engine="compiled", batch_size=5), store)
    assert config_of(run(open_job(force=True), store)) == EngineConfig("eager", 16)


LONG = 3400
"""Rows enough for the three batch sizes of a CPU to be tried."""


def long_job(**config: object) -> Job:
    images = array_images(noise(LONG, 8))
    return dataclasses.replace(open_job(shard_rows=1700, **config), images=images)


def test_a_long_run_is_computed_in_the_way_that_trials_showed_best(store: FeatureStore) -> None:
    observer = RecordingObserver()
    outcome = run(long_job(), store, QuarterMeans(room=8), observer)
    assert config_of(outcome) == EngineConfig("eager", 8)
    assert observer.notes == [f"not used: no room for {size} images" for size in (16, 32)]
    assert sum(observer.advanced) == LONG


def test_a_few_missing_rows_of_a_long_set_are_worth_no_trials(store: FeatureStore) -> None:
    run(long_job(limit=LONG - 10, batch_size=16), store)
    observer = RecordingObserver()
    outcome = run(long_job(), store, QuarterMeans(batch_size=16), observer)
    assert (outcome.computed, config_of(outcome), observer.notes) == (10, EngineConfig("eager", 16), [])
    assert observer.begun == [("quarters tiny train", LONG, LONG - 10)]


def test_a_long_run_that_is_resumed_makes_no_trials(store: FeatureStore) -> None:
    interrupted(long_job(batch_size=8), store, after=1700)
    extractor = QuarterMeans(batch_size=8)
    outcome = run(long_job(), store, extractor)
    assert (outcome.computed, extractor.seen, config_of(outcome)) == (1700, 1700, EngineConfig("eager", 8))


# ---- shards are written while the next ones are computed


class Disk:
    """Stands in for `SetWriter.put`: fails at shard `full`, counts the shards that are in memory at each write."""

    def __init__(self, full: int | None = None) -> None:
        self.full, self.put = full, SetWriter.put
        self.threads, self.alive = set[int](), list[int]()
        self._shards = list[weakref.ref[Shard]]()

    def __call__(self, writer: SetWriter, shard: Shard, index: int, stat: str | None, elapsed_s: float) -> ShardRecord:
        self.threads.add(threading.get_ident())
        if index == self.full:
            raise OSError(errno.ENOSPC, "no space left in this test")
        return self.put(writer, shard, index, stat, elapsed_s)

    def made(self, shard: Shard) -> Shard:
        """Remember a shard that has just been computed."""
        self._shards.append(weakref.ref(shard))
        gc.collect()
        self.alive.append(sum(found() is not None for found in self._shards))
        return shard


def test_shards_are_written_by_another_thread_and_two_at_most_are_held(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk()
    monkeypatch.setattr(SetWriter, "put", lambda *args: disk(*args))
    monkeypatch.setattr("headstart.core.extract.run.compute_shard", lambda *args: disk.made(compute_shard(*args)))
    outcome = run(tiny(), store)
    assert_equal(outcome.features.load(), expected_rows(PIXELS))
    assert threading.get_ident() not in disk.threads
    assert len(disk.alive) == 5
    assert max(disk.alive) <= 2


@pytest.mark.parametrize("full", [0, 1, 4])
def test_a_full_disk_ends_the_run_and_keeps_the_shards_before_it(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch, full: int
) -> None:
    disk, extractor, threads = Disk(full), QuarterMeans(), threading.active_count()
    with monkeypatch.context() as patch:
        patch.setattr(SetWriter, "put", lambda *args: disk(*args))
        with pytest.raises(OSError, match="no space left in this test"):
            run(tiny(), store, extractor)
    assert list(files(store)) == [f"shard-0000{i}.h5" for i in range(full)]
    assert extractor.seen == min(18, 4 * (full + 2))  # it was noticed when the next shard was to be written
    assert store.sets() == []
    assert threading.active_count() == threads
    assert run(tiny(), store).computed == 18 - 4 * full


def test_an_error_in_the_next_shard_waits_until_the_one_before_is_written(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, failed = Disk(), threading.Event()

    def slow(*args: object) -> ShardRecord:
        assert failed.wait(timeout=30)
        return disk(*args)  # type: ignore[arg-type]

    def failing(job: Job, extractor: Extractor, part: Part, advance: Callable[[int], None], pace: Pace) -> Shard:
        if part.index == 1:
            failed.set()
            raise FeaturesInvalid("the second shard fails in this test")
        return compute_shard(job, extractor, part, advance, pace)

    monkeypatch.setattr(SetWriter, "put", slow)
    monkeypatch.setattr("headstart.core.extract.run.compute_shard", failing)
    with pytest.raises(FeaturesInvalid, match="the second shard fails in this test"):
        run(tiny(), store)
    assert list(files(store)) == ["shard-00000.h5"]


# ---- other versions of the layout


def reversion(path: Path, version: int) -> None:
    """Give a manifest another version, and the checksum that goes with it."""
    found = {**json.loads(path.read_text()), "version": version}
    del found["sha256"]
    path.write_text(json.dumps({**found, "sha256": sha256(canonical_json(found))}))


def everything(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()}


@pytest.mark.parametrize("config", [{}, {"limit": 5}, {"shard_rows": 3}], ids=str)
def test_a_set_of_a_newer_layout_is_refused_and_left_as_it_is(store: FeatureStore, config: dict[str, object]) -> None:
    folder = run(tiny(10), store).features.folder
    reversion(folder / MANIFEST, VERSION + 1)
    flip(folder / "shard-00001.h5")  # not even what is damaged is touched
    before = everything(folder)
    message = (
        rf"manifest\.json: .* version {VERSION + 1}, expected 'headstart feature set' {VERSION}\); use the headstart "
        r"that made it, or .*--force"
    )
    for ask in (lambda: run(tiny(**config), store), lambda: survey(tiny(**config), store)):
        with pytest.raises(FeaturesOfAnotherVersion, match=message):
            ask()
    assert everything(folder) == before


def test_a_writer_reads_nothing_of_a_newer_layout(store: FeatureStore) -> None:
    folder = run(tiny(10), store).features.folder
    reversion(folder / MANIFEST, VERSION + 1)
    before = everything(folder)
    with store.writing(tiny().key, "train", lambda: None) as writer:
        for ask in (writer.manifest, writer.present, writer.execution):
            with pytest.raises(FeaturesOfAnotherVersion, match=f"version {VERSION + 1}"):
                ask()
    assert everything(folder) == before


def test_force_makes_a_set_of_a_newer_layout_anew(store: FeatureStore) -> None:
    folder = run(tiny(10), store).features.folder
    reversion(folder / MANIFEST, VERSION + 1)
    outcome = run(tiny(force=True), store)
    assert outcome.computed == 18
    assert_equal(outcome.features.load(), expected_rows(PIXELS))


def test_a_set_of_version_1_is_found_and_extended(store: FeatureStore) -> None:
    folder = run(tiny(8), store).features.folder
    path = folder / MANIFEST
    found = json.loads(path.read_text())
    del found["provenance"]["engine"], found["provenance"]["order"]
    path.write_text(json.dumps(found))
    reversion(path, 1)
    content = path.read_bytes()
    assert run_finding_all(tiny(8), store).features.manifest.provenance.engine == "eager"
    assert path.read_bytes() == content
    assert_equal(run(tiny(), store).features.load(), expected_rows(PIXELS))
    assert json.loads(path.read_text())["version"] == VERSION


# ---- memory that runs out while smaller batches are prepared


@dataclasses.dataclass
class Tight(QuarterMeans):
    """A stand-in that can be prepared for batches of at most `prepared`."""

    prepared: int = 2

    def running(self, config: EngineConfig) -> QuarterMeans:
        if self.prepared < config.batch_size != self.batch_size:
            raise OutOfMemory(f"no room to prepare {config.batch_size} images")
        return super().running(config)


def test_batches_shrink_until_they_can_be_prepared(store: FeatureStore) -> None:
    observer = RecordingObserver()
    outcome = run(tiny(batch_size=16), store, Tight(batch_size=16, room=9, prepared=2), observer)
    assert_equal(outcome.features.load(), expected_rows(PIXELS))
    assert observer.notes == ["out of memory; going on with batches of 2"]


def test_no_room_to_prepare_a_single_image_is_an_error(store: FeatureStore) -> None:
    with pytest.raises(OutOfMemory, match="no room to prepare 1 images"):
        run(tiny(batch_size=16), store, Tight(batch_size=16, room=9, prepared=0))
