"""The features directory: sets are found by key, each in a folder of its own, and written by one process at a time."""

import contextlib
import dataclasses
import errno
import fcntl
import multiprocessing
import os
import shutil
from collections.abc import Iterator
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import filelock
import numpy as np
import pytest
from cache_samples import (
    EDGES,
    begun,
    first_images,
    make_key,
    make_shards,
    never_wait,
    put_all,
    same_rows,
    write_and_hold,
    write_set,
    write_shards_only,
)
from hypothesis import example, given, settings
from hypothesis import strategies as st

from headstart.core.cache.errors import FeaturesDamaged, FeaturesNotFound, HeadstartError
from headstart.core.cache.feature_set import FeatureSet
from headstart.core.cache.manifest import NAME
from headstart.core.cache.shard import Shard
from headstart.core.cache.store import FeatureStore, newest


@given(st.text(max_size=30), st.sampled_from(["train", "test"]))
@example("..", "train")
@example(".hidden", "test")
@settings(max_examples=100)
def test_folder_names_are_safe_whatever_the_data_set_is_called(dataset: str, split: str) -> None:
    root = Path("/features")
    key = make_key(dataset=dataset.encode(errors="replace").decode())
    folder = FeatureStore(root).folder(key, split)
    assert folder.parent == root
    assert folder.name.isascii()
    assert not set(folder.name) & set("/\\:*?\"'<>| \t\n")
    assert not folder.name.startswith(".")
    assert folder.name.endswith(f"-{split}-resnet50-{key.feature_key.digest8}")


@pytest.mark.parametrize("dataset", ["..", "../../etc", "a/b", ".hidden", "", "Käse 🧀", "con\nnul", "-rf"])
def test_a_set_of_an_odd_name_is_written_and_found_again(
    store: FeatureStore, rng: np.random.Generator, dataset: str
) -> None:
    key = make_key(dataset=dataset)
    shards = make_shards(rng, key=key)
    found = write_set(store, shards, key)
    assert found.folder.parent == store.root
    assert store.sets() == [found]
    assert store.get(found.folder.name) == found


def test_a_set_of_a_very_long_name_is_written(store: FeatureStore, rng: np.random.Generator) -> None:
    # file systems take 255 bytes; a data set is often named after a folder, which may itself be that long
    key = make_key(dataset="ü" * 300)
    assert len(write_set(store, make_shards(rng, key=key), key).load()) == EDGES[-1]


def test_names_that_look_alike_once_cleaned_have_folders_of_their_own(store: FeatureStore) -> None:
    keys = [make_key(dataset=name) for name in ("a/b", "a_b", "a b", "a\\b", ".a_b")]
    found = [write_set(store, make_shards(np.random.default_rng(i)), key) for i, key in enumerate(keys)]
    assert [one.folder.name for one in found[:2]] == [(base := store.folder(keys[0], "train").name), f"{base}-2"]
    assert [store.open(key, "train") for key in keys] == found


def test_each_split_has_a_folder_of_its_own(store: FeatureStore) -> None:
    assert store.folder(make_key(), "train") != store.folder(make_key(), "test")


def test_the_folder_says_what_lies_in_it(store: FeatureStore) -> None:
    assert store.folder(make_key(), "train").name == f"digits-train-resnet50-{make_key().feature_key.digest8}"


def test_a_set_is_open_only_once_its_manifest_is_there(store: FeatureStore, rng: np.random.Generator) -> None:
    folder = write_shards_only(store, make_shards(rng))
    assert store.open(make_key(), "train") is None
    assert store.sets() == []
    assert begun(store) == [folder]
    found = write_set(store, make_shards(rng))
    assert store.open(make_key(), "train") == found
    assert store.sets() == [found]
    assert begun(store) == []


def test_a_set_of_another_key_or_split_does_not_answer(store: FeatureStore, rng: np.random.Generator) -> None:
    write_set(store, make_shards(rng))
    assert store.open(make_key(), "test") is None
    assert store.open(make_key(precision="bf16"), "train") is None


def test_sets_are_listed_by_folder_name(store: FeatureStore, rng: np.random.Generator) -> None:
    for dataset in ("flowers", "cifar10", "digits"):
        key = make_key(dataset=dataset)
        write_set(store, make_shards(rng, key=key), key)
    assert [found.manifest.dataset for found in store.sets()] == ["cifar10", "digits", "flowers"]


