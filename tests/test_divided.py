"""Divisions that are solved at once say of unseen rows what each says by itself."""

import dataclasses

import numpy as np
import pytest
import torch
from heads_samples import blobs, make_config
from heads_samples import one_thread as one_thread
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.preprocessing import StandardScaler

from headstart.core.heads.data import Labelled
from headstart.core.heads.kinds import kind
from headstart.core.heads.kinds.logreg import Logreg
from headstart.core.heads.kinds.ridge import Ridge
from headstart.core.heads.selection import divided, search

CLASSES = (2, 4)


def rows(classes: int, count: int = 520, dim: int = 30) -> Labelled:
    rng = np.random.default_rng(0)
    labels = np.arange(count, dtype=np.int64) % classes
    means = 0.5 * rng.standard_normal((classes, dim))
    return Labelled((rng.standard_normal((count, dim)) + means[labels] + 2).astype(np.float32), labels)


def divisions(data: Labelled) -> list[divided.Division]:
    return search.divisions(data, np.random.default_rng(0))


@pytest.fixture
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    for head in (Logreg, Ridge):
        monkeypatch.setattr(head, "path_tolerance", 1e-6)


@pytest.mark.parametrize("classes", CLASSES)
@pytest.mark.parametrize("weighted", [False, True], ids=["rows alike", "balanced classes"])
@pytest.mark.parametrize("head", ["logreg", "ridge"])
def test_scores_are_those_of_scikit_learn_without_the_rows(exact: None, head: str, weighted: bool, classes: int) -> None:
    data, weight = rows(classes), "balanced" if weighted else None
    data = dataclasses.replace(data, labels=np.where(data.labels == 1, np.arange(520) % 7 % 2, data.labels))
    config = make_config(head, penalty=10.0, class_weight=weight)
    sides = divisions(data)
    together = divided.divided(data, sides, classes, "cpu")
    assert together.shared
    ((_, scores),) = together.scores([config])
    known = StandardScaler().fit_transform(data.features.astype(np.float64))
    reference = LogisticRegression(C=0.1, tol=1e-10, max_iter=5000, class_weight=weight)
    model = reference if head == "logreg" else RidgeClassifier(10.0, class_weight=weight)
    for learn, judge in sides:
        expected = model.fit(known[learn], data.labels[learn]).decision_function(known[judge])
        own, scores = scores[: len(judge)], scores[len(judge) :]
        if classes == 2:
            expected = np.stack([-expected, expected], axis=1) / (2 if head == "logreg" else 1)
        elif head == "logreg":
            expected, own = (part - part.mean(axis=1, keepdims=True) for part in (expected, own))
        np.testing.assert_allclose(own, expected, rtol=1e-3, atol=2e-3)


def test_all_divisions_at_once_end_where_each_does_alone(exact: None) -> None:
    data, configs = rows(4), Logreg.grid(make_config("logreg"), 520)[:8]
    sides = divisions(data)
    several = dict(divided.divided(data, sides, 4, "cpu").scores(configs))
    each = [dataclasses.replace(divided.divided(data, [side], 4, "cpu"), shared=True) for side in sides]
    alone = [dict(one.scores(configs)) for one in each]
    for place, scores in several.items():
        np.testing.assert_allclose(scores, np.concatenate([one[place] for one in alone]), rtol=1e-4, atol=1e-5)


def test_rows_that_are_judged_have_no_say_in_their_own_scores() -> None:
    data, configs = rows(2), [make_config("ridge", penalty=1.0)]
    sides = divisions(data)
    changed = data.labels.copy()
    changed[sides[0][1]] = 1 - changed[sides[0][1]]
    ((_, one),) = divided.divided(data, sides, 2, "cpu").scores(configs)
    ((_, other),) = divided.divided(dataclasses.replace(data, labels=changed), sides, 2, "cpu").scores(configs)
    held = len(sides[0][1])
    np.testing.assert_allclose(one[:held], other[:held], rtol=1e-3, atol=1e-3)
    assert np.abs(one[held:] - other[held:]).max() > 0.1


def test_classes_without_rows_are_impossible() -> None:
    data = rows(2)
    shifted = dataclasses.replace(data, labels=2 * data.labels)
    ((_, scores),) = divided.divided(shifted, divisions(shifted), 3, "cpu").scores([make_config("logreg", penalty=1.0)])
    assert np.isneginf(scores[:, 1]).all()
    assert np.isfinite(scores[:, [0, 2]]).all()


def test_rows_held_out_once_share_nothing() -> None:
    data = rows(2)
    assert not divided.divided(data, divisions(data)[:1], 2, "cpu").shared


def test_many_classes_share_nothing() -> None:
    """The scores of all folds would be computed at once for every class, which takes longer than each fold by itself."""
    for classes, shared in ((divided.FEW_CLASSES, True), (divided.FEW_CLASSES + 1, False)):
        data = dataclasses.replace(rows(2), labels=np.arange(520) % classes)
        assert divided.divided(data, divisions(data), classes, "cpu").shared == shared


@pytest.mark.parametrize("why", ["few rows", "a class with one row"])
def test_few_rows_and_lonely_classes_are_each_divisions_own(why: str) -> None:
    data = blobs(90) if why == "few rows" else rows(2)
    labels = data.labels if why == "few rows" else np.where(np.arange(520) == 7, 2, data.labels)
    data = dataclasses.replace(data, labels=labels)
    found = divided.divided(data, divisions(data), 3, "cpu")
    assert not found.shared
    ((_, scores),) = found.scores([make_config("ridge", penalty=1.0)])
    assert len(scores) == len(data.labels)


def test_the_same_rows_have_the_same_scores_bit_for_bit() -> None:
    data, config = rows(4), make_config("logreg", penalty=1.0)
    one, other = (next(divided.divided(data, divisions(data), 4, "cpu").scores([config]))[1] for _ in range(2))
    assert (one == other).all()


def test_nearest_neighbours_that_lose_clearly_end_after_one_fold(monkeypatch: pytest.MonkeyPatch) -> None:
    # one feature of two hundred tells the classes: a linear head finds it, neighbours are alike in all others
    features = np.random.default_rng(0).standard_normal((1000, 200), dtype=np.float32)
    data = Labelled(features, (features[:, 0] > 0).astype(np.int64))
    configs = [*Logreg.grid(make_config("logreg"), 1000), *kind("knn").grid(make_config("knn", neighbours=1), 1000)]
    found = search.search(data, 2, configs, "cpu", 0)
    assert found is not None
    assert {one.config.head for one in found.selection.tried} == {"logreg"}
    monkeypatch.setattr(search, "_HOPELESS", np.inf)
    found = search.search(data, 2, configs, "cpu", 0)
    assert found is not None
    assert {one.config.head for one in found.selection.tried} == {"logreg", "knn"}


def test_neighbours_are_those_of_each_division(monkeypatch: pytest.MonkeyPatch) -> None:
    data, config = rows(4), make_config("knn", neighbours=5)
    sides = divisions(data)
    ((_, at_once),) = divided.divided(data, sides, 4, "cpu").scores([config])
    monkeypatch.setattr(divided, "SHARED", 10_000)
    ((_, apart),) = divided.divided(data, sides, 4, "cpu").scores([config])
    assert (at_once.argmax(axis=1) == apart.argmax(axis=1)).mean() > 0.9  # standardised by all rows, or by each fold's
    assert torch.from_numpy(at_once).isfinite().all()
