"""The order of rows: every beginning is a sample, one more row moves few, and every machine finds the same order."""

import hypothesis
import numpy as np
from hypothesis import strategies as st

from headstart.core.extract.images.order import is_grouped, stratified

LABELS = st.lists(st.integers(0, 4), min_size=1, max_size=60)


def ids(count: int) -> list[bytes]:
    return [b"%d" % row for row in range(count)]


@hypothesis.given(LABELS)
def test_every_row_is_there_once(labels: list[int]) -> None:
    assert sorted(stratified(ids(len(labels)), labels).tolist()) == list(range(len(labels)))


@hypothesis.given(LABELS, st.integers(1, 60))
def test_any_beginning_holds_the_classes_in_their_shares(labels: list[int], stop: int) -> None:
    stop = min(stop, len(labels))
    found = np.array(labels)[stratified(ids(len(labels)), labels)][:stop]
    classes, counts = np.unique(labels, return_counts=True)
    for label, count in zip(classes, counts, strict=True):
        expected = stop * count / len(labels)
        # of K classes each may be one ahead, which the others then are behind
        assert expected - len(classes) <= np.count_nonzero(found == label) <= expected + 1


@hypothesis.given(LABELS)
def test_the_first_rows_hold_one_of_each_class(labels: list[int]) -> None:
    classes = np.unique(labels)
    first = np.array(labels)[stratified(ids(len(labels)), labels)][: len(classes)]
    assert sorted(first.tolist()) == classes.tolist()


@hypothesis.given(LABELS, st.randoms())
def test_the_order_does_not_depend_on_the_order_that_rows_come_in(labels: list[int], random: object) -> None:
    names = ids(len(labels))
    expected = [names[row] for row in stratified(names, labels)]
    mixed = np.random.default_rng(len(labels)).permutation(len(labels))
    found = stratified([names[row] for row in mixed], [labels[row] for row in mixed])
    assert [names[mixed[row]] for row in found] == expected


def test_one_more_row_keeps_the_others_in_their_order() -> None:
    labels = [row % 3 for row in range(300)]
    before = [row for row in stratified(ids(300), labels) if labels[row] == 1]
    after = [row for row in stratified(ids(301), [*labels, 1]) if row < 300 and labels[row] == 1]
    assert after == before


def test_the_order_is_this_one_on_every_machine() -> None:
    labels = [0, 0, 0, 0, 1, 1]
    assert stratified(ids(6), labels).tolist() == [3, 4, 0, 1, 5, 2]


def test_no_rows_have_an_order_too() -> None:
    assert stratified([], []).tolist() == []


def test_labels_that_stand_together_are_grouped() -> None:
    random = np.random.default_rng(0)
    assert is_grouped(np.repeat(np.arange(10), 30))
    assert is_grouped(np.tile(np.repeat(np.arange(10), 10), 5))
    assert not is_grouped(random.integers(0, 10, 300))
    assert not is_grouped((random.random(1000) < 0.02).astype(np.int64))  # a rare class changes seldom by itself
    assert not is_grouped(np.arange(10).repeat(1))
    assert not is_grouped(np.zeros(5, dtype=np.int64))
    assert not is_grouped(np.zeros(1, dtype=np.int64))