def test_a_directory_that_is_not_there_holds_nothing(store: FeatureStore) -> None:
    assert (store.sets(), begun(store), store.open(make_key(), "train")) == ([], [], None)


def test_get_lists_what_is_there_where_the_name_is_unknown(store: FeatureStore, rng: np.random.Generator) -> None:
    found = write_set(store, make_shards(rng))
    with pytest.raises(FeaturesNotFound, match=f"nonsense: no complete feature set; there are: {found.folder.name}"):
        store.get("nonsense")


def test_get_says_so_where_nothing_is_there(store: FeatureStore) -> None:
    with pytest.raises(FeaturesNotFound, match="there are: none"):
        store.get("nonsense")


def test_a_damaged_manifest_is_refused_by_name(store: FeatureStore, rng: np.random.Generator) -> None:
    found = write_set(store, make_shards(rng))
    (found.folder / NAME).write_text("{}")
    for look in (store.sets, lambda: store.get(found.folder.name), lambda: store.open(make_key(), "train")):
        with pytest.raises(FeaturesDamaged, match=rf"{found.folder.name}/manifest\.json: not a manifest of ours"):
            look()


@dataclasses.dataclass(frozen=True)
class Misplaced:
    """A set copied into the folder of another key or split, say by hand from another machine."""

    name: str
    dataset: str
    split: str
    field: str


MISPLACED = [Misplaced("other key", "flowers", "train", "dataset"), Misplaced("other split", "digits", "test", "split")]


def misplace(store: FeatureStore, rng: np.random.Generator, case: Misplaced) -> None:
    key = make_key(dataset=case.dataset)
    found = write_set(store, make_shards(rng, key=key), key, case.split)
    shutil.copytree(found.folder, store.folder(make_key(), "train"))


@pytest.mark.parametrize("case", MISPLACED, ids=lambda case: case.name)
def test_open_never_hands_out_another_set(store: FeatureStore, rng: np.random.Generator, case: Misplaced) -> None:
    misplace(store, rng, case)
    opened = None
    with contextlib.suppress(HeadstartError):
        opened = store.open(make_key(), "train")
    assert opened is None


@pytest.mark.parametrize("case", MISPLACED, ids=lambda case: case.name)
def test_a_set_is_not_written_into_another_ones_folder(
    store: FeatureStore, rng: np.random.Generator, case: Misplaced
) -> None:
    misplace(store, rng, case)
    others = store.get(store.folder(make_key(), "train").name)
    own = write_set(store, make_shards(rng))
    assert own.folder.name == f"{others.folder.name}-2"
    assert store.open(make_key(), "train") == own
    assert same_rows(others.load(), FeatureStore(store.root).get(others.folder.name).load())


# --- snapshots -----------------------------------------------------------------------------------------------------


def replaced(store: FeatureStore, shards: list[Shard]) -> FeatureSet:
    """Another snapshot of the same data set."""
    with store.writing(make_key(), "train", never_wait) as writer:
        return put_all(writer.next(), shards)


def test_the_last_complete_snapshot_is_the_data_sets(store: FeatureStore, rng: np.random.Generator) -> None:
    first = write_set(store, make_shards(rng))
    rows = first.load()
    second = replaced(store, make_shards(rng))
    third = replaced(store, make_shards(rng))
    assert [found.folder.name[-2:] for found in (second, third)] == ["-2", "-3"]
    assert store.open(make_key(), "train") == third
    assert store.sets() == [first, second, third]
    assert newest(store.sets()) == [third]
    assert same_rows(first.load(), rows)
    store.remove(third.folder.name, never_wait)
    assert store.open(make_key(), "train") == second


def test_a_snapshot_that_was_begun_is_not_the_data_sets_yet(store: FeatureStore, rng: np.random.Generator) -> None:
    first = write_set(store, make_shards(rng))
    with store.writing(make_key(), "train", never_wait) as writer:
        begun = writer.next()
        begun.put(make_shards(rng)[0], 0, None, 0.5)
    assert store.open(make_key(), "train") == first
    with store.writing(make_key(), "train", never_wait) as writer:
        assert writer.folder == begun.folder  # and goes on there
        assert list(writer.present()) == [0]
        assert writer.next().folder.name.endswith("-3")  # another one, which takes rows from it
        assert [source.path for source in store.begun(make_key(), "train", but=None)] == [begun.folder / "shard-00000.h5"]
        assert store.begun(make_key(), "train", but=begun.folder) == []
        store.remove_begun(make_key(), "train", but=None)
    assert store.folders(make_key(), "train") == [first.folder]


