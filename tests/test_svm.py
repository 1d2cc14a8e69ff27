"""svm is scikit-learn's LinearSVC with a place for every class."""

import numpy as np
import pytest
import torch
from heads_samples import blobs, make_config
from heads_samples import one_thread as one_thread
from sklearn.svm import LinearSVC

from headstart.core.heads.data import Labelled
from headstart.core.heads.kinds.base import Rows
from headstart.core.heads.kinds.svm import Svm


def fitted(data: Labelled, classes: int, **changes: object) -> Svm:
    head = Svm(data.features.shape[1], classes, make_config("svm", **changes), len(data.labels))
    weights = None if data.weights is None else torch.from_numpy(data.weights)
    head.fit(Rows(torch.from_numpy(data.features), torch.from_numpy(data.labels), weights))
    return head


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_it_decides_as_scikit_learn_does(classes: int) -> None:
    data = blobs(150, classes=classes)
    reference = LinearSVC(C=0.1, dual=False).fit(data.features.astype(np.float64), data.labels)
    found = fitted(data, classes, penalty=10.0).score(torch.from_numpy(data.features)).detach().numpy()
    decided = reference.decision_function(data.features.astype(np.float64))
    margins = found[:, 1] - found[:, 0] if classes == 2 else found
    assert margins == pytest.approx(decided, abs=1e-4)


def test_a_class_without_rows_keeps_no_coefficients() -> None:
    data = blobs(60, classes=2)
    head = fitted(Labelled(data.features, 2 * data.labels), 3)
    assert not head.out.weight[1].any()
    assert head.out.weight[0].any()


def test_heavy_rows_count_more() -> None:
    rng = np.random.default_rng(0)
    plain = Labelled(rng.standard_normal((100, 4), dtype=np.float32), np.arange(100) % 2)
    heavy = Labelled(plain.features, plain.labels, weights=np.where(plain.labels == 0, 20.0, 1.0))
    shares = [
        (fitted(one, 2).score(torch.from_numpy(one.features)).argmax(dim=1) == 0).float().mean() for one in (plain, heavy)
    ]
    assert shares[1] > shares[0]


def test_the_same_call_gives_the_same_head() -> None:
    one, other = fitted(blobs(80), 3), fitted(blobs(80), 3)
    assert torch.equal(one.out.weight, other.out.weight)


def test_the_grid_goes_from_the_simplest_on_unless_a_penalty_is_given() -> None:
    penalties = [config.penalty or 0 for config in Svm.grid(make_config("svm"), 100)]
    assert penalties == sorted(penalties, reverse=True)
    assert [config.penalty for config in Svm.grid(make_config("svm", penalty=7.0), 100)] == [7.0]
