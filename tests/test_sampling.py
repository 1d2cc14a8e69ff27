"""Rows drawn: every class keeps its share, each draw is part of a larger one, and one row of a class always stays."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.core.heads.data.sampling import divide, in_shares, named, sample

labels_of = st.lists(st.integers(0, 7), min_size=1, max_size=120).map(lambda values: np.array(values, dtype=np.int64))


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@given(labels_of, st.integers(0, 99))
@settings(max_examples=100)
def test_every_beginning_holds_the_classes_in_their_shares(labels: np.ndarray, seed: int) -> None:
    order = in_shares(labels, rng(seed))
    assert sorted(order) == list(range(len(labels)))
    there = np.bincount(labels)
    classes = np.flatnonzero(there)
    for count in range(1, len(labels) + 1):
        found = np.bincount(labels[order[:count]], minlength=len(there))
        if count >= len(classes):
            assert (found[classes] >= 1).all()
        # Adams: no class is ahead of another by more than the row that it was given last
        ahead, behind = (found[classes] - 1) / there[classes], found[classes] / there[classes]
        assert ahead.max() <= behind.min() + 1e-12


@given(labels_of, st.integers(0, 130), st.integers(0, 99))
@settings(max_examples=100)
def test_a_division_keeps_one_row_of_each_class_and_shares_what_it_holds_out(
    labels: np.ndarray, count: int, seed: int
) -> None:
    stay, held = divide(labels, count, rng(seed))
    assert sorted([*stay, *held]) == list(range(len(labels)))
    assert (np.diff(stay) > 0).all()
    assert (np.diff(held) > 0).all()
    assert set(labels[stay]) == set(labels)
    assert len(held) == min(count, len(labels) - len(set(labels)))
    there, found = np.bincount(labels), np.bincount(labels[held], minlength=labels.max() + 1)
    spare = there > found + 1
    if spare.any() and (found > 0).any():  # Webster: the next row held out would come no earlier than the last one was
        assert ((found + 0.5) / np.maximum(there, 1))[spare].min() >= ((found - 0.5) / np.maximum(there, 1)).max() - 1e-12


@given(labels_of, st.integers(1, 60), st.integers(1, 60))
def test_a_smaller_sample_is_part_of_a_larger_one(labels: np.ndarray, one: int, other: int) -> None:
    small, large = (sample(labels, count, rng()) for count in sorted((one, other)))
    assert set(small) <= set(large)
    assert (np.diff(large) > 0).all()


def test_all_rows_come_in_their_own_order() -> None:
    assert sample(np.array([2, 0, 1, 1]), 4, rng()).tolist() == [0, 1, 2, 3]
    assert sample(np.array([2, 0, 1, 1]), 9, rng()).tolist() == [0, 1, 2, 3]


def test_which_rows_are_drawn_is_the_generators_choice() -> None:
    labels = np.repeat(np.arange(3), 40)
    draws = [tuple(sample(labels, 12, rng(seed))) for seed in (1, 1, 2)]
    assert draws[0] == draws[1]
    assert draws[0] != draws[2]


def test_balanced_classes_are_held_out_from_alike() -> None:
    labels = np.repeat(np.arange(4), 25)
    assert np.bincount(labels[divide(labels, 20, rng())[1]]).tolist() == [5] * 4


@pytest.mark.parametrize(
    ("count", "text"), [(0, ""), (1, "a0"), (3, "a0, a1, a2"), (9, "a0, a1, a2, a3, a4, a5, a6, a7 and 1 more")]
)
def test_many_names_are_counted(count: int, text: str) -> None:
    assert named([f"a{i}" for i in range(count)]) == text