def test_shards_of_a_killed_extension_are_begun_those_of_the_set_are_not(
    store: FeatureStore, rng: np.random.Generator
) -> None:
    shards = make_shards(rng)
    first = write_set(store, shards[:2])
    with store.writing(make_key(), "train", never_wait) as writer:
        writer.put(shards[2], 2, None, 0.5)
        (first.folder / "shard-00003.h5").write_bytes(b"no shard")
        assert [source.path.name for source in store.begun(make_key(), "train", but=None)] == ["shard-00002.h5"]
        store.remove_begun(make_key(), "train", but=None)
    assert store.open(make_key(), "train") == first


def test_a_snapshot_of_an_earlier_layout_counts_only_where_there_is_no_other(
    store: FeatureStore, rng: np.random.Generator
) -> None:
    old = dataclasses.replace(
        (new := write_set(store, make_shards(rng))),
        manifest=dataclasses.replace(new.manifest, version=3),
    )
    copy = dataclasses.replace(new, folder=new.folder.with_name("copy"))
    assert newest([old, new, copy]) == newest([copy, new, old]) == [new]
    assert newest([old]) == [old]
    other = dataclasses.replace(new, manifest=dataclasses.replace(new.manifest, dataset="other"))
    assert newest([new, other]) == [new, other]


# --- the lock ------------------------------------------------------------------------------------------------------


def test_the_lock_is_given_back_after_an_error(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    real = filelock.FileLock

    def kept(path: Path, *, fallback_to_soft: bool) -> filelock.BaseFileLock:
        assert not fallback_to_soft  # a file that is there would go on locking after a kill
        made.append(
            real(path, fallback_to_soft=fallback_to_soft)
        )  # a lock that nobody holds on to gives itself back, and would hide that we don't
        return made[-1]

    monkeypatch.setattr(filelock, "FileLock", kept)
    with pytest.raises(RuntimeError, match="the run failed"), store.writing(make_key(), "train", never_wait):
        raise RuntimeError("the run failed")
    with store.writing(make_key(), "train", never_wait) as writer:
        assert writer.present() == {}
    assert [lock.is_locked for lock in made] == [False, False]


def test_a_file_system_without_locks_is_an_error(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with (
        pytest.raises(OSError, match=r"so the set can't be locked and written; choose another --features-dir"),
        store.writing(make_key(), "train", never_wait),
    ):
        raise AssertionError("was locked")


SEED = 5


@contextlib.contextmanager
def another_writer(store: FeatureStore) -> Iterator[tuple[BaseProcess, Connection]]:
    """Another process that has written all shards, holds the lock, and commits when it is sent something."""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=write_and_hold, args=(store.root, SEED, theirs))
    process.start()
    theirs.close()
    try:
        assert ours.poll(60), "the other process did not get as far as writing"
        assert ours.recv() == "holding"
        yield process, ours
    finally:
        process.kill()
        process.join()
        ours.close()


def test_a_second_writer_waits_until_the_first_is_done(store: FeatureStore) -> None:
    waited = []
    with another_writer(store) as (_, talk):
        assert store.open(make_key(), "train") is None

        def on_wait() -> None:
            # the other goes on only now, so a writer that does not wait can't see its manifest below
            waited.append(store.open(make_key(), "train"))
            talk.send("go on")

        with store.writing(make_key(), "train", on_wait) as writer:
            assert waited == [None]
            present = writer.present()
            manifest = writer.manifest()
    assert manifest is not None
    assert list(present.values()) == list(manifest.shards)
    found = store.get(store.folder(make_key(), "train").name)
    assert same_rows(found.load(), first_images(make_shards(np.random.default_rng(SEED)), EDGES[-1]))


def test_a_killed_writer_leaves_its_shards_and_no_lock(store: FeatureStore) -> None:
    with another_writer(store) as (process, _):
        process.kill()
        process.join()
        with store.writing(make_key(), "train", never_wait) as writer:
            assert set(writer.present()) == {0, 1, 2}
            assert writer.damaged == []
            assert writer.manifest() is None


def test_writers_of_other_sets_do_not_wait(store: FeatureStore, rng: np.random.Generator) -> None:
    key = make_key(backbone="vgg16")
    with another_writer(store):
        found: FeatureSet = write_set(store, make_shards(rng, key=key), key)
        write_set(store, make_shards(rng), split="test")
    assert len(found.load()) == EDGES[-1]
