"""Rows are found in any set of the same key, by content; sets of earlier layouts give those that can be proved."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from cache_samples import flip
from extract_samples import QuarterMeans, RecordingObserver, array_images, file_images, write_picture
from run_samples import PIXELS, assert_equal, expected_rows, job, run, run_finding_all, tiny

from headstart.core.cache.files import canonical_json, sha256
from headstart.core.cache.known_files import NAME as FILES
from headstart.core.cache.known_files import KnownFiles, read_known_files
from headstart.core.cache.manifest import NAME, read_manifest
from headstart.core.cache.shard import decode_shard, encode_shard
from headstart.core.cache.store import FeatureStore
from headstart.core.extract.images.files import FileImages
from headstart.core.extract.rows import lookup


def as_version_3(folder: Path) -> Path:
    """A set as it was laid out before: the names in the key, no digests in the shards, a folder of the old name."""
    manifest = read_manifest(folder)
    document = json.loads(manifest.to_bytes())
    old = dataclasses.replace(manifest, version=3)
    for record, facts in zip(manifest.shards, document["shards"], strict=True):
        shard = decode_shard((folder / record.file).read_bytes(), record.file)
        content = encode_shard(
            dataclasses.replace(shard, key=old.named.digest, rows=dataclasses.replace(shard.rows, digests=None))
        )
        (folder / record.file).write_bytes(content)
        facts["sha256"] = sha256(content)
    shards = tuple(dataclasses.replace(one, sha256=sha256((folder / one.file).read_bytes())) for one in manifest.shards)
    old = dataclasses.replace(old, shards=shards)
    for name in ("dataset", "classes", "change", "sha256"):
        del document[name]
    document |= {"version": 3, "key": old.named.to_json(), "key_digest": old.shard_key, "digest": old.digest}
    (folder / NAME).write_text(json.dumps({**document, "sha256": sha256(canonical_json(document))}))
    assert read_manifest(folder) == dataclasses.replace(old, change=None)
    return folder.rename(folder.with_name(f"{folder.name.rpartition('-')[0]}-{old.named.digest8}"))


@pytest.mark.parametrize("version", [1, 2, 3])
def test_a_set_of_an_earlier_layout_gives_all_rows_that_are_unchanged(store: FeatureStore, version: int) -> None:
    folder = as_version_3(run(tiny(), store).features.folder)
    document = json.loads((folder / NAME).read_text())
    for name in ("order", "engine")[: 3 - version]:
        del document["provenance"][name]
    del document["sha256"]
    document |= {"version": version}
    (folder / NAME).write_text(json.dumps({**document, "sha256": sha256(canonical_json(document))}))
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    extractor = QuarterMeans()
    outcome = run(tiny(), store, extractor)
    assert (outcome.computed, extractor.seen) == (0, 0)
    assert_equal(outcome.features.load(), expected_rows(PIXELS))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    run_finding_all(tiny(), store)


def test_of_a_changed_old_set_whole_shards_are_believed_or_not(store: FeatureStore) -> None:
    as_version_3(run(tiny(), store).features.folder)
    pixels = PIXELS.copy()
    pixels[5] ^= 1
    extractor = QuarterMeans()
    outcome = run(job(array_images(pixels)), store, extractor)
    assert extractor.seen == 4  # the rows 4 to 7: of which three are what they were, nobody can tell
    assert_equal(outcome.features.load(), expected_rows(pixels))


def test_an_old_set_of_relabelled_pictures_gives_its_rows(store: FeatureStore, tmp_path: Path) -> None:
    images = file_images(tmp_path / "photos", 6)
    as_version_3(run(job(images), store).features.folder)
    other = dataclasses.replace(images, targets=(2, 2, 1, 1, 0, 0), classes=("x", "y", "z"))
    found = run_finding_all_but_a_snapshot(other, store)
    assert found.features.load().labels.tolist() == [2, 2, 1, 1, 0, 0]


def run_finding_all_but_a_snapshot(images: FileImages, store: FeatureStore):  # type: ignore[no-untyped-def]
    extractor = QuarterMeans()
    outcome = run(job(images), store, extractor)
    assert extractor.seen == 0
    return outcome


def test_equal_pictures_are_computed_once_in_and_across_shards(store: FeatureStore) -> None:
    pixels = PIXELS[[0, 1, 0, 2, 3, 0, 4, 5, 6, 1, 7, 8, 0]]
    extractor = QuarterMeans()
    outcome = run(job(array_images(pixels)), store, extractor)
    assert (outcome.computed, extractor.seen) == (9, 9)
    assert_equal(outcome.features.load(), expected_rows(pixels))


def test_equal_pictures_of_shards_that_are_not_held_together_are_read_again(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headstart.core.extract.rows.making.GROUP_BYTES", 1)
    test_equal_pictures_are_computed_once_in_and_across_shards(store)
    pixels, extractor = PIXELS[::-1].copy(), QuarterMeans()
    outcome = run(job(array_images(pixels)), store, extractor)
    assert extractor.seen == 9  # the other half is there
    assert_equal(outcome.features.load(), expected_rows(pixels))


def test_a_file_that_changes_after_it_was_hashed_gives_no_other_row_its_features(
    store: FeatureStore, tmp_path: Path
) -> None:
    images = file_images(tmp_path / "photos", 4)
    for name in ("00.png", "01.png", "02.png"):
        write_picture(images.root / name, 50)  # three equal ones

    @dataclasses.dataclass(frozen=True)
    class Changing(FileImages):
        def fingerprints(self, start: int, stop: int) -> list[str]:
            found = super().fingerprints(start, stop)
            write_picture(self.root / "00.png", 51)
            return found

    changing = Changing(**{field.name: getattr(images, field.name) for field in dataclasses.fields(images)})
    features = run(job(changing, shard_rows=2), store).features
    fresh = run(job(images, shard_rows=2), FeatureStore(tmp_path / "fresh")).features
    assert_equal(features.load(), fresh.load())
    assert run(job(images, shard_rows=2), store).features.manifest.digest == features.manifest.digest


def test_a_damaged_source_gives_nothing_and_stops_nobody(store: FeatureStore) -> None:
    folder = run(tiny(), store).features.folder
    flip(folder / "shard-00001.h5")
    extractor = QuarterMeans()
    outcome = run(job(dataclasses.replace(array_images(PIXELS), name="other")), store, extractor)
    assert extractor.seen == 4
    assert_equal(outcome.features.load(), expected_rows(PIXELS))


def test_other_data_sets_are_looked_through_up_to_a_size_and_it_is_said(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tiny(), store)
    monkeypatch.setattr(lookup, "MOST_ROWS", 17)
    extractor, observer = QuarterMeans(), RecordingObserver()
    other = job(dataclasses.replace(array_images(PIXELS), name="other"))
    run(other, store, extractor, observer)
    assert extractor.seen == 18
    assert observer.notes == ["quarters other train: 1 sets of other data sets are too large to look for rows in"]


def test_a_subset_a_union_and_another_split_need_no_backbone(store: FeatureStore) -> None:
    run(tiny(), store)
    extractor = QuarterMeans()
    for name, split, rows in (
        ("some", "all", range(0, 18, 3)),
        ("tiny", "test", range(5)),
        ("both", "all", [*range(18)] * 2),
    ):
        images = dataclasses.replace(array_images(PIXELS[list(rows)]), name=name, split=split)
        outcome = run(job(images), store, extractor)
        assert np.array_equal(outcome.features.load().features, QuarterMeans()(PIXELS[list(rows)]))
    assert extractor.seen == 0


def test_of_a_folder_that_changed_only_new_files_are_read(
    store: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = file_images(tmp_path / "photos", 10)
    run(job(before), store)
    (tmp_path / "photos/03.png").unlink()
    write_picture(tmp_path / "photos/05.png", seed=77)
    write_picture(tmp_path / "photos/99.png", seed=99)
    paths = ("99.png", *(path for path in before.paths if path != "03.png"))
    now = dataclasses.replace(before, paths=paths, targets=(0,) * len(paths))
    hashed: list[str] = []

    def fingerprint(path: Path) -> str:
        hashed.append(path.name)
        return sha256(path.read_bytes())

    monkeypatch.setattr("headstart.core.extract.images.files.fingerprint", fingerprint)
    outcome = run(job(now), store)
    assert sorted(hashed) == ["05.png", "99.png"]
    assert outcome.computed == 2
    monkeypatch.undo()
    fresh = run(job(now), FeatureStore(tmp_path / "fresh"))
    assert_equal(outcome.features.load(), fresh.features.load())


@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_a_memory_of_files_that_is_damaged_costs_time_alone(
    store: FeatureStore, tmp_path: Path, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = file_images(tmp_path / "photos", 6)
    folder = run(job(images), store).features.folder
    if damage == "cut":
        (folder / FILES).write_bytes((folder / FILES).read_bytes()[:-1])
    else:
        (folder / FILES).unlink()
    write_picture(tmp_path / "photos/00.png", seed=50)
    outcome = run(job(images), store)
    assert outcome.computed == 1
    again = dataclasses.replace(images, classes=("x", "y", "z"))
    monkeypatch.setattr("headstart.core.extract.images.files.fingerprint", lambda path: pytest.fail(f"{path} was read"))
    assert run(job(again), store).computed == 0  # the new snapshot remembers all


def test_force_believes_no_memory_of_files(store: FeatureStore, tmp_path: Path) -> None:
    images = file_images(tmp_path / "photos", 3)
    for name in ("01.png", "02.png"):
        (tmp_path / "photos" / name).write_bytes((tmp_path / "photos/00.png").read_bytes())
    folder = run(job(images), store).features.folder
    write_picture(tmp_path / "photos/02.png", seed=50)
    known = read_known_files(folder)
    assert known is not None
    lie = KnownFiles.of(images.ids(0, 3), images.facts(0, 3), known.digests)  # as a write that left times and inode alone
    (folder / FILES).write_bytes(lie.to_bytes())
    outcome = run(job(images, force=True), store)
    fresh = run(job(images), FeatureStore(tmp_path / "fresh"))
    assert outcome.computed == fresh.computed == 2
    assert_equal(outcome.features.load(), fresh.features.load())
