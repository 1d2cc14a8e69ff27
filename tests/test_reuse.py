"""What a run finds is kept while its images are what they were; nothing is computed or read twice."""

import dataclasses
import json
import os
import threading
from pathlib import Path

import numpy as np
import pytest
from cache_samples import flip
from extract_samples import (
    QuarterMeans,
    RecordingObserver,
    array_images,
    encoded,
    file_images,
    picture,
    printed_by_python,
)
from run_samples import PIXELS, assert_equal, expected_rows, files, job, run, run_finding_all, tiny

from headstart.core.cache.change import Change, Difference
from headstart.core.cache.errors import FeaturesOfAnotherVersion, FeaturesStale, ImageUnreadable
from headstart.core.cache.files import canonical_json, sha256
from headstart.core.cache.manifest import NAME as MANIFEST
from headstart.core.cache.manifest import VERSION
from headstart.core.cache.store import FeatureStore
from headstart.core.extract.images import Images
from headstart.core.extract.images.files import FileImages
from headstart.core.extract.job import Job
from headstart.core.extract.reuse import Outlook, survey
from headstart.core.extract.rows.changes import Changes

# ---- changed inputs


def test_other_parameters_than_the_sets_are_refused_for_an_extension(store: FeatureStore) -> None:
    run(tiny(limit=8), store)
    with pytest.raises(FeaturesStale, match="made with other parameters than nowhere gives now; --force"):
        run(tiny(), store, QuarterMeans(parameters="others"))


@pytest.mark.parametrize("left", [15, 16])
def test_pictures_that_are_gone_need_no_backbone_wherever_shards_end(store: FeatureStore, left: int) -> None:
    before = run(tiny(), store).features
    outcome = run(tiny(left), store, QuarterMeans(scale=float("nan")))
    assert_equal(outcome.features.load(), expected_rows(PIXELS[:left]))
    assert outcome.change == Change(before.manifest.digest, left, left, 0, 18 - left, 0)
    assert_equal(before.load(), expected_rows(PIXELS))


@pytest.mark.parametrize("how", ["same", "changed"])
def test_force_makes_everything_anew(store: FeatureStore, how: str) -> None:
    run(tiny(), store)
    pixels = PIXELS if how == "same" else PIXELS[::-1].copy()
    extractor = QuarterMeans()
    outcome = run(job(array_images(pixels), force=True), store, extractor)
    assert (outcome.computed, extractor.seen) == (18, 18)
    assert_equal(outcome.features.load(), expected_rows(pixels))


def test_force_for_fewer_rows_is_a_snapshot_beside_the_old_one(store: FeatureStore) -> None:
    before = run(tiny(), store).features
    after = run(tiny(limit=6, force=True), store).features
    assert (after.manifest.stop, after.folder.name) == (6, f"{before.folder.name}-2")
    assert_equal(before.load(), expected_rows(PIXELS))
    assert store.open(tiny().named, "train") == after


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


def test_a_changed_file_is_noticed_even_at_its_old_size(store: FeatureStore, tmp_path: Path) -> None:
    images = file_images(tmp_path / "photos", 6)
    run(job(images), store)
    path, extractor = images.root / "05.png", QuarterMeans()
    path.write_bytes(encoded(picture(seed=77), "PNG").ljust(path.stat().st_size, b"\0"))
    os.utime(path, ns=(0, 0))
    assert (run(job(images), store, extractor).computed, extractor.seen) == (1, 1)


@pytest.mark.parametrize("change", ["picture", "label", "class name", "fewer"])
def test_frozen_refuses_a_change_and_says_which(store: FeatureStore, change: str) -> None:
    before = run(tiny(), store).features
    pixels, images = PIXELS.copy(), array_images(PIXELS)
    pixels[3] ^= 1
    changed, said = {
        "picture": (array_images(pixels), "1 picture is new, 1 no longer there"),
        "label": (
            dataclasses.replace(images, load=lambda a, b: (PIXELS[a:b], np.zeros(b - a, np.int64))),
            "12 labels changed",
        ),
        "class name": (
            dataclasses.replace(images, classes=("a", "b", "d")),
            "class c is now d",
        ),
        "fewer": (array_images(PIXELS[:17]), "1 no longer there"),
    }[change]
    with pytest.raises(FeaturesStale, match=f"memory is no longer what it was made from: {said}; leave out --frozen"):
        run(job(changed, frozen=True), store)
    assert store.sets() == [before]
    run(job(changed), store)
    run_finding_all(job(changed, frozen=True), store)


