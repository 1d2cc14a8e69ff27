"""prototype decides for the class whose mean is nearest."""

import numpy as np
import torch
from heads_samples import blobs, make_config
from heads_samples import one_thread as one_thread
from sklearn.neighbors import NearestCentroid

from headstart.core.heads.kinds.base import Rows
from headstart.core.heads.kinds.prototype import Prototype


def fitted(features: np.ndarray, labels: np.ndarray, classes: int, weights: np.ndarray | None = None) -> Prototype:
    head = Prototype(features.shape[1], classes, make_config("prototype"), len(labels))
    given = None if weights is None else torch.from_numpy(weights)
    head.fit(Rows(torch.from_numpy(features), torch.from_numpy(labels), given))
    return head


def test_it_decides_as_scikit_learns_nearest_centroid_does() -> None:
    data, test = blobs(90), np.random.default_rng(1).standard_normal((200, 6)).astype(np.float32)
    expected = NearestCentroid().fit(data.features, data.labels).predict(test)
    found = fitted(data.features, data.labels, 3).score(torch.from_numpy(test)).argmax(dim=1).numpy()
    assert (found == expected).all()


def test_scores_are_halves_of_squared_distances_up_to_what_all_classes_share() -> None:
    data = blobs(30)
    head = fitted(data.features, data.labels, 3)
    scores = head.score(torch.from_numpy(data.features)).detach().double()
    means = np.stack([data.features[data.labels == i].mean(axis=0) for i in range(3)])
    distances = torch.from_numpy(((data.features[:, None] - means[None]) ** 2).sum(axis=2)).double()
    assert torch.allclose(-2 * (scores[:, :1] - scores), distances[:, :1] - distances, atol=1e-3)


def test_means_go_by_weight() -> None:
    features, labels = np.array([[0.0], [4.0], [10.0]], dtype=np.float32), np.array([0, 0, 1])
    head = fitted(features, labels, 2, np.array([1.0, 3.0, 1.0]))
    assert head.out.weight.flatten().tolist() == [3.0, 10.0]


def test_a_class_without_rows_lies_at_the_origin_and_is_never_chosen() -> None:
    data = blobs(30, classes=2)
    head = fitted(data.features, data.labels, 3)
    head.never([2])
    assert (head(torch.zeros(1, 6)).argmax(dim=1) != 2).all()
