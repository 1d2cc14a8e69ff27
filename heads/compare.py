"""What heads are compared by: chance between two of them and over seeds, which labels they give, how far their
probabilities can be trusted, and where they disagree.

Intervals are at 95 %. Several sources of chance lie behind a measured accuracy, and no interval covers all of them:

- which test images were drawn: `heads.stats.Score.interval` (Wilson) for one trained head, `mcnemar` for two of them;
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

from heads.stats import Score

Z = 1.959963984540054
"""The standard normal distribution's 97.5 % point."""

EXACT_BELOW = 1000
"""Discordant images from which McNemar's test is taken from its chi-square approximation."""

TEMPERATURES = (1e-3, 1e3)
"""Where `fit_temperature` looks."""

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

    _check_booleans(first, "first")
    _check_booleans(second, "second")
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
    _check_several(correct)
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

    `deviation` is the sample standard deviation (n - 1) and `interval` the 95 % t interval of the mean; one seed has
    neither. The interval isn't cut to [0, 1].
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
    return Spread(len(values), mean, deviation, (mean - half, mean + half), min(values), max(values))


def bootstrap_accuracy(
    correct: npt.NDArray[np.bool_], rng: np.random.Generator, resamples: int = 2000
) -> tuple[float, float]:
    """The 95 % interval of the mean accuracy over seeds and test images together.

    `correct` (S, N) says which of N images each of S heads, of different seeds, labels rightly. Each resample draws S heads
    and, independently, N images, both with replacement, and takes the mean of where they cross (A. B. Owen, The Pigeonhole
    Bootstrap, Annals of Applied Statistics 1, 2007, doi 10.1214/07-AOAS122, a little too wide rather than too narrow);
    the interval is the percentile interval of these means (B. Efron and R. J. Tibshirani, An Introduction to the
    Bootstrap, 1993, chapter 13). With one head it is about Wilson's; with few, the seeds' part of it is too narrow, by the
    factor √((S - 1) / S).

    Raises ValueError for anything but booleans (S, N), or fewer than 40 resamples: then none lies beyond either end.
    """
    _check_booleans(correct, "correct", dims=2)
    if resamples < 40:
        raise ValueError(f"{resamples} resamples, expected 40 or more for a 95 % interval")
    seeds, images = correct.shape
    right = correct.astype(np.float64)
    means = np.empty(resamples)
    for i in range(resamples):
        times = np.bincount(rng.integers(seeds, size=seeds), minlength=seeds)
        means[i] = (times @ right)[rng.integers(images, size=images)].sum() / (seeds * images)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def confusion(
    labels: npt.NDArray[np.int64], predicted: npt.NDArray[np.int64], classes: Sequence[str]
) -> npt.NDArray[np.int64]:
    """How often (C, C) an image of the row's class was given the column's label (scikit-learn's `confusion_matrix`).

    Raises ValueError where labels and predicted, both (N,), are of different lengths or not class indices.
    """
    from sklearn.metrics import confusion_matrix

    _check_labels(labels, len(classes))
    _check_labels(predicted, len(classes), "predicted", rows=len(labels))
    return np.asarray(confusion_matrix(labels, predicted, labels=np.arange(len(classes))), dtype=np.int64)


def recalls(matrix: npt.NDArray[np.int64]) -> tuple[Score, ...]:
    """For each class of a confusion matrix (C, C): how many of its images were labelled with it. Raises ValueError."""
    _check_matrix(matrix)
    return tuple(Score(int(right), int(total)) for right, total in zip(matrix.diagonal(), matrix.sum(axis=1), strict=True))


