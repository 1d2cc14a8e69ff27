"""A set open for writing: what a killed run leaves is used or named, and the manifest comes last and goes first."""

import dataclasses
import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from cache_samples import (
    EDGES,
    FEATURE_DIM,
    begun,
    first_images,
    flip,
    make_key,
    make_provenance,
    make_shard,
    make_shards,
    never_wait,
    put_all,
    same_rows,
    write_set,
    write_shards_only,
)

from headstart.core.cache import writer as cache_writer
from headstart.core.cache.errors import FeaturesDamaged, FeaturesInvalid
from headstart.core.cache.manifest import NAME
from headstart.core.cache.shard import encode_shard
from headstart.core.cache.shard_plan import plan
from headstart.core.cache.store import FeatureStore


def test_nothing_is_present_in_a_new_folder(store: FeatureStore) -> None:
    with store.writing(make_key(), "train", never_wait) as writer:
        assert writer.present() == {}
        assert writer.damaged == []
        assert writer.manifest() is None


def test_all_shards_of_a_complete_set_are_present_as_recorded(store: FeatureStore, rng: np.random.Generator) -> None:
    found = write_set(store, make_shards(rng, skipped=[7]))
    with store.writing(make_key(), "train", never_wait) as writer:
        assert writer.present() == dict(enumerate(found.manifest.shards))
        assert writer.damaged == []


def test_shards_of_a_run_killed_before_its_manifest_are_present(store: FeatureStore, rng: np.random.Generator) -> None:
    shards = make_shards(rng, skipped=[7])
    write_shards_only(store, shards)
    with store.writing(make_key(), "train", never_wait) as writer:
        present = writer.present()
        assert writer.damaged == []
        found = writer.commit([present[0], present[1], present[2]], FEATURE_DIM, "float32", make_provenance())
    # what the killed run alone knew is unknown; all else comes from the shards themselves
    assert {(record.elapsed_s, record.inputs_stat) for record in present.values()} == {(None, None)}
    assert [record.inputs for record in present.values()] == [shard.inputs for shard in shards]
    assert same_rows(found.load(), first_images(shards, EDGES[-1]))


def refuse(*args: object, **options: object) -> None:
    raise AssertionError("not to be called in this test")


