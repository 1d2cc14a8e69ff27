"""Rows set aside to choose by, among more rows than lists of their groups would fit into memory with."""

import numpy as np
import numpy.typing as npt

from headstart.core.heads.data import sampling

Places = npt.NDArray[np.int64]


def set_aside(labels: Places, groups: Places | None, count: int, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """Which of the rows with these labels (N,) and groups (N,) are set aside (N,): `count` of them, or fewer. Each class
    in its share, one row of each stays, rows of a group are on one side. Without groups they are those of
    `sampling.divide`."""
    found = np.zeros(len(labels), dtype=np.bool_)
    if count < 1:
        return found
    if groups is None:
        found[sampling.divide(labels, count, rng)[1]] = True
        return found
    order = sampling.spread(labels, rng)
    _, first, inverse, sizes = np.unique(groups[order], return_index=True, return_inverse=True, return_counts=True)
    turn = np.argsort(first, kind="stable")  # groups as their first rows come
    taken = np.zeros(len(sizes), dtype=np.bool_)
    taken[turn[np.cumsum(sizes[turn]) <= count]] = True
    found[order] = taken[inverse]
    gone = ~np.isin(labels, labels[~found])  # a class that would not stay keeps all its groups
    back = np.isin(groups, groups[gone])
    found[back] = False
    return found
