"""How good a training is, by cross-validation: every row is predicted once by a head that did not see it.

What the mean over such heads estimates is the accuracy of the training on somewhat fewer rows, not of one head on one set
of rows (T. Hastie, R. Tibshirani and J. Friedman, The Elements of Statistical Learning, 2009, section 7.12).
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from headstart.core.cache.errors import FeaturesInvalid
from headstart.core.heads.confidence import Confidence
from headstart.core.heads.data import Labelled
from headstart.core.heads.data.folds import folds
from headstart.core.heads.kinds.base import Head
from headstart.core.heads.protocol import Protocol
from headstart.core.heads.selection.procedure import Fitted
from headstart.core.heads.statistics.outcomes import Outcomes
from headstart.core.heads.training.train import scores

FOLDS = 5
REPEATS = 3
REPEATED_ROWS = 500
"""Sets of so many rows at most are cross-validated `REPEATS` times, with other folds, which shows how much the accuracy
owes to them. With more rows it owes less, and each time takes longer."""

Fit = Callable[[Labelled], Sequence[Fitted]]
"""The whole way from training rows to heads, every choice included."""
OnFold = Callable[[int, int], None]
"""Told how many of how many rows are predicted, fold by fold: of none first, and a row counts in each repeat."""


@dataclasses.dataclass(frozen=True, eq=False)
class OutOfFold:
    """What heads that did not see them say of all rows (N,), in the first division, and the accuracies in all divisions."""

    outcomes: Outcomes
    protocol: Protocol


def cross_validate(data: Labelled, fit: Fit, heads: int, device: str, on_fold: OnFold) -> list[OutOfFold]:
    """Each of the `heads` heads that `fit` trains, tested on all rows of `data`; groups are on one side.

    There are 5 folds, or as many as the largest class has groups where these are fewer: with more, the classes of the rows
    left out would be the rarer ones in training each time. They are the same for every head and backbone, so that these
    are compared on equal terms. Up to `REPEATED_ROWS` rows the whole is done three times with other folds; several heads,
    which differ in their seeds, have one division, since their seeds show the spread already. Probabilities are at the
    temperature that the training side gave.

    Raises FeaturesInvalid where no folds can be dealt, and what `fit` raises.
    """
    labels, k = data.labels, fold_count(data)
    repeats = REPEATS if len(labels) <= REPEATED_ROWS and heads == 1 else 1
    divisions = [folds(labels, data.groups, k, np.random.default_rng(repeat)) for repeat in range(repeats)]
    counts = [int(division.max()) + 1 for division in divisions]
    done, total = 0, len(labels) * repeats
    on_fold(done, total)
    found = []
    for division, count in zip(divisions, counts, strict=True):
        found.append([_Filled(len(labels)) for _ in range(heads)])
        for fold in range(count):
            inside = np.flatnonzero(division == fold)
            for filled, fitted in zip(found[-1], _fitted(data, division != fold, fit), strict=True):
                said = outcomes(fitted.trained.head, fitted.confidence, data.at(inside), device)
                filled.put(inside, said)
            done += len(inside)
            on_fold(done, total)
    return [_out_of_fold(labels, [own[head] for own in found], counts[0]) for head in range(heads)]


def fold_count(data: Labelled) -> int:
    """How many folds there are to be: 5, or as many as the largest class has groups. Raises FeaturesInvalid where that is
    one."""
    if (k := min(FOLDS, _most_groups(data))) < 2:
        raise FeaturesInvalid(
            f"{len(data.labels)} rows of {len(np.unique(data.labels))} classes are too few to be cross-validated: no class "
            f"has two images{' of two groups' if data.groups is not None else ''}; add images"
        )
    return k


def outcomes(head: Head, confidence: Confidence | None, data: Labelled, device: str) -> Outcomes:
    """What a head says of rows: the labels of its highest scores, and the probabilities at its temperature."""
    found = scores(head, data.features, device)
    temperature = confidence.temperature if confidence else 1.0
    return Outcomes(data.labels, found.argmax(dim=1).numpy(), (found / temperature).softmax(dim=1).numpy())


class _Filled:
    """Predictions of all rows, fold by fold."""

    def __init__(self, rows: int) -> None:
        self.predicted = np.full(rows, -1, dtype=np.int64)
        self.probabilities: npt.NDArray[np.floating] = np.zeros((rows, 0), dtype=np.float32)

    def put(self, places: npt.NDArray[np.int64], found: Outcomes) -> None:
        if not self.probabilities.size:
            self.probabilities = np.zeros((len(self.predicted), found.classes), dtype=np.float32)
        self.predicted[places] = found.predicted
        self.probabilities[places] = found.probabilities


def _fitted(data: Labelled, side: npt.NDArray[np.bool_], fit: Fit) -> Sequence[Fitted]:
    """The heads of one training side."""
    try:
        return fit(data.at(np.flatnonzero(side)))
    except FeaturesInvalid as error:
        raise FeaturesInvalid(f"in the cross-validation, on {side.sum():,} of {len(side):,} rows: {error}") from error


def _most_groups(data: Labelled) -> int:
    """The number of groups that the class with the most of them has; rows without groups are one each."""
    groups = np.arange(len(data.labels)) if data.groups is None else data.groups
    pairs = np.unique(np.stack([data.labels, groups]), axis=1)
    return int(np.bincount(pairs[0]).max())


def _out_of_fold(labels: npt.NDArray[np.int64], found: Sequence[_Filled], folds_dealt: int) -> OutOfFold:
    accuracies = tuple(float((one.predicted == labels).mean()) for one in found)
    made = Outcomes(labels, found[0].predicted, found[0].probabilities)
    return OutOfFold(made, Protocol("cross-validation", folds_dealt, len(found), accuracies))
