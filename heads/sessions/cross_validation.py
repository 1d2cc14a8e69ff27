"""How good a training is, by cross-validation: every row is predicted once by a head that did not see it.

What the mean over such heads estimates is the accuracy of the training on somewhat fewer rows, not of one head on one set
of rows (T. Hastie, R. Tibshirani and J. Friedman, The Elements of Statistical Learning, 2009, section 7.12).
"""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch

from headstart.core.cache.errors import FeaturesInvalid
from headstart.core.heads.confidence import Confidence
from headstart.core.heads.data import Labelled, kept_beside
from headstart.core.heads.data.folds import folds
from headstart.core.heads.kinds.base import Head
from headstart.core.heads.protocol import Protocol
from headstart.core.heads.selection.procedure import Fitted
from headstart.core.heads.selection.search import confidence
from headstart.core.heads.sessions.fold_temperatures import FoldTemperatures
from headstart.core.heads.statistics.accuracy import Score
from headstart.core.heads.statistics.outcomes import Outcomes
from headstart.core.heads.training.averaging import averaged_score
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
    """What heads that did not see them say of all rows (N,), in the first division, and the accuracies in all divisions.

    `confidence` is how sure a head may be that was trained as they were on all rows: it takes the scores of rows by heads
    that did not see them, as scikit-learn's CalibratedClassifierCV does with `ensemble=False`. None where squashed scores
    can be sure of nothing, or no row could be asked. `averaged` is how many rows are right by the probabilities averaged
    over their pictures' versions, None where there are no views.
    """

    outcomes: Outcomes
    protocol: Protocol
    confidence: Confidence | None = None
    averaged: Score | None = None


def cross_validate(
    data: Labelled, fit: Fit, heads: int, device: str, on_fold: OnFold, *, repeated: bool = True, added: int | None = None
) -> list[OutOfFold]:
    """Each of the `heads` heads that `fit` trains, tested on all rows of `data`; groups are on one side. Rows from `added`
    on, those of a validation split, are not tested on: `fit` is given them each time, but for those of a group that is
    tested.

    There are 5 folds, or as many as the largest class has groups where these are fewer: with more, the classes of the rows
    left out would be the rarer ones in training each time. They are the same for every head and backbone, so that these
    are compared on equal terms. Up to `REPEATED_ROWS` rows the whole is done three times with other folds, if it is to be
    `repeated`; several heads, which differ in their seeds, have one division, since their seeds show the spread already.
    Probabilities are at the temperature that the training side gave: the head's own where `fit` gave it one, else that of
    `FoldTemperatures`.

    Raises FeaturesInvalid where no folds can be dealt, and what `fit` raises.
    """
    tested = data if added is None else data.at(np.arange(added))
    labels, k = tested.labels, fold_count(tested)
    repeats = REPEATS if repeated and len(labels) <= REPEATED_ROWS and heads == 1 else 1
    divisions = [folds(labels, tested.groups, k, np.random.default_rng(repeat)) for repeat in range(repeats)]
    temperatures: FoldTemperatures | None = FoldTemperatures(tested, divisions[0], device)
    done, total, found = 0, len(labels) * repeats, []
    on_fold(done, total)
    for division in divisions:
        filled = [_Filled(len(labels)) for _ in range(heads)]
        for fold in range(int(division.max()) + 1):
            inside = np.flatnonzero(division == fold)
            with _told_where(inside, labels):
                beside = kept_beside(data, len(labels), inside)
                trained = fit(data.at(np.concatenate([np.flatnonzero(division != fold), beside])))
                unseen = data.at(inside)
                for own, fitted in zip(filled, trained, strict=True):
                    own.put(inside, scores(fitted.trained.head, unseen.features, device))
                    own.be_sure(inside, fitted, fold, temperatures)
                    own.average(inside, fitted.trained.head, unseen, device)
            done += len(inside)
            on_fold(done, total)
        found.append(filled)
        temperatures = None  # labels alone are asked of the other divisions
    return [_out_of_fold(labels, [own[head] for own in found], int(divisions[0].max()) + 1) for head in range(heads)]


