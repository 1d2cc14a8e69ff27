"""A set whose shards several commands made is complete when all are there and whole, and not before."""

from pathlib import Path

import numpy as np
import pytest
from cache_samples import EDGES, FEATURE_DIM, flip, make_key, make_provenance, make_shard, make_shards, never_wait
from hypothesis import given
from hypothesis import strategies as st

from headstart.core.cache.assembly import Missing, assemble, missing, spelled
from headstart.core.cache.errors import FeaturesDamaged, FeaturesInvalid, FeaturesNotFound
from headstart.core.cache.feature_set import FeatureSet
from headstart.core.cache.shard import Shard
from headstart.core.cache.shard_plan import Part
from headstart.core.cache.store import FeatureStore
from headstart.core.cache.task_plan import TaskPlan, write_record, write_task_plan
from headstart.core.cache.writer import ShardWriter

PLAN = TaskPlan(make_key(), "train", FEATURE_DIM, "float32", EDGES[1:], "ab" * 32, make_provenance())


def begin(store: FeatureStore, plan: TaskPlan = PLAN) -> Path:
    """The folder of a set of which there is a plan."""
    with store.writing(plan.key, plan.split, never_wait) as writer:
        write_task_plan(writer.folder, plan)
        return writer.folder


def put(folder: Path, index: int, shard: Shard, record: bool = True) -> None:
    """Make a shard as a task does; one that is killed in between leaves no record."""
    made = ShardWriter(folder, shared=True).put(shard, index, "12" * 32, 0.5)
    if record:
        write_record(folder, made)


@pytest.fixture
def made(rng: np.random.Generator) -> list[Shard]:
    return make_shards(rng)


def test_a_set_is_complete_when_its_last_shard_is_there(store: FeatureStore, made: list[Shard]) -> None:
    folder = begin(store)
    for index in (2, 0):
        put(folder, index, made[index])
    assert missing(store, folder.name).array == "2"
    with pytest.raises(FeaturesNotFound, match=rf"{folder.name}: of 3 shards 1 is missing; task 2 of 3 makes what"):
        assemble(store, folder.name, never_wait)
    put(folder, 1, made[1])
    (folder / ".shard-00001.h5.0123.shared").touch()  # of a task that was killed
    found = assemble(store, folder.name, never_wait)
    assert [shard.elapsed_s for shard in found.manifest.shards] == [0.5] * 3
    assert {shard.inputs_stat for shard in found.manifest.shards} == {"12" * 32}
    assert found.manifest.provenance.created != make_provenance().created
    assert np.array_equal(found.load().features, np.concatenate([shard.rows.features for shard in made]))
    assert sorted(path.name for path in folder.iterdir()) == ["manifest.json", *(f"shard-0000{i}.h5" for i in range(3))]
    assert assemble(store, folder.name, never_wait) == found
    assert missing(store, folder.name) == Missing(folder, [], 3)
    assert store.open(PLAN.key, "train") == found


def test_a_shard_without_a_record_vouches_for_itself(store: FeatureStore, made: list[Shard]) -> None:
    folder = begin(store)
    for index, shard in enumerate(made):
        put(folder, index, shard, record=index != 1)
    flip(folder / "shard-00002.json")
    found = assemble(store, folder.name, never_wait)
    assert [shard.elapsed_s for shard in found.manifest.shards] == [0.5, None, None]
    assert len(found.load().features) == 13


@pytest.mark.parametrize("record", [True, False])
def test_a_shard_that_is_altered_is_removed_and_asked_for(store: FeatureStore, made: list[Shard], record: bool) -> None:
    folder = begin(store)
    for index, shard in enumerate(made):
        put(folder, index, shard, record)
    flip(folder / "shard-00000.h5")
    (folder / "shard-00002.h5").write_bytes(b"")
    said = r"of 3 shards 2 are missing \(2 of them damaged, and removed now\); tasks 1,3 of 3 make what is missing; "
    with pytest.raises(
        FeaturesNotFound, match=said + rf"`headstart cache missing {folder.name} --features-dir {folder.parent} --array`"
    ):
        assemble(store, folder.name, never_wait)
    assert not (folder / "manifest.json").exists()
    assert missing(store, folder.name, 2).array == "1"
    for index in (0, 2):
        put(folder, index, made[index], record)
    assert len(assemble(store, folder.name, never_wait).load().features) == 13


