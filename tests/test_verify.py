"""What is wrong with a set is named with its place, and all of it at once."""

from pathlib import Path

import numpy as np
import pytest
from cache_samples import make_shards, never_wait, write_set, write_shards_only

from cache.errors import FeaturesNotFound
from cache.store import FeatureSet, FeatureStore
from cache.verify import folders, problems


@pytest.fixture
def features(tmp_path: Path) -> FeatureSet:
    """A whole set of three shards."""
    return write_set(FeatureStore(tmp_path / "features"), make_shards(np.random.default_rng(0)))


def flip(path: Path) -> None:
    """Change one bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_a_whole_set_has_no_problems(features: FeatureSet) -> None:
    assert problems(features.folder) == []


def test_every_fault_is_named_with_its_place(features: FeatureSet) -> None:
    flip(features.folder / "shard-00000.h5")
    (features.folder / "shard-00002.h5").unlink()
    (features.folder / "copy of a shard.h5").write_bytes(b"")
    found = problems(features.folder)
    assert [Path(fault.partition(": ")[0]).name for fault in found] == [
        "shard-00000.h5",
        "shard-00002.h5",
        "copy of a shard.h5",
    ]
    assert "SHA-256 is" in found[0]
    assert "missing" in found[1]
    assert "does not list this file" in found[2]


def test_a_damaged_manifest_is_the_one_problem(features: FeatureSet) -> None:
    flip(features.folder / "manifest.json")
    (fault,) = problems(features.folder)
    assert "not a manifest of ours" in fault


def test_a_set_that_was_never_finished_is_found_and_named(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    folder = write_shards_only(store, make_shards(np.random.default_rng(0)))
    assert folders(store) == [folder]
    (fault,) = problems(folder)
    assert "the set is not complete" in fault


def test_a_set_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FeaturesNotFound, match="no such feature set; `headstart cache ls` lists them"):
        problems(tmp_path / "nothing")


def test_a_removed_set_is_gone_and_its_size_is_told(features: FeatureSet) -> None:
    store = FeatureStore(features.folder.parent)
    size = sum(path.stat().st_size for path in features.folder.iterdir())
    assert store.remove(features.folder.name, never_wait) == size
    assert folders(store) == []


@pytest.mark.parametrize("name", ["", "..", "nothing", "../other"])
def test_only_a_set_can_be_removed(features: FeatureSet, name: str) -> None:
    other = features.folder.parent.parent / "other"
    other.mkdir()
    with pytest.raises(FeaturesNotFound, match="no such feature set"):
        FeatureStore(features.folder.parent).remove(name, never_wait)
    assert other.is_dir()
    assert problems(features.folder) == []
