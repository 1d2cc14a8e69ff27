"""How far a head's probabilities can be trusted, and the one temperature that makes them more so. Changes no label."""

import dataclasses
import math

import numpy as np
import numpy.typing as npt

from headstart.core.heads.statistics.checks import check_labels, check_probabilities, check_scores

TEMPERATURES = (1e-3, 1e3)
"""Where `fit_temperature` looks."""
LEAST_ROWS = 20
"""Rows from which a temperature is fitted: of fewer, one more mistake would make it another."""


@dataclasses.dataclass(frozen=True)
class Temperature:
    """A temperature fitted on `rows` rows, or None and the `reason` why there is none."""

    value: float | None
    rows: int
    reason: str | None = None


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
    found = check_probabilities(probabilities)
    check_labels(labels, found.shape[1], rows=len(found))
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

    A score of minus infinity gives the probability 0 at any temperature. The order of the classes stays; above 1 the
    probabilities come closer together, below 1 they move apart, at the extremes until rounding makes them equal.
    """
    from scipy.special import softmax as normalised

    found = check_scores(scores)
    if not 0 < temperature < math.inf:
        raise ValueError(f"temperature {temperature}, expected a number above 0")
    with np.errstate(over="ignore"):  # so far behind that its probability is 0
        behind = (found - found.max(axis=1, keepdims=True)) / temperature
    return np.asarray(normalised(behind, axis=1), dtype=np.float64)


def fit_temperature(scores: npt.NDArray[np.floating], labels: npt.NDArray[np.int64]) -> Temperature:
    """The temperature, above 0.001 and below 1000, at which softmax(scores / temperature) gives labels (N,) the least mean
    negative log-likelihood: temperature scaling (C. Guo et al., https://arxiv.org/abs/1706.04599, section 4.2).

    Scores (N, C) and labels are those of validation rows only, which the head was neither trained nor is tested on: on
    training rows it finds the head too modest, and fitted on test rows it would flatter what is then measured on them. It
    changes no label, hence no accuracy. The log-likelihood is concave in 1 / temperature, so there is one optimum to find.
    Where every row is right it only improves as the temperature falls, where every row is the least likely as it rises:
    the optimum then lies at a bound and says nothing of the head, so there is none, as of fewer than 20 rows. Raises
    ValueError for anything but scores and class indices, and for a label whose score is minus infinity.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import logsumexp

    found = check_scores(scores)
    check_labels(labels, found.shape[1], rows=len(found))
    of_label = found[np.arange(len(found)), labels]
    if (impossible := np.isneginf(of_label)).any():
        raise ValueError(
            f"row {int(impossible.argmax())} has the score -inf for its label, expected a class that was learned"
        )
    if len(found) < LEAST_ROWS:
        return _unfitted(len(found), f"{len(found)} validation rows, {LEAST_ROWS} are needed")
    if (found.argmax(axis=1) == labels).all():
        return _unfitted(len(found), f"all {len(found):,} validation rows are right")
    behind = found - of_label[:, None]

    def nll(log_temperature: float) -> float:
        return float(logsumexp(behind / math.exp(log_temperature), axis=1).mean())

    low, high = (math.log(limit) for limit in TEMPERATURES)
    best = float(minimize_scalar(nll, bounds=(low, high), method="bounded", options={"xatol": 1e-7}).x)
    # the search only comes near its bounds; where scores say nothing every temperature is as good, and 1 stays
    best = min((0.0, best, low, high), key=nll)
    if not low + 1e-3 < best < high - 1e-3:
        return _unfitted(len(found), f"no temperature is best on {len(found):,} validation rows")
    return Temperature(math.exp(best), len(found))


def _unfitted(rows: int, reason: str) -> Temperature:
    return Temperature(None, rows, f"not fitted: {reason}")
