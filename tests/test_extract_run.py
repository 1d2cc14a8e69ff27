"""The extraction run, with a stand-in for the backbone: what is there and right is kept, all else is made or refused."""

import dataclasses
import errno
import gc
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
from cache_samples import flip
from extract_samples import (
    Interrupted,
    QuarterMeans,
    RecordingObserver,
    array_images,
    encoded,
    file_images,
    picture,
)
from hypothesis import strategies as st
from run_samples import (
    PIXELS,
    SHARD_ROWS,
    assert_equal,
    expected_rows,
    files,
    job,
    run,
    run_finding_all,
    shards,
    tiny,
)

from headstart.core.cache.errors import (
    DataNotFound,
    FeaturesInvalid,
    FeaturesNotFound,
    ImageUnreadable,
    OutOfMemory,
    WeightsMismatch,
)
from headstart.core.cache.manifest import ShardRecord
from headstart.core.cache.shard import Rows, Shard
from headstart.core.cache.shard_plan import Part
from headstart.core.cache.store import FeatureStore
from headstart.core.cache.writer import SetWriter
from headstart.core.extract import datasets
from headstart.core.extract.images.files import FileImages
from headstart.core.extract.job import Job
from headstart.core.extract.network.interface import EngineConfig, Extractor
from headstart.core.extract.pictures.framing import framed
from headstart.core.extract.pictures.preprocess import Preprocessing
from headstart.core.extract.run import extract
from headstart.core.extract.shards import assembled, compute_shard

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
    outcome = run(job(images, limit=5), store)
    found = outcome.features.manifest
    origin = found.provenance
    assert (origin.split_rows, origin.weights_from, origin.data_from, origin.notes) == (
        18,
        "nowhere",
        "memory",
        ("a stand-in",),
    )
    assert (origin.parameters, origin.device, origin.batch_size) == ("parameters of the stand-in", "this CPU", 3)
    assert {"torch", "torchvision", "h5py", "numpy", "pillow", "headstart"} == set(origin.versions)
    assert found.elapsed_s == outcome.elapsed_s  # one time, wherever it is said


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
    with store.writing(tiny().named, "train", lambda: None):  # as a longer run would hold it for hours
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


# ---- damage and interruption


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
    what = "missing" if damage == "gone" else "damaged"
    assert observer.notes == [f"{folder / 'shard-00002.h5'} is {what} and will be made anew"]
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


def test_data_missing_midway_are_said_before_anything_is_computed(store: FeatureStore) -> None:
    images = array_images(PIXELS)

    def half(start: int, stop: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
        if stop > 10:
            raise DataNotFound("data_batch_2.bin: missing")
        return images.load(start, stop)

    with pytest.raises(DataNotFound, match=r"data_batch_2\.bin: missing"):
        run(job(dataclasses.replace(images, load=half)), store)
    assert not store.root.exists()
    assert run(job(dataclasses.replace(images, load=half), limit=8), store).computed == 8


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
    rows, pixels = outcome.features.load(), np.stack([framed(picture(seed=i), Preprocessing(16)) for i in kept])
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


@pytest.mark.parametrize("left_behind", ["a complete set", "a shorter set", "a killed run"])
def test_what_an_earlier_run_left_out_is_the_error_of_a_fresh_run(
    store: FeatureStore, spoiled: FileImages, left_behind: str
) -> None:
    features = run(job(spoiled, on_error="skip", limit=5 if left_behind == "a shorter set" else None), store).features
    if left_behind == "a killed run":
        (features.folder / "manifest.json").unlink()
    before = {path.name: path.read_bytes() for path in features.folder.iterdir()}
    message = r"/photos/01\.png: can't be decoded \(.*\); --on-error skip leaves such images out"
    with pytest.raises(ImageUnreadable, match=message):
        run(job(spoiled), store)
    assert {path.name: path.read_bytes() for path in features.folder.iterdir()} == before
    assert run(job(spoiled, limit=1), store).computed == 0  # none of those asked for was left out


def test_what_an_earlier_run_left_out_is_no_error_once_it_was_mended(store: FeatureStore, spoiled: FileImages) -> None:
    run(job(spoiled, on_error="skip"), store)
    for name in ("01.png", "04.png", "09.png"):
        (spoiled.root / name).write_bytes(encoded(picture(seed=int(name[:2])), "PNG"))
    outcome = run(job(spoiled), store)
    assert (outcome.computed, outcome.features.manifest.skipped) == (3, 0)


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


def test_a_set_without_a_single_readable_picture_is_an_error_and_is_not_kept(
    store: FeatureStore, spoiled: FileImages
) -> None:
    for path in spoiled.root.glob("*.png"):
        path.write_bytes(b"text")
    for force in (False, True):
        said = (
            r"none of the \d+ images asked for can be used: the first, 00\.png, can't be decoded .*; no set without rows is"
        )
        with pytest.raises(ImageUnreadable, match=said):
            run(job(spoiled, on_error="skip", force=force), store)
    assert store.sets() == []
    assert not list(store.root.glob("*/shard-*.h5"))


@pytest.mark.parametrize("content", [encoded(picture(), "PNG"), b"text"], ids=["picture", "unreadable"])
def test_names_that_are_no_utf8_are_taken_like_others(store: FeatureStore, tmp_path: Path, content: bytes) -> None:
    name = os.fsdecode(b"caf\xe9")
    path = tmp_path / name / name / f"{name}.png"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    (path.parent / "whole.png").write_bytes(encoded(picture(), "PNG"))
    images = datasets.open_split(f"folder:{tmp_path / name}", "all", tmp_path)
    outcome = run(job(images, on_error="skip"), store)
    assert outcome.features.manifest.rows + outcome.features.manifest.skipped == 2
    there = [one for one in images.ids(0, 2) if content != b"text" or one.endswith(b"whole.png")]
    assert outcome.features.load().ids.tolist() == there
    run_finding_all(job(images, on_error="skip"), store)


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
    monkeypatch.setattr("headstart.core.extract.rows.making.assembled", lambda *args: disk.made(assembled(*args)))
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

    def failing(job: Job, part: Part, *rest: Any) -> Shard:
        if part.index == 1:
            failed.set()
            raise FeaturesInvalid("the second shard fails in this test")
        return assembled(job, part, *rest)

    monkeypatch.setattr(SetWriter, "put", slow)
    monkeypatch.setattr("headstart.core.extract.rows.making.assembled", failing)
    with pytest.raises(FeaturesInvalid, match="the second shard fails in this test"):
        run(tiny(), store)
    assert list(files(store)) == ["shard-00000.h5"]


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
