"""Rows dealt to the folds of a cross-validation, or held out once: classes spread evenly, rows of a group never apart."""

from collections import Counter

import numpy as np
import numpy.typing as npt

from headstart.core.cache.errors import FeaturesInvalid
from headstart.core.heads.data import sampling

Rows = npt.NDArray[np.int64]


def folds(labels: Rows, groups: Rows | None, k: int, rng: np.random.Generator) -> Rows:
    """The fold, from 0, of each row with these labels (N,) and groups (N,): k folds, or one for each group where these are
    fewer. Rows without groups are one each.

    Groups are dealt one after the other, large ones first, then those of rare classes, each to the fold that has the least
    of its classes: so without groups the folds' rows of a class differ by one at most. No fold is empty, and two classes or
    more are left outside each fold; where k folds can't have that, more are dealt. Raises FeaturesInvalid where no folds
    can.
    """
    members = _members(labels, groups)
    if not _possible(labels, members):
        rows = "" if groups is None else f" in {len(members)} groups"
        part = "images" if groups is None else "groups"
        way = ", or use --test-fraction 0.2" if len(held_out(labels, groups, 1, rng)[1]) else ""
        raise FeaturesInvalid(
            f"{len(labels)} rows of {len(np.unique(labels))} classes{rows} can't be cross-validated: without one of the "
            f"{part} the others are of one class, or none are left; add {part} of the smaller classes{way}"
        )
    for count in range(min(max(k, 2), len(members)), len(members) + 1):
        found = _repaired(labels, members, _dealt(labels, members, count, rng))
        if not _poor(labels, found).size:
            return found
    raise AssertionError("each group in a fold of its own leaves two classes outside")


def held_out(labels: Rows, groups: Rows | None, count: int, rng: np.random.Generator) -> tuple[Rows, Rows]:
    """The rows that stay and those that are held out, as `sampling.divide`, whole groups on one side.

    With groups the number that is held out may be another: `count` is exceeded only where every group has more rows. None
    is held out where a class would not stay.
    """
    if groups is None or count < 1 or len(np.unique(groups)) == len(labels):
        return sampling.divide(labels, count, rng)
    members = _members(labels, groups)
    of_row = np.empty(len(labels), dtype=np.int64)
    for group, rows in enumerate(members):
        of_row[rows] = group
    order = list(dict.fromkeys(of_row[sampling.spread(labels, rng)].tolist()))
    inside = [Counter(labels[rows].tolist()) for rows in members]
    out = np.isin(of_row, _chosen(order, inside, Counter(labels.tolist()), count))
    return np.flatnonzero(~out), np.flatnonzero(out)


def _chosen(order: list[int], inside: list[Counter[int]], total: Counter[int], count: int) -> list[int]:
    """The groups that are held out, of those in this order with so many rows of each class `inside`: as many of a class as
    its share of `count` allows, then whatever fits, else the smallest that leaves a row of each class."""
    held: set[int] = set()
    left, room = total.copy(), count
    for quota in (Counter({c: -(-n * count // total.total()) for c, n in total.items()}), total.copy()):
        for group in order:
            rows = inside[group]
            fits = group not in held and rows.total() <= room
            if fits and all(left[c] > n and quota[c] >= n for c, n in rows.items()):
                held.add(group)
                left.subtract(rows)
                quota.subtract(rows)
                room -= rows.total()
    smallest = sorted(order, key=lambda group: inside[group].total())
    fitting = (group for group in smallest if all(left[c] > n for c, n in inside[group].items()))
    return sorted(held) or [*fitting][:1]


def _members(labels: Rows, groups: Rows | None) -> list[Rows]:
    """The rows of each group."""
    if groups is None:
        return list(np.arange(len(labels))[:, None])
    _, places = np.unique(groups, return_inverse=True)
    order = np.argsort(places, kind="stable")
    return np.split(order, np.cumsum(np.bincount(places))[:-1])


def _possible(labels: Rows, members: list[Rows]) -> bool:
    """Whether each group leaves two classes outside: then folds of one group each do, and none do better."""
    total = Counter(labels.tolist())
    if len(members) == len(labels):
        return len(total) - (1 in total.values()) >= 2
    inside = (Counter(labels[rows].tolist()) for rows in members)
    return all(len(total) - sum(total[c] == n for c, n in own.items()) >= 2 for own in inside)


def _dealt(labels: Rows, members: list[Rows], k: int, rng: np.random.Generator) -> Rows:
    sizes = Counter(labels.tolist())
    classes = [labels[rows].tolist() for rows in members]
    drawn = rng.permutation(len(members)).tolist()
    order = sorted(drawn, key=lambda g: (-len(members[g]), sizes[classes[g][0]], classes[g][0]))
    held: list[Counter[int]] = [Counter() for _ in range(k)]
    rows, first = [0] * k, rng.permutation(k).tolist()
    found = np.empty(len(labels), dtype=np.int64)
    empty = k
    for place, group in enumerate(order):
        own = classes[group]
        among = range(k) if empty < len(order) - place else [fold for fold in range(k) if not rows[fold]]
        # what the sum over classes of the squared shares of its rows grows by: least where they are even
        _, _, _, fold = min((sum([held[f][c] / sizes[c] for c in own]), rows[f], first[f], f) for f in among)
        empty -= not rows[fold]
        found[members[group]] = fold
        held[fold].update(own)
        rows[fold] += len(own)
    return found


def _poor(labels: Rows, found: Rows) -> Rows:
    """The folds that leave rows of one class alone outside."""
    return np.array([f for f in range(int(found.max()) + 1) if len(np.unique(labels[found != f])) < 2], dtype=np.int64)


def _repaired(labels: Rows, members: list[Rows], found: Rows) -> Rows:
    """The folds with a group moved out of one that holds all classes but one. There is a second such group, since one
    alone could not be predicted by any folds."""
    for fold in _poor(labels, found):
        (outside,) = np.unique(labels[found != fold])
        inside = [rows for rows in members if found[rows[0]] == fold and (labels[rows] != outside).any()]
        other = min((f for f in np.unique(found) if f != fold), key=lambda f: int((found == f).sum()))
        found[min(inside, key=len)] = other
    return found
