"""Calibration and temperature: row by row, by scikit-learn, known temperatures found again, what holds for all."""

import dataclasses
import json
import math

import numpy as np
import pytest
from heads_samples import FAIR, scored
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import log_loss

from headstart.core.heads.statistics.calibration import Temperature, calibration, fit_temperature, softmax

# calibration


def by_hand(probabilities: np.ndarray, labels: np.ndarray, bins: int) -> tuple[list[tuple[int, float, float]], float]:
    """The curve as (count, sum of confidence, number right) and ECE, row by row."""
    curve = [(0, 0.0, 0.0)] * bins
    for row, label in zip(probabilities.tolist(), labels.tolist(), strict=True):
        top = min(max(row), 1.0)
        (place,) = [i for i in range(bins) if i / bins < top <= (i + 1) / bins]
        count, sure, right = curve[place]
        curve[place] = (count + 1, sure + top, right + (row.index(max(row)) == label))
    return curve, sum(n / len(labels) * abs(right / n - sure / n) for n, sure, right in curve if n)


@given(scored(), st.integers(1, 20))
def test_the_curve_and_its_error_are_those_counted_row_by_row(case, bins: int) -> None:
    scores, labels = case
    probabilities = softmax(scores)
    found = calibration(probabilities, labels, bins)
    curve, ece = by_hand(probabilities, labels, bins)
    assert found.rows == len(labels)
    assert found.ece == pytest.approx(ece, abs=1e-12)
    assert 0 <= found.ece <= 1
    assert [part.count for part in found.bins] == [n for n, _, _ in curve]
    assert [(part.low, part.high) for part in found.bins] == [(i / bins, (i + 1) / bins) for i in range(bins)]
    for part, (n, sure, right) in zip(found.bins, curve, strict=True):
        if n:
            assert (part.confidence, part.accuracy) == (pytest.approx(sure / n), pytest.approx(right / n))
        else:
            assert (part.confidence, part.accuracy) == (None, None)


@given(scored())
def test_likelihood_and_brier_score_are_those_of_the_definitions(case) -> None:
    scores, labels = case
    probabilities = softmax(scores)
    found = calibration(probabilities, labels)
    assert found.nll == pytest.approx(log_loss(labels, probabilities, labels=range(scores.shape[1])), abs=1e-9)
    targets = np.eye(scores.shape[1])[labels]
    assert found.brier == pytest.approx(((probabilities - targets) ** 2).sum(axis=1).mean(), abs=1e-9)
    assert 0 <= found.brier <= 2


