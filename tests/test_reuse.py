"""What a run finds is kept while its images are what they were; nothing is computed or read twice."""

import dataclasses
import json
import os
import threading
from pathlib import Path

import pytest
from cache_samples import flip
from extract_samples import (
    QuarterMeans,
    RecordingObserver,
    array_images,
    file_images,
    printed_by_python,
)
from run_samples import PIXELS, assert_equal, expected_rows, files, job, run, run_finding_all, tiny

from headstart.core.cache.errors import FeaturesOfAnotherVersion, FeaturesStale
from headstart.core.cache.files import canonical_json, sha256
from headstart.core.cache.manifest import NAME as MANIFEST
from headstart.core.cache.manifest import VERSION
from headstart.core.cache.store import FeatureStore
from headstart.core.extract.images.files import FileImages
from headstart.core.extract.job import Job
from headstart.core.extract.reuse import survey

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