def test_frozen_refuses_what_has_other_names_alone_and_says_so(store: FeatureStore, tmp_path: Path) -> None:
    images = file_images(tmp_path, 4)
    run(job(images), store)
    (tmp_path / "00.png").rename(tmp_path / "a.png")
    renamed = dataclasses.replace(images, paths=("a.png", *images.paths[1:]))
    with pytest.raises(FeaturesStale, match="made from: 1 file renamed; leave out"):
        run(job(renamed, frozen=True), store)


def test_frozen_compares_all_that_is_there_whatever_is_asked_for(store: FeatureStore) -> None:
    run(tiny(), store)
    pixels = PIXELS.copy()
    pixels[1] ^= 1
    with pytest.raises(FeaturesStale, match="made from: 1 picture is new, 1 no longer there; leave out"):
        run(job(array_images(pixels), limit=6, frozen=True), store)


def test_frozen_believes_no_damaged_manifest(store: FeatureStore) -> None:
    folder = run(tiny(), store).features.folder
    (folder / MANIFEST).write_bytes(b"{")
    with pytest.raises(
        FeaturesStale, match=r"manifest\.json: damaged, so that nobody can say .*; leave out --frozen to make it"
    ):
        run(tiny(frozen=True), store)
    assert (folder / MANIFEST).read_bytes() == b"{"
    assert run(tiny(), store).computed == 0
    run_finding_all(tiny(frozen=True), store)


def test_frozen_has_nothing_against_a_first_run_or_an_extension(store: FeatureStore) -> None:
    assert run(tiny(limit=5, frozen=True), store).computed == 5
    assert run(tiny(frozen=True), store).computed == 13


# ---- several processes, and what is said without computing


def test_a_second_run_says_that_it_waits_and_goes_on_when_the_first_is_done(store: FeatureStore) -> None:
    asked, outcomes = threading.Event(), []

    class Waiting(RecordingObserver):
        def note(self, text: str) -> None:
            super().note(text)
            asked.set()

    observer = Waiting()
    with store.writing(tiny().named, "train", lambda: None) as writer:
        second = threading.Thread(target=lambda: outcomes.append(run(tiny(), store, observer=observer)))
        second.start()
        assert asked.wait(timeout=30)
        assert outcomes == []
    second.join()
    assert observer.notes == [f"another process is writing {writer.folder}; waiting for it"]
    assert outcomes[0].computed == 18


def outlook(asked: Job, store: FeatureStore) -> tuple[int, int, int]:
    found = survey(asked, store)
    assert found.changes is None
    return found.rows, found.shards, found.rows_there


def repainted(*rows: int) -> Images:
    """The pictures in memory, some of which are others."""
    pixels = PIXELS.copy()
    pixels[list(rows)] ^= 1
    return array_images(pixels)


@pytest.mark.parametrize(
    ("had", "limit", "changed", "rows", "computed"),
    [
        (None, 5, (0,), 18, 1),
        (None, 5, (0, 9, 17), 18, 3),
        (None, 2, (0, 9, 17), 17, 2),  # one more would be a third
        (None, 2, (0, 1, 2), 2, 2),
        (None, 3, (1, *range(4, 18)), 6, 3),
        (12, 5, (0, 9, 17), 12, 2),
        (12, 14, (0, 13), 14, 3),
        (4, 5, (0,), 5, 2),
        (None, 5, (9,), 18, 0),  # which nobody asked for
    ],
)
def test_a_limit_loses_no_rows_while_it_bounds_the_work(
    store: FeatureStore, had: int | None, limit: int, changed: tuple[int, ...], rows: int, computed: int
) -> None:
    before, observer = run(tiny(limit=had), store).features, RecordingObserver()
    asked = job(repainted(*changed), limit=limit)
    foretold = survey(asked, store)
    outcome = run(asked, store, observer=observer)
    assert (outcome.features.manifest.stop, outcome.computed) == (rows, computed)
    assert foretold.folder == outcome.features.folder
    new = outcome.features.folder != before.folder
    if new:
        assert (foretold.rows, foretold.rows - foretold.rows_there) == (rows, computed)
    expected = repainted(*changed) if new else array_images(PIXELS)
    empty = FeatureStore(store.root / "empty")
    assert_equal(outcome.features.load(), run(job(expected, limit=rows), empty).features.load())
    stop = before.manifest.stop
    words = []
    if new and rows >= stop and rows > limit:
        words = [f"the first {rows} rows are brought up to date, more than {limit}: the features before have {stop}"]
    if new and rows < stop:
        words = [
            f"{rows} rows only, where the features before have {stop}; the same `headstart extract` without "
            "--limit makes the others"
        ]
    assert [note for note in observer.notes if "features before" in note] == [f"{asked.title}: {text}" for text in words]