def test_a_set_whose_shards_are_listed_starts_no_process(
    store: FeatureStore, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = write_set(store, make_shards(rng))
    flip(found.folder / "shard-00001.h5", 1000)
    monkeypatch.setattr(subprocess, "Popen", refuse)
    with store.writing(make_key(), "train", never_wait) as writer:
        assert set(writer.present()) == {0, 2}
        assert writer.damaged == ["shard-00001.h5"]


def test_unlisted_shards_are_read_by_one_other_process(
    store: FeatureStore, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    # a file that nothing vouches for may kill, hang or fill the process that parses it
    write_shards_only(store, make_shards(rng))
    started, real = [], subprocess.Popen

    def counted(*args: Any, **options: Any) -> Any:
        started.append(real(*args, **options))
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", counted)
    monkeypatch.setattr(h5py, "File", refuse)
    with store.writing(make_key(), "train", never_wait) as writer:
        assert set(writer.present()) == {0, 1, 2}
    assert [process.poll() is not None for process in started] == [True]


def test_shards_beyond_the_manifest_are_read_by_another_process(
    store: FeatureStore, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = write_set(store, make_shards(rng))
    (found.folder / "shard-00003.h5").write_bytes(encode_shard(make_shard(rng, 13, 20)))
    monkeypatch.setattr(h5py, "File", refuse)
    with store.writing(make_key(), "train", never_wait) as writer:
        assert set(writer.present()) == {0, 1, 2, 3}


def test_a_reader_that_can_not_start_is_no_shards_damage(
    store: FeatureStore, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    # were it taken for damage, the whole set would be computed again
    write_shards_only(store, make_shards(rng))
    monkeypatch.setattr(sys, "path", [])
    with (
        store.writing(make_key(), "train", never_wait) as writer,
        pytest.raises(OSError, match="the process that checks unlisted shards does not start"),
    ):
        writer.present()


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_what_is_no_file_is_named_and_not_present(
    store: FeatureStore, rng: np.random.Generator, make: Callable[[Path], None]
) -> None:
    folder = write_shards_only(store, make_shards(rng)[:2])
    make(folder / "shard-00002.h5")
    with store.writing(make_key(), "train", never_wait) as writer:
        assert set(writer.present()) == {0, 1}
        assert writer.damaged == ["shard-00002.h5"]


def test_a_killed_run_is_finished_and_the_set_is_the_same(store: FeatureStore, rng: np.random.Generator) -> None:
    shards = make_shards(rng)
    write_shards_only(store, shards)
    folder = store.folder(make_key(), "train")
    (folder / "shard-00001.h5").unlink()
    with store.writing(make_key(), "train", never_wait) as writer:
        records = writer.present()
        parts = plan(EDGES[-1], {index: (record.start, record.stop) for index, record in records.items()}, 5)
        missing = [part for part in parts if part.index not in records]
        assert [(part.start, part.stop) for part in missing] == [(5, 10)]
        records[1] = writer.put(shards[1], 1, None, 0.5)
        found = writer.commit([records[part.index] for part in parts], FEATURE_DIM, "float32", make_provenance())
    assert same_rows(found.load(), first_images(shards, EDGES[-1]))


def test_an_extended_set_serves_the_old_rows_and_the_new_ones(store: FeatureStore, rng: np.random.Generator) -> None:
    shards = make_shards(rng)
    write_set(store, shards)
    shards.append(make_shard(rng, 13, 20))
    with store.writing(make_key(), "train", never_wait) as writer:
        records = [*writer.present().values(), writer.put(shards[3], 3, None, 0.5)]
        found = writer.commit(records, FEATURE_DIM, "float32", make_provenance())
    assert same_rows(found.load(), first_images(shards, 20))
    assert same_rows(found.load(13), first_images(shards, 13))


@dataclasses.dataclass(frozen=True)
class Damaged:
    name: str
    harm: Callable[[Path], None]


def garbage(path: Path) -> None:
    path.write_bytes(b"hello" * 500)


DAMAGED = [
    Damaged("altered", lambda path: flip(path, path.stat().st_size // 2)),
    Damaged("truncated", lambda path: os.truncate(path, 1000)),
    Damaged("empty", lambda path: os.truncate(path, 0)),
    Damaged("garbage", garbage),
]


@pytest.mark.parametrize("complete", [True, False], ids=["with manifest", "without"])
@pytest.mark.parametrize("case", DAMAGED, ids=lambda case: case.name)
def test_a_damaged_shard_is_named_and_not_present(
    store: FeatureStore, rng: np.random.Generator, case: Damaged, complete: bool
) -> None:
    write = write_set if complete else write_shards_only
    write(store, make_shards(rng))
    case.harm(store.folder(make_key(), "train") / "shard-00001.h5")
    with store.writing(make_key(), "train", never_wait) as writer:
        assert set(writer.present()) == {0, 2}
        assert writer.damaged == ["shard-00001.h5"]


def test_a_missing_shard_of_a_complete_set_is_named(store: FeatureStore, rng: np.random.Generator) -> None:
    found = write_set(store, make_shards(rng))
    (found.folder / "shard-00002.h5").unlink()
    with store.writing(make_key(), "train", never_wait) as writer:
        assert set(writer.present()) == {0, 1}
        assert writer.damaged == ["shard-00002.h5"]


def test_a_shard_of_another_key_is_named_and_not_present(store: FeatureStore, rng: np.random.Generator) -> None:
    folder = write_shards_only(store, make_shards(rng))
    (folder / "shard-00001.h5").write_bytes(encode_shard(make_shard(rng, 5, 10, key=make_key(precision="bf16"))))
    with store.writing(make_key(), "train", never_wait) as writer:
        assert set(writer.present()) == {0, 2}
        assert writer.damaged == ["shard-00001.h5"]


def test_without_a_readable_manifest_the_shards_vouch_for_themselves(store: FeatureStore, rng: np.random.Generator) -> None:
    found = write_set(store, make_shards(rng))
    flip(found.folder / NAME, 0)
    with store.writing(make_key(), "train", never_wait) as writer:
        assert set(writer.present()) == {0, 1, 2}
        assert writer.damaged == [NAME]


def test_what_is_damaged_is_named_once_however_often_one_looks(store: FeatureStore, rng: np.random.Generator) -> None:
    found = write_set(store, make_shards(rng))
    (found.folder / "shard-00002.h5").unlink()
    with store.writing(make_key(), "train", never_wait) as writer:
        assert writer.present() == writer.present()
        assert writer.damaged == ["shard-00002.h5"]


@pytest.mark.parametrize("name", ["shard-000001.h5", "shard-٠٠٠٠١.h5"])
def test_a_file_that_only_resembles_a_shards_name_hides_no_shard(
    store: FeatureStore, rng: np.random.Generator, name: str
) -> None:
    found = write_set(store, make_shards(rng))
    (found.folder / name).write_bytes(b"hello")
    with store.writing(make_key(), "train", never_wait) as writer:
        assert writer.present() == dict(enumerate(found.manifest.shards))


def test_temporary_files_of_dead_runs_are_removed_when_writing_starts(
    store: FeatureStore, rng: np.random.Generator
) -> None:
    found = write_set(store, make_shards(rng))
    for name in (".shard-00001.h5.x3k9.tmp", ".manifest.json.ab12.tmp"):
        (found.folder / name).write_bytes(b"half")
    (found.folder / "notes.txt").write_text("hello")
    with store.writing(make_key(), "train", never_wait):
        pass
    assert {path.name for path in found.folder.iterdir()} == {
        NAME,
        "shard-00000.h5",
        "shard-00001.h5",
        "shard-00002.h5",
        "notes.txt",
    }


def test_a_full_disk_leaves_the_shards_before_it(
    store: FeatureStore, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "no space left in this test")

    folder = write_shards_only(store, make_shards(rng)[:2])
    with store.writing(make_key(), "train", never_wait) as writer, monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(OSError, match="no space left in this test"):
            writer.put(make_shard(rng, 10, 13), 2, None, 0.5)
    assert {path.name for path in folder.iterdir()} == {"shard-00000.h5", "shard-00001.h5"}
    with store.writing(make_key(), "train", never_wait) as writer:
        assert set(writer.present()) == {0, 1}


def test_a_manifest_that_no_reader_would_accept_is_not_written(
    store: FeatureStore, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = write_set(store, make_shards(rng))
    monkeypatch.setattr(cache_writer, "MAX_JSON_BYTES", 1_000)
    message = (
        r"manifest\.json: 13 images left out make [\d,]+ bytes, expected at most 1,000; take the unreadable pictures out"
    )
    with (
        pytest.raises(FeaturesInvalid, match=message),
        store.writing(make_key(), "train", never_wait) as writer,
    ):
        put_all(writer, make_shards(rng, skipped=range(13)))
    assert store.get(before.folder.name) == before


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_what_is_no_file_is_damage_in_a_complete_set_too(
    store: FeatureStore, rng: np.random.Generator, make: Callable[[Path], None]
) -> None:
    features = write_set(store, make_shards(rng))
    (features.folder / "shard-00001.h5").unlink()
    make(features.folder / "shard-00001.h5")
    with pytest.raises(FeaturesDamaged, match=r"shard-00001\.h5: is no regular file; run the `headstart extract`"):
        features.load()


def test_remove_removes_the_set(store: FeatureStore, rng: np.random.Generator) -> None:
    found = write_set(store, make_shards(rng))
    with store.writing(make_key(), "train", never_wait) as writer:
        writer.remove()
        assert writer.present() == {}
    assert store.open(make_key(), "train") is None
    assert list(found.folder.iterdir()) == []


def test_remove_takes_the_manifest_first(
    store: FeatureStore, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    # were it last, a run that is killed in between would leave a set that counts as complete and can't be read
    write_set(store, make_shards(rng))
    unlink = Path.unlink
    gone: list[str] = []

    def failing(path: Path, missing_ok: bool = False) -> None:
        if gone:
            raise OSError(errno.EIO, "the second removal fails in this test")
        gone.append(path.name)
        unlink(path, missing_ok)

    with store.writing(make_key(), "train", never_wait) as writer, monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", failing)
        with pytest.raises(OSError, match="the second removal fails in this test"):
            writer.remove()
    assert gone == [NAME]
    assert store.open(make_key(), "train") is None
    assert len(begun(store)) == 1


def test_remove_of_what_is_not_there_does_nothing(store: FeatureStore) -> None:
    with store.writing(make_key(), "train", never_wait) as writer:
        writer.remove()
    assert store.sets() == []
