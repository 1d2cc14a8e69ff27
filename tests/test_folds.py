"""Folds and hold-outs: whole groups, even classes, nothing lost, whatever the labels."""

import itertools
import warnings

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedGroupKFold

from headstart.core.cache.errors import FeaturesInvalid
from headstart.core.heads.data import sampling
from headstart.core.heads.data.folds import folds, held_out

Case = tuple[np.ndarray, np.ndarray | None]


def rows_of(*counts: int) -> np.ndarray:
    """The labels of so many rows of each class, sorted."""
    return np.repeat(np.arange(len(counts)), counts)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Labels (N,), and groups (N,) or none."""
    n = draw(st.integers(1, 40))
    labels = np.array(draw(st.lists(st.integers(0, draw(st.integers(0, 5))), min_size=n, max_size=n)))
    several = st.lists(st.integers(0, draw(st.integers(0, 20))), min_size=n, max_size=n).map(np.array)
    return labels, draw(st.one_of(st.none(), several))


def possible(labels: np.ndarray, groups: np.ndarray | None) -> bool:
    """Whether each group of its own in a fold leaves two classes outside."""
    own = np.arange(len(labels)) if groups is None else groups
    return all(len(set(labels[own != group])) >= 2 for group in np.unique(own))


@given(cases(), st.integers(2, 6), st.integers(0, 3))
@example((rows_of(1, 1, 1), None), 2, 0)
@example((rows_of(2, 2), None), 5, 0)
@example((rows_of(3, 1, 1), np.array([0, 1, 1, 2, 3])), 2, 0)
def test_folds_are_a_partition_into_whole_groups_that_leave_two_classes_outside(case: Case, k: int, seed: int) -> None:
    labels, groups = case
    if not possible(labels, groups):
        with pytest.raises(
            FeaturesInvalid, match=r"can't be cross-validated: without one of the (images|groups) the others"
        ):
            folds(labels, groups, k, rng(seed))
        return
    found = folds(labels, groups, k, rng(seed))
    count = found.max() + 1
    assert found.shape == labels.shape
    assert set(found.tolist()) == set(range(count))
    assert count >= min(k, len(labels) if groups is None else len(np.unique(groups)))
    assert all(len(set(labels[found != fold])) >= 2 for fold in range(count))
    if groups is not None:
        assert all(len(set(found[groups == group])) == 1 for group in np.unique(groups))
    assert np.array_equal(found, folds(labels, groups, k, rng(seed)))


@given(cases(), st.integers(2, 6))
def test_without_groups_classes_are_even_to_a_row(case: Case, k: int) -> None:
    labels = case[0]
    if not possible(labels, None):
        return
    found = folds(labels, None, k, rng())
    count = found.max() + 1
    for label in np.unique(labels):
        each = np.bincount(found[labels == label], minlength=count)
        assert each.max() - each.min() <= 1
        assert (each > 0).sum() == min(count, each.sum())
    assert np.ptp(np.bincount(found)) <= len(np.unique(labels))


@pytest.mark.parametrize(
    ("counts", "k", "expected"),
    [((2, 2), 2, 2), ((2, 20, 20, 20), 5, 5), ((1, 10, 9), 5, 5), ((2,) * 150, 2, 2), ((2, 2), 9, 4), ((5000, 7000), 5, 5)],
)
def test_small_and_odd_sets_have_their_folds(counts: tuple[int, ...], k: int, expected: int) -> None:
    found = folds(rows_of(*counts), None, k, rng())
    assert found.max() + 1 == expected
    assert np.ptp(np.bincount(found)) <= 1


def test_another_generator_deals_otherwise() -> None:
    labels = rows_of(20, 20)
    assert not np.array_equal(folds(labels, None, 5, rng(0)), folds(labels, None, 5, rng(1)))


def test_large_groups_are_spread_as_well_as_scikit_learn_does() -> None:
    ours, theirs = [], []
    for seed in range(30):
        drawn = rng(seed)
        groups = drawn.integers(0, 40, 300)
        labels = (drawn.integers(0, 4, 40)[groups] + (drawn.random(300) < 0.3)) % 4
        found = folds(labels, groups, 5, rng(seed))
        split = StratifiedGroupKFold(5, shuffle=True, random_state=seed).split(labels, labels, groups)
        reference = np.empty(300, dtype=int)
        for fold, (_, test) in enumerate(split):
            reference[test] = fold
        for dealt, into in ((found, ours), (reference, theirs)):
            table = np.array([np.bincount(dealt[labels == label], minlength=5) for label in range(4)])
            into.append((table / table.sum(axis=1, keepdims=True)).std(axis=1).mean())
    assert np.mean(ours) <= 1.05 * np.mean(theirs)


def test_nothing_is_warned_of() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for counts in itertools.product((1, 2, 7), repeat=3):
            folds(rows_of(*counts), None, 5, rng())


# ------------------------------------------------------------------------------------------------------------ hold-outs


@given(cases(), st.integers(1, 40), st.integers(0, 3))
def test_a_hold_out_keeps_groups_whole_and_a_row_of_each_class(case: Case, count: int, seed: int) -> None:
    labels, groups = case
    stay, held = held_out(labels, groups, count, rng(seed))
    assert sorted([*stay, *held]) == list(range(len(labels)))
    assert list(stay) == sorted(stay)
    assert list(held) == sorted(held)
    assert set(labels[stay]) == set(labels)
    if groups is not None:
        assert not set(groups[stay]) & set(groups[held])
        smallest = np.unique(groups, return_counts=True)[1].min()
        assert len(held) <= max(count, smallest) or len({*groups[held]}) == 1
    again = held_out(labels, groups, count, rng(seed))
    assert np.array_equal(again[0], stay)


@given(cases(), st.integers(1, 40))
def test_without_groups_it_is_the_division_of_before(case: Case, count: int) -> None:
    labels = case[0]
    for groups in (None, np.arange(len(labels))[::-1]):
        for ours, before in zip(held_out(labels, groups, count, rng()), sampling.divide(labels, count, rng()), strict=True):
            assert np.array_equal(ours, before)


def test_classes_keep_their_shares_where_groups_are_small() -> None:
    labels, groups = rows_of(100, 50), np.arange(150) // 2
    _, held = held_out(labels, groups, 30, rng())
    assert np.bincount(labels[held]).tolist() == [20, 10]


def test_groups_larger_than_the_part_asked_for_are_held_out_one_at_least() -> None:
    labels = np.tile([0, 1], 15)
    assert len(held_out(labels, np.arange(30) // 10, 6, rng())[1]) == 10


def test_nothing_is_held_out_where_none_is_asked_for() -> None:
    labels, groups = np.arange(12) % 3, np.arange(12) // 4
    stay, held = held_out(labels, groups, 0, np.random.default_rng(0))
    assert (stay.tolist(), held.tolist()) == (list(range(12)), [])
