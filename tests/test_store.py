"""The features directory: what is handed out is whole and what was asked for; what a killed run leaves is used or named."""

import contextlib
import dataclasses
import errno
import itertools
import multiprocessing
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Collection, Iterator
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import filelock
import h5py
import numpy as np
import pytest
from cache_samples import (
    EDGES,
    FEATURE_DIM,
    make_key,
    make_provenance,
    make_shard,
    make_shards,
    never_wait,
    put_all,
    same_rows,
    same_shard,
    write_and_hold,
    write_set,
    write_shards_only,
)
from headstart.core.cache import store as cache_store
from headstart.core.cache.errors import FeaturesDamaged, FeaturesInvalid, FeaturesNotFound, FeaturesStale, HeadstartError
from headstart.core.cache.files import sha256
from headstart.core.cache.manifest import NAME
from headstart.core.cache.plan import plan
from headstart.core.cache.shard import Rows, Shard, encode_shard
from headstart.core.cache.store import FeatureSet, FeatureStore
from headstart.core.cache.verify import survey
from hypothesis import example, given, settings
from hypothesis import strategies as st


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def begun(store: FeatureStore) -> list[Path]:
    """The folders of sets that were begun and have no manifest."""
    return [entry.folder for entry in survey(store) if entry.state == "not complete"]


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    return FeatureStore(tmp_path / "features")


def first_images(shards: list[Shard], limit: int) -> Rows:
    """The rows of the split's first `limit` images, picked by the ids, which are row numbers."""
    joined = {
        name: np.concatenate([getattr(shard.rows, name) for shard in shards]) for name in ("features", "labels", "ids")
    }
    wanted = joined["ids"].astype(int) < limit
    return Rows(**{name: array[wanted] for name, array in joined.items()})


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


# --- reading ---------------------------------------------------------------------------------------------------------

SKIPPED = [(), (0,), (2, 6, 11), (4, 5), (0, 1, 2, 3), (12,), (9, 10, 12)]


@pytest.mark.parametrize("skipped", SKIPPED, ids=lambda rows: f"skipped {rows}")
def test_every_prefix_of_a_set_is_the_splits_first_images(
    store: FeatureStore, rng: np.random.Generator, skipped: Collection[int]
) -> None:
    shards = make_shards(rng, skipped=skipped)
    found = write_set(store, shards)
    assert same_rows(found.load(), first_images(shards, EDGES[-1]))
    for limit in range(1, EDGES[-1] + 1):
        assert same_rows(found.load(limit), first_images(shards, limit)), limit


def test_what_was_written_is_opened_again(store: FeatureStore, rng: np.random.Generator) -> None:
    written = write_set(store, make_shards(rng))
    opened = FeatureStore(store.root).open(make_key(), "train")
    assert opened == written


def test_half_precision_stays_half_precision(store: FeatureStore, rng: np.random.Generator) -> None:
    shard = make_shard(rng, 0, 5, dtype="float16")
    assert same_rows(write_set(store, [shard]).load(), shard.rows)


def test_a_single_shard_is_read_whole(store: FeatureStore, rng: np.random.Generator) -> None:
    shards = make_shards(rng, skipped=[6])
    found = write_set(store, shards)
    assert same_shard(found.read(1), shards[1])


def test_more_images_than_there_are_name_the_command_that_adds_them(store: FeatureStore, rng: np.random.Generator) -> None:
    # one image is skipped, yet 13 are covered: the limit counts images of the split, not rows
    found = write_set(store, make_shards(rng, skipped=[3]))
    assert len(found.load(13)) == 12
    with pytest.raises(FeaturesNotFound, match=r"the first 13 rows, 14 were asked for; `headstart extract --limit 14`"):
        found.load(14)


def test_more_images_than_the_split_has_are_not_to_be_extracted(store: FeatureStore, rng: np.random.Generator) -> None:
    features = write_set(store, make_shards(rng))
    message = r"holds the first 13 rows, 24000 were asked for; its train split has only 100 images, ask for fewer"
    with pytest.raises(FeaturesNotFound, match=message):
        features.load(limit=24_000)


