"""The nearest rows of every row of a set, a block of rows at a time, and all pairs that are nearer than a bound."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from scipy.linalg import eigh

Features = npt.NDArray[np.float32]
Places = npt.NDArray[np.int64]
Distances = npt.NDArray[np.float32]

REDUCED = 256
"""Axes that rows are compared on first. All 2,048 of a ResNet50 would be eight times the products."""
SAMPLED = 8192
"""Rows that the axes are found by. Whatever the axes, no pair within a bound is missed; good ones rule out more."""
BLOCK = 2**27
"""Bytes of distances that are held at a time."""
MARGIN = 1e-5
"""How far a squared distance by float32 products may be off: rows of length 1 sum to 1e-6 at most."""
_GROUP = 64
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
    """Rows (N, D) by their directions alone, held twice: whole, and reduced to the leading axes of their principal
    components with the length of what these leave out as one more number.

    The distance of two rows so reduced is never more than their own: projections shorten, and of what is left out the
    lengths differ by no more than it does (the triangle inequality). So what lies beyond a bound there lies beyond it, and
    is not looked at. A row of zeros is at 0.5 from every other.
    """

    def __init__(self, features: Features) -> None:
        lengths = np.sqrt(np.einsum("nd,nd->n", features, features, dtype=np.float64))
        lengths[lengths == 0] = 1
        self._whole: Features = (features / lengths[:, None]).astype(np.float32)
        self._reduced = _reduced(self._whole)
        self._squares = np.einsum("nd,nd->n", self._reduced, self._reduced)

    def __len__(self) -> int:
        return len(self._whole)

    def nearest(self, count: int) -> Nearest:
        """The `count` nearest rows of each: the nearest by their whole features among twice as many, and some, that are
        nearest when reduced. So of many axes one in a thousand may be exchanged for another that is hardly farther."""
        k = max(0, min(count, len(self) - 1))
        among = min(2 * k + 4, len(self) - 1)
        places = np.empty((len(self), k), dtype=np.int64)
        distances = np.empty((len(self), k), dtype=np.float32)
        if k:
            for start, nearness in self._blocks():
                own = slice(start, start + len(nearness))
                found = _highest(nearness, among)
                places[own], distances[own] = self._best(start, found, k)
        return Nearest(places, distances)

    def within(self, bound: float, most: int) -> tuple[Places, Distances]:
        """All pairs (P, 2) of rows, the earlier first, whose cosine distance is at most `bound`, and the distances (P,).
        Where more than `most` may be, only some of the first rows' are looked at."""
        pairs, distances = [np.zeros((0, 2), dtype=np.int64)], [np.zeros(0, dtype=np.float32)]
        for start, nearness in self._blocks():
            room = most - sum(map(len, distances))
            if room <= 0:
                break
            own = self._squares[start : start + len(nearness)]
            nearness -= own[:, None]
            rows, columns = np.nonzero(nearness >= -2 * bound - MARGIN)
            later = columns > rows + start
            found = np.stack([rows[later] + start, columns[later]], axis=1).astype(np.int64)[:room]
            apart = self._apart(found)
            pairs.append(found[apart <= bound])
            distances.append(apart[apart <= bound])
        return np.concatenate(pairs), np.concatenate(distances)

    def between(self, pairs: Places) -> Distances:
        """The cosine distances (P,) of pairs (P, 2) of rows."""
        return self._apart(pairs)

    def _blocks(self) -> Iterator[tuple[int, Features]]:
        """For some rows after the other the first of them, and of each the negative squared reduced distance to every row
        (n, N), its own square left out, and minus infinity to itself."""
        most = max(1, BLOCK // (4 * len(self)))
        for start in range(0, len(self), most):
            rows = self._reduced[start : start + most]
            nearness = rows @ self._reduced.T
            nearness *= 2
            nearness -= self._squares
            nearness[np.arange(len(rows)), start + np.arange(len(rows))] = -np.inf
            yield start, nearness

    def _best(self, start: int, among: Places, count: int) -> tuple[Places, Distances]:
        """Of each row from `start` on the nearest of its candidates `among` (n, m) by the whole features."""
        apart = np.empty(among.shape, dtype=np.float32)
        most = max(1, _CHECKED // (4 * self._whole.shape[1] * max(1, among.shape[1])))
        for first in range(0, len(among), most):
            rows = self._whole[start + first : start + first + most][: len(among) - first]
            others = self._whole[among[first : first + most]]
            apart[first : first + most] = 1 - np.matmul(others, rows[:, :, None])[:, :, 0]
        again = np.argwhere(apart < _CANCELLED)
        apart[again[:, 0], again[:, 1]] = self._apart(
            np.stack([start + again[:, 0], among[again[:, 0], again[:, 1]]], axis=1)
        )
        order = np.lexsort((among, apart), axis=1)[:, :count]
        return np.take_along_axis(among, order, axis=1), np.take_along_axis(apart, order, axis=1)

    def _apart(self, pairs: Places) -> Distances:
        """By differences: those of equal rows are 0, which 1 less a sum of products is not."""
        found = np.empty(len(pairs), dtype=np.float32)
        most = max(1, _CHECKED // (4 * self._whole.shape[1]))
        for start in range(0, len(pairs), most):
            own = pairs[start : start + most]
            apart = self._whole[own[:, 0]]
            apart -= self._whole[own[:, 1]]
            found[start : start + most] = np.einsum("pd,pd->p", apart, apart) / 2
        return found


def _reduced(rows: Features) -> Features:
    """Rows (N, D) less their mean on the leading axes, and the length of the rest: (N, axes + 1), or (N, D) of few axes."""
    centred: Features = rows - rows.mean(axis=0, dtype=np.float64).astype(np.float32)
    dim = rows.shape[1]
    if dim <= REDUCED:
        return centred
    sample = centred[:: max(1, len(centred) // SAMPLED)]
    _, axes = eigh(sample.T @ sample, subset_by_index=(dim - REDUCED, dim - 1))
    found = centred @ axes.astype(np.float32)
    whole, kept = (np.einsum("nd,nd->n", one, one, dtype=np.float64) for one in (centred, found))
    rest = np.sqrt(np.maximum(whole - kept, 0)).astype(np.float32)
    return np.concatenate([found, rest[:, None]], axis=1)


def _highest(values: Features, count: int) -> Places:
    """The places (n, count) of the highest of values (n, N), in no order: they are in the groups of columns whose highest
    are the highest, so that few columns are looked at one by one."""
    rows, columns = values.shape
    groups = columns // _GROUP
    if groups <= 2 * count:
        return np.argpartition(values, columns - count, axis=1)[:, columns - count :]
    tops = values[:, : groups * _GROUP].reshape(rows, groups, _GROUP).max(axis=2)
    best = np.argpartition(tops, groups - count, axis=1)[:, groups - count :]
    inside = (best[:, :, None] * _GROUP + np.arange(_GROUP)).reshape(rows, -1)
    rest = np.broadcast_to(np.arange(groups * _GROUP, columns), (rows, columns - groups * _GROUP))
    places = np.concatenate([inside, rest], axis=1)
    chosen = np.argpartition(np.take_along_axis(values, places, axis=1), places.shape[1] - count, axis=1)
    return np.take_along_axis(places, chosen[:, places.shape[1] - count :], axis=1)
