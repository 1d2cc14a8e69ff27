"""What a killed run has left: its rows are taken wherever their pictures are by now, and its folder is removed then."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from extract_samples import Interrupted, QuarterMeans, RecordingObserver, array_images, write_picture
from run_samples import PIXELS, SHARD_ROWS, assert_equal, expected_rows, job, run, run_finding_all, tiny

from headstart.core.cache.errors import FeaturesStale
from headstart.core.cache.execution import NAME as EXECUTION
from headstart.core.cache.store import FeatureStore
from headstart.core.extract import datasets
from headstart.core.extract.job import Job
from headstart.core.extract.naming import as_kept
from headstart.core.extract.reuse import survey

ADDED = np.concatenate([PIXELS[:1] ^ 1, PIXELS])
"""A picture in front of all others: every row moves."""
TWICE = np.concatenate([PIXELS[:1] ^ 2, ADDED])


def interrupted(asked: Job, store: FeatureStore, rows: int) -> None:
    with pytest.raises(Interrupted, match=r"^$"):
        run(asked, store, observer=RecordingObserver(stop_after=rows))


def folders(store: FeatureStore) -> list[str]:
    return sorted(path.name.rpartition("-")[2] for path in store.root.iterdir() if path.is_dir())


def test_rows_of_a_killed_run_serve_when_every_row_has_moved_since(store: FeatureStore) -> None:
    interrupted(tiny(), store, 2 * SHARD_ROWS)
    extractor = QuarterMeans()
    outcome = run(job(array_images(ADDED)), store, extractor)
    assert extractor.seen == len(ADDED) - 2 * SHARD_ROWS
    assert_equal(outcome.features.load(), expected_rows(ADDED))
    assert folders(store) == ["2"]
    assert not (outcome.features.folder / EXECUTION).exists()
    run_finding_all(job(array_images(ADDED)), store)


def test_a_survey_counts_what_a_killed_run_has_left(store: FeatureStore) -> None:
    interrupted(tiny(), store, 2 * SHARD_ROWS)
    (begun,) = (path for path in store.root.iterdir() if path.is_dir())
    (begun / ".shard-00002.h5.half.tmp").write_bytes(b"")  # of a process that may be at work
    same, moved = survey(tiny(), store), survey(job(array_images(ADDED)), store)
    assert (same.rows, same.rows_there, same.folder) == (18, 2 * SHARD_ROWS, begun)
    assert (moved.rows, moved.rows_there, moved.folder) == (19, 2 * SHARD_ROWS, begun.with_name(f"{begun.name}-2"))
    assert (begun / ".shard-00002.h5.half.tmp").exists()
    assert run(job(array_images(ADDED)), store).features.folder == moved.folder


def test_rows_of_several_killed_updates_serve_together(store: FeatureStore) -> None:
    first = run(tiny(limit=10), store).features
    interrupted(job(array_images(ADDED)), store, 4)
    interrupted(job(array_images(TWICE)), store, 4)
    assert len(folders(store)) == 3
    extractor = QuarterMeans()
    outcome = run(job(array_images(TWICE)), store, extractor)
    assert extractor.seen == 4
    assert_equal(outcome.features.load(), expected_rows(TWICE))
    assert folders(store) == [first.folder.name.rpartition("-")[2], "3"]
    assert_equal(first.load(), expected_rows(PIXELS[:10]))


def test_a_new_snapshot_is_computed_as_the_killed_run_began(store: FeatureStore) -> None:
    asked = tiny()
    interrupted(dataclasses.replace(asked, config=dataclasses.replace(asked.config, batch_size=5)), store, SHARD_ROWS)
    changed = job(array_images(ADDED))
    outcome = run(dataclasses.replace(changed, config=dataclasses.replace(changed.config, batch_size=None)), store)
    assert outcome.features.manifest.provenance.batch_size == 5


def test_a_damaged_shard_of_a_killed_run_gives_nothing(store: FeatureStore) -> None:
    interrupted(tiny(), store, 2 * SHARD_ROWS)
    (path, *_) = sorted(store.root.glob("*/shard-*.h5"))
    path.write_bytes(path.read_bytes()[:-1])
    extractor = QuarterMeans()
    assert_equal(run(job(array_images(ADDED)), store, extractor).features.load(), expected_rows(ADDED))
    assert extractor.seen == len(ADDED) - SHARD_ROWS


def test_force_forgets_what_a_killed_run_has_left(store: FeatureStore) -> None:
    interrupted(tiny(), store, 2 * SHARD_ROWS)
    changed, extractor = job(array_images(ADDED)), QuarterMeans()
    outcome = run(dataclasses.replace(changed, config=dataclasses.replace(changed.config, force=True)), store, extractor)
    assert extractor.seen == len(ADDED)
    assert_equal(outcome.features.load(), expected_rows(ADDED))
    assert len(folders(store)) == 1


def frozen(asked: Job) -> Job:
    return dataclasses.replace(asked, config=dataclasses.replace(asked.config, frozen=True))


def test_frozen_completes_no_update_that_was_begun(store: FeatureStore) -> None:
    before = run(tiny(), store).features
    changed = job(array_images(ADDED[:-1]))
    (before.folder / "shard-00000.h5").rename(before.folder / "aside")  # so that the update computes, and can be killed
    interrupted(changed, store, SHARD_ROWS)
    (before.folder / "aside").rename(before.folder / "shard-00000.h5")
    with pytest.raises(FeaturesStale, match=r"1 picture is new, 1 no longer there, 17 labels changed; leave out --frozen"):
        run(frozen(changed), store)
    run_finding_all(frozen(tiny()), store)


def test_an_extension_goes_to_the_set_that_is_right_whatever_was_begun_beside_it(store: FeatureStore) -> None:
    before = run(tiny(limit=8), store).features
    interrupted(job(array_images(ADDED)), store, 4)
    outcome = run(frozen(tiny()), store)
    assert outcome.features.folder == before.folder
    assert_equal(outcome.features.load(), expected_rows(PIXELS))
    assert folders(store) == [before.folder.name.rpartition("-")[2]]


def test_a_file_of_a_users_own_keeps_its_folder(store: FeatureStore) -> None:
    interrupted(tiny(), store, SHARD_ROWS)
    (begun,) = (path for path in store.root.iterdir() if path.is_dir())
    (begun / "notes.txt").write_text("mine")
    run(job(array_images(ADDED)), store)
    assert [path.name for path in Path(begun).iterdir()] == ["notes.txt"]


def asked_of(folder: Path, store: FeatureStore) -> Job:
    images = datasets.open_split(f"folder:{folder}", "all", folder)
    (found,) = as_kept([job(images)], store)
    return found


def test_a_folder_that_changed_since_its_first_run_was_killed_is_the_same_data_set(
    store: FeatureStore, tmp_path: Path
) -> None:
    folder = tmp_path / "pets"
    for name in ("a", "b"):
        for seed in range(5):
            write_picture(folder / name / f"{seed}.png", seed + 7 * (name == "b"))
    interrupted(asked_of(folder, store), store, SHARD_ROWS)
    write_picture(folder / "a" / "00.png", 99)
    extractor = QuarterMeans()
    outcome = run(asked_of(folder, store), store, extractor)
    assert outcome.features.manifest.dataset == "folder-pets"
    assert extractor.seen == 11 - SHARD_ROWS


def test_a_folder_beside_one_whose_first_run_was_killed_is_another_data_set(store: FeatureStore, tmp_path: Path) -> None:
    for place, seed in (("x", 0), ("y", 50)):
        for number in range(6):
            write_picture(tmp_path / place / "pets" / "ab"[number % 2] / f"{number}.png", number + seed)
    interrupted(asked_of(tmp_path / "x" / "pets", store), store, SHARD_ROWS)
    outcome = run(asked_of(tmp_path / "y" / "pets", store), store)
    assert outcome.features.manifest.dataset == "folder-pets-2"