def fold_count(data: Labelled) -> int:
    """How many folds there are to be: 5, or as many as the largest class has groups. Raises FeaturesInvalid where that is
    one."""
    if (k := min(FOLDS, _most_groups(data))) < 2:
        rows, classes = f"{len(data.labels)} rows", f"{len(np.unique(data.labels))} classes"
        if data.groups is None:
            raise FeaturesInvalid(
                f"{rows} of {classes} are too few to be cross-validated: no class has two images; add images"
            )
        raise FeaturesInvalid(
            f"{rows} of {classes} can't be cross-validated: they are in {len(np.unique(data.groups)):,} groups, copies of "
            f"a picture and what --group-by has together, and no class is in two of them; add images, or use another "
            f"--group-by"
        )
    return k


def outcomes(head: Head, sure: Confidence | None, data: Labelled, device: str) -> Outcomes:
    """What a head says of rows: the labels of its highest scores, and the probabilities at its temperature."""
    found = scores(head, data.features, device)
    temperature = sure.temperature if sure else 1.0
    return Outcomes(data.labels, found.argmax(dim=1).numpy(), (found / temperature).softmax(dim=1).numpy())


class _Filled:
    """Scores of all rows (N, C), fold by fold, and the temperatures (N, 1) that they are to be divided by."""

    def __init__(self, rows: int) -> None:
        self._scores, self._temperatures = torch.zeros((rows, 0)), torch.ones((rows, 1))
        self._unsure = False
        self._averages: list[Score] = []

    def put(self, places: npt.NDArray[np.int64], found: torch.Tensor) -> None:
        if not self._scores.shape[1]:
            self._scores = torch.zeros((len(self._scores), found.shape[1]))
        self._scores[places] = found

    def be_sure(
        self, places: npt.NDArray[np.int64], fitted: Fitted, fold: int, temperatures: FoldTemperatures | None
    ) -> None:
        """Note the temperature of a fold's head; squashed scores can be sure of nothing, whatever theirs."""
        if fitted.confidence is not None:
            self._temperatures[places] = fitted.confidence.temperature
        elif temperatures is not None and not fitted.trained.head.config.sigmoid:
            self._temperatures[places] = temperatures.of(fold, fitted.trained.head)
            self._unsure = True

    def average(self, places: npt.NDArray[np.int64], head: Head, unseen: Labelled, device: str) -> None:
        """Note how often a fold's head is right by all versions of the rows, at the temperature noted of it."""
        found = averaged_score(head, unseen, device, float(self._temperatures[places[0]]))
        self._averages += [] if found is None else [found]

    @property
    def averaged(self) -> Score | None:
        """How many of all rows were; None where they have no views."""
        if not self._averages:
            return None
        return Score(sum(one.correct for one in self._averages), sum(one.total for one in self._averages))

    def accuracy(self, labels: npt.NDArray[np.int64]) -> float:
        return float((self._predicted == labels).mean())

    def outcomes(self, labels: npt.NDArray[np.int64]) -> Outcomes:
        return Outcomes(labels, self._predicted, (self._scores / self._temperatures).softmax(dim=1).numpy())

    def confidence(self, labels: npt.NDArray[np.int64]) -> Confidence | None:
        """What the scores say of a head that learned it from nothing else; None where `fit` gave each head its own."""
        found = self._scores.numpy()
        possible = np.isfinite(found[np.arange(len(labels)), labels]).any()
        return confidence(found, labels) if self._unsure and possible else None

    @property
    def _predicted(self) -> npt.NDArray[np.int64]:
        predicted: npt.NDArray[np.int64] = self._scores.argmax(dim=1).numpy()
        return predicted


@contextlib.contextmanager
def _told_where(left_out: npt.NDArray[np.int64], labels: npt.NDArray[np.int64]) -> Iterator[None]:
    """What can't be trained says that it is a part of a cross-validation."""
    try:
        yield
    except FeaturesInvalid as error:
        rows = f"{len(labels) - len(left_out):,} of {len(labels):,} rows"
        raise FeaturesInvalid(f"in the cross-validation, on {rows}: {error}") from error


def _most_groups(data: Labelled) -> int:
    """The number of groups that the class with the most of them has; rows without groups are one each."""
    groups = np.arange(len(data.labels)) if data.groups is None else data.groups
    pairs = np.unique(np.stack([data.labels, groups]), axis=1)
    return int(np.bincount(pairs[0]).max())


def _out_of_fold(labels: npt.NDArray[np.int64], found: Sequence[_Filled], folds_dealt: int) -> OutOfFold:
    accuracies = tuple(one.accuracy(labels) for one in found)
    protocol = Protocol("cross-validation", folds_dealt, len(found), accuracies)
    return OutOfFold(found[0].outcomes(labels), protocol, found[0].confidence(labels), found[0].averaged)
