"""prototype decides for the class whose mean points the same way."""

import numpy as np
import torch
from heads_samples import blobs, make_config
from heads_samples import one_thread as one_thread

from headstart.core.heads.kinds.base import Rows
from headstart.core.heads.kinds.prototype import Prototype


def fitted(features: np.ndarray, labels: np.ndarray, classes: int, weights: np.ndarray | None = None) -> Prototype:
    head = Prototype(features.shape[1], classes, make_config("prototype"), len(labels))
    given = None if weights is None else torch.from_numpy(weights)
    head.fit(Rows(torch.from_numpy(features), torch.from_numpy(labels), given))
    return head


def test_scores_are_cosines_to_the_class_means_over_the_temperature() -> None:
    data, test = blobs(30), np.random.default_rng(1).standard_normal((200, 6)).astype(np.float32)
    scores = fitted(data.features, data.labels, 3).score(torch.from_numpy(test)).numpy()
    means = np.stack([data.features[data.labels == i].mean(axis=0) for i in range(3)])
    lengths = np.linalg.norm(test, axis=1)[:, None] * np.linalg.norm(means, axis=1)
    np.testing.assert_allclose(scores, test @ means.T / lengths / 0.07, rtol=1e-4, atol=1e-4)


def test_a_class_of_one_row_is_no_farther_than_others() -> None:
    # its mean is not drawn to the origin by other rows: by Euclidean distance no row is nearest to it
    rng = np.random.default_rng(0)
    centres = 0.15 * rng.standard_normal((2, 200)).astype(np.float32)
    labels = np.array([0] * 50 + [1])
    features = centres[labels] + rng.standard_normal((51, 200), dtype=np.float32)
    test = torch.from_numpy(centres[1] + rng.standard_normal((400, 200), dtype=np.float32))
    head = fitted(features, labels, 2)
    means = np.stack([features[labels == i].mean(axis=0) for i in range(2)])
    distances = torch.cdist(test, torch.from_numpy(means))
    assert (head.score(test).argmax(dim=1) == 1).float().mean() > 0.5
    assert (distances.argmin(dim=1) == 1).float().mean() < 0.05


def test_means_go_by_weight() -> None:
    features, labels = np.array([[0.0, 1.0], [1.0, 0.0], [-1.0, 0.0]], dtype=np.float32), np.array([0, 0, 1])
    head = fitted(features, labels, 2, np.array([3.0, 4.0, 1.0]))
    np.testing.assert_allclose(head.means.numpy(), [[0.8, 0.6], [-1.0, 0.0]], atol=1e-6)


def test_a_row_without_direction_has_finite_scores() -> None:
    data = blobs(30)
    assert torch.isfinite(fitted(data.features, data.labels, 3).score(torch.zeros(1, 6))).all()


def test_a_class_without_rows_is_never_chosen() -> None:
    data = blobs(30, classes=2)
    head = fitted(data.features, data.labels, 3)
    head.never([2])
    assert not head.means[2].any()
    assert (head(torch.from_numpy(-data.features)).argmax(dim=1) != 2).all()