def test_a_moved_features_directory_still_loads(store: FeatureStore, rng: np.random.Generator, tmp_path: Path) -> None:
    shards = make_shards(rng)
    write_set(store, shards)
    shutil.move(store.root, tmp_path / "elsewhere")
    opened = FeatureStore(tmp_path / "elsewhere").open(make_key(), "train")
    assert opened is not None
    assert same_rows(opened.load(), first_images(shards, EDGES[-1]))


def test_a_file_that_is_no_shard_of_the_set_is_no_feature(store: FeatureStore, rng: np.random.Generator) -> None:
    # notes, listings and the like may lie beside the shards
    found = write_set(store, make_shards(rng))
    (found.folder / "notes.txt").write_text("hello")
    assert len(found.load()) == EDGES[-1]


def test_an_altered_byte_is_refused_by_the_files_name(store: FeatureStore, rng: np.random.Generator) -> None:
    found = write_set(store, make_shards(rng))
    path = found.folder / "shard-00001.h5"
    content = path.read_bytes()
    for place in rng.integers(len(content), size=20):
        flip(path, place)
        with pytest.raises(FeaturesDamaged, match=r"shard-00001\.h5: SHA-256 is .*headstart extract"):
            found.load()
        path.write_bytes(content)
    assert len(found.load()) == EDGES[-1]


def test_damage_beyond_the_limit_does_no_harm(store: FeatureStore, rng: np.random.Generator) -> None:
    shards = make_shards(rng)
    found = write_set(store, shards)
    flip(found.folder / "shard-00002.h5", 1000)
    assert same_rows(found.load(10), first_images(shards, 10))
    with pytest.raises(FeaturesDamaged, match=r"shard-00002\.h5"):
        found.load(11)


def test_a_truncated_shard_is_refused_by_name(store: FeatureStore, rng: np.random.Generator) -> None:
    found = write_set(store, make_shards(rng))
    os.truncate(found.folder / "shard-00000.h5", 100)
    with pytest.raises(FeaturesDamaged, match=r"shard-00000\.h5: SHA-256 is "):
        found.load()


@pytest.mark.parametrize("index", [0, 1, 2])
def test_a_missing_shard_is_refused_by_name(store: FeatureStore, rng: np.random.Generator, index: int) -> None:
    found = write_set(store, make_shards(rng))
    (found.folder / f"shard-0000{index}.h5").unlink()
    with pytest.raises(FeaturesDamaged, match=rf"shard-0000{index}\.h5: missing, though manifest\.json lists it"):
        found.load()


def test_swapped_shards_are_refused(store: FeatureStore, rng: np.random.Generator) -> None:
    found = write_set(store, make_shards(rng))
    first, second = found.folder / "shard-00000.h5", found.folder / "shard-00001.h5"
    first_bytes = first.read_bytes()
    second.replace(first)
    second.write_bytes(first_bytes)
    with pytest.raises(FeaturesDamaged, match=r"shard-00000\.h5: SHA-256 is "):
        found.load()


STRANGERS = ["other.h5", "shard-1.h5", "shard-000001.h5", "shard-00000 (copy).h5", "xshard-00000.h5", "shard-٠٠٠٠٣.h5"]


@pytest.mark.parametrize("name", STRANGERS)
def test_a_foreign_file_is_refused_by_name(store: FeatureStore, rng: np.random.Generator, name: str) -> None:
    found = write_set(store, make_shards(rng))
    shutil.copy(found.folder / "shard-00000.h5", found.folder / name)
    with pytest.raises(FeaturesDamaged, match=r"h5: manifest\.json does not list this file; move it") as caught:
        found.load()
    assert name in str(caught.value)


def test_shards_beyond_the_manifest_are_an_extension_under_way(store: FeatureStore, rng: np.random.Generator) -> None:
    shards = make_shards(rng)
    found = write_set(store, shards)
    with store.writing(make_key(), "train", never_wait) as writer:
        writer.put(make_shard(rng, 13, 20), 3, None, 0.5)
        assert same_rows(found.load(), first_images(shards, EDGES[-1]))
    assert same_rows(found.load(), first_images(shards, EDGES[-1]))


@dataclasses.dataclass(frozen=True)
class Lie:
    """What the manifest, itself consistent, says of the second shard, where one image of five was skipped."""

    name: str
    changes: dict[str, Any]


