"""All rows of a set in two dimensions, for tools that show them as a map."""

import dataclasses

import numpy as np
import numpy.typing as npt

from headstart.core.heads.statistics.maps import FEWEST, PERPLEXITY

Floats = npt.NDArray[np.float32]

MOST = 5_000
"""Rows that t-SNE lays out: 5,000 took 35 s, 10,000 took 77 s, of 50 random numbers each, on one of two shared cores of an
AMD EPYC (Zen 5) beside other work."""
BETWEEN = 3
"""Rows laid out by t-SNE that every other row is put between."""
_COMPONENTS = 50
_BLOCK = 4096


@dataclasses.dataclass(frozen=True, eq=False)
class Layout:
    """Points (N, 2) of N rows, and how they were found, in words."""

    points: Floats
    method: str


def layout(features: Floats) -> Layout:
    """Features (N, D) laid out by their directions: 50 principal components of rows of length 1, then t-SNE (L. van der
    Maaten and G. Hinton, Visualizing Data using t-SNE, JMLR 9, 2008). Of more than `MOST` rows so many, drawn evenly, are
    laid out, and each other one is put at the mean of its `BETWEEN` nearest of these: a map of where it belongs, not of how
    far it is from others. The same rows give the same points. Few rows, or rows that never vary, lie on their principal
    axes."""
    reduced = _reduced(features)
    rows = len(reduced)
    if rows < FEWEST or not reduced.any():
        points = np.zeros((rows, 2), dtype=np.float32)
        points[:, : reduced.shape[1]] = reduced[:, :2]
        return Layout(points, "principal axes")
    if rows <= MOST:
        return Layout(_tsne(reduced), "t-SNE")
    drawn = np.linspace(0, rows - 1, MOST).round().astype(np.int64)
    own = _tsne(reduced[drawn])
    points = _between(reduced, reduced[drawn], own)
    points[drawn] = own
    method = f"t-SNE of {MOST:,} of them, each other one at the mean place of its {BETWEEN} nearest of these"
    return Layout(points, method)


def _reduced(features: Floats) -> Floats:
    """Rows of length 1 on at most 50 principal axes; (N, 0) where there is one row."""
    from sklearn.decomposition import PCA

    lengths = np.sqrt(np.einsum("nd,nd->n", features, features, dtype=np.float64))
    unit = (features / np.where(lengths > 0, lengths, 1.0)[:, None]).astype(np.float32)
    if len(unit) < 2 or (unit == unit[0]).all():
        return np.zeros((len(unit), 0), dtype=np.float32)
    found: Floats = PCA(min(_COMPONENTS, *unit.shape), random_state=0).fit_transform(unit).astype(np.float32)
    return found


def _tsne(reduced: Floats) -> Floats:
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    perplexity = min(PERPLEXITY, (len(reduced) - 1) / 3)
    with threadpool_limits(limits=1):  # threads add in another order, and t-SNE makes much of the last digit (measured)
        found = TSNE(n_components=2, init="pca", perplexity=perplexity, random_state=0).fit_transform(reduced)
    return np.asarray(found, dtype=np.float32)


def _between(rows: Floats, drawn: Floats, places: Floats) -> Floats:
    """For rows (N, d) the mean of the places (M, 2) of the nearest among those drawn (M, d)."""
    found, squares = np.empty((len(rows), 2), dtype=np.float32), np.einsum("md,md->m", drawn, drawn)
    for start in range(0, len(rows), _BLOCK):
        far = squares - 2 * (rows[start : start + _BLOCK] @ drawn.T)
        nearest = np.argpartition(far, BETWEEN - 1, axis=1)[:, :BETWEEN]
        found[start : start + _BLOCK] = places[nearest].mean(axis=1)
    return found
