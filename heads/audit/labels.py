"""Labels that are probably wrong, by what heads that did not see a row say of it.

Confident learning is C. G. Northcutt, L. Jiang and I. L. Chuang, Confident Learning: Estimating Uncertainty in Dataset
Labels (Journal of Artificial Intelligence Research 70, 2021, https://arxiv.org/abs/1911.00068).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Probabilities = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]
Counts = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

DRAWS = 4_000
"""Draws that the interval of the expected number is read from."""
_JEFFREYS = 0.5
"""What Jeffreys' prior adds to each count."""
_TINY = 1e-12


@dataclasses.dataclass(frozen=True)
class Expected:
    """How many labels are expected to be wrong, with the interval at 95 % that the numbers of rows leave: it does not know
    of a head that is wrong in the same way about many rows."""

    count: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True, eq=False)
class LabelAudit:
    """What is said of the labels of N rows. `confidence` (N,) is the probability of a row's label, `margin` (N,) how far it
    is above that of the likeliest other class, `proposed` (N,) the likeliest class. `suspects` (S,) are the places of rows
    whose label is probably wrong, the least confident first. `counts` (C, C) are rows by label and by the class that is
    confidently theirs. Nothing is said of rows that are not `judged` (N,): no other row of their class was there to learn
    from. Rows that people `decided` on (N,) are no suspects, and neither counted nor expected to be wrong."""

    confidence: npt.NDArray[np.float64]
    margin: npt.NDArray[np.float64]
    proposed: Labels
    suspects: Labels
    counts: Counts
    expected: Expected
    judged: Mask
    decided: Mask

    @property
    def asked(self) -> int:
        """How many labels may be wrong: those that nobody decided on."""
        return int((~self.decided).sum())


def audit(
    probabilities: Probabilities, labels: Labels, judged: Mask, rng: np.random.Generator, decided: Mask | None = None
) -> LabelAudit:
    """What out-of-fold probabilities (N, C) say of labels (N,). Suspects are told by `suspected` and come in the order of
    self-confidence, which ranks wrong labels of all kinds well. Labels of rows that people `decided` on (N,) are taken to
    be right."""
    sure, ahead = self_confidence(probabilities, labels), margin(probabilities, labels)
    decided = np.zeros(len(labels), dtype=np.bool_) if decided is None else decided
    own, asked = np.flatnonzero(judged), np.flatnonzero(judged & ~decided)
    counts = confident_counts(probabilities[own], labels[own], ~decided[own])
    expected = expected_wrong(counts, np.bincount(labels[asked], minlength=probabilities.shape[1]), rng)
    found = asked[suspected(probabilities[asked], labels[asked], counts)]
    suspects = found[np.argsort(sure[found], kind="stable")]
    return LabelAudit(sure, ahead, probabilities.argmax(axis=1), suspects, counts, expected, judged, decided)


def self_confidence(probabilities: Probabilities, labels: Labels) -> npt.NDArray[np.float64]:
    """The probability (N,) of each row's label."""
    return probabilities[np.arange(len(labels)), labels]


def margin(probabilities: Probabilities, labels: Labels) -> npt.NDArray[np.float64]:
    """The probability of each row's label less that of the likeliest other class (N,), -1 to 1."""
    others = probabilities.copy()
    others[np.arange(len(labels)), labels] = -np.inf
    found: npt.NDArray[np.float64] = self_confidence(probabilities, labels) - others.max(axis=1)
    return found


def thresholds(probabilities: Probabilities, labels: Labels) -> npt.NDArray[np.float64]:
    """For each class (C,) the mean probability of it among the rows that have its label; infinite where there are none."""
    classes = probabilities.shape[1]
    rows = np.bincount(labels, minlength=classes)
    total = np.bincount(labels, self_confidence(probabilities, labels), minlength=classes)
    return np.where(rows > 0, total / np.maximum(rows, 1), np.inf)


def confident_counts(probabilities: Probabilities, labels: Labels, among: Mask | None = None) -> Counts:
    """Rows by their label and by the class that is confidently theirs (C, C): the likeliest of those whose probability
    reaches the class's threshold. Rows of which no class's does are not counted; the paper's confident joint. Thresholds
    are of all rows, and those `among` (N,) are counted."""
    classes = probabilities.shape[1]
    reached = probabilities >= thresholds(probabilities, labels) - 1e-6  # a class of equal rows is at its own mean
    rows = np.flatnonzero(reached.any(axis=1) & (True if among is None else among))
    likeliest = np.where(reached[rows], probabilities[rows], -np.inf).argmax(axis=1)
    found = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(found, (labels[rows], likeliest), 1)
    return found


