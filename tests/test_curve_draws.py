"""Which rows a few-shot curve trains and tests on: halves of halves, stratified, groups whole, never one on both sides."""

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.core.cache.errors import FeaturesInvalid
from headstart.core.heads.curve.draws import MOST_REPEATS, Draw, Plan, draws_of, plan
from headstart.core.heads.data import Labelled


def rows_of(labels: Sequence[int], groups: Sequence[int] | None = None) -> Labelled:
    """Rows that are nothing but their labels and groups."""
    own = None if groups is None else np.array(groups, dtype=np.int64)
    return Labelled(np.zeros((len(labels), 1), dtype=np.float32), np.array(labels, dtype=np.int64), groups=own)


def drawn(training: Labelled, testing: Labelled | None = None) -> Plan:
    return plan(training, testing, [np.random.default_rng(i) for i in range(MOST_REPEATS)])


def draws_at(found: Plan, level: int) -> list[Draw]:
    return [draw for repeat in found.at(level) for draw in repeat]


def sizes(found: Plan) -> list[float]:
    return [found.rows(level) for level in range(found.levels)]


def repeated(counts: Sequence[int]) -> list[int]:
    """So many rows of each class, sorted by class."""
    return np.repeat(np.arange(len(counts)), counts).tolist()


# -------------------------------------------------------------------------------------------- how many rows, how often


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ((160, 160), [320, 160, 80, 40, 20, 10, 5]),
        ((4, 4), [8, 4, 2]),  # one of a class, since two leave two points
        ((2,) * 150, [300, 150]),
        ((1, 10, 9), [20, 10, 5]),
        ((1, 1), [2]),
        ((1200, 1300), [2500, 1250, 625, 312, 156, 78, 39, 20, 10, 5]),
    ],
)
def test_rows_are_halved_down_to_some_of_a_class(counts: tuple[int, ...], expected: list[int]) -> None:
    assert sizes(drawn(rows_of(repeated(counts)), rows_of([0, 1]))) == expected


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ((4, 4), [6, 3, 2]),
        ((2,) * 150, [150]),
        ((2, 20, 20, 20), [49.6, 24.6, 12.0]),
        ((200, 200), [320, 160, 80, 40, 20, 10, 5]),
    ],
)
def test_of_a_set_without_test_rows_those_outside_a_fold_are_halved(counts: tuple[int, ...], expected: list[float]) -> None:
    assert sizes(drawn(rows_of(repeated(counts)))) == pytest.approx(expected, abs=0.3)


def test_few_rows_are_drawn_more_often_than_many_and_all_of_them_once() -> None:
    found = drawn(rows_of(repeated((1200, 1300))), rows_of([0, 1]))
    assert [len(found.at(level)) for level in range(6)] == [1, 3, 5, 5, 10, 10]
    assert [draws_of(rows) for rows in (2, 300, 301, 1_000, 1_001, 10**6)] == [10, 10, 5, 5, 3, 3]


@pytest.mark.parametrize(("rows", "repeats", "folds", "apart"), [(60, 3, 5, False), (600, 5, 1, True), (5_010, 3, 1, True)])
def test_folds_are_repeated_in_small_sets_and_left_out_in_large_ones(
    rows: int, repeats: int, folds: int, apart: bool
) -> None:
    found = drawn(rows_of([row % 3 for row in range(rows)]))
    assert [len(repeat) for repeat in found.repeats] == [folds] * repeats
    assert found.apart is apart
    tested = np.concatenate([draw.judge for draw in draws_at(found, 0)])
    assert len(tested) == {60: 180, 600: 600, 5_010: 3_006}[rows]
    assert bool(np.bincount(tested).max() == 1) is apart


def test_rows_that_no_fold_can_hold_are_refused() -> None:
    with pytest.raises(FeaturesInvalid, match="3 rows of 3 classes are too few to be cross-validated: no class has two"):
        drawn(rows_of([0, 1, 2]))


# ----------------------------------------------------------------------------------------------------- which rows these are


labelled = st.lists(st.integers(0, 4), min_size=6, max_size=60).filter(lambda labels: len(set(labels)) > 1)


@given(labelled, st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_each_draw_holds_classes_in_their_shares_and_is_part_of_the_next_larger(labels: list[int], seed: int) -> None:
    found = plan(rows_of(labels), rows_of([0]), [np.random.default_rng(seed)] * MOST_REPEATS)
    whole = np.bincount(labels)
    for repeat in found.repeats:
        (draw,) = repeat
        assert draw.first(0).tolist() == list(range(len(labels)))
        for level in range(1, found.levels):
            rows = draw.first(level)
            assert set(rows) < set(draw.first(level - 1))
            assert len(rows) == draw.wanted(level)
            counts = np.bincount(np.array(labels)[rows], minlength=len(whole))
            assert (counts[whole > 0] > 0).all()
            # the method of Adams gives a class less than one row above its share, but those of the rarest
            assert (counts <= np.maximum(np.ceil(whole * len(rows) / len(labels)), 1)).all()


grouped = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 15)), min_size=12, max_size=60)


@given(grouped)
@settings(max_examples=80, deadline=None)
def test_groups_are_drawn_and_left_out_as_a_whole(pairs: list[tuple[int, int]]) -> None:
    data = rows_of([label for label, _ in pairs], [group for _, group in pairs])
    assert data.groups is not None
    for testing in (None, rows_of([0, 1])):
        try:
            found = drawn(data, testing)
        except FeaturesInvalid:
            assert testing is None
            continue
        for level in range(found.levels):
            for draw in draws_at(found, level):
                rows = draw.first(level)
                inside = np.isin(np.arange(len(pairs)), rows)
                touched = {group for group, own in zip(data.groups, inside, strict=True) if own}
                allowed = np.arange(len(pairs)) if testing else np.setdiff1d(np.arange(len(pairs)), draw.judge)
                assert set(allowed[np.isin(data.groups[allowed], list(touched))]) == set(rows)
                assert set(data.labels[rows]) == set(data.labels[allowed])
                if testing is None:
                    assert touched.isdisjoint(data.groups[draw.judge].tolist())
        rows = sizes(found)
        assert all(later <= 0.75 * earlier for earlier, later in itertools.pairwise(rows))


def test_large_groups_are_not_drawn_sooner_than_small_ones() -> None:
    """Half of 40 groups of one row and one of ten, of the first class: the large one is in half of the draws."""
    labels = [0] * 50 + [1] * 50
    data = rows_of(labels, [*range(40), *[40] * 10, *range(41, 91)])
    inside = [
        40 in data.groups[draw.first(1)]  # type: ignore[index]
        for seed in range(40)
        for draw in draws_at(plan(data, rows_of([0]), [np.random.default_rng(seed)] * MOST_REPEATS), 1)[:1]
    ]
    assert 10 <= sum(inside) <= 30


def test_the_same_generators_give_the_same_draws() -> None:
    one, other = (drawn(rows_of(repeated((20, 30)))) for _ in range(2))
    for first, second in zip(draws_at(one, 1), draws_at(other, 1), strict=True):
        assert np.array_equal(first.rows, second.rows)
    again = drawn(rows_of(repeated((20, 30))), rows_of([0]))
    assert not np.array_equal(again.repeats[0][0].rows, again.repeats[1][0].rows)
