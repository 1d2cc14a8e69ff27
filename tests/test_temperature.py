"""The temperature of scores: the one that the labels ask for, never a certain one, and no label changes by it."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.core.heads.selection import temperature
from headstart.core.heads.statistics.calibration import fit_temperature, softmax


def drawn(rows: int, classes: int, true: float, seed: int = 0) -> tuple[temperature.Scores, temperature.Labels]:
    """Scores whose labels were drawn from softmax(scores / true)."""
    rng = np.random.default_rng(seed)
    scores = 3 * rng.standard_normal((rows, classes))
    shares = softmax(scores, true)
    labels = (shares.cumsum(axis=1) < rng.random((rows, 1))).sum(axis=1).clip(0, classes - 1)
    return scores, labels.astype(np.int64)


@pytest.mark.parametrize("true", [0.2, 1.0, 5.0])
def test_the_temperature_that_labels_were_drawn_at_is_found(true: float) -> None:
    scores, labels = drawn(20_000, 4, true)
    assert temperature.fit(scores, labels) == pytest.approx(true, rel=0.05)


def test_of_many_rows_it_is_the_one_of_least_log_loss() -> None:
    scores, labels = drawn(5_000, 5, 2.0)
    plain = fit_temperature(scores, labels).value
    assert plain is not None
    assert temperature.fit(scores, labels) == pytest.approx(plain, rel=0.01)


@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.integers(2, 6))
@settings(max_examples=50, deadline=None)
def test_few_rows_that_are_all_right_make_no_head_certain(seed: int, rows: int, classes: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.standard_normal((rows, classes))
    labels = scores.argmax(axis=1)
    found = temperature.fit(scores, labels)
    assert math.isfinite(found)
    least = np.exp(-temperature.log_losses(scores, labels, found)).min()
    assert least < 1


def test_classes_that_no_row_was_learned_of_are_left_out() -> None:
    scores, labels = drawn(2_000, 4, 2.0)
    wider = np.hstack([scores, np.full((len(scores), 1), -np.inf)])
    assert temperature.fit(wider, labels) == pytest.approx(temperature.fit(scores, labels), rel=1e-3)


def test_many_scores_are_fitted_on_a_sample_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    scores, labels = drawn(20_000, 4, 2.0)
    monkeypatch.setattr(temperature, "_MOST_NUMBERS", 20_000)
    assert temperature.fit(scores, labels) == pytest.approx(2.0, rel=0.1)


def test_log_losses_are_those_of_the_softmax() -> None:
    scores, labels = drawn(50, 3, 1.0)
    expected = -np.log(softmax(scores, 2.0)[np.arange(50), labels])
    assert temperature.log_losses(scores, labels, 2.0) == pytest.approx(expected)
