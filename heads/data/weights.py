"""How much rows count where all classes are to count alike."""

import numpy as np
import numpy.typing as npt


def balanced(labels: npt.NDArray[np.int64], weights: npt.NDArray[np.float64] | None = None) -> npt.NDArray[np.float64]:
    """Weights (N,) with which every class that has rows counts alike, and all together as much as before: a row's own
    weight times the sum of all over the number of classes and the sum of its class's. Without own weights it is
    scikit-learn's `class_weight="balanced"`."""
    own = np.ones(len(labels)) if weights is None else weights
    sums = np.bincount(labels, own)
    return np.asarray(own * own.sum() / ((sums > 0).sum() * sums[labels]))
