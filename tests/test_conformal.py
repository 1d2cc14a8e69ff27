"""Prediction sets cover as often as their theorem says: by enumeration, by the beta-binomial law, and at every edge."""

from fractions import Fraction
from itertools import permutations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import betabinom

from headstart.core.heads.confidence import Confidence
from headstart.core.heads.statistics.conformal import check_coverage, members, rank, rows_needed, threshold

Values = npt.NDArray[np.float32]


def calibrated(of_label: npt.ArrayLike, rows: int | None = None) -> Confidence:
    """Calibration by these probabilities of true labels."""
    found = np.sort(np.asarray(of_label, dtype=np.float32))
    return Confidence(1.0, found, len(found) if rows is None else rows)


def softmax(scores: npt.NDArray[np.float64]) -> Values:
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)


def drawn(rows: int, classes: int, rng: np.random.Generator) -> tuple[Values, npt.NDArray[np.int64]]:
    """Probabilities (N, C) of a head that is right more often than not, and labels (N,)."""
    labels = rng.integers(classes, size=rows)
    scores = rng.standard_normal((rows, classes)) * 1.5
    scores[np.arange(rows), labels] += 2
    return softmax(scores), labels


def covered(values: Values, sure: Confidence, coverage: float) -> npt.NDArray[np.bool_]:
    """Whether true labels of these probabilities (n,) are in their sets."""
    return members(values[:, None], threshold(sure, coverage))[:, 0]


@pytest.mark.parametrize("coverage", [0.2, 0.5, 0.7, 0.75, 0.8, 0.85])
@pytest.mark.parametrize("values", [[0.1, 0.2, 0.3, 0.5, 0.9], [0.2, 0.2, 0.2, 0.6, 0.6], [0.4] * 5])
def test_over_every_order_of_five_rows_the_last_is_covered_as_often_as_asked(values: list[float], coverage: float) -> None:
    orders = list(permutations(values))
    hits = [covered(np.float32([last]), calibrated(first), coverage)[0] for *first, last in orders]
    share, k = Fraction(sum(map(int, hits)), len(orders)), rank(4, coverage)
    assert share >= Fraction(str(coverage))
    if len(set(values)) == len(values):
        assert share == 1 - Fraction(k, 5)


@pytest.mark.parametrize(("classes", "rows", "coverage"), [(2, 40, 0.9), (10, 300, 0.95), (10, 57, 0.9), (1000, 100, 0.9)])
def test_twenty_random_splits_cover_within_the_beta_binomials_interval(classes: int, rows: int, coverage: float) -> None:
    tests, k = 400, rank(rows, coverage)
    low, high = betabinom.interval(0.99, tests, rows + 1 - k, k)
    outside = 0
    for seed in range(20):
        shares, labels = drawn(rows + tests, classes, np.random.default_rng([seed, classes]))
        of_label = shares[np.arange(len(labels)), labels]
        inside = members(shares[rows:], threshold(calibrated(of_label[:rows]), coverage))
        outside += not low <= inside[np.arange(tests), labels[rows:]].sum() <= high
    assert outside <= 1  # 1 % of 20 splits; two or more have a probability of 1.7 %, and the seeds are fixed


@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=60), st.integers(1, 999))
def test_of_the_calibration_rows_themselves_no_more_than_the_rank_are_missed(values: list[float], mille: int) -> None:
    coverage, sure = mille / 1000, calibrated(values)
    hits = covered(sure.of_label, sure, coverage)
    assert (~hits).sum() <= max(0, rank(len(values), coverage) - 1)
    assert Fraction(int(hits.sum()) + 1, len(values) + 1) >= Fraction(str(coverage))


@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=60), st.integers(1, 999), st.integers(1, 999))
def test_more_coverage_never_takes_a_class_out(values: list[float], one: int, other: int) -> None:
    low, high = sorted((one / 1000, other / 1000))
    assert threshold(calibrated(values), high) <= threshold(calibrated(values), low)


def test_the_rank_is_that_of_the_decimal_as_written() -> None:
    assert [rank(rows, 0.9) for rows in (8, 9, 18, 19, 99)] == [0, 1, 1, 2, 10]
    assert [rank(rows, 0.95) for rows in (18, 19, 39)] == [0, 1, 2]
    assert [rows_needed(coverage) for coverage in (0.5, 0.9, 0.95, 0.99, 0.999, 0.7)] == [1, 9, 19, 99, 999, 3]


@given(st.integers(1, 99_999))
def test_so_many_rows_are_needed_and_no_fewer(parts: int) -> None:
    coverage = parts / 100_000
    needed = rows_needed(coverage)
    assert rank(needed, coverage) >= 1
    assert rank(needed - 1, coverage) == 0


@pytest.mark.parametrize("of_label", [[], [0.9], [0.9] * 18])
def test_too_few_rows_leave_no_class_out(of_label: list[float]) -> None:
    least = threshold(calibrated(of_label), 0.95)
    assert least == 0
    assert members(np.float32([[1, 0, 0]]), least).all()


def test_a_coverage_near_one_needs_rows_and_near_none_takes_the_surest() -> None:
    sure = calibrated(np.linspace(0.001, 0.999, 999))
    assert threshold(sure, 0.999) == sure.of_label[0]
    assert threshold(sure, 0.9991) == 0
    assert threshold(sure, 1 - 1e-12) == 0
    assert threshold(sure, 0.001) == sure.of_label[-1]


def test_a_class_at_the_threshold_is_in_the_set_whatever_the_rounding() -> None:
    third = np.float32(1 / 3)
    least = threshold(calibrated([third] * 99), 0.9)
    below = np.nextafter(third, np.float32(0))
    assert members(np.float32([[third, below, 1 - third - below]]), least).all()
    assert members(np.float32([[0.3333, 0.3333, 0.3334]]), least).tolist() == [[False, False, True]]


def test_two_classes_are_both_one_or_none_of_them() -> None:
    shares = np.float32([[0.9, 0.1], [0.5, 0.5], [0.2, 0.8]])
    assert members(shares, 0.4).tolist() == [[True, False], [True, True], [False, True]]
    assert members(shares, 0.85).tolist() == [[True, False], [False, False], [False, False]]


def test_an_absent_class_is_in_no_set() -> None:
    assert members(np.float32([[0.0, 1.0, 0.0]]), 0.0, absent=(2,)).tolist() == [[True, True, False]]


@pytest.mark.parametrize("kept", [40, 250, 999])
@pytest.mark.parametrize("coverage", [0.3, 0.8, 0.9, 0.95])
def test_a_sample_of_the_calibration_never_covers_less_than_all_of_it(kept: int, coverage: float) -> None:
    values = np.sort(np.random.default_rng(0).random(1000)).astype(np.float32)
    few = values[np.round(np.linspace(0, 999, kept)).astype(np.int64)]
    whole, found = threshold(calibrated(values), coverage), threshold(calibrated(few, 1000), coverage)
    assert found <= whole
    assert found >= values[rank(1000, coverage) - 1 - -(-1000 // kept)]  # by less than one step


@pytest.mark.parametrize("coverage", [0, 1, -0.1, 95, float("nan"), float("inf")])
def test_what_is_no_coverage_is_refused(coverage: float) -> None:
    for refuse in (check_coverage, rows_needed, lambda it: rank(10, it), lambda it: threshold(calibrated([0.5]), it)):
        with pytest.raises(ValueError, match=r"coverage is .+, expected a number above 0 and below 1"):
            refuse(coverage)
