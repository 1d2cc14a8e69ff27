"""Chance, label counts, calibration and disagreement: published figures, formulas written out anew, what holds for all."""

import dataclasses
import json
import math
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from extract_samples import ROOT
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import ttest_1samp
from sklearn.metrics import confusion_matrix, log_loss

from heads.compare import (
    Comparison,
    Disagreement,
    Mistake,
    Paired,
    agreement,
    all_pairs,
    bootstrap_accuracy,
    calibration,
    confident_mistakes,
    confusion,
    fit_temperature,
    holm,
    label_ratios,
    label_shift,
    mcnemar,
    over_seeds,
    predicted_counts,
    recalls,
    softmax,
)
from heads.stats import Score, evaluate

Z = 1.959963984540054
NAMES = ["cat", "deer", "dog", "frog", "ship", "truck"]


def table(both: int, only_first: int, only_second: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows right and wrong by two heads, so many of each of the four kinds."""
    counts = (both, only_first, only_second, neither)
    return np.repeat([True, True, False, False], counts), np.repeat([True, False, True, False], counts)


tables = st.tuples(*[st.integers(0, 400)] * 4).filter(any)


# two heads


def test_a_published_table_has_its_published_p_value() -> None:
    # P. Armitage and G. Berry, Statistical Methods in Medical Research, 1994, p. 127; exact p as StatsDirect prints it
    found = mcnemar(*table(20, 12, 2, 16))
    assert (found.rows, found.both, found.only_first, found.only_second) == (50, 20, 12, 2)
    assert found.difference == pytest.approx(0.2)
    assert round(found.p_value, 4) == 0.0129
    assert found.test == "exact binomial"


def test_a_published_table_has_its_published_interval() -> None:
    # M. W. Fagerland, S. Lydersen and P. Laake, Statistical Analysis of Contingency Tables, 2017, chapter 8
    found = mcnemar(*table(59, 6, 16, 80))
    assert [round(value, 4) for value in (found.difference, *found.interval)] == [-0.0621, -0.1186, -0.0046]


def exact(b: int, c: int) -> Fraction:
    """Both tails of the binomial at a half, in whole numbers: each is the mirror of the other."""
    n = b + c
    tail = Fraction(sum(math.comb(n, k) for k in range(min(b, c) + 1)), 2**n)
    return min(2 * tail, Fraction(1))


@given(st.integers(0, 499), st.integers(0, 499))
@settings(max_examples=60)
def test_few_discordant_images_are_tested_exactly(b: int, c: int) -> None:
    found = mcnemar(*table(3, b, c, 1))
    assert found.test == "exact binomial"
    assert found.p_value == pytest.approx(float(exact(b, c)), rel=1e-9)


@given(st.integers(0, 3000), st.integers(0, 3000))
@settings(max_examples=60)
def test_many_discordant_images_are_tested_by_chi_square(b: int, c: int) -> None:
    assume(b + c >= 1000)
    found = mcnemar(*table(3, b, c, 1))
    statistic = (abs(b - c) - 1) ** 2 / (b + c) if b != c else 0
    assert found.test == "chi-square with continuity correction"
    # one degree of freedom: the square of a normal
    assert found.p_value == pytest.approx(math.erfc(math.sqrt(statistic / 2)), rel=1e-9, abs=1e-300)


@pytest.mark.parametrize("b", [400, 450, 480, 500])
def test_where_the_tests_meet_they_agree(b: int) -> None:
    before, after = mcnemar(*table(0, b, 999 - b, 0)), mcnemar(*table(0, b, 1000 - b, 0))
    assert (before.test, after.test) == ("exact binomial", "chi-square with continuity correction")
    assert after.p_value == pytest.approx(float(exact(b, 1000 - b)), abs=1e-3)


@pytest.mark.parametrize("counts", [(7, 0, 0, 3), (1, 0, 0, 0), (0, 0, 0, 5)])
def test_heads_that_agree_on_every_image_differ_by_chance_alone(counts: tuple[int, int, int, int]) -> None:
    found = mcnemar(*table(*counts))
    assert (found.difference, found.p_value) == (0, 1)
    assert found.interval[0] <= 0 <= found.interval[1]


@given(tables)
def test_a_p_value_and_an_interval_are_what_they_should_be(counts: tuple[int, int, int, int]) -> None:
    first, second = table(*counts)
    found = mcnemar(first, second)
    low, high = found.interval
    assert 0 <= found.p_value <= 1
    assert -1 <= low <= found.difference <= high <= 1
    assert found.difference == pytest.approx(first.mean() - second.mean(), abs=1e-12)


@given(tables)
def test_exchanged_heads_mirror_the_comparison(counts: tuple[int, int, int, int]) -> None:
    first, second = table(*counts)
    found, mirrored = mcnemar(first, second), mcnemar(second, first)
    assert mirrored.p_value == found.p_value
    assert mirrored.difference == -found.difference
    assert mirrored.interval == pytest.approx((-found.interval[1], -found.interval[0]), abs=1e-12)
    assert (mirrored.only_first, mirrored.only_second) == (found.only_second, found.only_first)


@given(tables, st.randoms(use_true_random=False))
def test_the_order_of_the_images_does_not_matter(counts: tuple[int, int, int, int], random) -> None:
    first, second = table(*counts)
    order = list(range(len(first)))
    random.shuffle(order)
    assert mcnemar(first[order], second[order]) == mcnemar(first, second)


def newcombe(a: int, b: int, c: int, d: int) -> tuple[float, float]:
    """Method 10 in the paper's letters: a both, b and c one, d none."""
    n = a + b + c + d

    def wilson(r: int) -> tuple[float, float]:
        half = Z * math.sqrt(Z**2 + 4 * r * (n - r) / n)
        return (2 * r + Z**2 - half) / (2 * n + 2 * Z**2), (2 * r + Z**2 + half) / (2 * n + 2 * Z**2)

    e, f, g, h = a + b, c + d, a + c, b + d
    (l2, u2), (l3, u3) = wilson(e), wilson(g)
    dl2, du2, dl3, du3 = e / n - l2, u2 - e / n, g / n - l3, u3 - g / n
    ad_bc = a * d - b * c
    if 0 in (e, f, g, h) or 0 <= ad_bc <= n / 2:
        phi = 0.0
    elif ad_bc > n / 2:
        phi = (ad_bc - n / 2) / math.sqrt(e * f * g * h)
    else:
        phi = ad_bc / math.sqrt(e * f * g * h)
    delta = math.sqrt(max(dl2**2 - 2 * phi * dl2 * du3 + du3**2, 0))
    epsilon = math.sqrt(max(du2**2 - 2 * phi * du2 * dl3 + dl3**2, 0))
    return (b - c) / n - delta, (b - c) / n + epsilon


@given(tables)
def test_the_interval_is_newcombes_tenth(counts: tuple[int, int, int, int]) -> None:
    assert mcnemar(*table(*counts)).interval == pytest.approx(newcombe(*counts), abs=1e-9)


def test_the_interval_covers_the_true_difference_in_most_samples() -> None:
    rng = np.random.default_rng(0)
    chances = np.array([0.7, 0.13, 0.07, 0.1])
    samples = rng.multinomial(300, chances, size=400)
    covered = [low <= 0.06 <= high for low, high in (mcnemar(*table(*counts)).interval for counts in samples)]
    assert 0.93 <= np.mean(covered) <= 0.98


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (np.array([True]), np.array([True, False]), "first has 1 rows and second 2, expected the same images"),
        (np.array([1, 0]), np.array([True, False]), r"first is int64 of shape \(2,\), expected booleans in 1 dimensions"),
        (np.array([True]), np.array([math.nan]), r"second is float64 of shape \(1,\), expected booleans"),
        (np.ones((2, 2), bool), np.ones((2, 2), bool), r"first is bool of shape \(2, 2\), expected booleans in 1"),
        (np.ones(0, bool), np.ones(0, bool), r"first has the shape \(0,\), expected one row or more"),
    ],
)
def test_what_is_not_right_or_wrong_on_the_same_images_is_refused(first, second, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        mcnemar(first, second)


# several pairs


@pytest.mark.parametrize(
    ("raw", "adjusted"),
    [
        ([0.01, 0.02, 0.03, 0.04, 0.05], [0.05, 0.08, 0.09, 0.09, 0.09]),
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
        ([0.6, 0.6], [1, 1]),
        ([0.3], [0.3]),
        ([], []),
    ],
)
def test_p_values_are_adjusted_in_the_order_given(raw: list[float], adjusted: list[float]) -> None:
    assert holm(raw) == pytest.approx(adjusted)


p_values = st.lists(st.floats(0, 1), max_size=12)


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=10), st.sampled_from([7, 50, 101, 333]))
def test_adjusted_p_values_reject_what_the_step_down_procedure_rejects(thousandths: list[int], level: int) -> None:
    # level is in thousandths too, and a third added keeps it from being met exactly
    alpha = Fraction(level, 1000) + Fraction(1, 3_000_000)
    ordered = sorted(range(len(thousandths)), key=lambda i: thousandths[i])
    rejected = set()
    for step, i in enumerate(ordered):
        if Fraction(thousandths[i], 1000) > alpha / (len(ordered) - step):
            break
        rejected.add(i)
    adjusted = holm([value / 1000 for value in thousandths])
    assert {i for i, value in enumerate(adjusted) if value <= float(alpha)} == rejected


