"""Errors of means over draws and test rows: they cover, and never claim to be 0."""

import numpy as np
import pytest

from headstart.core.heads.curve.errors import estimate


def test_eight_right_answers_of_eight_are_no_certainty() -> None:
    found = estimate(np.ones(8), None, [1.0], apart=False)
    assert found.error == pytest.approx(0.1)
    assert found.margin > 0.2


def test_many_rows_have_the_binomial_error() -> None:
    values = np.arange(10_000) % 5 == 0
    found = estimate(values.astype(np.float64), None, [0.2], apart=False)
    assert found.error == pytest.approx(np.sqrt(0.2 * 0.8 / 10_000), rel=1e-3)
    assert found.margin == pytest.approx(1.96 * found.error, rel=1e-3)


def test_rows_of_a_group_are_one_observation() -> None:
    values = (np.arange(2_000) % 5 == 0).astype(np.float64)
    ten_times = np.repeat(values, 10)
    alone = estimate(values, None, [0.2], apart=False).error
    assert estimate(ten_times, np.repeat(np.arange(2_000), 10), [0.2], apart=False).error == pytest.approx(alone, rel=1e-6)
    assert estimate(ten_times, None, [0.2], apart=False).error == pytest.approx(alone / np.sqrt(10), rel=1e-2)


def test_draws_add_their_own_error_and_few_of_them_a_wider_interval() -> None:
    values = np.full(10**6, 0.5)
    found = estimate(values, None, [0.48, 0.50, 0.52], apart=False)
    assert found.error == pytest.approx(0.02 / np.sqrt(3), rel=1e-3)
    assert found.margin == pytest.approx(4.303 * found.error, rel=1e-2)  # Student's t of two degrees


def test_draws_tested_on_rows_apart_have_the_rows_chance_in_them() -> None:
    values = (np.arange(1_000) % 2).astype(np.float64)
    rows = estimate(values, None, [0.5], apart=True).error
    assert estimate(values, None, [0.5, 0.51, 0.49], apart=True).error == pytest.approx(rows)
    draws = estimate(values, None, [0.4, 0.5, 0.6], apart=True).error
    assert draws == pytest.approx(0.1 / np.sqrt(3))


def test_intervals_cover_as_often_as_they_say() -> None:
    """Draws that differ by 3 points in truth, of which 5 are seen on 300 rows."""
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(400):
        skill = 0.8 + 0.03 * rng.standard_normal(5)
        right = rng.random((5, 300)) < skill[:, None]
        found = estimate(right.mean(axis=0), None, right.mean(axis=1).tolist(), apart=False)
        covered += abs(right.mean() - 0.8) <= found.margin
    assert covered >= 0.94 * 400
