"""The nearest rows of every row of a set, a block of rows at a time, and all pairs that are nearer than a bound."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch

from headstart.core.heads.solvers.axes import leading

Features = npt.NDArray[np.float32]
Places = npt.NDArray[np.int64]
Distances = npt.NDArray[np.float32]

REDUCED = 256
"""Axes, as many as `leading` finds, that rows are compared on first.
All 2,048 of a ResNet50 would be eight times the products."""
SAMPLED = 8192
"""Rows that the axes are found by. Whatever the axes, no pair within a bound is missed; good ones rule out more."""
BLOCK = 2**27
"""Bytes of distances that are held at a time."""
MARGIN = 1e-5
"""How far a squared distance by float32 products may be off: rows of length 1 sum to 1e-6 at most."""
_AT_ONCE = 2048
_GROUP = 64
_TINY = 1e-15
_CHECKED = 2**25
_CANCELLED = 1e-3  # below it 1 less a sum of products has lost digits


@dataclasses.dataclass(frozen=True, eq=False)
class Nearest:
    """Of N rows the `places` (N, k) of those nearest to each, the nearest first, and their cosine `distances` (N, k): one
    less the cosine, 0 to 2. k is N - 1 where there are so few rows."""

    places: Places
    distances: Distances

    @property
    def first(self) -> Distances:
        """The distances to the nearest row (N,), none (0,) where there is one row."""
        return self.distances[:, :1].reshape(-1)


class Directions:
    """Rows (N, D) by their directions alone: as they were given, not copied, with their lengths, and reduced to the leading
    axes of their principal components with the length of what these leave out as one more number.

    The distance of two rows so reduced is never more than their own: projections shorten, and of what is left out the
    lengths differ by no more than it does (the triangle inequality). So what lies beyond a bound there lies beyond it, and
    is not looked at. A row of zeros is at 0.5 from every other.
    """

    def __init__(self, features: Features) -> None:
        lengths = np.sqrt(np.einsum("nd,nd->n", features, features, dtype=np.float64))
        lengths[lengths == 0] = 1
        if lengths.min(initial=1) < _TINY or lengths.max(initial=1) > 1 / _TINY:  # whose products overflow
            features, lengths = (features / lengths[:, None]).astype(np.float32), np.ones(len(features))
        self._rows, self._shares = features, (1 / lengths).astype(np.float32)
        self._reduced = _reduced(self._rows, self._shares)
        self._squares = np.einsum("nd,nd->n", self._reduced, self._reduced)
        self._least: Distances | None = None

    def __len__(self) -> int:
        return len(self._rows)

    def nearest(self, count: int, first: int | None = None) -> Nearest:
        """The `count` nearest rows of each, or of the `first` ones alone, among all: the nearest by their whole features
        among twice as many, and some, that are nearest when reduced. So of many axes one in a thousand may be exchanged for
        another that is hardly farther."""
        k = max(0, min(count, len(self) - 1))
        among, rows = min(2 * k + 4, len(self) - 1), len(self) if first is None else first
        places = np.empty((rows, k), dtype=np.int64)
        distances = np.empty((rows, k), dtype=np.float32)
        if not k:
            return Nearest(places, distances)
        least = np.empty(rows, dtype=np.float32)
        for start, nearness in self._blocks(np.arange(len(self)), rows):
            own = slice(start, start + len(nearness))
            found, apart = _highest(nearness, among)
            least[own] = self._squares[own] - apart.max(axis=1)
            places[own], distances[own] = self._best(start, found, k)
        if rows == len(self):
            self._least = least
        return Nearest(places, distances)

    def within(self, bound: float, most: int) -> tuple[Places, Distances]:
        """All pairs (P, 2) of rows, the earlier first, whose cosine distance is at most `bound`, and the distances (P,).
        Where more than `most` may be, only some of the first rows' are looked at. Rows whose nearest one is known to be
        farther, as `nearest` finds out, are not looked at."""
        pairs, distances = [np.zeros((0, 2), dtype=np.int64)], [np.zeros(0, dtype=np.float32)]
        there = np.arange(len(self)) if self._least is None else np.flatnonzero(self._least <= 2 * bound + MARGIN)
        for start, nearness in self._blocks(there, len(there)):
            room = most - sum(map(len, distances))
            if room <= 0:
                break
            nearness -= self._squares[there[start : start + len(nearness)], None]
            rows, columns = np.nonzero(nearness >= -2 * bound - MARGIN)
            later = columns > rows + start
            found = np.stack([there[rows[later] + start], there[columns[later]]], axis=1)[:room]
            apart = self._apart(found)
            pairs.append(found[apart <= bound])
            distances.append(apart[apart <= bound])
        return np.concatenate(pairs), np.concatenate(distances)

    def between(self, pairs: Places) -> Distances:
        """The cosine distances (P,) of pairs (P, 2) of rows."""
        return self._apart(pairs)

    def _blocks(self, among: Places, first: int) -> Iterator[tuple[int, Features]]:
        """For some of the `first` rows `among` (n,) after the other the place of the first of them, and of each the
        negative squared reduced distance to all n, its own square left out, and minus infinity to itself."""
        most = max(1, BLOCK // (4 * max(1, len(among))))
        whole = len(among) == len(self)
        reduced, squares = (one if whole else one[among] for one in (self._reduced, self._squares))
        others = np.concatenate([reduced, -squares[:, None]], axis=1).T
        ones = np.ones((most, 1), dtype=np.float32)
        for start in range(0, first, most):
            rows = 2 * reduced[start : min(start + most, first)]
            nearness = np.concatenate([rows, ones[: len(rows)]], axis=1) @ others
            nearness[np.arange(len(rows)), start + np.arange(len(rows))] = -np.inf
            yield start, nearness

    def _best(self, start: int, among: Places, count: int) -> tuple[Places, Distances]:
        """Of each row from `start` on the nearest of its candidates `among` (n, m) by the whole features."""
        apart = np.empty(among.shape, dtype=np.float32)
        most = max(1, _CHECKED // (4 * self._rows.shape[1] * max(1, among.shape[1])))
        for first in range(0, len(among), most):
            own, places = slice(start + first, min(start + first + most, start + len(among))), among[first : first + most]
            products = np.matmul(self._rows[places], self._rows[own][:, :, None])[:, :, 0]
            apart[first : first + most] = 1 - products * self._shares[own, None] * self._shares[places]
        again = np.argwhere(apart < _CANCELLED)
        apart[again[:, 0], again[:, 1]] = self._apart(
            np.stack([start + again[:, 0], among[again[:, 0], again[:, 1]]], axis=1)
        )
        order = np.lexsort((among, apart), axis=1)[:, :count]
        return np.take_along_axis(among, order, axis=1), np.take_along_axis(apart, order, axis=1)

    def _apart(self, pairs: Places) -> Distances:
        """By differences: those of equal rows are 0, which 1 less a sum of products is not."""
        found = np.empty(len(pairs), dtype=np.float32)
        most = max(1, _CHECKED // (4 * self._rows.shape[1]))
        for start in range(0, len(pairs), most):
            one, other = pairs[start : start + most].T
            apart = self._rows[one] * self._shares[one, None]
            apart -= self._rows[other] * self._shares[other, None]
            found[start : start + most] = np.einsum("pd,pd->p", apart, apart) / 2
        return found


def _reduced(rows: Features, shares: Features) -> Features:
    """Rows (N, D) of length 1, as they are with each times its share (N,), less their mean, on the leading axes, and the
    length of the rest: (N, axes + 1), or (N, D) of few axes. Some rows at a time: no copy of all is held."""
    count, dim = rows.shape
    mean = sum((shares[own].astype(np.float64) @ rows[own] for own in _slices(count)), np.zeros(dim)).astype(
        np.float32
    ) / np.float32(max(1, count))
    if dim <= REDUCED:
        few: Features = rows * shares[:, None] - mean
        return few
    step = max(1, count // SAMPLED)
    sample = torch.from_numpy(rows[::step] * shares[::step, None])
    axes = leading(sample, torch.from_numpy(mean), torch.ones(len(sample), dtype=torch.float64)).precise.float().numpy()
    found = np.empty((count, axes.shape[1] + 1), dtype=np.float32)
    for own in _slices(count):
        centred = rows[own] * shares[own, None] - mean
        np.matmul(centred, axes, out=found[own, :-1])
        whole, kept = (np.einsum("nd,nd->n", one, one, dtype=np.float64) for one in (centred, found[own, :-1]))
        found[own, -1] = np.sqrt(np.maximum(whole - kept, 0))
    return found


def _slices(count: int) -> Iterator[slice]:
    return (slice(start, start + _AT_ONCE) for start in range(0, count, _AT_ONCE))


def _highest(values: Features, count: int) -> tuple[Places, Features]:
    """The places (n, count) of the highest of values (n, N), in no order, and these: they are in the groups of columns
    whose highest are the highest, so that few columns are looked at one by one. Columns of a group are far from each other,
    so that the highest of all groups are found by comparing whole stretches of a row."""
    rows, columns = values.shape
    groups = columns // _GROUP
    if groups <= 2 * count:
        places = np.argpartition(values, columns - count, axis=1)[:, columns - count :]
        return places, np.take_along_axis(values, places, axis=1)
    tops = values[:, : groups * _GROUP].reshape(rows, _GROUP, groups).max(axis=1)
    best = np.argpartition(tops, groups - count, axis=1)[:, groups - count :]
    inside = (best[:, :, None] + groups * np.arange(_GROUP)).reshape(rows, -1)
    rest = np.broadcast_to(np.arange(groups * _GROUP, columns), (rows, columns - groups * _GROUP))
    places = np.concatenate([inside, rest], axis=1)
    own = np.take_along_axis(values, places, axis=1)
    chosen = np.argpartition(own, places.shape[1] - count, axis=1)[:, places.shape[1] - count :]
    return np.take_along_axis(places, chosen, axis=1), np.take_along_axis(own, chosen, axis=1)
