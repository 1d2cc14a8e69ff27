"""Features (N, D) in two dimensions: PCA, and t-SNE where there are rows enough. JSON values, as the report keeps them."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from headstart.core.heads.data import Labelled

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


def feature_map(data: Labelled) -> dict[str, Any] | None:
    """Some rows' features on their two principal axes (scikit-learn's PCA, of standardised features), and the same rows by
    t-SNE under `tsne`, None where they are too few.

    Up to `POINTS` rows are drawn evenly over all. The same rows give the same map; one row, or features that never vary,
    give None. Rows are numbered as `data.rows` says.
    """
    from sklearn.decomposition import PCA
    from threadpoolctl import threadpool_limits

    # evenly, not the first ones: those of a set sorted by class would be of a few classes
    chosen = np.linspace(0, len(data.labels) - 1, min(POINTS, len(data.labels))).round().astype(np.int64)
    standard, labels, rows = _standardised(data.features[chosen]), data.labels[chosen], data.rows[chosen]
    if min(standard.shape) < 2 or not standard.any():
        return None
    with threadpool_limits(limits=1):  # threads add in another order, and t-SNE makes much of the last digit (measured)
        axes = PCA(n_components=2, random_state=0)
        points = axes.fit_transform(standard)
        explained = [float(share) for share in axes.explained_variance_ratio_]
        return {**_described("PCA", points, labels, rows), "explained": explained, "tsne": _tsne(standard, labels, rows)}


def thumbnails(maps: Mapping[str, Mapping[str, Any] | None]) -> Iterator[dict[str, Any]]:
    """Every point of the models' maps that is to be shown as its picture, of both methods."""
    for found in filter(None, maps.values()):
        yield from found["thumbnails"]
        yield from (found.get("tsne") or {}).get("thumbnails", ())


def _standardised(features: npt.NDArray[np.float32]) -> Floats:
    part = features.astype(np.float64)
    deviation = part.std(axis=0)
    found: Floats = (part - part.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0)
    return found


def _tsne(standard: Floats, labels: Rows, numbers: Rows) -> dict[str, Any] | None:
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
    divergence = float(found.kl_divergence_)
    return {**_described("t-SNE", points, labels, numbers), "perplexity": perplexity, "kl_divergence": divergence}


def _described(method: str, points: Floats, labels: Rows, numbers: Rows) -> dict[str, Any]:
    return {
        "method": method,
        "rows": len(points),
        "points": [[float(x), float(y), int(label)] for (x, y), label in zip(points, labels, strict=True)],
        "thumbnails": [
            {"x": float(points[row, 0]), "y": float(points[row, 1]), "row": int(numbers[row])}
            for row in _spread_out(points)
        ],
    }


def _spread_out(points: Floats) -> list[int]:
    """Points far from each other, each the farthest from all before it, for pictures that do not cover one another."""
    chosen = [0]
    distance = ((points - points[0]) ** 2).sum(axis=1)
    while len(chosen) < min(THUMBNAILS, len(points)):
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, ((points - points[chosen[-1]]) ** 2).sum(axis=1))
    return chosen
