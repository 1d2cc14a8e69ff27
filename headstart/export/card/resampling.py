"""Intervals of measures that labels alone decide, from a confusion matrix: all that a run record has of its test rows.

To draw N test images with replacement is to draw N cells of the matrix, each with its share: nothing else of an image
enters such a measure. The interval is between the 2.5 % and 97.5 % quantiles of the draws (B. Efron, Bootstrap methods:
another look at the jackknife, Annals of Statistics 7, 1979).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

DRAWS = 1_000


def resampled(confusion: Sequence[Sequence[int]] | None) -> dict[str, tuple[float, float]]:
    """The 95 % intervals of balanced accuracy and macro F1 by name, from counts (C, C) with the true classes as rows.

    Empty without a matrix, and where no image is wrong: every draw is then right too, which says nothing of others.
    """
    counts = np.array(confusion or [[]], dtype=np.int64)
    if counts.sum() == np.trace(counts):
        return {}
    total, rng = int(counts.sum()), np.random.default_rng(0)
    shares = counts.ravel() / total
    draws = [rng.multinomial(total, shares).reshape(counts.shape) for _ in range(DRAWS)]
    found = {"balanced_accuracy": [_balanced(one) for one in draws], "macro_f1": [_macro_f1(one) for one in draws]}
    quantiles = {name: np.quantile(values, (0.025, 0.975)) for name, values in found.items()}
    return {name: (float(low), float(high)) for name, (low, high) in quantiles.items()}


def _balanced(counts: npt.NDArray[np.int64]) -> float:
    """The mean recall of the classes that have rows, as `statistics.measures.balanced_accuracy`."""
    of_class = counts.sum(axis=1)
    return float((counts.diagonal()[of_class > 0] / of_class[of_class > 0]).mean())


def _macro_f1(counts: npt.NDArray[np.int64]) -> float:
    """The mean F1 of the classes that have rows or are predicted, as `statistics.measures.macro_f1`."""
    both = counts.sum(axis=0) + counts.sum(axis=1)
    return float((2 * counts.diagonal()[both > 0] / both[both > 0]).mean())
