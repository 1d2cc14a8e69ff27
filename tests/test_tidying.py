"""Which snapshots nothing needs any more, and which heads are older than their features."""

from pathlib import Path

import numpy as np
import pytest
from heads_samples import CLASSES, blobs, make_key, make_run, write_set

from headstart.core.cache.errors import RunDamaged
from headstart.core.cache.feature_set import FeatureSet
from headstart.core.cache.store import FeatureStore
from headstart.core.heads.runs import Extraction, Run, RunStore
from headstart.tidying import older_heads, outdated, tidy, unneeded
from headstart.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "features", tmp_path / "runs", tmp_path, "cpu")


def snapshots(workspace: Workspace, count: int) -> list[FeatureSet]:
    store = FeatureStore(workspace.features_dir)
    return [write_set(store, blobs(9 + i, seed=i), "all", snapshot=i > 0) for i in range(count)]


def head_of(workspace: Workspace, features: FeatureSet, name: str = "head") -> Run:
    manifest = features.manifest
    own = Extraction(features.folder.name, manifest.digest, 9, 1.0, "all", manifest.images_digest)
    run = make_run(name=name, train=own, test=own)
    RunStore(workspace.runs_dir).write(run)
    return run


def never_wait() -> None:
    raise AssertionError("the lock is held by another")


def names(entries: object) -> list[str]:
    return [entry.folder.name for entry in entries]  # type: ignore[attr-defined]


def test_replaced_snapshots_go_unless_a_head_was_made_from_them(workspace: Workspace) -> None:
    first, second, third, last = snapshots(workspace, 4)
    head_of(workspace, second)
    assert names(unneeded(workspace)) == [first.folder.name, third.folder.name]
    assert first.folder.is_dir()
    rows = last.load()
    assert names(tidy(workspace, never_wait)) == [first.folder.name, third.folder.name]
    assert [found.folder for found in FeatureStore(workspace.features_dir).sets()] == [second.folder, last.folder]
    assert np.array_equal(last.load().features, rows.features)
    assert names(unneeded(workspace)) == []


def test_what_was_begun_before_the_last_snapshot_goes_and_what_was_begun_after_it_stays(workspace: Workspace) -> None:
    first, second = snapshots(workspace, 2)
    (first.folder / "manifest.json").unlink()
    begun = second.folder.with_name(f"{first.folder.name}-3")
    begun.mkdir()
    (begun / "shard-00000.h5").write_bytes(b"half")
    assert names(unneeded(workspace)) == [first.folder.name]


def test_nothing_goes_while_a_head_cannot_be_read(workspace: Workspace) -> None:
    snapshots(workspace, 2)
    (workspace.runs_dir / "broken").mkdir(parents=True)
    (workspace.runs_dir / "broken/run.json").write_text("{}")
    with pytest.raises(RunDamaged, match=r"broken/run\.json: not a run record of ours"):
        tidy(workspace, never_wait)
    assert len(FeatureStore(workspace.features_dir).sets()) == 2
    assert older_heads(workspace) == {}


def test_a_head_is_older_than_its_features_once_their_pictures_have_changed(workspace: Workspace) -> None:
    (first,) = snapshots(workspace, 1)
    old = head_of(workspace, first)
    assert older_heads(workspace) == {}
    last = write_set(FeatureStore(workspace.features_dir), blobs(12, seed=5), "all", snapshot=True)
    new = head_of(workspace, last, "new")
    said = f"older than its features: {last.folder.name} is of other pictures or labels by now"
    assert older_heads(workspace) == outdated(workspace, [old, new]) == {"head": said}


def test_a_head_is_older_where_its_test_features_alone_have_changed(workspace: Workspace) -> None:
    store = FeatureStore(workspace.features_dir)
    train, test = (write_set(store, blobs(9, seed=seed), split) for seed, split in ((0, "train"), (1, "test")))
    parts = [
        Extraction(found.folder.name, found.manifest.digest, 9, 1.0, found.manifest.split, found.manifest.images_digest)
        for found in (train, test)
    ]
    run = make_run(name="head", train=parts[0], test=parts[1])
    assert outdated(workspace, [run]) == {}
    last = write_set(store, blobs(12, seed=5), "test", snapshot=True)
    said = f"older than its test features: {last.folder.name} is of other pictures or labels by now"
    assert older_heads(workspace, [run]) == {"head": said}


def later_set(workspace: Workspace, split: str, year: int, classes: tuple[str, ...] = CLASSES) -> FeatureSet:
    store, key = FeatureStore(workspace.features_dir), make_key(classes=classes)
    return write_set(store, blobs(9, seed=year), split, key, created=f"{year}-01-01T00:00:00+00:00", snapshot=False)


def own_part(found: FeatureSet) -> Extraction:
    manifest = found.manifest
    return Extraction(found.folder.name, manifest.digest, 9, 1.0, manifest.split, manifest.images_digest)


@pytest.mark.parametrize(("before", "since"), [(("all",), ("train", "test")), (("train", "test"), ("all",))], ids=str)
def test_a_head_is_older_once_its_folder_was_divided_in_another_way(
    workspace: Workspace, before: tuple[str, ...], since: tuple[str, ...]
) -> None:
    parts = [own_part(later_set(workspace, split, 2021)) for split in before]
    old = make_run(name="head", train=parts[0], test=parts[-1], created="2021-02-01T00:00:00+00:00")
    assert outdated(workspace, [old]) == {}
    now = [later_set(workspace, split, 2022) for split in since]
    new = make_run(name="new", train=own_part(now[0]), test=own_part(now[-1]), created="2022-02-01T00:00:00+00:00")
    folder = now[0].folder.name
    said = f"older than its features: the data set is divided in another way by now, as in {folder}"
    assert outdated(workspace, [old, new]) == {"head": said}
    for split in before:
        FeatureStore(workspace.features_dir).remove(f"pets-{split}-{folder.split('-', 2)[2]}", never_wait)
    assert outdated(workspace, [old, new]) == {"head": said}  # the head itself was trained before that


def test_the_same_folder_read_in_two_ways_makes_no_head_older(workspace: Workspace) -> None:
    parts = [own_part(later_set(workspace, split, 2021)) for split in ("train", "test")]
    run = make_run(name="head", train=parts[0], test=parts[1], created="2021-02-01T00:00:00+00:00")
    later_set(workspace, "all", 2022, classes=("test", "train"))  # --no-splits
    assert outdated(workspace, [run]) == {}