LIES = [Lie("other inputs", {"inputs": "0" * 64}), Lie("nothing skipped", {"skipped": (), "rows": 5})]


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: lie.name)
def test_a_shard_that_is_not_what_the_manifest_says_is_refused(
    store: FeatureStore, rng: np.random.Generator, lie: Lie
) -> None:
    found = write_set(store, make_shards(rng, skipped=[7]))
    first, second, third = found.manifest.shards
    manifest = dataclasses.replace(found.manifest, shards=(first, dataclasses.replace(second, **lie.changes), third))
    (found.folder / NAME).write_bytes(manifest.to_bytes())
    opened = store.open(make_key(), "train")
    assert opened is not None
    with pytest.raises(FeaturesDamaged, match=r"shard-00001\.h5: belongs to another set than manifest\.json says"):
        opened.load()


def test_shards_of_another_set_are_refused_though_the_manifest_lists_them(
    store: FeatureStore, rng: np.random.Generator
) -> None:
    with store.writing(make_key(), "train", never_wait) as writer:
        put_all(writer, make_shards(rng, key=make_key(backbone="vgg16")))
    opened = store.open(make_key(), "train")
    assert opened is not None
    with pytest.raises(FeaturesDamaged, match=r"shard-00000\.h5: belongs to another set"):
        opened.load()


def rewrite_manifest(found: FeatureSet, **changes: Any) -> FeatureSet:
    """The set with a manifest, itself consistent, that says something else."""
    manifest = dataclasses.replace(found.manifest, **changes)
    (found.folder / NAME).write_bytes(manifest.to_bytes())
    return FeatureStore(found.folder.parent).get(found.folder.name)


def list_shard(found: FeatureSet, index: int, shard: Shard) -> FeatureSet:
    """The set with another shard number `index`, which its manifest lists."""
    content = encode_shard(shard)
    records = list(found.manifest.shards)
    records[index] = dataclasses.replace(records[index], sha256=sha256(content), inputs=shard.inputs)
    (found.folder / records[index].file).write_bytes(content)
    return rewrite_manifest(found, shards=tuple(records))


@st.composite
def cuts(draw: st.DrawFn) -> tuple[list[int], set[int]]:
    """Where the shards of a set end, and the rows that were skipped."""
    edges = draw(st.lists(st.integers(1, 40), min_size=1, max_size=6, unique=True))
    return [0, *sorted(edges)], draw(st.sets(st.integers(0, max(edges) - 1)))


@given(cut=cuts(), dtype=st.sampled_from(["float32", "float16"]), data=st.data())
@settings(max_examples=60)
def test_what_is_loaded_is_the_shards_one_after_the_other(
    tmp_path_factory: pytest.TempPathFactory, cut: tuple[list[int], set[int]], dtype: str, data: st.DataObject
) -> None:
    edges, skipped = cut
    shards = [
        make_shard(np.random.default_rng(start), start, stop, skipped=skipped, dtype=dtype)
        for start, stop in itertools.pairwise(edges)
    ]
    found = write_set(FeatureStore(tmp_path_factory.mktemp("features")), shards)
    whole = found.load()
    assert same_rows(whole, first_images(shards, edges[-1]))
    assert whole.features.flags.c_contiguous
    assert whole.features.flags.writeable
    limit = data.draw(st.integers(1, edges[-1]))
    assert same_rows(found.load(limit), first_images(shards, limit))


OTHERS: dict[str, dict[str, Any]] = {"wider": {"dim": 5}, "narrower": {"dim": 3}, "another dtype": {"dtype": "float16"}}


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("index", [0, 1, 2])
def test_a_shard_of_another_dtype_or_dimension_is_refused_by_name(
    store: FeatureStore, rng: np.random.Generator, other: str, index: int
) -> None:
    found = write_set(store, make_shards(rng))
    opened = list_shard(found, index, make_shard(rng, EDGES[index], EDGES[index + 1], **OTHERS[other]))
    message = rf"shard-0000{index}\.h5: belongs to another set than manifest\.json says; run the `headstart extract` that"
    for look in (opened.load, lambda: opened.read(index)):
        with pytest.raises(FeaturesDamaged, match=message):
            look()


