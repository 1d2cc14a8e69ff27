"""Two heads, several pairs, seeds: published figures, formulas written out anew, what holds for all."""

import dataclasses
import json
import math
from fractions import Fraction

import numpy as np
import pytest
from heads_samples import NAMES, exact
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import ttest_1samp

from headstart.core.heads.statistics.accuracy import Score, wilson
from headstart.core.heads.statistics.compare import (
    Comparison,
    Paired,
    all_pairs,
    bootstrap_accuracy,
    holm,
    mcnemar,
    over_seeds,
)

Z = 1.959963984540054


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
    assert (low, high) == pytest.approx((max(expected.low, 0), min(expected.high, 1)), abs=1e-9)


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


def test_an_interval_over_two_seeds_ends_where_accuracies_end() -> None:
    assert over_seeds([0.7, 0.85]).interval == (0.0, 1.0)
    low, high = over_seeds([0.95, 0.97]).interval or (0, 0)
    assert (low, high) == (pytest.approx(0.96 - 12.7062 * 0.01, abs=1e-4), 1.0)


@pytest.mark.parametrize("right", [True, False])
@pytest.mark.parametrize("images", [10, 400])
def test_a_bootstrap_of_faultless_heads_is_as_wide_as_wilsons_interval(images: int, right: bool) -> None:
    found = bootstrap_accuracy(np.full((3, images), right), np.random.default_rng(0), 40)
    assert found == pytest.approx(Score(images * right, images).interval)


def test_a_bootstrap_of_few_mistakes_is_no_narrower_than_wilsons_interval() -> None:
    correct = np.ones((3, 400), bool)
    correct[:, :4] = False
    low, high = bootstrap_accuracy(correct, np.random.default_rng(0))
    expected = Score(396, 400).interval
    assert low <= expected[0] + 1e-12
    assert high >= expected[1] - 1e-12


@given(st.integers(1, 300), st.integers(0, 300))
def test_wilsons_interval_of_a_mean_is_that_of_a_score_where_it_is_whole(total: int, count: int) -> None:
    assert wilson(min(count, total), total) == pytest.approx(Score(min(count, total), total).interval, abs=1e-12)


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


# all of it


def test_results_are_plain_numbers_that_json_can_hold() -> None:
    first, second = table(5, 9, 1, 5)
    rng = np.random.default_rng(0)
    results = [
        mcnemar(first, second),
        *all_pairs({"a": first, "b": second}),
        over_seeds([0.8]),
        over_seeds(np.array([0.8, 0.9], np.float32)),  # type: ignore[arg-type]
    ]
    json.dumps([dataclasses.asdict(result) for result in results], allow_nan=False)
    json.dumps(bootstrap_accuracy(np.stack([first, second]), rng, 40), allow_nan=False)
    assert isinstance(results[0], Paired)
