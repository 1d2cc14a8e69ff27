"""Accuracy with its interval, whole and class by class."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

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


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """How a head did on labelled rows: over all of them, and for each class by name."""

    overall: Score
    per_class: dict[str, Score]


def evaluate(predicted: npt.NDArray[np.int64], labels: npt.NDArray[np.int64], classes: Sequence[str]) -> Evaluation:
    """Compare class indices (N,) with labels (N,)."""
    right = predicted == labels
    return Evaluation(
        Score(int(right.sum()), len(labels)),
        {name: Score(int(right[labels == i].sum()), int((labels == i).sum())) for i, name in enumerate(classes)},
    )