def test_shards_of_another_key_or_range_count_as_damaged(store: FeatureStore, rng: np.random.Generator) -> None:
    folder = begin(store)
    put(folder, 0, make_shard(rng, 0, 5, key=make_key(image_size=96)), record=False)
    put(folder, 1, make_shard(rng, 5, 9))
    put(folder, 2, make_shard(rng, 10, 13))
    with pytest.raises(FeaturesNotFound, match=r"2 are missing \(2 of them damaged"):
        assemble(store, folder.name, never_wait)


def test_no_set_without_rows_is_kept(store: FeatureStore, rng: np.random.Generator) -> None:
    folder = begin(store)
    for index, shard in enumerate(make_shards(rng, skipped=range(13))):
        put(folder, index, shard)
    with pytest.raises(FeaturesInvalid, match="none of its 13 images could be used"):
        assemble(store, folder.name, never_wait)
    assert not (folder / "manifest.json").exists()


def test_what_is_not_there_is_named(store: FeatureStore, made: list[Shard]) -> None:
    for ask in (lambda name: missing(store, name), lambda name: assemble(store, name, never_wait)):
        with pytest.raises(FeaturesNotFound, match="no such feature set; `headstart cache ls` lists them"):
            ask("nothing")
    folder = begin(store)
    (folder / "tasks.json").unlink()
    put(folder, 0, made[0])
    with pytest.raises(FeaturesNotFound, match="not complete; the `headstart extract` that began it goes on"):
        missing(store, folder.name)


def test_a_complete_set_is_looked_at_too(store: FeatureStore, made: list[Shard]) -> None:
    folder = begin(store)
    for index, shard in enumerate(made):
        put(folder, index, shard)
    assemble(store, folder.name, never_wait)
    assert not missing(store, folder.name).parts
    assert assemble(store, folder.name, never_wait).folder == folder
    (folder / "shard-00001.h5").unlink()
    assert missing(store, folder.name).array == "2"
    with pytest.raises(FeaturesDamaged, match=r"shard-00001\.h5: missing, though manifest\.json lists it"):
        assemble(store, folder.name, never_wait)


def test_a_set_is_given_by_its_folder_too(store: FeatureStore, made: list[Shard]) -> None:
    folder = begin(store)
    assert missing(store, str(folder)).array == "1-3"
    for index, shard in enumerate(made):
        put(folder, index, shard)
    assert isinstance(assemble(store, str(folder), never_wait), FeatureSet)


def numbers(array: str) -> list[int]:
    """What a scheduler makes of an array expression."""
    found: list[int] = []
    for part in filter(None, array.split(",")):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


@given(st.sets(st.integers(1, 60)).map(sorted))
def test_an_array_expression_says_its_numbers(given_numbers: list[int]) -> None:
    assert numbers(spelled(given_numbers)) == given_numbers


@given(left=st.sets(st.integers(0, 49)), size=st.none() | st.integers(1, 60))
def test_the_tasks_of_an_array_are_those_whose_share_is_not_there(left: set[int], size: int | None) -> None:
    found = Missing(Path("x"), [Part(index, index, index + 1) for index in sorted(left)], 50, size)
    plan = TaskPlan(make_key(), "train", 4, "float32", tuple(range(1, 51)), "ab" * 32, make_provenance())
    count = size or 50
    mine = [number for number in range(1, count + 1) if {part.index for part in plan.of_task(number, count)} & left]
    assert numbers(found.array) == found.tasks == mine