@given(p_values)
def test_adjusting_never_lowers_a_p_value_and_keeps_their_order(raw: list[float]) -> None:
    adjusted = holm(raw)
    assert all(before <= after <= 1 for before, after in zip(raw, adjusted, strict=True))
    by_rank = [after for _, after in sorted(zip(raw, adjusted, strict=True))]
    assert by_rank == sorted(by_rank)


@given(p_values)
def test_adjusting_does_not_depend_on_the_order(raw: list[float]) -> None:
    assert holm(raw[::-1]) == holm(raw)[::-1]


@pytest.mark.parametrize("value", [-0.01, 1.01, math.nan, math.inf])
def test_what_is_no_p_value_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match=f"p-value 1 is {value}, expected 0 to 1"):
        holm([0.5, value])


def test_every_pair_is_compared_once_and_adjusted_for_all() -> None:
    rng = np.random.default_rng(3)
    correct = {name: rng.random(500) < share for name, share in zip(NAMES[:4], (0.8, 0.82, 0.7, 0.8), strict=True)}
    found = all_pairs(correct)
    names = [(pair.first, pair.second) for pair in found]
    assert names == [
        ("cat", "deer"), ("cat", "dog"), ("cat", "frog"), ("deer", "dog"), ("deer", "frog"), ("dog", "frog"),
    ]  # fmt: skip
    assert [pair.paired for pair in found] == [mcnemar(correct[first], correct[second]) for first, second in names]
    assert [pair.adjusted for pair in found] == holm([pair.paired.p_value for pair in found])


