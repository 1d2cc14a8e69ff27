"""Pictures to begin with where nothing is known of any: few that are unlike each other."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

COUNT = 100
"""How many are chosen so; the others come in a random order. More than anybody labels before the first training."""


def spread(features: npt.NDArray[np.float32], rng: np.random.Generator, count: int = COUNT) -> npt.NDArray[np.int64]:
    """The rows of features (N, D) in an order (N,) whose first `count` lie far apart by the cosine: each is drawn with the
    squared distance to the nearest of those before it as its chance, as k-means++ starts (D. Arthur and S. Vassilvitskii,
    SODA 2007). The farthest one each time would be an outlier."""
    norms = np.linalg.norm(features, axis=1, keepdims=True)
    directions = features / np.maximum(norms, 1e-12)
    rows = len(features)
    left, order = np.full(rows, np.inf), list[int]()
    place = int(rng.integers(rows)) if rows else -1
    while place >= 0 and len(order) < min(count, rows):
        order.append(place)
        left = np.minimum(left, np.maximum(2 - 2 * (directions @ directions[place]), 0).astype(np.float64))
        left[order] = 0
        total = left.sum()
        place = int(rng.choice(rows, p=left / total)) if total > 0 else -1
    others = rng.permutation(np.setdiff1d(np.arange(rows), order))
    return np.concatenate([np.array(order, dtype=np.int64), others])
