"""knn votes as scikit-learn's does and as counting by hand, whatever the number of rows and neighbours."""

import math

import numpy as np
import pytest
import torch
from heads_samples import blobs, make_config, overlapping, silent, trained_head
from heads_samples import one_thread as one_thread
from sklearn.neighbors import KNeighborsClassifier

from headstart.core.heads.kinds.base import Rows
from headstart.core.heads.kinds.knn import Knn
from headstart.core.heads.training.train import predict, probabilities, train


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_knn_votes_as_scikit_learns_does(seed: int) -> None:
    data, test = overlapping(90, 3, seed), overlapping(50, 3, seed + 100)
    theirs = KNeighborsClassifier(
        Knn.neighbours, metric="cosine", algorithm="brute", weights=lambda distance: np.exp(-distance / Knn.temperature)
    ).fit(data.features, data.labels)
    head = train(data, 3, make_config("knn", standardise=False), "cpu", silent).head
    expected = theirs.predict_proba(test.features)
    np.testing.assert_allclose(probabilities(head, test.features, "cpu"), expected, atol=1e-4)


def test_knn_votes_as_counting_by_hand_does() -> None:
    data, test = overlapping(40, 3, 0), overlapping(20, 3, 100)
    head = train(data, 3, make_config("knn", standardise=False), "cpu", silent).head
    known = data.features / np.linalg.norm(data.features, axis=1, keepdims=True)
    for row, found in zip(test.features, probabilities(head, test.features, "cpu"), strict=True):
        similarity = known @ (row / np.linalg.norm(row))
        votes = np.zeros(3)
        for nearest in sorted(range(40), key=lambda i: -similarity[i])[:20]:
            votes[data.labels[nearest]] += math.exp(similarity[nearest] / 0.07)
        np.testing.assert_allclose(found, votes / votes.sum(), atol=1e-4)


def test_knn_makes_do_with_fewer_rows_than_neighbours() -> None:
    data = blobs(6)
    head = train(data, 3, make_config("knn"), "cpu", silent).head
    np.testing.assert_array_equal(predict(head, data.features, "cpu"), data.labels)


def test_a_class_without_votes_has_a_finite_score() -> None:
    head, features = trained_head("knn", blobs(90)), torch.from_numpy(blobs(9, seed=1).features)
    assert (head(features).softmax(dim=1) < 1e-12).any()
    assert torch.isfinite(head(features)).all()


@pytest.mark.parametrize("count", [1, 5, 50])
def test_knn_of_any_number_of_neighbours_votes_as_scikit_learns_does(count: int) -> None:
    data, test = overlapping(90, 3, 0), overlapping(50, 3, 100)
    theirs = KNeighborsClassifier(
        count, metric="cosine", algorithm="brute", weights=lambda distance: np.exp(-distance / Knn.temperature)
    ).fit(data.features, data.labels)
    head = train(data, 3, make_config("knn", standardise=False, neighbours=count), "cpu", silent).head
    expected = theirs.predict_proba(test.features)
    np.testing.assert_allclose(probabilities(head, test.features, "cpu"), expected, atol=1e-4)


def test_knn_heads_of_several_counts_share_one_search_and_score_as_each_alone() -> None:
    data, test = overlapping(90, 3, 0), torch.from_numpy(overlapping(50, 3, 100).features)
    rows = Rows(torch.from_numpy(data.features), torch.from_numpy(data.labels))
    heads = [Knn(data.features.shape[1], 3, config, 90) for config in Knn.grid(make_config("knn"), 90)]
    found = dict(Knn.scored(heads, rows, test))
    assert len({head.known.data_ptr() for head in heads}) == 1
    for i, head in enumerate(heads):
        assert torch.equal(found[i], head.score(test))


def test_knn_tries_no_more_neighbours_than_rows() -> None:
    assert [config.neighbours for config in Knn.grid(make_config("knn"), 12)] == [10, 5, 1]
    assert [config.neighbours for config in Knn.grid(make_config("knn", neighbours=3), 12)] == [3]


def test_knn_gives_a_row_without_direction_finite_scores() -> None:
    head = train(blobs(30), 3, make_config("knn", standardise=False), "cpu", silent).head
    assert torch.isfinite(head(torch.zeros(1, head.dim))).all()