@given(st.lists(st.tuples(st.integers(2, 30), st.integers(0, 30)), min_size=1, max_size=6))
def test_perfect_calibration_has_no_error(groups: list[tuple[int, int]]) -> None:
    rows, labels = [], []
    for total, more in groups:
        right = min(total, total // 2 + 1 + more)  # more than half: the first of two classes is predicted
        rows += [[right / total, 1 - right / total]] * total
        labels += [0] * right + [1] * (total - right)
    assert calibration(np.array(rows), np.array(labels)).ece == pytest.approx(0, abs=1e-12)


def test_a_head_that_is_sure_and_always_wrong_has_the_greatest_error() -> None:
    found = calibration(np.eye(3), np.array([1, 2, 0]))
    assert (found.ece, found.brier) == (1, 2)
    assert found.nll == pytest.approx(87.3, abs=0.1)  # of the smallest float32: not infinite
    assert found.bins[-1].count == 3


def test_a_head_that_is_sure_and_right_has_no_error() -> None:
    found = calibration(np.eye(3), np.array([0, 1, 2]))
    assert (found.ece, found.nll, found.brier) == (0, 0, 0)


def test_a_figure_of_a_calibration_is_one_that_json_can_hold() -> None:
    found = calibration(softmax(np.eye(4, dtype=np.float32)), np.array([0, 1, 2, 0]))
    again = json.loads(json.dumps(dataclasses.asdict(found), allow_nan=False))
    assert again["ece"] == found.ece
    assert len(again["bins"]) == 15


def test_probabilities_of_float32_are_taken_with_their_rounding() -> None:
    scores = np.random.default_rng(0).normal(0, 3, (500, 1000)).astype(np.float32)
    powers = np.exp(scores)
    labels = scores.argmax(axis=1)
    found = calibration(powers / powers.sum(axis=1, keepdims=True), labels)
    assert found.nll == pytest.approx(calibration(softmax(scores), labels).nll, rel=1e-4)
    assert calibration(np.array([[1.0000001, 0.0]], np.float32), np.array([0])).bins[-1].count == 1


def test_no_bins_are_refused() -> None:
    with pytest.raises(ValueError, match="0 bins, expected one or more"):
        calibration(FAIR, np.array([0, 1]), 0)


# temperature


def nll(scores: np.ndarray, labels: np.ndarray, temperature: float) -> float:
    """The mean negative log-likelihood, row by row."""
    total = 0.0
    for row, label in zip((scores / temperature).tolist(), labels.tolist(), strict=True):
        most = max(row)
        total += most - row[label] + math.log(math.fsum(math.exp(value - most) for value in row))
    return total / len(labels)


@pytest.mark.parametrize("temperature", [0.05, 0.4, 1.0, 3.0, 40.0])
def test_a_known_temperature_is_found_again(temperature: float) -> None:
    rng = np.random.default_rng(7)
    scores = rng.normal(0, 2, (20_000, 5))
    labels = (softmax(scores).cumsum(axis=1) < rng.random((20_000, 1))).sum(axis=1).clip(0, 4)
    assert fit_temperature(scores * temperature, labels).value == pytest.approx(temperature, rel=0.03)


@given(scored())
@settings(max_examples=60)
def test_a_fitted_temperature_is_no_worse_than_any_other_and_within_its_bounds(case) -> None:
    scores, labels = (np.tile(part, (20, 1)[: part.ndim]) for part in case)  # enough of them
    found = fit_temperature(scores, labels)
    assert found.rows == len(labels)
    if found.value is None:
        assert found.reason is not None
        return
    best = nll(scores, labels, found.value)
    assert 1e-3 < found.value < 1e3
    for other in (1.0, found.value * 0.9, found.value * 1.1, 0.01, 0.1, 0.5, 2.0, 10.0, 100.0):
        assert best <= nll(scores, labels, min(max(other, 1e-3), 1e3)) + 1e-9


@given(scored(most=100), st.floats(1e-3, 1e3))
def test_a_temperature_changes_no_label(case, temperature: float) -> None:
    scores, _ = case
    found = softmax(scores, temperature)
    assert found.sum(axis=1) == pytest.approx(1)
    top = scores.argmax(axis=1)
    assert (found[np.arange(len(found)), top] == found.max(axis=1)).all()
    for row, probabilities in zip(scores, found, strict=True):
        assert (np.diff(probabilities[np.argsort(row)]) >= 0).all()


@given(st.floats(0.02, 50))
def test_scaled_scores_have_a_scaled_temperature(factor: float) -> None:
    rng = np.random.default_rng(11)
    scores = rng.normal(0, 1, (300, 4))
    labels = np.where(rng.random(300) < 0.6, scores.argmax(axis=1), rng.integers(0, 4, 300))
    plain, scaled = (fit_temperature(scores * f, labels).value for f in (1, factor))
    assert plain is not None
    assert scaled == pytest.approx(factor * plain, rel=1e-4)


def test_a_fitted_temperature_mends_a_head_that_is_too_sure() -> None:
    rng = np.random.default_rng(2)
    scores = rng.normal(0, 2, (4000, 10))
    labels = (softmax(scores).cumsum(axis=1) < rng.random((4000, 1))).sum(axis=1).clip(0, 9)
    sure = scores * 4
    temperature = fit_temperature(sure[:2000], labels[:2000]).value
    assert temperature is not None
    before, after = (calibration(softmax(sure[2000:], t), labels[2000:]) for t in (1.0, temperature))
    assert before.ece > 0.2
    assert after.ece < 0.05
    assert after.nll < before.nll


def test_the_studys_sigmoid_is_undone_by_a_low_temperature() -> None:
    # scores within 0 to 1: no probability of ten classes exceeds 0.23, whatever the accuracy
    scores = np.full((100, 10), 0.0)
    labels = np.arange(100) % 10
    scores[np.arange(100), labels] = 1.0
    labels[:20] = (labels[:20] + 1) % 10  # 80 % right
    temperature = fit_temperature(scores, labels).value
    assert temperature is not None
    assert softmax(scores).max() < 0.2321
    assert softmax(scores, temperature).max() == pytest.approx(0.8, abs=1e-4)


def test_rows_that_are_all_right_have_no_temperature() -> None:
    # it would be as low as one looks: probabilities of 1, and a first mistake that costs everything
    scores, labels = np.tile(np.eye(5) * 3, (8, 1)), np.tile(np.arange(5), 8)
    assert fit_temperature(scores, labels) == Temperature(None, 40, "not fitted: all 40 validation rows are right")


def test_one_mistake_is_enough_for_a_temperature() -> None:
    scores, labels = np.tile(np.eye(5) * 3, (8, 1)), np.tile(np.arange(5), 8)
    labels[0] = 1
    found = fit_temperature(scores, labels)
    assert found.value is not None
    assert nll(scores, labels, found.value) < nll(scores, labels, 1)


def test_rows_that_are_all_least_likely_have_no_temperature() -> None:
    found = fit_temperature(np.tile([[-6.0, 0, 0], [0, -6, 0]], (10, 1)), np.tile([0, 1], 10))
    assert found == Temperature(None, 20, "not fitted: no temperature is best on 20 validation rows")


def test_few_rows_have_no_temperature() -> None:
    found = fit_temperature(np.ones((19, 3)), np.arange(19) % 3)
    assert found == Temperature(None, 19, "not fitted: 19 validation rows, 20 are needed")


def test_scores_that_say_nothing_keep_the_temperature_1() -> None:
    assert fit_temperature(np.ones((21, 3)), np.arange(21) % 3) == Temperature(1.0, 21)


def test_a_class_that_is_never_predicted_has_the_probability_0_at_any_temperature() -> None:
    scores, labels = np.tile([[1.0, 0.0, -np.inf], [0.0, 2.0, -np.inf]], (20, 1)), np.tile([0, 1], 20)
    labels[:8] = 1
    found = fit_temperature(scores, labels)
    assert found.value == fit_temperature(scores[:, :2], labels).value
    assert found.value is not None
    shares = softmax(scores, found.value)
    assert (shares[:, 2] == 0).all()
    # rows of that class in the test set are wrong, and count as the least likely that a float32 can say
    assert calibration(shares, np.full(40, 2)).nll == pytest.approx(-math.log(np.finfo(np.float32).tiny))
    with pytest.raises(ValueError, match="row 3 has the score -inf for its label, expected a class that was learned"):
        fit_temperature(scores, np.where(np.arange(40) == 3, 2, labels))


@pytest.mark.parametrize("row", [[math.inf, 0.0], [-math.inf, -math.inf], [math.nan, 0.0]])
def test_scores_of_which_none_can_be_the_highest_are_refused(row: list[float]) -> None:
    with pytest.raises(ValueError, match="scores is not finite in row 1"):
        softmax(np.array([[0.0, 1.0], row]))


def test_a_softmax_far_out_is_0_and_1() -> None:
    assert softmax(np.array([[1e300, -1e300], [3.0, 2.0]]), 1e-300).tolist() == [[1, 0], [1, 0]]


@pytest.mark.parametrize("temperature", [0, -1.0, math.nan, math.inf])
def test_what_is_no_temperature_is_refused(temperature: float) -> None:
    with pytest.raises(ValueError, match=f"temperature {temperature}, expected a number above 0"):
        softmax(np.eye(2), temperature)


@pytest.mark.parametrize(
    ("scores", "labels", "message"),
    [
        (np.ones((2, 2)) * math.nan, [0, 1], "scores is not finite in row 0"),
        (np.ones(2), [0, 1], r"scores is float64 of shape \(2,\), expected floats \(N, C\)"),
        (np.ones((2, 2)), [0, 1, 1], "labels has 3 rows, expected 2"),
        (np.ones((2, 2)), [0, 2], "labels has 2, expected 0 to 1"),
    ],
)
def test_scores_that_no_temperature_fits_are_refused(scores: np.ndarray, labels: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit_temperature(scores, np.array(labels))