def test_one_pair_needs_no_adjusting() -> None:
    first, second = table(5, 9, 1, 5)
    (found,) = all_pairs({"a": first, "b": second})
    assert found == Comparison("a", "b", mcnemar(first, second), mcnemar(first, second).p_value)


def test_fewer_than_two_heads_are_no_comparison() -> None:
    with pytest.raises(ValueError, match=r"1 heads \(vgg16\), expected two or more to compare"):
        all_pairs({"vgg16": np.ones(3, bool)})
    with pytest.raises(ValueError, match=r"0 heads \(none\), expected two or more to compare"):
        all_pairs({})


def test_a_pair_that_does_not_fit_is_named() -> None:
    with pytest.raises(ValueError, match="vgg16 and vgg19: first has 3 rows and second 4, expected the same images"):
        all_pairs({"vgg16": np.ones(3, bool), "vgg19": np.ones(4, bool)})


# seeds


def test_a_spread_is_that_of_the_textbook() -> None:
    found = over_seeds([0.80, 0.81, 0.82, 0.83, 0.84])
    assert (found.count, found.minimum, found.maximum) == (5, 0.80, 0.84)
    assert found.mean == pytest.approx(0.82)
    assert found.deviation == pytest.approx(math.sqrt(0.00025))
    half = 2.776445105 * math.sqrt(0.00025) / math.sqrt(5)  # t of 4 degrees of freedom at 97.5 %, from the tables
    assert found.interval == pytest.approx((0.82 - half, 0.82 + half))


