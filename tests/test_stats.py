"""Accuracy and its interval: the closed formula for any count, the confusion matrix for any labels."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix

from headstart.core.heads.statistics.accuracy import Score, evaluate

Z = 1.959963984540054  # the standard normal distribution's 97.5 % point


@st.composite
def scores(draw: st.DrawFn) -> Score:
    total = draw(st.integers(1, 10**6))
    return Score(draw(st.integers(0, total)), total)


def wilson(correct: int, total: int) -> tuple[float, float]:
    """The formula as it stands in https://en.wikipedia.org/wiki/Binomial_proportion_confidence_interval."""
    share = correct / total
    centre = (share + Z**2 / (2 * total)) / (1 + Z**2 / total)
    half = Z / (1 + Z**2 / total) * math.sqrt(share * (1 - share) / total + Z**2 / (4 * total**2))
    return centre - half, centre + half


@given(scores())
def test_the_interval_is_wilsons(score: Score) -> None:
    assert score.interval == pytest.approx(wilson(score.correct, score.total), abs=1e-9)


@given(scores())
def test_the_interval_holds_the_accuracy_and_stays_within_0_and_1(score: Score) -> None:
    low, high = score.interval
    assert 0 <= low <= score.accuracy <= high <= 1
    assert low < high


@given(scores())
def test_as_many_wrong_mirror_as_many_right(score: Score) -> None:
    low, high = Score(score.total - score.correct, score.total).interval
    assert score.interval == pytest.approx((1 - high, 1 - low), abs=1e-9)


def test_the_studys_accuracies_lie_within_each_others_intervals() -> None:
    # 81.87 % and 81.64 % of 10,000: the study's "may be insignificant and due to chance"
    low, high = Score(8164, 10_000).interval
    assert (round(low, 4), round(high, 4)) == (0.8087, 0.8239)
    assert low < 0.8187 < high


def test_no_rows_have_no_accuracy_and_an_interval_that_says_nothing() -> None:
    assert math.isnan(Score(0, 0).accuracy)
    assert Score(0, 0).interval == (0.0, 1.0)


@st.composite
def labellings(draw: st.DrawFn) -> tuple[int, list[int], list[int]]:
    """A number of classes, labels, and as many predictions."""
    classes, rows = draw(st.integers(2, 6)), draw(st.integers(1, 40))
    labels = st.lists(st.integers(0, classes - 1), min_size=rows, max_size=rows)
    return classes, draw(labels), draw(labels)


@given(labellings())
@settings(max_examples=60)
def test_the_counts_are_those_of_the_confusion_matrix(case: tuple[int, list[int], list[int]]) -> None:
    classes, labels, predicted = case
    names = [f"class {i}" for i in range(classes)]
    found = evaluate(np.array(predicted), np.array(labels), names)
    matrix = confusion_matrix(labels, predicted, labels=range(classes))
    assert found.overall == Score(matrix.trace(), len(labels))
    assert list(found.per_class) == names
    assert [score.correct for score in found.per_class.values()] == matrix.diagonal().tolist()
    assert [score.total for score in found.per_class.values()] == matrix.sum(axis=1).tolist()


def test_counts_are_plain_numbers_that_json_can_hold() -> None:
    found = evaluate(np.array([0, 1]), np.array([0, 0]), ["a", "b"])
    for score in (found.overall, *found.per_class.values()):
        assert (type(score.correct), type(score.total)) == (int, int)
