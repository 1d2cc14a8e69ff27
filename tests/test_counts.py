"""What labels are given how often: counted by hand and by scikit-learn, a published ratio, what holds for all."""

import dataclasses
import json
import math
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from heads_samples import NAMES, exact
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import confusion_matrix

from headstart.core.heads.statistics.accuracy import evaluate
from headstart.core.heads.statistics.compare import mcnemar
from headstart.core.heads.statistics.counts import confusion, label_ratios, label_shift, predicted_counts, recalls


@st.composite
def labellings(draw: st.DrawFn) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Class names, labels, and as many predictions."""
    classes, rows = draw(st.integers(2, 6)), draw(st.integers(1, 60))
    values = arrays(np.int64, rows, elements=st.integers(0, classes - 1))
    return NAMES[:classes], draw(values), draw(values)


@given(labellings())
def test_a_confusion_matrix_is_counted_by_hand_and_by_scikit_learn(case) -> None:
    classes, labels, predicted = case
    found = confusion(labels, predicted, classes)
    counted = Counter(zip(labels.tolist(), predicted.tolist(), strict=True))
    assert (found.dtype, found.shape) == (np.int64, (len(classes), len(classes)))
    assert {(i, j): n for (i, j), n in np.ndenumerate(found) if n} == counted
    assert (found == confusion_matrix(labels, predicted, labels=range(len(classes)))).all()


@given(labellings())
def test_recalls_and_counts_are_those_of_the_labels(case) -> None:
    classes, labels, predicted = case
    matrix = confusion(labels, predicted, classes)
    assert recalls(matrix) == tuple(evaluate(predicted, labels, classes).per_class.values())
    assert predicted_counts(matrix).tolist() == [int((predicted == i).sum()) for i in range(len(classes))]


def test_a_published_table_has_its_published_ratio() -> None:
    # the same source as for the difference in test_compare: 65 predicted, 75 true, 59 both
    found, _ = label_ratios(np.array([[59, 16], [6, 80]]))
    assert (found.predicted, found.true) == (65, 75)
    assert found.ratio is not None
    assert found.interval is not None
    assert [round(value, 4) for value in (found.ratio, *found.interval)] == [0.8667, 0.7579, 0.9910]


@given(labellings())
def test_a_ratio_lies_within_its_interval(case) -> None:
    classes, labels, predicted = case
    for i, found in enumerate(label_ratios(confusion(labels, predicted, classes))):
        assert (found.predicted, found.true) == ((predicted == i).sum(), (labels == i).sum())
        if not found.true:
            assert (found.ratio, found.interval) == (None, None)
            continue
        assert found.ratio == found.predicted / found.true
        assert found.interval is not None
        assert 0 <= found.interval[0] <= found.ratio <= found.interval[1] < math.inf


@given(st.integers(0, 300), st.integers(0, 300), st.integers(0, 300))
def test_exchanging_predicted_and_true_inverts_a_ratio(both: int, only_predicted: int, only_true: int) -> None:
    assume(both + only_predicted > 0 and both + only_true > 0)
    matrix = np.array([[both, only_true], [only_predicted, 5]])
    (found, _), (inverse, _) = label_ratios(matrix), label_ratios(matrix.T)
    assert found.ratio is not None
    assert found.interval is not None
    assert inverse.interval is not None
    assert inverse.ratio == pytest.approx(1 / found.ratio)
    assert inverse.interval == pytest.approx((1 / found.interval[1], 1 / found.interval[0]), rel=1e-6)


def test_a_label_that_is_never_given_has_the_ratio_0() -> None:
    found, other = label_ratios(np.array([[0, 20], [0, 20]]))
    assert (found.ratio, other.ratio) == (0, 2)
    assert found.interval is not None
    assert found.interval[0] == 0
    assert 0 < found.interval[1] < 0.5


def test_heads_that_give_a_label_differently_often_are_told_apart() -> None:
    # of 40 ships the second calls 18 planes, the first 3, one of them the same image
    first, second = np.full(100, 1), np.full(100, 1)
    first[:3] = 0
    second[2:20] = 0
    found = label_shift(first, second, 0, ["plane", "ship"])
    assert (found.both, found.only_first, found.only_second) == (1, 2, 17)
    assert found.difference == pytest.approx(-0.15)
    assert found.p_value == pytest.approx(float(exact(2, 17)))


@given(labellings(), st.integers(0, 1))
def test_a_shift_of_a_label_is_mcnemars_test_of_having_it(case, label: int) -> None:
    classes, first, second = case
    assert label_shift(first, second, label, classes) == mcnemar(first == label, second == label)


INDICES = np.array([0, 1, 2])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: confusion(INDICES, INDICES[:2], NAMES), "predicted has 2 rows, expected 3"),
        (lambda: confusion(INDICES, INDICES, NAMES[:2]), "labels has 2, expected 0 to 1"),
        (lambda: confusion(INDICES, INDICES - 1, NAMES), "predicted has -1, expected 0 to 5"),
        (
            lambda: confusion(INDICES * math.nan, INDICES, NAMES),
            r"labels is float64 of shape \(3,\), expected class indices",
        ),
        (lambda: confusion(INDICES[None], INDICES, NAMES), r"labels is int64 of shape \(1, 3\), expected class indices"),
        (lambda: confusion(INDICES[:0], INDICES[:0], NAMES), "labels has no rows, expected one or more"),
        (lambda: recalls(INDICES), r"confusion matrix is int64 of shape \(3,\), expected counts \(C, C\)"),
        (lambda: predicted_counts(np.zeros((2, 3), int)), r"confusion matrix is int64 of shape \(2, 3\), expected counts"),
        (lambda: predicted_counts(np.eye(2) * math.nan), r"confusion matrix is float64 of shape \(2, 2\), expected counts"),
        (
            lambda: label_ratios(-np.eye(2, dtype=int)),
            r"confusion matrix of shape \(2, 2\) is empty or has a negative count",
        ),
        (
            lambda: label_ratios(np.zeros((0, 0), int)),
            r"confusion matrix of shape \(0, 0\) is empty or has a negative count",
        ),
        (lambda: label_shift(INDICES, INDICES, 6, NAMES), "label is 6, expected 0 to 5"),
        (lambda: label_shift(INDICES, INDICES, -1, NAMES), "label is -1, expected 0 to 5"),
        (lambda: label_shift(INDICES, INDICES[:1], 0, NAMES), "second has 1 rows, expected 3"),
        (lambda: label_shift(INDICES + 9, INDICES, 0, NAMES), "first has 11, expected 0 to 5"),
    ],
)
def test_labels_that_are_none_are_refused(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_ratios_are_plain_numbers_that_json_can_hold() -> None:
    results = label_ratios(np.array([[3, 1, 0], [0, 2, 1], [0, 0, 0]]))
    json.dumps([dataclasses.asdict(result) for result in results], allow_nan=False)
