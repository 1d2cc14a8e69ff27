"""A head as scikit-learn has it: its own checks, labels of any kind, weights of rows."""

from typing import Any

import numpy as np
import pytest
from heads_samples import blobs, one_thread
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.utils.estimator_checks import parametrize_with_checks

import headstart as hs
from headstart.core.heads.config import HEADS

__all__ = ["one_thread"]

FEW: dict[str, dict[str, Any]] = {"mlp": {"lr": 0.05, "epochs": 20}, "linear": {"lr": 0.1, "epochs": 20}}
"""What makes a head learn from few rows in few steps; the others need nothing."""
NOT_THE_SAME = "check_sample_weight_equivalence_on_dense_data"
CLASS_WEIGHTS = "check_class_weight_classifiers"
KNN = "knn keeps its rows and takes no weights: fit says so"


def why_not(head: hs.Head) -> dict[str, str]:
    """The checks that can't apply to a head, with the reason."""
    if head.head in ("auto", "ridge", "logreg", "svm"):
        return {NOT_THE_SAME: "its penalty is chosen by leaving out rows, and a copy of the row that is left out may stay"}
    if head.head == "prototype":
        return {
            NOT_THE_SAME: "sums of float32 in another order",
            CLASS_WEIGHTS: "classes that count more have the same mean",
        }
    if head.head != "knn":
        return {NOT_THE_SAME: "validation rows and batches are drawn by row: of other rows others are drawn"}
    names = ("not_an_array", "list", "shape", "not_overwritten", "pandas_series")
    return {
        **{f"check_sample_weights_{name}": KNN for name in names},
        NOT_THE_SAME: KNN,
        CLASS_WEIGHTS: KNN,
        "check_classifiers_one_label_sample_weights": KNN,
    }


@parametrize_with_checks([hs.Head(name, **FEW.get(name, {})) for name in HEADS], expected_failed_checks=why_not)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
def test_scikit_learn_finds_nothing_wrong(estimator: hs.Head, check: Any) -> None:
    check(estimator)


@pytest.mark.parametrize("labels", [("a", "b", "c"), (7, -1, 3), (True, False)])
@pytest.mark.parametrize("head", HEADS)
def test_labels_may_be_of_any_kind(head: str, labels: tuple[Any, ...]) -> None:
    data = blobs(90, classes=len(labels))
    y = np.array(labels)[data.labels]
    found = hs.Head(head, **FEW.get(head, {})).fit(data.features, y)
    assert found.classes_.tolist() == sorted(labels)
    assert (found.predict(data.features) == y).mean() > 0.9
    shares = found.predict_proba(data.features)
    assert (shares.shape, shares.dtype) == ((90, len(labels)), np.float32)


@pytest.mark.parametrize("head", ["mlp", "linear", "ridge", "logreg", "prototype"])
def test_rows_of_no_weight_are_as_if_they_were_not_there(head: str) -> None:
    data = blobs(60)
    weights = np.ones(60)
    weights[::7] = 0
    ours = hs.Head(head).fit(data.features, data.labels, sample_weight=weights)
    used = weights > 0
    theirs = hs.Head(head).fit(data.features[used], data.labels[used])
    assert np.allclose(ours.predict_proba(data.features), theirs.predict_proba(data.features), atol=1e-5)


@pytest.mark.parametrize("head", ["mlp", "linear", "ridge", "logreg", "svm"])
def test_heavy_rows_decide(head: str) -> None:
    data = blobs(40, classes=2)
    features = np.concatenate([data.features, data.features])
    labels = np.concatenate([data.labels, 1 - data.labels])  # each row is there with both labels
    for heavy in (slice(0, 40), slice(40, 80)):
        weights = np.full(80, 0.05)
        weights[heavy] = 1
        found = hs.Head(head, **{**FEW.get(head, {}), **({"epochs": 40} if head in FEW else {})}).fit(
            features, labels, sample_weight=weights
        )
        assert (found.predict(data.features) == labels[heavy]).mean() > 0.9


def test_weights_in_one_batch_are_repeated_rows() -> None:
    data = blobs(30)
    weights = np.tile([1, 2, 3], 10)
    one_step = hs.Head("linear", epochs=20, batch_size=1000, val_fraction=0.0, lr=0.05)
    weighted = one_step.fit(data.features, data.labels, sample_weight=weights).predict_proba(data.features)
    rows = np.repeat(np.arange(30), weights)
    repeated = clone(one_step).fit(data.features[rows], data.labels[rows]).predict_proba(data.features)
    assert np.allclose(weighted, repeated, atol=1e-4)


def test_classes_may_have_weights() -> None:
    data = blobs(60, classes=2)
    rows = np.where(data.labels == 0, 3.0, 1.0)
    named = hs.Head("ridge", penalty=1.0, class_weight={0: 3.0}).fit(data.features, data.labels)
    weighted = hs.Head("ridge", penalty=1.0).fit(data.features, data.labels, sample_weight=rows)
    assert np.array_equal(named.predict_proba(data.features), weighted.predict_proba(data.features))
    with pytest.raises(ValueError, match="class_weight is 'even', expected balanced"):
        hs.Head("ridge", class_weight="even").fit(data.features, data.labels)


def test_what_was_chosen_is_there() -> None:
    data = blobs(60)
    found = hs.Head().fit(data.features, data.labels)
    assert found.selection_.config == found.head_.config
    assert found.confidence_.rows == 60
    alone = hs.Head("mlp", epochs=2).fit(data.features, data.labels)
    assert (alone.selection_, alone.confidence_) == (None, None)


def test_knn_takes_no_weights() -> None:
    with pytest.raises(ValueError, match="a knn head takes no sample weights"):
        hs.Head("knn").fit(blobs(30).features, blobs(30).labels, sample_weight=np.arange(1, 31))


def test_a_seed_names_a_head_and_a_grid_chooses_one() -> None:
    data = blobs(60)
    ours, theirs, others = (
        hs.Head("mlp", epochs=3, seed=seed).fit(data.features, data.labels).predict_proba(data.features)
        for seed in (1, 1, 2)
    )
    assert np.array_equal(ours, theirs)
    assert not np.array_equal(ours, others)
    found = GridSearchCV(hs.Head(), {"head": ["linear", "ridge", "knn"]}, cv=3).fit(data.features, data.labels)
    assert found.best_score_ > 0.9


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"head": "svc"}, "head is 'svc', expected one of "),
        ({"head": "knn", "lr": 0.1}, "lr: a knn head has none; leave it out, or use head "),
        ({"dropout": 1.0}, "dropout is 1.0, expected a number from 0 to below 1"),
    ],
)
def test_parameters_are_checked_when_it_is_fitted(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        hs.Head(**given).fit(blobs(30).features, blobs(30).labels)


def test_one_class_and_no_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"y has 1 class, 0, expected two or more"):
        hs.Head().fit(blobs(10).features, np.zeros(10, dtype=int))
    with pytest.raises(NotFittedError, match="not fitted yet"):
        hs.Head().predict(blobs(10).features)