def test_a_shard_that_the_test_before_would_not_refuse_is_read(store: FeatureStore, rng: np.random.Generator) -> None:
    found = write_set(store, make_shards(rng))
    other = make_shard(rng, EDGES[1], EDGES[2])
    assert same_rows(list_shard(found, 1, other).read(1).rows, other.rows)


@pytest.mark.parametrize("index", [0, 1, 2])
@pytest.mark.parametrize("damage", ["altered", "missing", "another"])
def test_a_damaged_shard_ends_the_loading_and_its_thread(
    store: FeatureStore, rng: np.random.Generator, index: int, damage: str
) -> None:
    found = write_set(store, make_shards(rng))
    path, threads = found.folder / f"shard-0000{index}.h5", threading.active_count()
    if damage == "another":
        found = list_shard(found, index, make_shard(rng, EDGES[index], EDGES[index + 1], dim=5))
    elif damage == "missing":
        path.unlink()
    else:
        flip(path, 1000)
    with pytest.raises(FeaturesDamaged, match=rf"shard-0000{index}\.h5: "):
        found.load()
    assert threading.active_count() == threads


def test_loading_leaves_no_thread(store: FeatureStore, rng: np.random.Generator) -> None:
    found, threads = write_set(store, make_shards(rng)), threading.active_count()
    found.load()
    assert threading.active_count() == threads


def test_rows_that_only_the_manifest_has_are_refused_before_memory_runs_out(
    store: FeatureStore, rng: np.random.Generator
) -> None:
    # who sends a set can write any number into its manifest, and the checksum that goes with it
    found = write_set(store, make_shards(rng))
    *others, last = found.manifest.shards
    stop = 2**50
    opened = rewrite_manifest(found, shards=(*others, dataclasses.replace(last, stop=stop, rows=stop - last.start)))
    with pytest.raises(FeaturesDamaged, match=r"shard-00002\.h5: belongs to another set"):
        opened.load()


@pytest.mark.parametrize("dim", [2**40, 2**62])
def test_a_dimension_that_only_the_manifest_has_is_refused(store: FeatureStore, rng: np.random.Generator, dim: int) -> None:
    found = rewrite_manifest(write_set(store, make_shards(rng)), feature_dim=dim)
    with pytest.raises(FeaturesDamaged, match=r"shard-00000\.h5: belongs to another set"):
        found.load()


# --- finding ---------------------------------------------------------------------------------------------------------


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
    assert folder.name.endswith(f"-{split}-resnet50-{key.digest8}")


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
    names = ["a/b", "a_b", "a b", "a\\b", ".a_b"]
    assert len({store.folder(make_key(dataset=name), "train") for name in names}) == len(names)


def test_each_split_has_a_folder_of_its_own(store: FeatureStore) -> None:
    assert store.folder(make_key(), "train") != store.folder(make_key(), "test")


def test_the_folder_says_what_lies_in_it(store: FeatureStore) -> None:
    assert store.folder(make_key(), "train").name == f"digits-train-resnet50-{make_key().digest8}"


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
    assert [found.manifest.key.dataset for found in store.sets()] == ["cifar10", "digits", "flowers"]


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
    with (
        store.writing(make_key(), "train", never_wait) as writer,
        pytest.raises(FeaturesStale, match=rf"made from something else: {case.field} is '\w+', not '(digits|train)'"),
    ):
        writer.present()


# --- writing ---------------------------------------------------------------------------------------------------------


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
    monkeypatch.setattr(cache_store, "MAX_JSON_BYTES", 1_000)
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


def test_the_lock_is_given_back_after_an_error(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    real = filelock.FileLock

    def kept(path: Path) -> filelock.BaseFileLock:
        made.append(real(path))  # a lock that nobody holds on to gives itself back, and would hide that we don't
        return made[-1]

    monkeypatch.setattr(filelock, "FileLock", kept)
    with pytest.raises(RuntimeError, match="the run failed"), store.writing(make_key(), "train", never_wait):
        raise RuntimeError("the run failed")
    with store.writing(make_key(), "train", never_wait) as writer:
        assert writer.present() == {}
    assert [lock.is_locked for lock in made] == [False, False]


# --- two processes ---------------------------------------------------------------------------------------------------

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
