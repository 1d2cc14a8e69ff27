"""Features (N, D) in two dimensions: PCA, and t-SNE where there are rows enough."""

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

POINTS = 1_000
THUMBNAILS = 24
FEWEST = 10
"""Rows below which t-SNE is left out: they have too few neighbours to keep."""
PERPLEXITY = 30.0
"""scikit-learn's and the authors' usual number of neighbours; a third of the rows where there are few."""
_COMPONENTS = 50
"""Principal components that t-SNE is given, so that its distances are less of noise (van der Maaten and Hinton, 2008)."""

Floats = npt.NDArray[np.floating[Any]]
Rows = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class Thumbnail:
    """A point that is to be shown as the picture of its row; `image` is the picture as a data URI, once there is one, and
    `id` what the image is known by."""

    x: float
    y: float
    row: int
    image: str | None = None
    id: str = ""


@dataclasses.dataclass(frozen=True)
class Projection:
    """Points (x, y, class index), some with a picture.

    `explained` are both axes' shares of the variance (PCA); `perplexity` and `kl_divergence` are t-SNE's. None where the
    method has none.
    """

    method: str
    points: tuple[tuple[float, float, int], ...]
    thumbnails: tuple[Thumbnail, ...]
    explained: tuple[float, float] | None = None
    perplexity: float | None = None
    kl_divergence: float | None = None


@dataclasses.dataclass(frozen=True)
class FeatureMap:
    """The same rows by both methods; `tsne` is None where they are too few."""

    pca: Projection
    tsne: Projection | None


def feature_map(features: npt.NDArray[np.float32], labels: Rows, rows: Rows) -> FeatureMap | None:
    """Some features (N, D) on their two principal axes (scikit-learn's PCA, of standardised features), and the same ones
    by t-SNE, each with its class index from `labels` (N,).

    Up to `POINTS` rows are drawn evenly over all. The same rows give the same map; one row, or features that never vary,
    give None. `rows` (N,) are the numbers by which they are known.
    """
    from sklearn.decomposition import PCA
    from threadpoolctl import threadpool_limits

    # evenly, not the first ones: those of a set sorted by class would be of a few classes
    chosen = np.linspace(0, len(labels) - 1, min(POINTS, len(labels))).round().astype(np.int64)
    standard, labels, rows = _standardised(features[chosen]), labels[chosen], rows[chosen]
    if min(standard.shape) < 2 or not standard.any():
        return None
    with threadpool_limits(limits=1):  # threads add in another order, and t-SNE makes much of the last digit (measured)
        axes = PCA(n_components=2, random_state=0)
        points = axes.fit_transform(standard)
        first, second = (float(share) for share in axes.explained_variance_ratio_)
        pca = dataclasses.replace(_projection("PCA", points, labels, rows), explained=(first, second))
        return FeatureMap(pca, _tsne(standard, labels, rows))


def _standardised(features: npt.NDArray[np.float32]) -> Floats:
    part = features.astype(np.float64)
    deviation = part.std(axis=0)
    found: Floats = (part - part.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0)
    return found


def _tsne(standard: Floats, labels: Rows, numbers: Rows) -> Projection | None:
    """L. van der Maaten and G. Hinton, Visualizing Data using t-SNE, JMLR 9, 2008: neighbours stay neighbours.

    1,000 test rows of ResNet50 (D = 2048) took 4.3 to 5.0 s on one core of an AMD EPYC (Zen 4), the PCA 0.2 s.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    rows = len(standard)
    if rows < FEWEST:
        return None
    reduced = PCA(n_components=min(_COMPONENTS, *standard.shape), random_state=0).fit_transform(standard)
    perplexity = min(PERPLEXITY, (rows - 1) / 3)
    found = TSNE(n_components=2, init="pca", perplexity=perplexity, random_state=0)
    points = found.fit_transform(reduced)
    projection = _projection("t-SNE", points, labels, numbers)
    return dataclasses.replace(projection, perplexity=perplexity, kl_divergence=float(found.kl_divergence_))


def _projection(method: str, points: Floats, labels: Rows, numbers: Rows) -> Projection:
    return Projection(
        method,
        tuple((float(x), float(y), int(label)) for (x, y), label in zip(points, labels, strict=True)),
        tuple(Thumbnail(float(points[i, 0]), float(points[i, 1]), int(numbers[i])) for i in _spread_out(points)),
    )


def _spread_out(points: Floats) -> list[int]:
    """Points far from each other, each the farthest from all before it, for pictures that do not cover one another."""
    chosen = [0]
    distance = ((points - points[0]) ** 2).sum(axis=1)
    while len(chosen) < min(THUMBNAILS, len(points)):
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, ((points - points[chosen[-1]]) ** 2).sum(axis=1))
    return chosen
