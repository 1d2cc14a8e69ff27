"""Rows that lie far from all others: pictures of no class, or of another kind than the rest.

The distance to the nearest rows as a measure is S. Ramaswamy, R. Rastogi and K. Shim, Efficient Algorithms for Mining
Outliers from Large Data Sets (SIGMOD 2000); on features of networks of length 1 it is Y. Sun, Y. Ming, X. Zhu and Y. Li,
Out-of-Distribution Detection with Deep Nearest Neighbors (2022, https://arxiv.org/abs/2204.06507).
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from headstart.core.heads.neighbours.nearest import Nearest

NEIGHBOURS = 10
"""How many of the nearest rows are asked."""
FAR = 3.5
"""Robust standard deviations from which a row is an outlier: B. Iglewicz and D. C. Hoaglin, How to Detect and Handle
Outliers (1993), recommend it for the median and the median absolute deviation."""
_NORMAL = 1.4826  # the standard deviation of normal values is so many of their median absolute deviations
_TINY = 1e-9


@dataclasses.dataclass(frozen=True, eq=False)
class Outliers:
    """The mean cosine `distances` (N,) of rows to their nearest ones, how many robust standard deviations the logarithm of
    each is above the median (`deviations`, (N,)), and the places of the outliers, the farthest first."""

    distances: npt.NDArray[np.float64]
    deviations: npt.NDArray[np.float64]
    places: npt.NDArray[np.int64]


def outliers(nearest: Nearest) -> Outliers:
    """Of rows with their nearest ones, those that are much farther from them than is usual in the set."""
    rows, k = nearest.distances.shape
    if not k:
        return Outliers(np.zeros(rows), np.zeros(rows), np.zeros(0, dtype=np.int64))
    distances = nearest.distances.mean(axis=1, dtype=np.float64)
    logs = np.log(np.maximum(distances, _TINY))
    middle = np.median(logs)
    spread = _NORMAL * float(np.median(np.abs(logs - middle)))
    deviations = (logs - middle) / max(spread, _TINY)
    far = np.flatnonzero(deviations > FAR)
    return Outliers(distances, deviations, far[np.argsort(-deviations[far], kind="stable")])
