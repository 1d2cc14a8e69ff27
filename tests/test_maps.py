"""The maps agree with scikit-learn's own, and the same rows give the same map."""

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.metrics import silhouette_score
from threadpoolctl import threadpool_limits

from headstart.core.heads.statistics.maps import FEWEST, FeatureMap, feature_map

LABELS = np.arange(300) % 3


def clouds(rows: int = 300, dim: int = 6) -> npt.NDArray[np.float32]:
    """Features of three classes that lie apart in few of many directions."""
    found = np.random.default_rng(0).standard_normal((rows, dim))
    found[:, 0] += 4 * (np.arange(rows) % 3)
    return found.astype(np.float32)


def mapped(features: npt.NDArray[np.float32]) -> FeatureMap | None:
    """The map of rows with their labels in turn, numbered from 0 on."""
    return feature_map(features, LABELS[: len(features)], np.arange(len(features)))


def standardised(features: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    found: npt.NDArray[np.float64] = features - features.mean(axis=0, dtype=np.float64)
    return found / features.std(axis=0, dtype=np.float64)


def test_the_map_shows_the_principal_axes_and_pictures_that_lie_apart() -> None:
    features = (np.random.default_rng(0).standard_normal((300, 6)) * [9, 5, 1, 1, 1, 1]).astype(np.float32)
    found = mapped(features)
    assert found is not None
    axes = PCA(2, svd_solver="full").fit(standardised(features))
    assert np.allclose(found.pca.explained, axes.explained_variance_ratio_)
    points = np.array(found.pca.points)
    assert np.allclose(np.abs(points[:, :2]), np.abs(axes.transform(standardised(features))), atol=1e-6)
    assert points[:, 2].tolist() == LABELS.tolist()
    assert (found.pca.method, len(found.pca.points)) == ("PCA", 300)
    assert found.tsne is not None
    for one in (found.pca, found.tsne):
        rows = [shown.row for shown in one.thumbnails]
        assert len(set(rows)) == len(rows) == 24
        assert all((shown.x, shown.y) == one.points[shown.row][:2] for shown in one.thumbnails)


def test_tsne_is_scikit_learns_of_fifty_components_of_the_same_rows() -> None:
    features = clouds(dim=80)
    found = mapped(features)
    assert found is not None
    with threadpool_limits(limits=1):
        reduced = PCA(50, random_state=0).fit_transform(standardised(features))
        other = TSNE(2, init="pca", random_state=0, perplexity=30)
        points = other.fit_transform(reduced)
    tsne = found.tsne
    assert tsne is not None
    assert (tsne.method, len(tsne.points), tsne.perplexity) == ("t-SNE", 300, 30)
    # a digit of rounding before it moves single points, but neither the groups nor what is left to mend
    assert tsne.kl_divergence == pytest.approx(other.kl_divergence_, rel=0.1)
    mine = np.array(tsne.points)
    assert mine[:, 2].tolist() == LABELS.tolist()
    assert silhouette_score(mine[:, :2], LABELS) == pytest.approx(silhouette_score(points, LABELS), abs=0.05)


def test_the_same_rows_give_the_same_map_on_any_number_of_threads() -> None:
    features = clouds(120, 40)
    found: list[FeatureMap | None] = []
    for threads in (1, 2, 4):
        with threadpool_limits(limits=threads):
            found.append(mapped(features))
    assert found[0] == found[1] == found[2]


def test_few_rows_have_a_perplexity_that_fits_and_fewer_have_no_tsne() -> None:
    enough, few = (mapped(clouds(rows)) for rows in (FEWEST, FEWEST - 1))
    assert enough is not None
    assert few is not None
    assert enough.tsne is not None
    assert enough.tsne.perplexity == (FEWEST - 1) / 3
    assert few.tsne is None
    assert len(few.pca.points) == FEWEST - 1
    two = mapped(clouds(2))
    assert two is not None
    assert len(two.pca.points) == 2


@pytest.mark.parametrize(
    "features", [clouds(1), clouds(20, 1), np.ones((20, 4), np.float32)], ids=["one row", "one number", "all alike"]
)
def test_rows_without_two_directions_have_no_map(features: npt.NDArray[np.float32]) -> None:
    assert mapped(features) is None


def test_of_many_rows_some_are_drawn_evenly_and_keep_their_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headstart.core.heads.statistics.maps.POINTS", 40)
    found = feature_map(clouds(), np.sort(LABELS), np.arange(1000, 1300))  # sorted by class
    assert found is not None
    assert found.tsne is not None
    assert len(found.tsne.points) == len(found.pca.points) == 40
    labels = [label for _, _, label in found.pca.points]
    assert [labels.count(label) for label in range(3)] == [13, 14, 13]
    numbers = {one.row for method in (found.pca, found.tsne) for one in method.thumbnails}
    assert numbers <= set(range(1000, 1300))
    assert len({number // 100 for number in numbers}) == 3
