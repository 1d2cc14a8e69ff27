"""Pairs of pictures that look alike from afar, whatever features say of them: what a network takes for two."""

from __future__ import annotations

import numpy as np

from headstart.auditing.pixels.opened import Opened, Places
from headstart.core.extract.likeness.descriptors import descriptors, mirrored
from headstart.core.heads.neighbours.nearest import Directions, Nearest

RANKS = 2
"""Pictures that each one is paired with: the most alike ones."""
ALIKE = 0.8
"""The correlation of descriptors from which two pictures are a pair."""
MOST = 10_000
"""Pairs that are proposed: each picture and the one most alike, the most alike first, before the second ones. They are
laid on each other next, which costs a millisecond each."""


def proposed(opened: Opened, same: Places) -> Places:
    """Pairs (P, 2) of rows, the earlier first, of the pictures that were opened. Each content is looked at once: `same`
    (N,) are the places of the first rows of each. Blank pictures, which all look alike, are in no pair."""
    at = np.flatnonzero(opened.there)
    contents, first = np.unique(same[opened.rows[at]], return_index=True)
    found = descriptors(opened.greys[at[first]])
    shown = np.flatnonzero(found.any(axis=1))
    if len(shown) < 2:
        return np.zeros((0, 2), dtype=np.int64)
    own = found[shown]
    directions = Directions(np.concatenate([own, mirrored(own)]))
    pairs = _pairs(directions.nearest(2 * RANKS + 1, len(own)))  # each may come both ways round, and itself mirrored
    return contents[shown[pairs]]


def _pairs(nearest: Nearest) -> Places:
    """The pairs (P, 2) of n rows and those nearest to them, where place n + i is row i mirrored."""
    rows, columns = nearest.places.shape
    others, own = nearest.places % rows, np.arange(rows)[:, None]
    fresh = (others != own) & (nearest.distances <= 1 - ALIKE)
    for column in range(1, columns):
        fresh[:, column] &= ~(others[:, :column] == others[:, column, None]).any(axis=1)
    ranks = np.cumsum(fresh, axis=1) - 1
    there = fresh & (ranks < RANKS)
    pairs = np.sort(np.stack([np.nonzero(there)[0], others[there]], axis=1), axis=1)
    order = np.lexsort((nearest.distances[there], ranks[there]))
    _, first = np.unique(pairs[order], axis=0, return_index=True)
    return pairs[order[np.sort(first)[:MOST]]]
