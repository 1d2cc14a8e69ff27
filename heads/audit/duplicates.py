"""Pictures that are the same, or nearly: by their contents, and by features that lie much nearer than neighbours do."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree

from headstart.core.cache.digests import Digests
from headstart.core.heads.neighbours.nearest import Directions, Nearest

Places = npt.NDArray[np.int64]

NEAR = 0.13
"""The share of the median distance to the nearest row below which two rows are near-duplicates: cleanlab's default
(near_duplicate issues, `threshold`). A share of the set's own median, since no distance means the same in two data sets."""
MOST = 1_000_000
"""Pairs that are kept."""
SAME = 1e-6
"""Cosine distances up to which two rows are equal but for the last digits."""


@dataclasses.dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs of rows `places` (P, 2), the earlier first, and their cosine `distances` (P,), the nearest first. `full` says
    that there are more: features that can't tell rows apart make a pair of any two."""

    places: Places
    distances: npt.NDArray[np.float32]
    full: bool


@dataclasses.dataclass(frozen=True)
class Bound:
    """Cosine distances up to which rows are near-duplicates, and the `median` distance to the nearest row that it is a
    share of: the median of those that have no equal row, since a set full of copies would have none."""

    distance: float
    median: float


def bound(nearest: Nearest, share: float = NEAR) -> Bound:
    """The bound of a set, from the nearest rows of each."""
    apart = nearest.first[nearest.first > SAME]
    median = float(np.median(apart)) if len(apart) else 0.0
    return Bound(max(share * median, SAME), median)


def near(directions: Directions, within: Bound) -> Pairs:
    """All pairs of rows that are no farther apart than the bound; none is missed where they are not more than `MOST`."""
    places, distances = directions.within(within.distance, MOST)
    full = len(distances) >= MOST
    order = np.lexsort((places[:, 1], places[:, 0], distances))[:MOST]
    return Pairs(places[order], distances[order], full)


def same_content(digests: Digests) -> Places:
    """For each row with the SHA-256 (N, 32) of its picture the place of the first row (N,) of the same picture."""
    _, first, inverse = np.unique(digests, axis=0, return_index=True, return_inverse=True)
    found: Places = first[inverse.reshape(-1)].astype(np.int64)
    return found


def groups(pairs: Places, rows: int) -> list[Places]:
    """The rows that pairs (P, 2) put together, directly or by others, as groups of two or more, each in rising order, the
    one with the first row first."""
    graph = coo_array((np.ones(len(pairs), dtype=np.bool_), (pairs[:, 0], pairs[:, 1])), shape=(rows, rows))
    _, component = connected_components(graph, directed=False)
    order = np.argsort(component, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(component[order])) + 1) if rows else []
    return sorted((part for part in parts if len(part) > 1), key=lambda part: int(part[0]))


def ranks(pairs: Places, distances: npt.NDArray[np.floating]) -> Places:
    """How many nearer pairs, of pairs (P, 2), that of its two rows is in which is in fewer, (P,): 0 is each row's nearest.
    So the pairs of lowest rank are of all rows, however many a few hundred rows make of each other."""
    order = np.argsort(distances, kind="stable")
    ends, count = pairs[order].T.reshape(-1), len(pairs)
    by_row = np.argsort(ends * count + np.tile(np.arange(count), 2)) if count else np.zeros(0, dtype=np.int64)
    starts = np.flatnonzero(np.diff(ends[by_row], prepend=-1))
    before = np.empty(2 * count, dtype=np.int64)
    before[by_row] = np.arange(2 * count) - np.repeat(starts, np.diff(starts, append=2 * count))
    found = np.empty(count, dtype=np.int64)
    found[order] = before.reshape(2, -1).min(axis=0)
    return found


def forest(pairs: Places, rows: int) -> Places:
    """The places (F,), rising, of those of pairs (P, 2) of different rows, each once, that put the same rows together as
    all do, the first ones where there is a choice: n - 1 of the pairs of n rows."""
    graph = coo_array((np.arange(1.0, len(pairs) + 1), (pairs[:, 0], pairs[:, 1])), shape=(rows, rows))
    found: Places = np.sort(minimum_spanning_tree(graph.tocsr()).data.astype(np.int64) - 1)
    return found


def leaked(together: list[Places], test: npt.NDArray[np.bool_]) -> Places:
    """The places of the test rows, rising, that are in a group with a row that is none; `test` (N,) says which are."""
    found = [group[test[group]] for group in together if not test[group].all()]
    return np.sort(np.concatenate([np.zeros(0, dtype=np.int64), *found]))
