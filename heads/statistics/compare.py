"""What heads are compared by: the difference between two of them on the same images, and chance, over seeds and images.

Intervals are at 95 %. Several sources of chance lie behind a measured accuracy, and no interval covers all of them:

- which test images were drawn: `Score.interval` (Wilson) for one trained head, `mcnemar` for two of them;
- which seed a head was trained with: `over_seeds` (Student's t), for the mean of many heads on these very test images;
- both at once: `bootstrap_accuracy`;
- which training images were drawn: none, since they were drawn once.
"""

import dataclasses
import itertools
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from headstart.core.heads.statistics.accuracy import Score, wilson
from headstart.core.heads.statistics.checks import check_booleans, check_several

EXACT_BELOW = 1000
"""Discordant images from which McNemar's test is taken from its chi-square approximation."""

FEW = 10
"""Images labelled rightly, or wrongly, below which the bootstrap alone says too little."""

Test = Literal["exact binomial", "chi-square with continuity correction"]


@dataclasses.dataclass(frozen=True)
class Paired:
    """Two heads on the same `rows` images, and what is true or not of each image for each head: mostly, labelled rightly.

    True for `both`, `only_first` or `only_second`. `difference` is first minus second, as a fraction of 1, with its 95 %
    `interval`; `p_value` is two-sided and `test` says where it comes from.
    """

    rows: int
    both: int
    only_first: int
    only_second: int
    difference: float
    interval: tuple[float, float]
    p_value: float
    test: Test


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Two heads by name; `adjusted` is the p-value corrected by Holm for all pairs that were compared with it."""

    first: str
    second: str
    paired: Paired
    adjusted: float


def mcnemar(first: npt.NDArray[np.bool_], second: npt.NDArray[np.bool_]) -> Paired:
    """Whether two heads, right or wrong (N,) on the same images, are equally often right.

    McNemar's test (Q. McNemar, Psychometrika 12, 1947) looks at the discordant images, which one of the two has right: each
    is as likely the first's as the second's if the heads are equally good. Fewer than 1,000 are tested by the exact
    binomial, more by chi-square with continuity correction, (max(|b - c| - 1, 0))² / (b + c) (A. L. Edwards, Psychometrika
    13, 1948). Both are on the careful side (M. W. Fagerland, S. Lydersen and P. Laake, BMC Medical Research Methodology 13,
    2013). No discordant image: p is 1.

    The interval is R. G. Newcombe's method 10 (Statistics in Medicine 17, 1998, 2635-2650): Wilson's intervals of both
    proportions, squared and added with the correlation of the pairs. Test and interval are different approximations and
    may differ on a border case. Both speak of other test images and of these two trained heads: not of other seeds or other
    training images (T. G. Dietterich, Neural Computation 10, 1998).

    Raises ValueError for anything but booleans of one length.
    """
    from scipy.stats import binomtest, chi2

    check_booleans(first, "first")
    check_booleans(second, "second")
    if len(first) != len(second):
        raise ValueError(f"first has {len(first)} rows and second {len(second)}, expected the same images")
    rows, both = len(first), int((first & second).sum())
    only_first, only_second = int(first.sum()) - both, int(second.sum()) - both
    discordant = only_first + only_second
    test: Test
    if discordant < EXACT_BELOW:
        test = "exact binomial"
        p_value = float(binomtest(min(only_first, only_second), discordant).pvalue) if discordant else 1.0
    else:
        test = "chi-square with continuity correction"
        p_value = float(chi2.sf(max(abs(only_first - only_second) - 1, 0) ** 2 / discordant, df=1))
    interval = _newcombe(rows, both, only_first, only_second)
    return Paired(rows, both, only_first, only_second, (only_first - only_second) / rows, interval, p_value, test)


def _newcombe(rows: int, both: int, only_first: int, only_second: int) -> tuple[float, float]:
    counts = both + only_first, both + only_second
    shares = [count / rows for count in counts]
    (low_first, high_first), (low_second, high_second) = (Score(count, rows).interval for count in counts)
    margins = math.prod(counts) * math.prod(rows - count for count in counts)
    cross = both * (rows - both - only_first - only_second) - only_first * only_second
    corrected = max(cross - rows / 2, 0.0) if cross > 0 else float(cross)
    correlation = corrected / math.sqrt(margins) if margins else 0.0

    def joined(of_first: float, of_second: float) -> float:
        return math.sqrt(max(of_first**2 - 2 * correlation * of_first * of_second + of_second**2, 0.0))

    difference = (only_first - only_second) / rows
    low = difference - joined(shares[0] - low_first, high_second - shares[1])
    high = difference + joined(high_first - shares[0], shares[1] - low_second)
    return max(low, -1.0), min(high, 1.0)


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values of several tests, each adjusted for there being several, in the order given.

    The smallest is multiplied by their number m, the next by m - 1, and so on, none falling below the one before nor rising
    above 1 (S. Holm, Scandinavian Journal of Statistics 6, 1979). Those then below 0.05 hold together: the chance that one
    or more of them is a false alarm is at most 5 %, however the tests depend on each other. Raises ValueError for what
    is no p-value.
    """
    for place, value in enumerate(p_values):
        if not 0 <= value <= 1:  # false for NaN too
            raise ValueError(f"p-value {place} is {value}, expected 0 to 1")
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted, floor = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        floor = max(floor, min(1.0, float(p_values[i]) * (len(p_values) - rank)))
        adjusted[i] = floor
    return adjusted


