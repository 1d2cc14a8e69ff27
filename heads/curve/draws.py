"""Which rows the heads of a few-shot curve learn from and are tested on: orders drawn of the training rows, and halves of
them."""

import dataclasses
from collections.abc import Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt

from headstart.core.heads.data import Labelled
from headstart.core.heads.data.folds import folds
from headstart.core.heads.data.sampling import in_shares
from headstart.core.heads.selection.search import CROSS_VALIDATED
from headstart.core.heads.sessions.cross_validation import REPEATED_ROWS, REPEATS, fold_count

Rows = npt.NDArray[np.int64]

DRAWS = ((300, 10), (1_000, 5))
"""Up to so many rows, so many draws of them are tested on test rows of their own."""
LEAST_DRAWS = 3
"""Draws of more; and the folds that are tested of sets too large to test all."""
LEAST_OF_A_CLASS = 2
"""Rows a class from which a curve starts; one where that leaves fewer than `LEAST_POINTS`."""
LEAST_POINTS = 3
_SMALLER = 0.75
"""A point has at most this part of the rows of the next: groups that stay together can be so large that there is none."""


@dataclasses.dataclass(frozen=True, eq=False)
class Draw:
    """Training rows in an order whose beginnings hold the classes in their shares, and the places of the rows to test on.

    `rows` (n,) are places among the training rows, `labels` (n,) theirs, and after each of `ends` (m,) of them a group is
    complete.
    """

    rows: Rows
    labels: Rows
    ends: Rows
    judge: Rows

    @cached_property
    def classes(self) -> int:
        """The classes there are to learn."""
        return len(np.unique(self.labels))

    def count(self, level: int) -> int:
        """How many rows are used at a level: all at 0, at each further one half of those before, or the next complete
        group where groups are large, and so many that no class is without a row."""
        nearest = int(self.ends[np.abs(self.ends - self.wanted(level)).argmin()])
        return max(nearest, self._least)

    def wanted(self, level: int) -> int:
        """How many rows would be used if there were no groups."""
        return round(len(self.rows) / (1 << level))

    def first(self, level: int) -> Rows:
        """The rows used at a level, in their own order."""
        return np.sort(self.rows[: self.count(level)])

    @cached_property
    def _least(self) -> int:
        """Rows of the first groups that hold all classes."""
        _, first = np.unique(self.labels, return_index=True)
        return int(self.ends[np.searchsorted(self.ends, first.max() + 1)])


@dataclasses.dataclass(frozen=True, eq=False)
class Plan:
    """Repeats of a curve, each of one or more draws whose test rows make up those of the repeat. `apart` says that each
    repeat has test rows of its own, `divided` that the test rows are training rows of other draws."""

    repeats: tuple[tuple[Draw, ...], ...]
    apart: bool
    divided: bool

    def at(self, level: int) -> tuple[tuple[Draw, ...], ...]:
        """The repeats that are done at a level."""
        if self.divided:
            return self.repeats
        rows = self.repeats[0][0].count(level)
        return self.repeats[: 1 if level == 0 else draws_of(rows)]

    def rows(self, level: int) -> float:
        """The mean number of rows that a head learns from at a level."""
        return float(np.mean([draw.count(level) for repeat in self.at(level) for draw in repeat]))

    @cached_property
    def levels(self) -> int:
        """How many levels there are: down to about two rows a class, to one where that leaves fewer than three levels."""
        found = self._levels(LEAST_OF_A_CLASS)
        return found if found >= LEAST_POINTS else self._levels(1)

    def _levels(self, of_a_class: int) -> int:
        draws = [draw for repeat in self.repeats for draw in repeat]
        level = 1
        while all(draw.wanted(level) >= of_a_class * draw.classes for draw in draws) and self.rows(
            level
        ) <= _SMALLER * self.rows(level - 1):
            level += 1
        return level


def draws_of(rows: int) -> int:
    """How many draws of so many rows are tested."""
    return next((count for most, count in DRAWS if rows <= most), LEAST_DRAWS)


MOST_REPEATS = max(count for _, count in DRAWS)


def plan(training: Labelled, testing: Labelled | None, rngs: Sequence[np.random.Generator]) -> Plan:
    """The draws of a curve; each repeat is drawn by a generator of `rngs`, of which there are `MOST_REPEATS`.

    With test rows of their own: ten draws of up to 300 rows, five up to 1,000, three of more, and all rows once. Without,
    test rows are held out by folds, groups as a whole, and draws are of the others: of up to 500 rows in three divisions,
    each row tested once in each; of more in one, each fold a repeat by itself; of more than 5,000 rows three of its folds.
    A generator deals the folds first, as that of a cross-validation does. Raises FeaturesInvalid where none can be dealt.
    """
    if testing is not None:
        everything, judge = np.arange(len(training.labels)), np.arange(len(testing.labels))
        return Plan(tuple((_drawn(training, everything, judge, rng),) for rng in rngs), apart=False, divided=False)
    rows, k = len(training.labels), fold_count(training)
    repeats = [_dealt(training, k, rng) for rng in rngs[: REPEATS if rows <= REPEATED_ROWS else 1]]
    if len(repeats) > 1:
        return Plan(tuple(repeats), apart=False, divided=True)
    (single,) = repeats
    used = single[:LEAST_DRAWS] if rows > CROSS_VALIDATED else single
    return Plan(tuple((draw,) for draw in used), apart=True, divided=True)


def _dealt(data: Labelled, k: int, rng: np.random.Generator) -> tuple[Draw, ...]:
    """A draw for each fold of a division, of the rows outside."""
    numbers = folds(data.labels, data.groups, k, rng)
    sides = [(np.flatnonzero(numbers != fold), np.flatnonzero(numbers == fold)) for fold in range(int(numbers.max()) + 1)]
    return tuple(_drawn(data, learn, judge, rng) for learn, judge in sides)


def _drawn(data: Labelled, learn: Rows, judge: Rows, rng: np.random.Generator) -> Draw:
    """The rows to learn from in an order of their groups: one row of each class that a group has stands for it, so that
    large groups are not drawn sooner."""
    if data.groups is None:
        order = learn[in_shares(data.labels[learn], rng)]
        return Draw(order, data.labels[order], np.arange(1, len(order) + 1), judge)
    groups, labels = data.groups[learn], data.labels[learn]
    _, first = np.unique(np.stack([groups, labels]), axis=1, return_index=True)
    drawn = dict.fromkeys(groups[first][in_shares(labels[first], rng)].tolist())
    rank = {group: place for place, group in enumerate(drawn)}
    places = np.array([rank[group] for group in groups.tolist()])
    order = learn[np.argsort(places, kind="stable")]
    return Draw(order, data.labels[order], np.cumsum(np.bincount(places)), judge)
