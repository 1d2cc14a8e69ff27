"""How a head did on labelled rows: accuracy with its interval, whole and class by class, and every other measure."""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from headstart.core.heads.statistics.measures import measured
from headstart.core.heads.statistics.outcomes import Outcomes

Z = 1.959963984540054
"""The standard normal distribution's 97.5 % point."""


@dataclasses.dataclass(frozen=True)
class Score:
    """`correct` of `total` rows, with the 95 % interval for the share (fractions of 1)."""

    correct: int
    total: int

    @property
    def accuracy(self) -> float:
        """The share that is correct, 0 to 1; not a number where there are no rows."""
        return self.correct / self.total if self.total else float("nan")

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's score interval at 95 % (E. B. Wilson, JASA 22, 1927), which stays within [0, 1] for any share."""
        from scipy.stats import binomtest

        if not self.total:
            return (0.0, 1.0)
        found = binomtest(self.correct, self.total).proportion_ci(confidence_level=0.95, method="wilson")
        return (float(found.low), float(found.high))


def wilson(count: float, total: int) -> tuple[float, float]:
    """Wilson's interval at 95 %, as `Score.interval`, for a mean `count` of `total` that need not be a whole number."""
    share, z2 = count / total, Z**2
    middle = (share + z2 / (2 * total)) / (1 + z2 / total)
    half = Z * math.sqrt(share * (1 - share) / total + z2 / (4 * total**2)) / (1 + z2 / total)
    return max(middle - half, 0.0), min(middle + half, 1.0)


MOST_CLASSES = 100
"""Classes of a confusion matrix that an evaluation keeps: the cells of more would fill the record."""


@dataclasses.dataclass(frozen=True)
class ClassScore:
    """How a head did on one class, as fractions of 1.

    `precision`: of the rows that got its label, the share that is of it; None where none did. `recall`: of its rows, the
    share that got its label; None where it has none. `f1`: their harmonic mean, 0 where one of them is 0 or has no rows;
    None where both have none.
    """

    precision: float | None
    recall: float | None
    f1: float | None

    @classmethod
    def of_counts(cls, right: int, predicted: int, true: int) -> "ClassScore":
        """Of rows that are of the class and got its label, those that got it, and those that are of it."""
        return cls(_share(right, predicted), _share(right, true), _share(2 * right, predicted + true))


def _share(part: int, total: int) -> float | None:
    return part / total if total else None


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """How a head did on labelled rows: over all of them, and for each class by name.

    `measures` are those of `statistics.measures` by name, None where one is not defined; `predicted` is how many rows got
    each label. Rows of `confusion` (C, C) are true classes, columns predicted ones; where it is None, `confusion_left_out`
    says why. All of these are empty in records of version 2 and earlier.
    """

    overall: Score
    per_class: dict[str, Score]
    measures: Mapping[str, float | None] = dataclasses.field(default_factory=dict)
    predicted: Mapping[str, int] = dataclasses.field(default_factory=dict)
    confusion: tuple[tuple[int, ...], ...] | None = None
    confusion_left_out: str | None = None

    def of_class(self, name: str) -> ClassScore:
        """Precision, recall and F1 of a class; the recall alone where it was not recorded how many rows got each label."""
        score = self.per_class[name]
        if not self.predicted:
            return ClassScore(None, _share(score.correct, score.total), None)
        return ClassScore.of_counts(score.correct, self.predicted[name], score.total)


def evaluate(
    predicted: npt.NDArray[np.int64],
    labels: npt.NDArray[np.int64],
    classes: Sequence[str],
    probabilities: npt.NDArray[np.floating] | None = None,
) -> Evaluation:
    """Compare class indices (N,) with labels (N,); with `probabilities` (N, C) every measure is taken too.

    Raises ValueError where probabilities are none, or not of these rows and classes.
    """
    count = len(classes)
    right, true, given = (
        np.bincount(found, minlength=count).tolist() for found in (labels[predicted == labels], labels, predicted)
    )
    matrix = None if count > MOST_CLASSES else np.bincount(labels * count + predicted, minlength=count**2)
    left_out = f"of {count:,} classes, {MOST_CLASSES} at most are kept here; report.json has it" if matrix is None else None
    return Evaluation(
        Score(sum(right), len(labels)),
        {name: Score(right[i], true[i]) for i, name in enumerate(classes)},
        {} if probabilities is None else measured(Outcomes(labels, predicted, probabilities)),
        dict(zip(classes, given, strict=True)),
        None if matrix is None else tuple(map(tuple, matrix.reshape(count, count).tolist())),
        left_out,
    )
