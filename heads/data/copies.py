"""Rows of the same picture, found by their features: equal pixels give equal features, up to the last digits."""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

Features = npt.NDArray[np.float32]
Places = npt.NDArray[np.int64]

TOLERANCE = 1e-3
"""How far apart the features of one picture may be, as a share of their distance from the mean of all: a batch of another
size, or another kernel, moves the last digits. The distance from the mean, since an untrained backbone's features are
nearly the same for all pictures."""
LEAST_DIM = 64
"""With fewer features only equal rows count as one picture: few numbers may be close by chance."""
_TABLES, _DIRECTIONS, _WIDTH = 8, 3, 10 * TOLERANCE
_ROWS_AT_ONCE = 2048


def copies(parts: Sequence[Features]) -> Places:
    """For the rows (N,) of all parts, each (n, D), one after the other: the place of the first row of the same picture.

    Every row is projected on fixed random directions, and rows are compared with those that follow them in a cell of these
    projections: locality-sensitive hashing (M. Datar et al., Locality-Sensitive Hashing Scheme Based on p-Stable
    Distributions, 2004), eight times over, so that a pair at the tolerance is missed once in 100,000 times. Time is that of
    sorting, N log N, and memory that of a few numbers a row.
    """
    count = sum(len(part) for part in parts)
    cells, norms = _cells(parts)
    found = [np.zeros((0, 2), dtype=np.int64)]
    for table in cells:
        found += [pairs[_same(parts, pairs, norms)] for pairs in _neighbours(table)]
    pairs = np.concatenate(found)
    graph = coo_array((np.ones(len(pairs), dtype=np.bool_), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    _, component = connected_components(graph, directed=False)
    _, first, inverse = np.unique(component, return_index=True, return_inverse=True)
    places: Places = first[inverse].astype(np.int64)
    return places


def _cells(parts: Sequence[Features]) -> tuple[list[npt.NDArray[np.int32]], npt.NDArray[np.float64]]:
    """The cells of all rows in each table (N, directions + 1), and the rows' distances from the mean (N,)."""
    dim, count = parts[0].shape[1], sum(len(part) for part in parts)
    rng = np.random.default_rng(0)
    directions = rng.standard_normal((dim, _TABLES * _DIRECTIONS)).astype(np.float32)
    shifts = rng.random((_TABLES, _DIRECTIONS + 1))
    mean = (sum(part.sum(axis=0, dtype=np.float64) for part in parts) / max(count, 1)).astype(np.float32)
    norms, seen = np.empty(count), np.empty((count, _TABLES * _DIRECTIONS))
    done = 0
    for part in parts:
        for start in range(0, len(part), _ROWS_AT_ONCE):
            centred = part[start : start + _ROWS_AT_ONCE] - mean
            own = slice(done, done + len(centred))
            norms[own] = np.sqrt(np.einsum("ij,ij->i", centred, centred, dtype=np.float64))
            seen[own] = (centred @ directions) / np.maximum(norms[own], np.finfo(np.float64).tiny)[:, None]
            done += len(centred)
    logs = np.log(np.maximum(norms, np.finfo(np.float32).tiny))[:, None]
    places = np.concatenate([seen.reshape(count, _TABLES, _DIRECTIONS), np.repeat(logs[:, None], _TABLES, axis=1)], axis=2)
    return list(np.floor(places / _WIDTH + shifts).astype(np.int32).transpose(1, 0, 2)), norms


def _neighbours(table: npt.NDArray[np.int32]) -> Iterator[Places]:
    """Pairs of rows (n, 2) that follow each other, or nearly, among those of one cell."""
    order = np.lexsort(table.T[::-1])
    cells = table[order]
    for step in (1, 2, 3):
        alike = (cells[step:] == cells[:-step]).all(axis=1)
        yield np.stack([order[:-step][alike], order[step:][alike]], axis=1).astype(np.int64)


def _same(parts: Sequence[Features], pairs: Places, norms: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Which pairs (n, 2) are rows of one picture."""
    found = np.empty(len(pairs), dtype=np.bool_)
    for start in range(0, len(pairs), _ROWS_AT_ONCE):
        own = pairs[start : start + _ROWS_AT_ONCE]
        apart = _at(parts, own[:, 0]) - _at(parts, own[:, 1])
        distance = np.sqrt(np.einsum("ij,ij->i", apart, apart, dtype=np.float64))
        tolerance = TOLERANCE if parts[0].shape[1] >= LEAST_DIM else 0.0
        found[start : start + len(own)] = distance <= tolerance * norms[own].max(axis=1)
    return found


def _at(parts: Sequence[Features], places: Places) -> Features:
    """The rows at these places of all parts."""
    found, first = np.empty((len(places), parts[0].shape[1]), dtype=np.float32), 0
    for part in parts:
        own = (places >= first) & (places < first + len(part))
        found[own] = part[places[own] - first]
        first += len(part)
    return found
