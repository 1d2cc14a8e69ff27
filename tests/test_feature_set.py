"""A complete set: what is handed out is whole and what was asked for; what is damaged is refused by name."""

import dataclasses
import itertools
import os
import shutil
import threading
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cache_samples import (
    EDGES,
    first_images,
    flip,
    make_key,
    make_shard,
    make_shards,
    never_wait,
    put_all,
    same_rows,
    same_shard,
    write_set,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.core.cache.errors import FeaturesDamaged, FeaturesNotFound
from headstart.core.cache.feature_set import FeatureSet
from headstart.core.cache.files import sha256
from headstart.core.cache.manifest import NAME
from headstart.core.cache.shard import Shard, encode_shard
from headstart.core.cache.store import FeatureStore

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
    with pytest.raises(
        FeaturesNotFound, match=r"the first 13 rows, 14 were asked for; the `headstart extract` .* --limit 14$"
    ):
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