def test_one_seed_has_no_interval() -> None:
    found = over_seeds([0.8])
    assert (found.count, found.mean, found.minimum, found.maximum) == (1, 0.8, 0.8, 0.8)
    assert found.deviation is None
    assert found.interval is None


def test_equal_seeds_have_an_interval_without_width() -> None:
    found = over_seeds([0.1] * 3)
    assert (found.mean, found.deviation, found.interval) == (0.1, 0, (0.1, 0.1))


@given(st.lists(st.floats(0, 1), min_size=2, max_size=30))
@settings(max_examples=60)
def test_a_spread_is_in_order_and_its_interval_scipys(accuracies: list[float]) -> None:
    found = over_seeds(accuracies)
    assert found.interval is not None
    low, high = found.interval
    assert found.minimum <= found.mean <= found.maximum
    assert low <= found.mean <= high
    assume(max(accuracies) - min(accuracies) > 1e-6)
    expected = ttest_1samp(accuracies, 0).confidence_interval(0.95)
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-9)


@pytest.mark.parametrize("value", [-0.1, 1.1, 81.87, math.nan, math.inf])
def test_what_is_no_accuracy_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match=f"accuracy 1 is {value}, expected a fraction from 0 to 1"):
        over_seeds([0.5, value])


def test_no_accuracies_are_refused() -> None:
    with pytest.raises(ValueError, match="no accuracies, expected those of one seed or more"):
        over_seeds([])


@given(arrays(bool, st.tuples(st.integers(1, 4), st.integers(1, 20))), st.integers(0, 100))
@settings(max_examples=40)
def test_a_bootstrap_is_the_same_for_the_same_seed(correct: np.ndarray, seed: int) -> None:
    low, high = bootstrap_accuracy(correct, np.random.default_rng(seed), 50)
    assert (low, high) == bootstrap_accuracy(correct, np.random.default_rng(seed), 50)
    assert 0 <= low <= high <= 1


def test_a_bootstrap_of_one_head_is_about_wilsons_interval() -> None:
    correct = np.arange(2000)[None] < 1640
    found = bootstrap_accuracy(correct, np.random.default_rng(0))
    assert found == pytest.approx(Score(1640, 2000).interval, abs=0.002)


def test_a_bootstrap_resamples_the_seeds() -> None:
    # no image is harder than another: all that varies is which heads are drawn
    assert bootstrap_accuracy(np.repeat([[True], [False]], 50, axis=1), np.random.default_rng(0)) == (0, 1)


def test_a_bootstrap_resamples_the_images_for_all_seeds_together() -> None:
    # heads that are right on the same images: more of them make the interval no narrower
    one = np.random.default_rng(1).random((1, 400)) < 0.7
    alone, many = (bootstrap_accuracy(np.repeat(one, n, axis=0), np.random.default_rng(0)) for n in (1, 20))
    assert many == pytest.approx(alone, abs=0.008)


def test_a_bootstrap_of_faultless_heads_has_no_width() -> None:
    assert bootstrap_accuracy(np.ones((3, 10), bool), np.random.default_rng(0), 40) == (1, 1)


