"""Pairs of pictures that features hold to be alike, looked at: by their pixels, where they can be opened."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import numpy.typing as npt

from headstart.auditing.pixels.looked import made_of
from headstart.auditing.rows import Rows
from headstart.core.extract.likeness.pixels import SIZE, grey, likeness
from headstart.observer import Observer

SAME = 0.9
"""The likeness from which two pictures are the same. Chosen on 4,000 CIFAR-10 pictures and 500 of them kept otherwise, with
parameters drawn at random (benchmarks/duplicates.py on rows 20,000 to 23,999)."""
MOST = 40_000
"""Pairs that are looked at, the nearest first."""


@dataclasses.dataclass(frozen=True, eq=False)
class Verified:
    """For pairs (P, 2) the correlation (P,) of their pixels, not a number where they could not be compared, and why."""

    scores: npt.NDArray[np.float64]
    why: str | None


def verified(rows: Rows, pairs: npt.NDArray[np.int64], data_dir: Path, observer: Observer) -> Verified:
    """Look at pairs of rows. What can't be opened any more, or is another picture by now, is not compared."""
    scores = np.full(len(pairs), np.nan)
    if not len(pairs):
        return Verified(scores, None)
    chosen, place = np.unique(pairs[:MOST], return_inverse=True)
    found = made_of(rows, chosen, grey, data_dir, "pictures looked at, to be compared", observer)
    if isinstance(found, str):
        return Verified(scores, found)
    why = None if len(pairs) <= MOST else f"of {len(pairs):,} pairs that look alike the nearest {MOST:,} were compared"
    seen, there = np.zeros((len(chosen), SIZE, SIZE), dtype=np.uint8), np.zeros(len(chosen), dtype=np.bool_)
    for i, one in enumerate(found):
        if isinstance(one, str):
            why = one
        else:
            seen[i], there[i] = one, True
    first, second = place.reshape(-1, 2).T
    both = np.flatnonzero(there[first] & there[second])
    scores[both] = likeness(seen[first[both]], seen[second[both]])
    return Verified(scores, why)