def predicted_counts(matrix: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """How many images (C,) were given each label, rightly or not, from a confusion matrix (C, C). Raises ValueError."""
    _check_matrix(matrix)
    return np.asarray(matrix.sum(axis=0), dtype=np.int64)


@dataclasses.dataclass(frozen=True)
class LabelRatio:
    """How often a label was given, as a multiple of how often it is true: above 1 the head is too fond of the class.

    `interval` is its 95 % interval; both are None where no image is of the class.
    """

    predicted: int
    true: int
    ratio: float | None
    interval: tuple[float, float] | None


def label_ratios(matrix: npt.NDArray[np.int64]) -> tuple[LabelRatio, ...]:
    """Predicted over true counts of each class of a confusion matrix (C, C).

    Both are counted on the same images, so the interval is one for the ratio of paired proportions: the hybrid Wilson
    score interval of D. G. Bonett and R. M. Price, Statistics in Medicine 25, 2006, as M. W. Fagerland, S. Lydersen and
    P. Laake recommend and print it (Statistics in Medicine 33, 2014). Raises ValueError.
    """
    _check_matrix(matrix)
    counts = zip(matrix.diagonal(), matrix.sum(axis=0), matrix.sum(axis=1), strict=True)
    return tuple(_ratio(int(both), int(predicted), int(true)) for both, predicted, true in counts)


def _ratio(both: int, first: int, second: int) -> LabelRatio:
    if not second:
        return LabelRatio(first, second, None, None)
    either = first + second - both
    apart = math.sqrt((first + second - 2 * both + 2) / ((first + 1) * (second + 1)))
    alone = sum(math.sqrt((1 - (count + 1) / (either + 2)) / (count + 1)) for count in (first, second))
    z = Z * apart / alone

    def wilson(count: int) -> tuple[float, float]:
        half = z * math.sqrt(z**2 + 4 * count * (1 - count / either))
        return (2 * count + z**2 - half) / (2 * (either + z**2)), (2 * count + z**2 + half) / (2 * (either + z**2))

    (low_first, high_first), (low_second, high_second) = wilson(first), wilson(second)
    ratio, low, high = first / second, low_first / high_second, high_first / low_second
    return LabelRatio(first, second, ratio, (max(min(low, ratio), 0.0), max(high, ratio)))  # the closed form rounds


def label_shift(first: npt.NDArray[np.int64], second: npt.NDArray[np.int64], label: int, classes: Sequence[str]) -> Paired:
    """Whether two heads give `label`, a class index, equally often; first and second (N,) are the labels they gave.

    `mcnemar` on "was given this label": the images that exactly one of the two labels so decide, whatever their true class.
    Several classes or several pairs of heads are several tests: see `holm`. Raises ValueError.
    """
    if not 0 <= label < len(classes):
        raise ValueError(f"label is {label}, expected 0 to {len(classes) - 1}")
    _check_labels(first, len(classes), "first")
    _check_labels(second, len(classes), "second", rows=len(first))
    return mcnemar(np.asarray(first == label), np.asarray(second == label))


@dataclasses.dataclass(frozen=True)
class Bin:
    """The rows whose top probability lies in (low, high]: how many, its mean, and the share that is right; None if none."""

    low: float
    high: float
    count: int
    confidence: float | None
    accuracy: float | None


@dataclasses.dataclass(frozen=True)
class Calibration:
    """How far probabilities can be taken at their word: a reliability curve and three figures, each best at 0.

    `ece`, 0 to 1: the mean distance between confidence and accuracy over the bins, by their rows. `nll`: the mean negative
    log-likelihood of the labels, in nats. `brier`, 0 to 2: the mean squared distance from the one-hot labels.
    """

    rows: int
    bins: tuple[Bin, ...]
    ece: float
    nll: float
    brier: float


def calibration(probabilities: npt.NDArray[np.floating], labels: npt.NDArray[np.int64], bins: int = 15) -> Calibration:
    """Probabilities (N, C) against labels (N,).

    The curve and ECE are over `bins` bins of equal width as in C. Guo et al., https://arxiv.org/abs/1706.04599, equations 2
    and 3. ECE depends on the number of bins, and chance alone keeps it above 0: compare it only at equal bins and rows.
    The Brier score is G. W. Brier's own sum over classes (Monthly Weather Review 78, 1950), twice the two-class habit.
    For NLL a probability below float32's smallest normal number, 1.2e-38, counts as that: float32 rounds it to 0, and one
    such row would make the mean infinite. Raises ValueError for anything but probabilities and class indices.
    """
    found = _check_probabilities(probabilities)
    _check_labels(labels, found.shape[1], rows=len(found))
    if bins < 1:
        raise ValueError(f"{bins} bins, expected one or more")
    confidence = np.minimum(found.max(axis=1), 1.0)
    right = found.argmax(axis=1) == labels
    edges = np.arange(bins + 1) / bins
    which = np.searchsorted(edges, confidence, side="left") - 1
    counts = np.bincount(which, minlength=bins)
    sure, hits = (np.bincount(which, weights=values, minlength=bins) for values in (confidence, right))
    curve = tuple(
        Bin(
            float(edges[i]),
            float(edges[i + 1]),
            int(counts[i]),
            float(sure[i] / counts[i]) if counts[i] else None,
            float(hits[i] / counts[i]) if counts[i] else None,
        )
        for i in range(bins)
    )
    of_label = found[np.arange(len(found)), labels]
    squares = (found**2).sum(axis=1) - 2 * of_label + 1
    return Calibration(
        len(found),
        curve,
        ece=float(np.abs(sure - hits).sum() / len(found)),
        nll=float(-np.log(of_label.clip(np.finfo(np.float32).tiny, 1)).mean()),
        brier=float(squares.clip(0).mean()),
    )


def softmax(scores: npt.NDArray[np.floating], temperature: float = 1.0) -> npt.NDArray[np.float64]:
    """Scores (N, C) as probabilities (N, C), softmax(scores / temperature). Raises ValueError.

    The order of the classes stays; above 1 the probabilities come closer together, below 1 they move apart, at the
    extremes until rounding makes them equal.
    """
    from scipy.special import softmax as normalised

    found = _check_scores(scores)
    if not 0 < temperature < math.inf:
        raise ValueError(f"temperature {temperature}, expected a number above 0")
    with np.errstate(over="ignore"):  # so far behind that its probability is 0
        behind = (found - found.max(axis=1, keepdims=True)) / temperature
    return np.asarray(normalised(behind, axis=1), dtype=np.float64)


def fit_temperature(scores: npt.NDArray[np.floating], labels: npt.NDArray[np.int64]) -> float:
    """The temperature, 0.001 to 1000, at which softmax(scores / temperature) gives labels (N,) the least mean negative
    log-likelihood: temperature scaling (C. Guo et al., https://arxiv.org/abs/1706.04599, section 4.2).

    Scores (N, C) and labels are those of validation rows only, which the head was neither trained nor is tested on: on
    training rows it finds the head too modest, and fitted on test rows it would flatter what is then measured on them. It
    changes no label, hence no accuracy. The log-likelihood is concave in 1 / temperature, so there is one optimum to find.
    Where every row is right it only improves as the temperature falls, where every row is the least likely as it rises:
    what is found then is near a bound and says no more than that. Raises ValueError.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import logsumexp

    found = _check_scores(scores)
    _check_labels(labels, found.shape[1], rows=len(found))
    behind = found - found[np.arange(len(found)), labels][:, None]

    def nll(log_temperature: float) -> float:
        return float(logsumexp(behind / math.exp(log_temperature), axis=1).mean())

    low, high = (math.log(limit) for limit in TEMPERATURES)
    best = float(minimize_scalar(nll, bounds=(low, high), method="bounded", options={"xatol": 1e-7}).x)
    # the search only comes near its bounds; where scores say nothing every temperature is as good, and 1 stays
    return min(max(math.exp(min((0.0, best, low, high), key=nll)), TEMPERATURES[0]), TEMPERATURES[1])


@dataclasses.dataclass(frozen=True)
class Disagreement:
    """A row that heads label differently: the label of each head by name, and the probability it has for the head.

    `dissenting` heads do not give the commonest label; `confidence` is the mean of the heads' probabilities.
    """

    row: int
    dissenting: int
    confidence: float
    predicted: dict[str, int]
    probabilities: dict[str, float]


def agreement(probabilities: Mapping[str, npt.NDArray[np.floating]]) -> list[Disagreement]:
    """The rows on which heads, by name with probabilities (N, C) of the same images, do not give one label.

    Those with most dissenting heads first; among equals those of which the heads are surest; then by row. The share on
    which all agree is 1 - len(…) / N. Raises ValueError for fewer than two heads or shapes that differ.
    """
    _check_several(probabilities)
    found = {name: _check_probabilities(values, f"probabilities of {name}") for name, values in probabilities.items()}
    (first, expected), *others = ((name, values.shape) for name, values in found.items())
    for name, shape in others:
        if shape != expected:
            raise ValueError(f"probabilities of {name} have the shape {shape}, those of {first} {expected}")
    labels = np.stack([values.argmax(axis=1) for values in found.values()])
    tops = np.stack([values.max(axis=1) for values in found.values()])
    votes = np.zeros(expected, dtype=np.int64)
    for given in labels:
        votes[np.arange(len(votes)), given] += 1
    dissenting, confidence = len(found) - votes.max(axis=1), tops.mean(axis=0)
    rows = np.flatnonzero(dissenting)
    order = rows[np.lexsort((rows, -confidence[rows], -dissenting[rows]))]
    return [
        Disagreement(
            int(row),
            int(dissenting[row]),
            float(confidence[row]),
            dict(zip(found, labels[:, row].tolist(), strict=True)),
            dict(zip(found, tops[:, row].tolist(), strict=True)),
        )
        for row in order
    ]


@dataclasses.dataclass(frozen=True)
class Mistake:
    """A row that was given a wrong label, with the probability of that label."""

    row: int
    label: int
    predicted: int
    probability: float


def confident_mistakes(probabilities: npt.NDArray[np.floating], labels: npt.NDArray[np.int64], count: int) -> list[Mistake]:
    """The `count` wrongly labelled rows of probabilities (N, C), or fewer, that the head is surest of; surest first.

    Raises ValueError for anything but probabilities, class indices (N,) and a count of 0 or more.
    """
    found = _check_probabilities(probabilities)
    _check_labels(labels, found.shape[1], rows=len(found))
    if count < 0:
        raise ValueError(f"count {count}, expected 0 or more")
    predicted, top = found.argmax(axis=1), found.max(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    order = wrong[np.argsort(-top[wrong], kind="stable")][:count]
    return [Mistake(int(row), int(labels[row]), int(predicted[row]), float(top[row])) for row in order]


def _check_booleans(values: npt.NDArray[np.bool_], what: str, dims: int = 1) -> None:
    """Raise ValueError unless `values` are booleans in so many dimensions, at least one of them."""
    if values.dtype != np.bool_ or values.ndim != dims:
        raise ValueError(f"{what} is {values.dtype} of shape {values.shape}, expected booleans in {dims} dimensions")
    if not values.size:
        raise ValueError(f"{what} has the shape {values.shape}, expected one row or more")


def _check_labels(labels: npt.NDArray[np.int64], classes: int, what: str = "labels", rows: int | None = None) -> None:
    """Raise ValueError unless `labels` (N,) are integers from 0 to classes - 1, one or more, and `rows` of them."""
    if not np.issubdtype(labels.dtype, np.integer) or labels.ndim != 1:
        raise ValueError(f"{what} is {labels.dtype} of shape {labels.shape}, expected class indices (N,)")
    if not len(labels):
        raise ValueError(f"{what} has no rows, expected one or more")
    if rows is not None and len(labels) != rows:
        raise ValueError(f"{what} has {len(labels)} rows, expected {rows}")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        raise ValueError(f"{what} has {low if low < 0 else high}, expected 0 to {classes - 1}")


def _check_probabilities(probabilities: npt.NDArray[np.floating], what: str = "probabilities") -> npt.NDArray[np.float64]:
    """As float64, or ValueError unless each row of (N, C) is finite, from 0 to 1, and has the sum 1 to within 0.001."""
    found = _check_scores(probabilities, what)
    outside = (found < 0) | (found > 1 + 1e-6)  # a rounded softmax may exceed 1 by its last digit
    if outside.any():
        row, column = np.argwhere(outside)[0]
        raise ValueError(f"{what} has {found[row, column]} in row {row}, expected 0 to 1")
    sums = found.sum(axis=1)
    apart = np.abs(sums - 1) > 1e-3
    if apart.any():
        row = int(apart.argmax())
        raise ValueError(f"{what} has the sum {sums[row]:.6g} in row {row}, expected 1")
    return found


def _check_scores(scores: npt.NDArray[np.floating], what: str = "scores") -> npt.NDArray[np.float64]:
    if not np.issubdtype(scores.dtype, np.floating) or scores.ndim != 2:
        raise ValueError(f"{what} is {scores.dtype} of shape {scores.shape}, expected floats (N, C)")
    if not len(scores) or scores.shape[1] < 2:
        raise ValueError(f"{what} has the shape {scores.shape}, expected one row or more of two classes or more")
    bad = ~np.isfinite(scores).all(axis=1)
    if bad.any():
        raise ValueError(f"{what} is not finite in row {int(bad.argmax())}")
    return scores.astype(np.float64)


def _check_matrix(matrix: npt.NDArray[np.int64]) -> None:
    if not np.issubdtype(matrix.dtype, np.integer) or matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"confusion matrix is {matrix.dtype} of shape {matrix.shape}, expected counts (C, C)")
    if not matrix.size or (matrix < 0).any():
        raise ValueError(f"confusion matrix of shape {matrix.shape} is empty or has a negative count")


def _check_several(named: Mapping[str, object]) -> None:
    if len(named) < 2:
        raise ValueError(f"{len(named)} heads ({', '.join(named) or 'none'}), expected two or more to compare")