def test_a_bootstrap_covers_what_seeds_alone_miss() -> None:
    rng = np.random.default_rng(5)
    by_both, by_seeds = [], []
    for _ in range(100):
        skill, ease = rng.uniform(-0.03, 0.03, (10, 1)), rng.choice([-0.25, 0.25], 200)
        correct = rng.random((10, 200)) < 0.7 + skill + ease
        by_both.append(bootstrap_accuracy(correct, rng, 200))
        by_seeds.append(over_seeds(correct.mean(axis=1).tolist()).interval)
    both, seeds = (np.mean([low <= 0.7 <= high for low, high in found]) for found in (by_both, by_seeds))
    assert both >= 0.9
    assert seeds <= 0.8


@pytest.mark.parametrize(
    ("correct", "resamples", "message"),
    [
        (np.ones(5, bool), 2000, r"correct is bool of shape \(5,\), expected booleans in 2 dimensions"),
        (np.full((2, 2), math.nan), 2000, r"correct is float64 of shape \(2, 2\), expected booleans in 2 dimensions"),
        (np.ones((0, 5), bool), 2000, r"correct has the shape \(0, 5\), expected one row or more"),
        (np.ones((5, 0), bool), 2000, r"correct has the shape \(5, 0\), expected one row or more"),
        (np.ones((2, 2), bool), 39, "39 resamples, expected 40 or more for a 95 % interval"),
    ],
)
def test_what_cannot_be_resampled_is_refused(correct: np.ndarray, resamples: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        bootstrap_accuracy(correct, np.random.default_rng(0), resamples)


# labels


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
    # the same source as for the difference: 65 predicted, 75 true, 59 both
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


# calibration


@st.composite
def scored(draw: st.DrawFn, most: float = 8) -> tuple[np.ndarray, np.ndarray]:
    """Scores (N, C) and labels (N,)."""
    rows, classes = draw(st.integers(1, 40)), draw(st.integers(2, 6))
    scores = draw(arrays(np.float64, (rows, classes), elements=st.floats(-most, most, width=32)))
    return scores, draw(arrays(np.int64, rows, elements=st.integers(0, classes - 1)))


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


FAIR = np.full((2, 4), 0.25)


@pytest.mark.parametrize(
    ("probabilities", "labels", "message"),
    [
        (FAIR[0], [0], r"probabilities is float64 of shape \(4,\), expected floats \(N, C\)"),
        (np.eye(2, dtype=int), [0, 1], r"probabilities is int64 of shape \(2, 2\), expected floats \(N, C\)"),
        (FAIR[:0], [], r"probabilities has the shape \(0, 4\), expected one row or more of two classes or more"),
        (np.ones((2, 1)), [0, 0], r"probabilities has the shape \(2, 1\), expected one row or more of two classes"),
        (np.array([[0.5, 0.5], [math.nan, 1]]), [0, 0], "probabilities is not finite in row 1"),
        (np.array([[0.5, 0.5], [1, -math.inf]]), [0, 0], "probabilities is not finite in row 1"),
        (np.array([[0.5, 0.5], [-0.5, 1.5]]), [0, 0], "probabilities has -0.5 in row 1, expected 0 to 1"),
        (np.array([[1.5, 0.0]]), [0], "probabilities has 1.5 in row 0, expected 0 to 1"),
        (FAIR[:, :3], [0, 0], "probabilities has the sum 0.75 in row 0, expected 1"),
        (FAIR, [0], "labels has 1 rows, expected 2"),
        (FAIR, [0, 4], "labels has 4, expected 0 to 3"),
        (FAIR, [-1, 0], "labels has -1, expected 0 to 3"),
        (FAIR, [0.0, math.nan], r"labels is float64 of shape \(2,\), expected class indices"),
    ],
)
def test_what_is_no_probability_is_refused(probabilities: np.ndarray, labels: list[float], message: str) -> None:
    given_labels = np.array(labels) if labels else np.zeros(0, int)
    with pytest.raises(ValueError, match=message):
        calibration(probabilities, given_labels)
    with pytest.raises(ValueError, match=message):
        confident_mistakes(probabilities, given_labels, 3)


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
    assert fit_temperature(scores * temperature, labels) == pytest.approx(temperature, rel=0.03)


@given(scored())
@settings(max_examples=60)
def test_a_fitted_temperature_is_no_worse_than_any_other(case) -> None:
    scores, labels = case
    found = fit_temperature(scores, labels)
    best = nll(scores, labels, found)
    assert 1e-3 <= found <= 1e3
    for other in (1.0, found * 0.9, found * 1.1, 0.01, 0.1, 0.5, 2.0, 10.0, 100.0):
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
    assert fit_temperature(scores * factor, labels) == pytest.approx(factor * fit_temperature(scores, labels), rel=1e-4)


def test_a_fitted_temperature_mends_a_head_that_is_too_sure() -> None:
    rng = np.random.default_rng(2)
    scores = rng.normal(0, 2, (4000, 10))
    labels = (softmax(scores).cumsum(axis=1) < rng.random((4000, 1))).sum(axis=1).clip(0, 9)
    sure = scores * 4
    temperature = fit_temperature(sure[:2000], labels[:2000])
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
    temperature = fit_temperature(scores, labels)
    assert softmax(scores).max() < 0.2321
    assert softmax(scores, temperature).max() == pytest.approx(0.8, abs=1e-4)


def test_rows_that_are_all_right_take_a_temperature_that_is_small() -> None:
    scores = np.eye(5) * 3
    found = fit_temperature(scores, np.arange(5))
    assert 1e-3 <= found < 0.2
    assert nll(scores, np.arange(5), found) < 1e-5


def test_rows_that_are_all_least_likely_take_the_highest_temperature() -> None:
    assert fit_temperature(np.array([[-6.0, 0, 0], [0, -6, 0]]), np.array([0, 1])) == pytest.approx(1e3, rel=1e-12)


def test_scores_that_say_nothing_keep_the_temperature_1() -> None:
    assert fit_temperature(np.ones((6, 3)), np.array([0, 1, 2, 0, 1, 1])) == 1


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


# disagreement


def sure_of(*labels: int, share: float = 0.7, classes: int = 4) -> np.ndarray:
    """Probabilities of rows that give these labels this share."""
    found = np.full((len(labels), classes), (1 - share) / (classes - 1))
    found[np.arange(len(labels)), labels] = share
    return found


def test_rows_are_listed_by_how_many_heads_dissent_and_how_sure_they_are() -> None:
    a, b = sure_of(0, 1, 2, 3, 0), sure_of(0, 1, 2, 3, 1)
    c, d = sure_of(0, 2, 3, 3, 2, share=0.8), sure_of(0, 1, 3, 0, 3)
    d[3] = sure_of(0, share=0.99)
    found = agreement({"a": a, "b": b, "c": c, "d": d})
    # all four differ; two against two; one against three, of which row 3 is the surer
    assert [(row.row, row.dissenting) for row in found] == [(4, 3), (2, 2), (3, 1), (1, 1)]
    assert found[2] == Disagreement(
        3, 1, pytest.approx((0.7 + 0.7 + 0.8 + 0.99) / 4),
        {"a": 3, "b": 3, "c": 3, "d": 0}, {"a": 0.7, "b": 0.7, "c": 0.8, "d": 0.99},
    )  # fmt: skip


@given(st.data())
@settings(max_examples=60)
def test_every_row_without_one_label_is_listed(data: st.DataObject) -> None:
    heads, rows = data.draw(st.integers(2, 4)), data.draw(st.integers(1, 15))
    scores = arrays(np.float64, (rows, 3), elements=st.integers(-3, 3).map(float))
    found = {name: softmax(data.draw(scores)) for name in NAMES[:heads]}
    listed = agreement(found)
    given_labels = [[int(values[row].argmax()) for values in found.values()] for row in range(rows)]
    assert sorted(row.row for row in listed) == [row for row in range(rows) if len(set(given_labels[row])) > 1]
    for row in listed:
        assert list(row.predicted.values()) == given_labels[row.row]
        assert row.dissenting == heads - max(Counter(given_labels[row.row]).values())
        assert row.probabilities == {name: values[row.row].max() for name, values in found.items()}
    keys = [(-row.dissenting, -row.confidence, row.row) for row in listed]
    assert keys == sorted(keys)


@pytest.mark.parametrize(
    ("heads", "message"),
    [
        ({"a": FAIR}, r"1 heads \(a\), expected two or more to compare"),
        ({"a": FAIR, "b": FAIR[:1]}, r"probabilities of b have the shape \(1, 4\), those of a \(2, 4\)"),
        ({"a": FAIR, "b": FAIR * math.nan}, "probabilities of b is not finite in row 0"),
        ({"a": FAIR, "b": FAIR * 2}, "probabilities of b has the sum 2 in row 0, expected 1"),
    ],
)
def test_heads_that_cannot_be_set_side_by_side_are_refused(heads: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        agreement(heads)


def test_mistakes_come_surest_first_and_equals_by_row() -> None:
    probabilities = np.concatenate([sure_of(0, share=0.6), sure_of(1, 2), sure_of(3, share=0.9), sure_of(3)])
    labels = np.array([1, 1, 0, 0, 2])
    expected = [Mistake(3, 0, 3, 0.9), Mistake(2, 0, 2, 0.7), Mistake(4, 2, 3, 0.7), Mistake(0, 1, 0, 0.6)]
    assert confident_mistakes(probabilities, labels, 10) == expected
    assert confident_mistakes(probabilities, labels, 2) == expected[:2]
    assert confident_mistakes(probabilities, labels, 0) == []


@given(scored(), st.integers(0, 50))
def test_mistakes_are_the_rows_with_a_wrong_label(case, count: int) -> None:
    scores, labels = case
    probabilities = softmax(scores)
    found = confident_mistakes(probabilities, labels, count)
    rows = [(-row.max(), i) for i, row in enumerate(probabilities) if row.argmax() != labels[i]]
    assert [(-mistake.probability, mistake.row) for mistake in found] == sorted(rows)[:count]
    for mistake in found:
        assert (mistake.label, mistake.predicted) == (labels[mistake.row], probabilities[mistake.row].argmax())


def test_a_negative_number_of_mistakes_is_refused() -> None:
    with pytest.raises(ValueError, match="count -1, expected 0 or more"):
        confident_mistakes(FAIR, np.array([0, 1]), -1)


# all of it


def test_results_are_plain_numbers_that_json_can_hold() -> None:
    first, second = table(5, 9, 1, 5)
    rng = np.random.default_rng(0)
    results = [
        mcnemar(first, second),
        *all_pairs({"a": first, "b": second}),
        over_seeds([0.8]),
        over_seeds(np.array([0.8, 0.9], np.float32)),  # type: ignore[arg-type]
        *label_ratios(np.array([[3, 1, 0], [0, 2, 1], [0, 0, 0]])),
        *agreement({"a": sure_of(0, 1), "b": sure_of(1, 1)}),
        *confident_mistakes(sure_of(0, 1), np.array([1, 0]), 2),
    ]
    json.dumps([dataclasses.asdict(result) for result in results], allow_nan=False)
    json.dumps(bootstrap_accuracy(np.stack([first, second]), rng, 40), allow_nan=False)
    assert isinstance(results[0], Paired)


def test_importing_it_loads_neither_scipy_nor_scikit_learn_nor_torch() -> None:
    code = "import sys, heads.compare; print([name for name in ('scipy', 'sklearn', 'torch') if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"
