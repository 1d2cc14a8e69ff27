"""Pairs of pictures that may be the same, looked at: by their pixels, where they could be opened."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from headstart.auditing.pixels.opened import Opened
from headstart.core.extract.likeness.pixels import likeness
from headstart.observer import Observer, progress

SAME = 0.9
"""The likeness from which two pictures are the same. Chosen on 4,000 CIFAR-10 pictures and 500 of them kept otherwise, with
parameters drawn at random (benchmarks/duplicates.py on rows 20,000 to 23,999)."""
_AT_ONCE = 2048


def verified(opened: Opened, pairs: npt.NDArray[np.int64], observer: Observer) -> npt.NDArray[np.float64]:
    """How alike the pictures of pairs (P, 2) of rows are, (P,): the correlation of their pixels, not a number where one of
    them could not be opened."""
    scores = np.full(len(pairs), np.nan)
    places = opened.places(pairs)
    both = np.flatnonzero((places >= 0).all(axis=1))
    if not len(both):
        return scores
    with progress(observer, "pairs of pictures compared", len(both)) as advance:
        for start in range(0, len(both), _AT_ONCE):
            own = both[start : start + _AT_ONCE]
            scores[own] = likeness(*(opened.greys[places[own, side]] for side in (0, 1)))
            advance(len(own))
    return scores