def test_what_is_unreadable_beyond_the_limit_ends_no_run(store: FeatureStore, tmp_path: Path) -> None:
    images, observer = file_images(tmp_path / "photos", 10), RecordingObserver()
    run(job(images), store)
    for name, content in (("01.png", encoded(picture(seed=50), "PNG")), ("08.png", b"spoiled")):
        (images.root / name).write_bytes(content)
    manifest = run(job(images, limit=3), store, observer=observer).features.manifest
    assert (manifest.stop, manifest.skipped) == (4, 0)  # a whole shard was made before it was read
    assert manifest.change is not None
    assert manifest.change.gone == 2  # painted over and spoiled; the others are there, beyond the limit
    said = [note for note in observer.notes if note.startswith("quarters files all: of the first 3 rows alone: ")]
    assert len(said) == 1
    assert "08.png: can't be decoded" in said[0]
    with pytest.raises(ImageUnreadable, match=r"08\.png: can't be decoded"):
        run(job(images), store)


def test_force_with_a_limit_says_that_there_were_more_rows(store: FeatureStore) -> None:
    run(tiny(), store)
    observer = RecordingObserver()
    assert run(tiny(limit=5, force=True), store, observer=observer).computed == 5
    assert any("5 rows only, where the features before have 18" in note for note in observer.notes)


def test_a_survey_tells_what_is_there_and_what_is_missing(store: FeatureStore) -> None:
    assert outlook(tiny(limit=10), store) == (10, 3, 0)
    folder = run(tiny(limit=10), store).features.folder
    assert outlook(tiny(limit=10), store) == (10, 3, 10)
    assert outlook(tiny(limit=5), store) == (8, 2, 8)
    assert outlook(tiny(), store) == (18, 5, 10)
    assert survey(tiny(), store).folder == folder


def test_a_survey_misses_a_shard_that_is_gone(store: FeatureStore) -> None:
    (run(tiny(limit=10), store).features.folder / "shard-00001.h5").unlink()
    assert outlook(tiny(limit=10), store) == (10, 3, 6)


def test_a_survey_finds_rows_in_other_sets_and_tells_of_a_change(store: FeatureStore) -> None:
    before = run(tiny(limit=10), store).features.folder
    assert outlook(job(dataclasses.replace(array_images(PIXELS), name="other")), store) == (18, 5, 10)
    pixels = PIXELS.copy()
    pixels[3] ^= 1
    found = survey(job(array_images(pixels)), store)
    said = Changes(9, Difference(gone=1))
    folder = before.with_name(f"{before.name}-2")
    assert found == Outlook(18, 5, 9, folder, said)
    assert said.words == "9 pictures are new, 1 no longer there"
    assert run(job(array_images(pixels)), store).features.folder == folder


def test_a_survey_writes_nothing(store: FeatureStore) -> None:
    survey(tiny(), store)
    assert not store.root.exists()


def test_a_run_imports_no_torch() -> None:
    assert printed_by_python("import sys, extract.run; print('torch' in sys.modules)") == "False\n"


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
        r"that made it; .*--force"
    )
    for ask in (lambda: run(tiny(**config), store), lambda: survey(tiny(**config), store)):
        with pytest.raises(FeaturesOfAnotherVersion, match=message):
            ask()
    assert everything(folder) == before


def test_a_writer_is_of_another_folder_than_a_newer_layout(store: FeatureStore) -> None:
    folder = run(tiny(10), store).features.folder
    reversion(folder / MANIFEST, VERSION + 1)
    before = everything(folder)
    with store.writing(tiny().named, "train", lambda: None) as writer:
        assert writer.folder.name == f"{folder.name}-2"
    assert everything(folder) == before


def test_force_makes_a_set_of_a_newer_layout_anew(store: FeatureStore) -> None:
    folder = run(tiny(10), store).features.folder
    reversion(folder / MANIFEST, VERSION + 1)
    outcome = run(tiny(force=True), store)
    assert outcome.computed == 18
    assert_equal(outcome.features.load(), expected_rows(PIXELS))