def expected_wrong(counts: Counts, rows: Counts, rng: np.random.Generator) -> Expected:
    """How many of the `rows` (C,) with each label are wrong, if those that no class is confidently theirs of are wrong as
    often as the others of their label. The interval is of draws of each label's share from its posterior under Jeffreys'
    prior, so that labels with few confident rows are as uncertain as they are."""
    wrong, right = counts.sum(axis=1) - np.diag(counts), np.diag(counts)
    there = rows > 0
    share = wrong / np.maximum(wrong + right, 1)
    drawn = rng.beta(wrong[there] + _JEFFREYS, right[there] + _JEFFREYS, size=(DRAWS, int(there.sum()))) @ rows[there]
    low, high = np.quantile(drawn, (0.025, 0.975)) if there.any() else (0.0, 0.0)
    count = float(share @ rows)
    return Expected(count, min(float(low), count), max(float(high), count))


def suspected(probabilities: Probabilities, labels: Labels, counts: Counts) -> Labels:
    """The places of rows whose label (N,) is probably wrong, in rising order, by probabilities (N, C) and the
    `confident_counts` (C, C): those of which `support` is least, among rows that are likelier of another class.

    They are as many as the paper's pruning by noise rate takes out. By `support` they are others: where the labels of a
    class mostly became one other class, rows are preferred that this explains."""
    likely = np.flatnonzero(margin(probabilities, labels) < 0)
    rows = np.bincount(labels, minlength=probabilities.shape[1])
    number = int(_pruned(probabilities, labels, calibrated(counts, rows))[likely].sum())
    order = np.argsort(support(probabilities[likely], labels[likely], counts, rows), kind="stable")
    return np.sort(likely[order[:number]])


def support(probabilities: Probabilities, labels: Labels, counts: Counts, rows: Counts) -> npt.NDArray[np.float64]:
    """What Bayes' rule says for each row's label (N,): the probability of its class times how often that class has this
    label, as a share of the sum over all classes. How often is counted (C, C) of the `rows` (C,) with each label, with
    Jeffreys' prior, so that of few rows it is nearly the order of self-confidence.

    It takes labels for depending on the class alone, as the paper does, and the probabilities for those of true classes.
    They are of the labels given, so that it ranks, and is no probability to be shown.
    """
    joint = calibrated(counts + _JEFFREYS, rows)
    each = probabilities * (joint / np.maximum(joint.sum(axis=0), _TINY))[labels]
    found: npt.NDArray[np.float64] = self_confidence(each, labels) / each.sum(axis=1)
    return found


def calibrated(counts: npt.NDArray[np.generic], rows: Counts) -> npt.NDArray[np.float64]:
    """Counts (C, C) of some rows by label and class, made to have the sums over classes `rows` (C,) of all rows."""
    total = counts.sum(axis=1, dtype=np.float64)
    found: npt.NDArray[np.float64] = counts * (rows / np.maximum(total, _TINY))[:, None]
    return found


def _pruned(probabilities: Probabilities, labels: Labels, joint: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """The rows (N,) that pruning by noise rate takes (section 3.2 of the paper): for each label and each other class as
    many as the joint (C, C) has there, those in which the other class is the farthest ahead. A row may be taken for several
    classes."""
    found, wanted = np.zeros(len(labels), dtype=np.bool_), np.round(joint).astype(np.int64)
    np.fill_diagonal(wanted, 0)
    for label in np.flatnonzero(wanted.any(axis=1)):
        own = np.flatnonzero(labels == label)
        for other in np.flatnonzero(wanted[label]):
            ahead = probabilities[own, other] - probabilities[own, label]
            found[own[np.argsort(-ahead, kind="stable")[: wanted[label, other]]]] = True
    return found


def joined(several: Sequence[Probabilities]) -> Probabilities:
    """What several backbones' heads say of the same rows, each (N, C), as one: their geometric mean, made to sum to 1."""
    if len(several) == 1:
        return several[0]
    mean = np.mean([np.log(np.maximum(one, _TINY)) for one in several], axis=0)
    shares = np.exp(mean - mean.max(axis=1, keepdims=True))
    found: Probabilities = shares / shares.sum(axis=1, keepdims=True)
    return found
