"""Copies with corrected labels: shards that nothing changes in are not written twice, and `cache` knows the copies."""

import errno
import json
import os
import shutil
from pathlib import Path

import pytest
from cli_samples import Place
from test_cli_corrections import SMALL, decide, drawn, train

from headstart.core.cache import corrections
from headstart.core.cache.corrected_sets import by_digest, file_of, store_of
from headstart.core.cache.corrections import LABEL, REMOVE, Correction
from headstart.core.cache.files import folder_bytes, link_durably
from headstart.core.cache.store import FeatureStore
from headstart.core.heads.runs import RunStore

Pictures = dict[str, tuple[str, str]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Place, Pictures]:
    """Features of drawn pictures in four shards for each split."""
    place = Place(tmp_path_factory.mktemp("made"))
    pictures = drawn(place.root / "pictures")
    place.run("extract", *SMALL, "--dataset", f"folder:{place.root / 'pictures'}", "--shard-rows", "10")
    return place, pictures


@pytest.fixture
def place(made: tuple[Place, Pictures], tmp_path: Path) -> Place:
    shutil.copytree(made[0].root / "features", tmp_path / "features")
    return Place(tmp_path)


def one(place: Place, split: str = "train") -> Correction:
    """A decision on the first picture of a split."""
    (source,) = (found for found in FeatureStore(place.root / "features").sets() if found.manifest.split == split)
    digests = source.load(1).digests
    assert digests is not None
    return Correction(bytes(digests[0]).hex(), REMOVE)


def inodes(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_ino for path in folder.glob("shard-*.h5")}


def copies(place: Place) -> list[Path]:
    return [found.folder for found in store_of(place.root / "features").sets()]


def test_a_shard_in_which_nothing_changes_is_the_same_file(place: Place) -> None:
    decide(place, one(place))
    train(place)
    sources = {found.manifest.digest: found for found in FeatureStore(place.root / "features").sets()}
    for copy in store_of(place.root / "features").sets():
        ours, theirs = inodes(copy.folder), inodes(sources[copy.manifest.provenance.corrected["source"]].folder)
        changed = {"shard-00000.h5"} if copy.manifest.split == "train" else set()
        assert {name for name in ours if ours[name] != theirs[name]} == changed
        assert copy.load().features.shape[0] == copy.manifest.rows
        assert folder_bytes(copy.folder, own=True) < folder_bytes(copy.folder) / 2
    assert not list((place.root / "features").rglob("*.tmp"))


def test_where_files_have_no_second_name_a_copy_is_made(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr(os, "link", refused)
    decide(place, one(place))
    run = train(place)
    sets = by_digest(place.root / "features")
    copy = sets[run.train.digest]
    assert not {*inodes(copy.folder).values()} & {
        *inodes(sets[copy.manifest.provenance.corrected["source"]].folder).values()
    }
    copy.check()


def test_a_damaged_source_is_named_and_nothing_is_kept_of_it(place: Place) -> None:
    decide(place, one(place))
    shard = next(iter(sorted((place.root / "features").glob("*-test-*/shard-00003.h5"))))
    content = shard.read_bytes()
    shard.write_bytes(content[:-1] + b"?")
    line = place.fails("train-head", "--corrections", str(place.root / "corrections.csv"))
    assert f"{shard}: SHA-256 is" in line
    assert ".corrected" not in line
    shard.unlink()
    shard.write_bytes(content)
    train(place)
    place.run("cache", "verify")


def test_a_second_name_is_given_again_and_a_link_is_not_followed(tmp_path: Path) -> None:
    source, path = tmp_path / "a", tmp_path / "new" / "b"
    source.write_bytes(b"1")
    assert link_durably(source, path)
    assert link_durably(source, path)
    assert [found.name for found in path.parent.iterdir()] == ["b"]
    (tmp_path / "link").symlink_to(source)
    assert not link_durably(tmp_path / "link", tmp_path / "c")
    assert not link_durably(tmp_path / "gone", tmp_path / "c")
    assert {found.name for found in tmp_path.iterdir()} == {"a", "new", "link"}


def test_ls_tells_how_many_copies_there_are_and_what_they_take(place: Place) -> None:
    before = place.run("cache", "ls", "--json").stdout
    assert "corrected labels" not in before
    decide(place, one(place))
    train(place)
    *lines, document = place.run("cache", "ls", "--json").stdout.splitlines()
    own = sum(folder_bytes(folder, own=True) for folder in copies(place))
    assert lines[-1].startswith("corrected labels: 2 copies of feature sets, ")
    assert lines[-1].endswith(" beside what these take")
    listed = json.loads(document)
    assert len(listed) == len(json.loads(before.splitlines()[-1])) + 2
    theirs = [entry for entry in listed if entry.get("provenance", {}).get("corrected")]
    assert sum(entry["bytes"] for entry in theirs) == own
    assert {entry["folder"] for entry in theirs} == {str(folder) for folder in copies(place)}


def test_verify_reads_copies_too_and_says_what_mends_them(place: Place) -> None:
    decide(place, one(place))
    run = train(place)
    copy = by_digest(place.root / "features")[run.train.digest].folder
    said = place.run("cache", "verify").stdout
    assert f".corrected/{copy.name}: whole" in said
    (copy / "shard-00000.h5").write_bytes(b"?")
    line = place.fails("cache", "verify")
    assert "the command with --corrections that made this copy of the labels makes it anew" in line
    assert ".corrected" in place.fails("cache", "verify", f".corrected/{copy.name}")
    train(place)
    assert f".corrected/{copy.name}: whole" in place.run("cache", "verify", f".corrected/{copy.name}").stdout
    (copy / "manifest.json").unlink()
    assert "the set is not complete; the command with --corrections" in place.fails("cache", "verify")


def test_gc_keeps_the_last_copy_by_each_file_and_what_runs_need(place: Place, made: tuple[Place, Pictures]) -> None:
    features = place.root / "features"
    decide(place, one(place))
    train(place)
    other = place.root / "other.csv"
    mark = next(mark for mark, (own, given) in made[1].items() if own == given)
    corrections.append(other, [Correction(mark, LABEL, "sky")])
    place.run("train-head", "--head", "logreg", "--corrections", str(other))
    by_other = {found.folder for found in store_of(features).sets() if file_of(found.manifest) == "other.csv"}
    assert len(by_other) == 2
    for run in RunStore(place.root / "runs").runs():
        shutil.rmtree(place.root / "runs" / run.name)
    place.run("cache", "gc")
    assert len(copies(place)) == 4  # the last ones by either file
    decide(place, one(place, "test"))
    last = train(place)
    shutil.rmtree(place.root / "runs" / last.name)
    place.run("cache", "gc")
    left = copies(place)
    assert len(left) == 4
    assert by_other <= {*left}
    assert {by_digest(features)[part].folder for part in last.needed} <= {*left}
    for source in FeatureStore(features).sets():
        place.run("cache", "rm", source.folder.name)
    place.run("cache", "gc")
    assert copies(place) == []


def test_a_source_may_go_while_its_copy_stays_whole(place: Place) -> None:
    decide(place, one(place))
    run = train(place)
    for source in FeatureStore(place.root / "features").sets():
        place.run("cache", "rm", source.folder.name)
    place.run("cache", "gc")
    sets = by_digest(place.root / "features")
    for digest in run.needed:
        sets[digest].check()
