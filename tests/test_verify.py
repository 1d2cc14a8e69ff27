"""What is wrong with a set is named with its place, and all of it at once."""

import datetime
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from cache_samples import flip, make_shards, never_wait, put_all, write_set, write_shards_only

from headstart.console.words.sets import listing
from headstart.core.cache import feature_set
from headstart.core.cache.errors import FeaturesDamaged, FeaturesNotFound
from headstart.core.cache.feature_set import FeatureSet
from headstart.core.cache.manifest import NAME
from headstart.core.cache.store import FeatureStore
from headstart.core.cache.text import set_words
from headstart.core.cache.verify import folders, problems, state, survey


@pytest.fixture
def features(tmp_path: Path) -> FeatureSet:
    """A whole set of three shards."""
    return write_set(FeatureStore(tmp_path / "features"), make_shards(np.random.default_rng(0)))


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


def test_a_replaced_snapshot_is_told_how_to_go_since_nothing_mends_it(features: FeatureSet, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    store = FeatureStore(tmp_path / "features")
    with store.writing(features.manifest.named, features.manifest.split, never_wait) as writer:
        last = put_all(writer.next(), make_shards(rng))
    flip(features.folder / "shard-00000.h5")
    flip(last.folder / "shard-00000.h5")
    way_out = f"a later snapshot has replaced this one, `headstart cache rm {set_words(features.folder)}` removes it"
    (found,) = problems(features.folder)
    assert found.endswith(f"; {way_out}")
    (found,) = problems(last.folder)
    assert found.endswith("; run the `headstart extract` that made the set again to compute it anew")


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


@pytest.mark.parametrize("name", ["runs", "work"])
def test_a_folder_that_is_no_set_is_not_removed(features: FeatureSet, name: str) -> None:
    store = FeatureStore(features.folder.parent)  # as where --features-dir is the working folder
    (store.root / "runs" / "resnet50-study").mkdir(parents=True)
    (store.root / "work").mkdir()
    (store.root / "work" / "thesis.tex").write_text("all of it")
    with pytest.raises(FeaturesNotFound, match=f"{name}: no feature set, since it holds .*; nothing was removed"):
        store.remove(name, never_wait)
    assert (store.root / "runs" / "resnet50-study").is_dir()
    assert (store.root / "work" / "thesis.tex").read_text() == "all of it"


def test_a_link_to_a_set_is_not_followed_by_remove(features: FeatureSet, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "linked").symlink_to(features.folder)
    with pytest.raises(FeaturesNotFound, match=r"linked: a link to .*; remove the link, or the set where it lies"):
        FeatureStore(tmp_path / "here").remove("linked", never_wait)
    assert problems(features.folder) == []


def test_an_empty_folder_and_a_run_that_left_no_shard_can_be_removed(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    for name, file in (("empty", None), ("begun", "execution.json"), ("cut", ".shard-00000.h5.0123.tmp")):
        (tmp_path / name).mkdir()
        if file:
            (tmp_path / name / file).write_bytes(b"12345")
        assert store.remove(name, never_wait) == (5 if file else 0)
        assert not (tmp_path / name).exists()


def test_files_that_go_while_they_are_counted_count_nothing(features: FeatureSet, monkeypatch: pytest.MonkeyPatch) -> None:
    store = FeatureStore(features.folder.parent)
    (before,) = survey(store)
    listed = Path.iterdir

    def with_a_file_that_goes(folder: Path) -> Iterator[Path]:  # as a temporary file is renamed by an extraction
        yield folder / ".shard-00003.h5.0123.tmp"
        yield from listed(folder)

    monkeypatch.setattr(Path, "iterdir", with_a_file_that_goes)
    assert survey(store) == [before]


@pytest.mark.parametrize("ask", [lambda features: problems(features.folder), lambda features: features.load()])
def test_a_set_that_is_made_anew_meanwhile_is_not_called_damaged(
    features: FeatureSet, monkeypatch: pytest.MonkeyPatch, ask: Callable[[FeatureSet], object]
) -> None:
    store, read = FeatureStore(features.folder.parent), feature_set.read_regular

    def read_late(path: Path, most: int) -> bytes:
        monkeypatch.setattr(feature_set, "read_regular", read)
        with store.writing(features.manifest.named, "train", never_wait) as writer:
            writer.remove()
            put_all(writer, make_shards(np.random.default_rng(1)))
        return read(path, most)

    monkeypatch.setattr(feature_set, "read_regular", read_late)
    message = "another process removed the set or made it anew while it was read; run the command again"
    try:
        said = ask(features)
    except FeaturesDamaged as error:
        said = [str(error)]
    assert said == [f"{features.folder}: {message}"]


def test_a_set_of_another_version_is_not_called_damaged(features: FeatureSet) -> None:
    path = features.folder / NAME
    path.write_bytes(path.read_bytes().replace(b'"version": ', b'"version": 9'))
    (entry,) = survey(FeatureStore(features.folder.parent))
    assert entry.state == "of another version"
    said = listing([entry], datetime.datetime.now(datetime.UTC))
    assert "of another version: use the headstart that made it; the `headstart extract` that made the set" in said


def test_a_set_is_called_by_its_name_or_as_extract_prints_it(features: FeatureSet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(features.folder.parent.parent)
    store, name = FeatureStore(Path("features")), features.folder.name
    for given in (name, f"features/{name}", f"./features/{name}/", str(features.folder)):
        assert store.get(given).folder == Path("features") / name
    assert store.called(f"elsewhere/{name}") == f"elsewhere/{name}"
    with pytest.raises(FeaturesNotFound, match=rf"no complete feature set \(did you mean {name}\?\)"):
        store.get(name.replace("digits", "digit"))
    with pytest.raises(FeaturesNotFound, match=rf"no such feature set \(did you mean {name}\?\)"):
        problems(Path("features") / name.replace("digits", "digit"))
    assert store.remove(f"features/{name}", never_wait) > 0


def test_one_state_has_one_word(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    folder = write_shards_only(store, make_shards(np.random.default_rng(0)))
    (entry,) = survey(store)
    assert entry.state == state(folder, problems(folder)) == "not complete"
    with pytest.raises(FeaturesNotFound, match=r": not complete; the `headstart extract` that began it goes on"):
        store.get(folder.name)


def test_the_state_after_reading_is_whole_or_damaged(features: FeatureSet) -> None:
    assert state(features.folder, problems(features.folder)) == "whole"
    flip(features.folder / "shard-00000.h5")
    assert state(features.folder, problems(features.folder)) == "damaged"
