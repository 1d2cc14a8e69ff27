"""Rows that are kept: what a part of a split is told of them is what the whole found, and another process can use it."""

import dataclasses
import itertools
import pickle

import numpy as np
import numpy.typing as npt
import pytest
from cache_samples import FEATURE_DIM, digests_of, flip, make_key, make_shard, never_wait, put_all
from hypothesis import given
from hypothesis import strategies as st

from headstart.core.cache.digests import Digests, Wanted
from headstart.core.cache.feature_set import FeatureSet
from headstart.core.cache.known import Known, nobody
from headstart.core.cache.shard import Shard
from headstart.core.cache.store import FeatureStore
from headstart.core.cache.writer import begun_shards

EDGES = (0, 5, 10, 13)


def shards_of(rng: np.random.Generator, digests: bool = True) -> list[Shard]:
    """Three shards, whose rows are the pictures 0 to 12; those of older sets have no digests."""
    made = [make_shard(rng, start, stop) for start, stop in itertools.pairwise(EDGES)]
    if digests:
        return made
    return [dataclasses.replace(one, rows=dataclasses.replace(one.rows, digests=None)) for one in made]


def filled(known: Known, start: int, stop: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """What can be copied of some rows: their features, 0 where there are none, and which there are."""
    features = np.zeros((stop - start, FEATURE_DIM), dtype=np.float32)
    there = np.zeros(stop - start, dtype=np.bool_)
    known.fill(np.arange(start, stop), features, there)
    return features, there


pictures = st.lists(st.integers(0, 20), min_size=1, max_size=24)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> FeatureSet:
    """A complete set of those shards."""
    with FeatureStore(tmp_path_factory.mktemp("known")).writing(make_key(), "train", never_wait) as writer:
        return put_all(writer, shards_of(np.random.default_rng(0)))


@given(wanted=pictures, data=st.data())
def test_a_part_finds_what_the_whole_finds(kept: FeatureSet, wanted: list[int], data: st.DataObject) -> None:
    whole = Known(Wanted.of(digests_of(wanted)), nobody)
    whole.look_in(kept)
    start = data.draw(st.integers(0, len(wanted) - 1))
    stop = data.draw(st.integers(start + 1, len(wanted)))
    part: Known = pickle.loads(pickle.dumps(whole.part(start, stop)))
    expected, found = filled(whole, start, stop), filled(part, start, stop)
    assert np.array_equal(expected[0], found[0])
    assert expected[1].tolist() == found[1].tolist() == [number < 13 for number in wanted[start:stop]]
    used = {next(i for i, edge in enumerate(EDGES[1:]) if number < edge) for number in wanted[start:stop] if number < 13}
    assert len(part.sources) == len(used)  # a worker is not told of shards that give it nothing


def test_shards_that_do_not_say_what_they_are_of_are_asked_about_once(
    store: FeatureStore, rng: np.random.Generator
) -> None:
    asked: list[int] = []

    def tell(shard: Shard) -> Digests:
        asked.append(shard.start)
        return digests_of(range(shard.start, shard.stop))

    with store.writing(make_key(), "train", never_wait) as writer:
        features = put_all(writer, shards_of(rng, digests=False))
    whole = Known(Wanted.of(digests_of([12, 3, 4, 30])), tell)
    whole.look_in(features)
    assert asked == [0, 5, 10]
    part: Known = pickle.loads(pickle.dumps(whole.part(1, 4)))
    found, there = filled(part, 1, 4)
    assert there.tolist() == [True, True, False]
    assert np.array_equal(found[:2], features.load().features[3:5])
    assert asked == [0, 5, 10]


def test_what_shards_say_themselves_is_not_kept_beside_them(store: FeatureStore, rng: np.random.Generator) -> None:
    with store.writing(make_key(), "train", never_wait) as writer:
        features = put_all(writer, shards_of(rng))
    known = Known(Wanted.of(digests_of([1, 6])), nobody)
    assert known.look_in(features) == 2
    assert [source.told for source in known.sources] == [None, None]


def test_a_part_whose_shard_is_altered_meanwhile_gets_nothing_of_it(store: FeatureStore, rng: np.random.Generator) -> None:
    with store.writing(make_key(), "train", never_wait) as writer:
        features = put_all(writer, shards_of(rng))
    whole = Known(Wanted.of(digests_of([1, 6])), nobody)
    whole.look_in(features)
    part = whole.part(0, 2)
    flip(features.folder / "shard-00000.h5")
    assert filled(part, 0, 2)[1].tolist() == [False, True]


def test_the_shards_of_a_killed_run_give_rows_to_a_part(store: FeatureStore, rng: np.random.Generator) -> None:
    with store.writing(make_key(), "train", never_wait) as writer:
        for index, shard in enumerate(shards_of(rng)):
            writer.put(shard, index, None, 0.5)
        folder = writer.folder
    whole = Known(Wanted.of(digests_of([20, 11, 2])), nobody)
    for source in begun_shards(folder, make_key().feature_key):
        whole.add(source)
    assert filled(whole.part(1, 3), 1, 3)[1].tolist() == [True, True]
    assert not filled(whole.part(0, 1), 0, 1)[1].any()
