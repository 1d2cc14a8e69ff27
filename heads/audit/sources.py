"""What a random division would not see: bursts of nearly the same picture, classes that are confused, or too small."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

Places = npt.NDArray[np.int64]

BURST = 3
"""Pictures in a row from which they are a burst."""
ALIKE = 0.5
"""The share of the median distance to the nearest row below which two pictures whose names follow each other are of one
burst: a judgement. Neighbours by name are few, so that it may be looser than for near-duplicates."""
SMALL = 10
"""Rows below which a class is too small for five folds to say much of it: two are left out at a time."""
_NUMBERS = re.compile(rb"(\d+)")


@dataclasses.dataclass(frozen=True)
class Confused:
    """Rows with the label `given` that heads which did not see them hold to be `taken_for`: how many, of how many."""

    given: int
    taken_for: int
    count: int
    of: int


def bursts(
    ids: Sequence[bytes], parts: Places, between: Callable[[Places], npt.NDArray[np.float32]], median: float
) -> list[Places]:
    """Runs of `BURST` rows or more of one part (N,), of which each is nearly the same as the next by name; numbers in
    names count as numbers. `between` gives the cosine distances (P,) of pairs (P, 2) of rows, `median` is the median
    distance to the nearest row."""
    order = np.array(sorted(range(len(ids)), key=lambda row: (int(parts[row]), _natural(ids[row]))), dtype=np.int64)
    if len(order) < BURST:
        return []
    pairs = np.stack([order[:-1], order[1:]], axis=1)
    near = (between(pairs) <= ALIKE * median) & (parts[order[:-1]] == parts[order[1:]])
    runs = np.split(order, np.flatnonzero(~near) + 1)
    return [run for run in runs if len(run) >= BURST]


def confused(proposed: Places, labels: Places, judged: npt.NDArray[np.bool_], classes: int) -> list[Confused]:
    """Which classes are taken for which, the most frequent first; pairs of which one row is are left out."""
    table = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(table, (labels[judged], proposed[judged]), 1)
    of = table.sum(axis=1)
    np.fill_diagonal(table, 0)
    given, taken = np.nonzero(table > 1)
    order = np.lexsort((taken, given, -table[given, taken]))
    return [Confused(int(given[i]), int(taken[i]), int(table[given[i], taken[i]]), int(of[given[i]])) for i in order]


def small(labels: Places, classes: int) -> list[tuple[int, int]]:
    """Classes with fewer than `SMALL` rows, and how many they have, the smallest first."""
    rows = np.bincount(labels[labels >= 0], minlength=classes)
    few = np.flatnonzero(rows < SMALL)
    return [(int(i), int(rows[i])) for i in few[np.argsort(rows[few], kind="stable")]]


def _natural(name: bytes) -> list[tuple[int, int, bytes]]:
    parts = _NUMBERS.split(name)
    return [(0, int(part), b"") if i % 2 else (1, 0, part) for i, part in enumerate(parts)]
