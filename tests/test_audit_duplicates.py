"""Duplicates, outliers and sources by features and ids."""

import hypothesis
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.core.heads.audit import duplicates, outliers, sources
from headstart.core.heads.neighbours.nearest import Directions

Pair = st.tuples(st.integers(0, 19), st.integers(0, 19))


def planted(rows: int = 200, dim: int = 30) -> np.ndarray:
    """Random rows, of which row i + 100 is nearly row i, for i below 10."""
    rng = np.random.default_rng(0)
    found = rng.standard_normal((rows, dim)).astype(np.float32)
    found[100:110] = found[:10] + 0.05 * rng.standard_normal((10, dim)).astype(np.float32)
    return found


def test_planted_near_duplicates_are_found_and_nothing_else() -> None:
    directions = Directions(planted())
    found = duplicates.near(directions, duplicates.bound(directions.nearest(10)))
    assert {tuple(one) for one in found.places.tolist()} == {(i, i + 100) for i in range(10)}
    assert (np.diff(found.distances) >= 0).all()
    assert not found.full


@hypothesis.settings(max_examples=20, deadline=None)
@given(scale=st.floats(1e-3, 1e3), seed=st.integers(0, 1000))
def test_the_bound_follows_the_set_and_not_its_scale_or_order(scale: float, seed: int) -> None:
    features, order = planted(), np.random.default_rng(seed).permutation(200)
    directions = Directions((features[order] * scale).astype(np.float32))
    found = duplicates.near(directions, duplicates.bound(directions.nearest(10)))
    assert {frozenset(order[one].tolist()) for one in found.places} == {frozenset({i, i + 100}) for i in range(10)}


def test_a_set_full_of_copies_has_a_bound_still() -> None:
    features = np.random.default_rng(0).standard_normal((40, 8)).astype(np.float32)
    nearest = Directions(np.concatenate([features, features[:39]])).nearest(10)
    assert duplicates.bound(nearest).median == pytest.approx(float(nearest.first[39]))
    assert duplicates.bound(Directions(np.ones((5, 3), dtype=np.float32)).nearest(3)).distance == duplicates.SAME


def test_the_same_content_is_told_by_its_first_row() -> None:
    digests = np.random.default_rng(0).integers(0, 256, (6, 32)).astype(np.uint8)
    digests[[3, 5]] = digests[1]
    assert duplicates.same_content(digests).tolist() == [0, 1, 2, 1, 4, 1]


@given(st.lists(Pair, max_size=25))
def test_groups_are_the_connected_parts_whatever_the_order_and_direction(pairs: list[tuple[int, int]]) -> None:
    given_pairs = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    found = [set(group.tolist()) for group in duplicates.groups(given_pairs, 20)]
    again = [set(group.tolist()) for group in duplicates.groups(given_pairs[::-1, ::-1], 20)]
    assert found == again
    of = {row: i for i, group in enumerate(found) for row in group}
    assert all(one == other or of[one] == of[other] for one, other in pairs)
    assert sorted(of) == sorted({row for pair in pairs if pair[0] != pair[1] for row in pair})


Distinct = st.lists(Pair, max_size=25, unique_by=frozenset).map(
    lambda pairs: [pair for pair in pairs if pair[0] != pair[1]]
)


@given(Distinct)
def test_a_forest_puts_the_same_rows_together_with_as_few_pairs_as_can_be(pairs: list[tuple[int, int]]) -> None:
    whole = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    few = duplicates.forest(whole, 20)
    groups = [group.tolist() for group in duplicates.groups(whole, 20)]
    assert [group.tolist() for group in duplicates.groups(whole[few], 20)] == groups
    assert len(few) == sum(len(group) - 1 for group in groups)
    assert (np.diff(few) > 0).all()


@given(Distinct)
def test_ranks_count_the_nearer_pairs_of_the_row_that_has_fewer(pairs: list[tuple[int, int]]) -> None:
    distances = np.array([abs(one - other) for one, other in pairs], dtype=np.float64)
    order = np.argsort(distances, kind="stable").tolist()
    nearer = {place: [pairs[i] for i in order[:n]] for n, place in enumerate(order)}
    expected = [min(sum(row in one for one in nearer[i]) for row in pair) for i, pair in enumerate(pairs)]
    assert duplicates.ranks(np.array(pairs, dtype=np.int64).reshape(-1, 2), distances).tolist() == expected


def test_pairs_of_lowest_rank_are_of_all_rows_however_many_some_make_of_each_other() -> None:
    crowd = np.stack(np.triu_indices(40, 1), axis=1)
    pairs = np.concatenate([crowd, [[40, 41], [42, 43]]])
    found = duplicates.ranks(pairs, np.concatenate([np.zeros(len(crowd)), [1.0, 2.0]]))
    assert found[-2:].tolist() == [0, 0]
    assert (found == 0).sum() <= 42


def test_a_test_row_leaks_where_a_training_row_is_its_twin() -> None:
    test = np.array([False, True, True, True, False, True])
    groups = [np.array([0, 2]), np.array([1, 3]), np.array([4, 5])]
    assert duplicates.leaked(groups, test).tolist() == [2, 5]
    assert duplicates.leaked([], test).tolist() == []


def test_a_planted_outlier_is_found_and_a_cloud_has_none() -> None:
    rng = np.random.default_rng(0)
    cloud = (rng.standard_normal((300, 20)) + 4).astype(np.float32)
    assert outliers.outliers(Directions(cloud).nearest(10)).places.tolist() == []
    cloud[17] = -cloud[17]
    assert outliers.outliers(Directions(cloud).nearest(10)).places.tolist() == [17]


def test_bursts_are_runs_by_name_of_one_split() -> None:
    ids = [b"b/10.png", b"b/9.png", b"b/8.png", b"a/1.png", b"a/2.png", b"b/11.png"]
    features = np.array([[1, 0], [1, 0.01], [1, 0.02], [0, 1], [0, 1], [1, 0]], dtype=np.float32)
    parts = np.array([0, 0, 0, 0, 0, 1])
    (found,) = sources.bursts(ids, parts, Directions(features).between, 0.5)
    assert found.tolist() == [2, 1, 0]
    assert sources.bursts(ids[:2], parts[:2], Directions(features).between, 0.5) == []


def test_confused_classes_are_counted_and_single_rows_left_out() -> None:
    labels, said = np.array([0, 0, 0, 0, 1, 1, 2]), np.array([1, 1, 0, 2, 1, 0, 1])
    judged = np.array([True] * 6 + [False])
    (found,) = sources.confused(said, labels, judged, 3)
    assert (found.given, found.taken_for, found.count, found.of) == (0, 1, 2, 4)


def test_small_classes_are_told_the_smallest_first() -> None:
    labels = np.array([0] * 20 + [1] * 3 + [3] + [-1] * 5)
    assert sources.small(labels, 4) == [(2, 0), (3, 1), (1, 3)]
