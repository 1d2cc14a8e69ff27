"""Exact search for the rows of features that point most in the direction of others, a block of rows at a time."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from headstart.core.heads.streams.on_disk import OnDisk

Features = npt.NDArray[np.float32]
Places = npt.NDArray[np.int64]
Cosines = npt.NDArray[np.float64]

BLOCK = 2**25
"""Bytes of rows, as float32, that are compared at a time; rows on the disk take this twice."""
MARGIN = 1e-4
"""How far a cosine by float32 products may be from that by float64: rows within it of the best are computed again. The
worst that was seen was 6e-7, with up to 100,000 random features."""
REMEMBERED = 64
"""Questions whose answers are kept: those of the pictures that are in hand."""
DIGITS = 12
"""Decimals that cosines are compared in: the last ones of float64 depend on the order of the sums, and rows that are equal
would come in any order."""


class Search:
    """The cosines of features to N rows; `keep` says whether the rows, N x D x 4 bytes, stay in memory, else each search
    reads them. Any number of threads may ask, one search at a time reads.

    Raises FeaturesDamaged, FeaturesInvalid for rows that can't be read.
    """

    def __init__(self, rows: OnDisk, *, keep: bool) -> None:
        self._rows, self._lock = rows, threading.Lock()
        self._asked: OrderedDict[tuple[bytes, int], tuple[Places, Cosines]] = OrderedDict()
        self._asking = threading.Lock()
        self._most = max(1, BLOCK // (4 * rows.dim))
        self._lengths = np.ones(len(rows.labels))
        self._kept = np.empty((len(rows.labels) if keep else 0, rows.dim), dtype=np.float32)
        for places, features in self._read():
            self._lengths[places] = _lengths(features)
            if keep:
                self._kept[places] = features

    def nearest(self, features: Features, count: int) -> tuple[Places, Cosines]:
        """For each of the features (n, D) the places (n, k) of the `count` rows, all if there are fewer, with the highest
        cosine, and the cosines (n, k); those that are equal in the order of the rows. The cosine to a row of zeros is 0.

        Raises FeaturesDamaged, FeaturesInvalid where rows on the disk are not what they were.
        """
        exact = np.asarray(features, dtype=np.float64)
        exact = exact / _lengths(exact)[:, None]
        best = [_Best(one, count) for one in exact]
        if count > 0 and best:
            asked = exact.astype(np.float32)
            for places, rows in self._blocks():
                about = asked @ rows.T / self._lengths[places]
                for own, cosines in zip(best, about, strict=True):
                    own.look(places, rows, self._lengths[places], cosines)
        k = len(best[0].places) if best else 0
        return (
            np.array([own.places for own in best], dtype=np.int64).reshape(len(best), k),
            np.array([own.cosines for own in best], dtype=np.float64).reshape(len(best), k),
        )

    def nearest_to(self, features: Features, count: int) -> tuple[Places, Cosines]:
        """The same for features (D,): places (k,) and cosines (k,). Heads that share the rows ask it one after the other,
        so the last answers are remembered."""
        key = features.tobytes(), count
        with self._asking:
            if (known := self._asked.get(key)) is not None:
                return known
        places, cosines = self.nearest(features[None], count)
        found = places[0], cosines[0]
        with self._asking:
            self._asked[key] = found
            while len(self._asked) > REMEMBERED:
                self._asked.popitem(last=False)
        return found

    def _blocks(self) -> Iterator[tuple[Places, Features]]:
        if len(self._kept):
            for start in range(0, len(self._kept), self._most):
                rows = self._kept[start : start + self._most]
                yield start + np.arange(len(rows)), rows
            return
        with self._lock:
            yield from self._read()

    def _read(self) -> Iterator[tuple[Places, Features]]:
        every = np.ones(len(self._rows.labels), dtype=np.bool_)
        yield from ((block.places, block.features) for block in self._rows.blocks(every, self._most))


class _Best:
    """The best rows for one direction `asked` (D,) so far, the best first."""

    def __init__(self, asked: npt.NDArray[np.float64], count: int) -> None:
        self._asked, self._count = asked, count
        self.places, self.cosines = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float64)

    def look(
        self, places: Places, rows: Features, lengths: npt.NDArray[np.float64], about: npt.NDArray[np.float64]
    ) -> None:
        """Look at further rows (m, D), whose cosines are `about` (m,)."""
        least = self.cosines[-1] if len(self.cosines) == self._count else -np.inf
        if len(about) > self._count:
            least = max(least, np.partition(about, -self._count)[-self._count])
        there = np.flatnonzero(about >= least - MARGIN)
        found = np.einsum("md,d->m", rows[there].astype(np.float64), self._asked) / lengths[there]
        cosines = np.concatenate([self.cosines, np.round(found, DIGITS).clip(-1, 1)])
        order = np.argsort(-cosines, kind="stable")[: self._count]  # those found before are of earlier rows
        self.places = np.concatenate([self.places, places[there]])[order]
        self.cosines = cosines[order]


def _lengths(features: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Of each of the features (n, D); 1 for zeros. In float64: squares of float32 may be too large."""
    found: npt.NDArray[np.float64] = np.sqrt(np.einsum("nd,nd->n", features, features, dtype=np.float64))
    found[found == 0] = 1
    return found
