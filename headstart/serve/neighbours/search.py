"""Exact search for the rows of features that point most in the direction of others, a block of rows at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from headstart.core.heads.streams.on_disk import OnDisk

Features = npt.NDArray[np.float32]
Places = npt.NDArray[np.int64]

BLOCK = 2**25
"""Bytes of rows, as float32, that are compared at a time; rows on the disk take this twice."""
DIGITS = 6
"""Decimals that cosines are compared in: of float32 products more depend on the order of the sums, and equal rows would
come in any order."""


class Search:
    """The cosines of features to N rows; `keep` says whether the rows, N x D x 4 bytes, stay in memory, else each search
    reads them. Any number of threads may ask, one search at a time reads.

    Raises FeaturesDamaged, FeaturesInvalid for rows that can't be read.
    """

    def __init__(self, rows: OnDisk, *, keep: bool) -> None:
        self._rows, self._lock = rows, threading.Lock()
        self._most = max(1, BLOCK // (4 * rows.dim))
        self._kept: Features | None = None
        if keep:
            kept = np.empty((len(rows.labels), rows.dim), dtype=np.float32)
            for places, features in self._read():
                kept[places] = _units(features)
            self._kept = kept

    def nearest(self, features: Features, count: int) -> tuple[Places, Features]:
        """For each of the features (n, D) the places (n, k) of the `count` rows, all if there are fewer, with the highest
        cosine, and the cosines (n, k); those that are equal in `DIGITS` decimals in the order of the rows. The cosine to
        a row of zeros is 0.

        Raises FeaturesDamaged, FeaturesInvalid where rows on the disk are not what they were.
        """
        asked = _units(np.asarray(features, dtype=np.float32))
        best = np.zeros((len(asked), 0), dtype=np.int64), np.zeros((len(asked), 0), dtype=np.float32)
        if count < 1 or not len(asked):
            return best
        if self._kept is not None:
            for start in range(0, len(self._kept), self._most):
                part = self._kept[start : start + self._most]
                best = _better(best, start + np.arange(len(part)), asked @ part.T, count)
            return best
        with self._lock:
            for places, block in self._read():
                best = _better(best, places, asked @ _units(block).T, count)
        return best

    def _read(self) -> Iterator[tuple[Places, Features]]:
        every = np.ones(len(self._rows.labels), dtype=np.bool_)
        yield from ((block.places, block.features) for block in self._rows.blocks(every, self._most))


def _units(features: Features) -> Features:
    """The same directions (n, D) with the length 1, zeros as they are; a copy."""
    lengths = np.sqrt(np.einsum("nd,nd->n", features, features, dtype=np.float64))  # float32 squares may be too large
    lengths[lengths == 0] = 1
    return features / lengths.astype(np.float32)[:, None]


def _better(best: tuple[Places, Features], places: Places, cosines: Features, count: int) -> tuple[Places, Features]:
    """The best of what was found (n, k) and of further rows (m,), rising, with their cosines (n, m)."""
    values = np.concatenate([best[1], np.round(cosines, DIGITS)], axis=1)
    rows = np.concatenate([best[0], np.broadcast_to(places, cosines.shape)], axis=1)
    chosen = np.stack([_first(own, count) for own in values])
    return np.take_along_axis(rows, chosen, axis=1), np.take_along_axis(values, chosen, axis=1)


def _first(values: Features, count: int) -> Places:
    """The places of the `count` largest values (m,), the largest first, equal ones in their order; all if there are fewer.
    What stood in `best` is of earlier rows and stands first."""
    if count < len(values):
        least = np.partition(values, -count)[-count]
        there = np.flatnonzero(values >= least)
    else:
        there = np.arange(len(values))
    order: Places = there[np.argsort(-values[there], kind="stable")][:count]
    return order
