"""What labels a head gives how often: beside the true ones, each as a multiple of them, and beside another head's.

Intervals are at 95 % and speak of other test images, not of other seeds or other training images.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from headstart.core.heads.statistics.accuracy import Score, Z
from headstart.core.heads.statistics.checks import check_labels, check_matrix
from headstart.core.heads.statistics.compare import Paired, mcnemar


def confusion(
    labels: npt.NDArray[np.int64], predicted: npt.NDArray[np.int64], classes: Sequence[str]
) -> npt.NDArray[np.int64]:
    """How often (C, C) an image of the row's class was given the column's label (scikit-learn's `confusion_matrix`).

    Raises ValueError where labels and predicted, both (N,), are of different lengths or not class indices.
    """
    from sklearn.metrics import confusion_matrix

    check_labels(labels, len(classes))
    check_labels(predicted, len(classes), "predicted", rows=len(labels))
    return np.asarray(confusion_matrix(labels, predicted, labels=np.arange(len(classes))), dtype=np.int64)


def recalls(matrix: npt.NDArray[np.int64]) -> tuple[Score, ...]:
    """For each class of a confusion matrix (C, C): how many of its images were labelled with it. Raises ValueError."""
    check_matrix(matrix)
    return tuple(Score(int(right), int(total)) for right, total in zip(matrix.diagonal(), matrix.sum(axis=1), strict=True))


def predicted_counts(matrix: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """How many images (C,) were given each label, rightly or not, from a confusion matrix (C, C). Raises ValueError."""
    check_matrix(matrix)
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
    check_matrix(matrix)
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
    check_labels(first, len(classes), "first")
    check_labels(second, len(classes), "second", rows=len(first))
    return mcnemar(np.asarray(first == label), np.asarray(second == label))