def all_pairs(correct: Mapping[str, npt.NDArray[np.bool_]]) -> list[Comparison]:
    """`mcnemar` for every pair of heads, by name, right or wrong (N,) on the same images; in the order of the names given.

    Raises ValueError for fewer than two heads, and as `mcnemar` does.
    """
    check_several(correct)
    pairs = list(itertools.combinations(correct, 2))
    found = []
    for first, second in pairs:
        try:
            found.append(mcnemar(correct[first], correct[second]))
        except ValueError as error:
            raise ValueError(f"{first} and {second}: {error}") from error
    adjusted = holm([paired.p_value for paired in found])
    return [Comparison(*pair, paired, p) for pair, paired, p in zip(pairs, found, adjusted, strict=True)]


@dataclasses.dataclass(frozen=True)
class Spread:
    """Accuracies (fractions of 1) of `count` heads that differ in their seed alone.

    `deviation` is the sample standard deviation (n - 1) and `interval` the 95 % t interval of the mean, cut to [0, 1]; one
    seed has neither.
    """

    count: int
    mean: float
    deviation: float | None
    interval: tuple[float, float] | None
    minimum: float
    maximum: float


def over_seeds(accuracies: Sequence[float]) -> Spread:
    """The accuracies of heads trained alike with different seeds, tested on the same images.

    The interval is Student's t for a mean, mean ± t(0.975, n - 1) s / √n (Student, Biometrika 6, 1908). It says where the
    mean over all seeds lies *on these test images*; other images would move every head together, which it does not show.
    Wilson's interval of one head is the converse: other images, but no other seed. Neither contains the other; for both
    at once see `bootstrap_accuracy`. Raises ValueError for no accuracies or one that is not within 0 to 1.
    """
    from scipy.stats import t

    values = [float(value) for value in accuracies]
    if not values:
        raise ValueError("no accuracies, expected those of one seed or more")
    for place, value in enumerate(values):
        if not 0 <= value <= 1:  # false for NaN too
            raise ValueError(f"accuracy {place} is {value}, expected a fraction from 0 to 1")
    mean = statistics.mean(values)  # exact fractions: never outside of what it is the mean of
    if len(values) == 1:
        return Spread(1, mean, None, None, mean, mean)
    deviation = statistics.stdev(values)
    half = float(t.ppf(0.975, len(values) - 1)) * deviation / math.sqrt(len(values))
    interval = (max(mean - half, 0.0), min(mean + half, 1.0))  # no mean lies beyond; with two seeds half is 9 deviations
    return Spread(len(values), mean, deviation, interval, min(values), max(values))


def bootstrap_accuracy(
    correct: npt.NDArray[np.bool_], rng: np.random.Generator, resamples: int = 2000
) -> tuple[float, float]:
    """The 95 % interval of the mean accuracy over seeds and test images together.

    `correct` (S, N) says which of N images each of S heads, of different seeds, labels rightly. Each resample draws S heads
    and, independently, N images, both with replacement, and takes the mean of where they cross (A. B. Owen, The Pigeonhole
    Bootstrap, Annals of Applied Statistics 1, 2007, doi 10.1214/07-AOAS122, a little too wide rather than too narrow);
    the interval is the percentile interval of these means (B. Efron and R. J. Tibshirani, An Introduction to the
    Bootstrap, 1993, chapter 13). With one head it is about Wilson's; with few, the seeds' part of it is too narrow, by the
    factor √((S - 1) / S). Where the heads label fewer than ten images wrongly, or rightly, in the mean, resamples tell too
    little of images that are not among these (where all are right, nothing): there the interval is no narrower than
    Wilson's for one head of the mean accuracy.

    Raises ValueError for anything but booleans (S, N), or fewer than 40 resamples: then none lies beyond either end.
    """
    check_booleans(correct, "correct", dims=2)
    if resamples < 40:
        raise ValueError(f"{resamples} resamples, expected 40 or more for a 95 % interval")
    seeds, images = correct.shape
    right = correct.astype(np.float64)
    means = np.empty(resamples)
    for i in range(resamples):
        times = np.bincount(rng.integers(seeds, size=seeds), minlength=seeds)
        means[i] = (times @ right)[rng.integers(images, size=images)].sum() / (seeds * images)
    low, high = (float(end) for end in np.quantile(means, [0.025, 0.975]))
    mean = float(right.mean())
    if min(mean, 1 - mean) * images < FEW:
        floor = wilson(mean * images, images)
        low, high = min(low, floor[0]), max(high, floor[1])
    return low, high
