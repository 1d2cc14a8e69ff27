"""Ridge finds what scikit-learn does, whatever the shapes, in little memory."""

import tracemalloc

import numpy as np
import pytest
import torch
from heads_samples import DIM, blobs, make_config, overlapping, same_head, silent
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge as ScikitRidge
from sklearn.linear_model import RidgeClassifierCV, RidgeCV

from headstart.core.heads.kinds import ridge
from headstart.core.heads.kinds.base import Rows
from headstart.core.heads.kinds.ridge import Ridge
from headstart.core.heads.training.train import predict, train


def sample(rows: int, dim: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features and labels that tell a little of each other."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, rows)
    features = rng.standard_normal((rows, dim)) + rng.standard_normal((classes, dim))[labels] + 5
    return features.astype(np.float32), labels


def scikit_learns(features: np.ndarray, labels: np.ndarray, classes: int) -> RidgeCV:
    targets = 2.0 * np.eye(classes)[labels] - 1
    return RidgeCV(alphas=np.array(Ridge.penalties)).fit(features.astype(np.float64), targets)


@given(rows=st.integers(3, 120), dim=st.integers(1, 60), classes=st.integers(2, 6), seed=st.integers(0, 999))
@settings(max_examples=60)
def test_weights_and_penalty_are_scikit_learns(rows: int, dim: int, classes: int, seed: int) -> None:
    features, labels = sample(rows, dim, classes, seed)
    theirs = scikit_learns(features, labels, classes)
    weights, biases = ridge.fit(features, labels, classes, Ridge.penalties)
    np.testing.assert_allclose(features @ weights.T + biases, theirs.predict(features), rtol=1e-6, atol=1e-6)


def test_rows_in_several_chunks_are_all_learned_from(monkeypatch: pytest.MonkeyPatch) -> None:
    features, labels = sample(500, 40, 5)
    theirs = scikit_learns(features, labels, 5)
    monkeypatch.setattr(ridge, "_CHUNK", 64)
    weights, biases = ridge.fit(features, labels, 5, Ridge.penalties)
    np.testing.assert_allclose(weights, theirs.coef_, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(biases, theirs.intercept_, rtol=1e-6, atol=1e-9)


def test_a_class_of_one_row_and_one_of_none_and_features_that_never_vary() -> None:
    features, labels = sample(60, 8, 2)
    features[:, 3], labels[7] = 4.5, 2
    theirs = scikit_learns(features, labels, 4)
    weights, biases = ridge.fit(features, labels, 4, Ridge.penalties)
    np.testing.assert_allclose(features @ weights.T + biases, theirs.predict(features), rtol=1e-6, atol=1e-6)


@given(rows=st.integers(3, 120), dim=st.integers(1, 60), classes=st.integers(2, 6), seed=st.integers(0, 999))
@settings(max_examples=40)
def test_weighted_rows_give_the_weights_and_penalty_of_scikit_learn(rows: int, dim: int, classes: int, seed: int) -> None:
    features, labels = sample(rows, dim, classes, seed)
    weights = np.random.default_rng(seed).uniform(0.05, 4, rows)
    targets = 2.0 * np.eye(classes)[labels] - 1
    theirs = RidgeCV(alphas=np.array(Ridge.penalties)).fit(features.astype(np.float64), targets, sample_weight=weights)
    coefficients, intercepts = ridge.fit(features, labels, classes, Ridge.penalties, weights)
    np.testing.assert_allclose(features @ coefficients.T + intercepts, theirs.predict(features), rtol=1e-6, atol=1e-6)


def test_a_row_of_weight_3_is_three_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    # for a given penalty; in the choice a row is left out with its whole weight, of three equal rows only one
    features, labels = sample(500, 40, 5)
    counts = np.random.default_rng(0).integers(1, 4, 500)
    monkeypatch.setattr(ridge, "_CHUNK", 64)
    repeated = ridge.fit(features.repeat(counts, axis=0), labels.repeat(counts), 5, [10.0])
    for ours, theirs in zip(ridge.fit(features, labels, 5, [10.0], counts.astype(np.float64)), repeated, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)


def test_many_classes_take_no_memory_by_rows() -> None:
    features, labels = sample(12_000, 32, 500)
    tracemalloc.start()
    ridge.fit(features, labels, 500, Ridge.penalties[:2])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60e6  # the targets alone would be 48 MB, and scikit-learn's copies of them some hundreds


@given(rows=st.integers(2, 90), dim=st.integers(1, 60), classes=st.integers(2, 6), seed=st.integers(0, 999))
@settings(max_examples=60)
def test_each_penalty_gives_what_scikit_learn_gives_for_it(rows: int, dim: int, classes: int, seed: int) -> None:
    features, labels = sample(rows, dim, classes, seed)
    targets, penalties = 2.0 * np.eye(classes)[labels] - 1, [1e3, 1.0, 1e-1]
    rows = Rows(torch.from_numpy(features), torch.from_numpy(labels))
    for penalty, solved in zip(penalties, ridge.fit_each(rows, classes, penalties), strict=True):
        weights, biases = (part.numpy() for part in solved)
        theirs = ScikitRidge(alpha=penalty).fit(features.astype(np.float64), targets)
        expected = theirs.predict(features)
        np.testing.assert_allclose(features @ weights.T + biases, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("rows", "dim"), [(60, 8), (8, 60)])
def test_weights_of_rows_are_scikit_learns(rows: int, dim: int) -> None:
    features, labels = sample(rows, dim, 3)
    own = np.random.default_rng(1).uniform(0.1, 3, rows)
    posed = Rows(torch.from_numpy(features), torch.from_numpy(labels), torch.from_numpy(own))
    weights, biases = (part.numpy() for part in ridge.fit_each(posed, 3, [2.0])[0])
    theirs = ScikitRidge(alpha=2.0).fit(features.astype(np.float64), 2.0 * np.eye(3)[labels] - 1, sample_weight=own)
    np.testing.assert_allclose(features @ weights.T + biases, theirs.predict(features), rtol=1e-6, atol=1e-6)


def test_heads_of_a_path_are_those_that_each_penalty_gives_alone() -> None:
    data = blobs(60)
    rows = Rows(torch.from_numpy(data.features), torch.from_numpy(data.labels))
    heads = [Ridge(6, 3, config, 60) for config in Ridge.grid(make_config("ridge"), 60)]
    for _, scores in Ridge.scored(heads, rows, rows.features):
        assert scores.shape == (60, 3)
    for head in heads:
        alone = Ridge(6, 3, head.config, 60)
        alone.fit(rows)
        assert same_head(head, alone)
    penalties = [head.config.penalty or 0 for head in heads]
    assert penalties == sorted(Ridge.penalties, reverse=True)


@pytest.mark.parametrize("dim", [DIM, 60])
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("seed", [0, 1])
def test_ridge_predicts_what_scikit_learns_does(classes: int, dim: int, seed: int) -> None:
    data, test = overlapping(90, classes, seed, dim), overlapping(200, classes, seed + 100, dim)
    theirs = RidgeClassifierCV(alphas=10.0 ** np.arange(-3, 10)).fit(data.features.astype(np.float64), data.labels)
    head = train(data, classes, make_config("ridge", standardise=False), "cpu", silent).head
    expected = theirs.predict(test.features.astype(np.float64))
    assert 0.5 < (expected == test.labels).mean() < 0.99  # else the comparison would say little
    np.testing.assert_array_equal(predict(head, test.features, "cpu"), expected)


@pytest.mark.parametrize("why", ["several classes", "two classes", "an absent class", "weights", "no descent"])
def test_penalties_in_turn_are_within_their_tolerance_of_exact_ones(why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    features, labels = sample(120, 30, 2 if why == "two classes" else 4)
    labels = np.where(labels == 2, 3, labels) if why == "an absent class" else labels
    weights = torch.rand(120, generator=torch.Generator().manual_seed(0)).double() + 0.1 if why == "weights" else None
    rows = Rows(torch.from_numpy(features), torch.from_numpy(labels), weights)
    asked = torch.from_numpy(sample(50, 30, 4, seed=1)[0])
    classes, ways = int(labels.max()) + 1, (1e4, 10.0, 0.1)

    def found() -> dict[int, torch.Tensor]:
        heads = [Ridge(30, classes, make_config("ridge", penalty=way), 120) for way in ways]
        return {i: scores.clone() for i, scores in Ridge.scored(heads, rows, asked)}

    exact = found()
    monkeypatch.setattr(ridge, "_DECOMPOSED", 10)
    if why == "no descent":  # a solution that is not reached
        monkeypatch.setattr(Ridge, "path_tolerance", -1.0)
    near = found()
    present = np.unique(labels)
    assert list(near) == [0, 1, 2]
    for i, scores in near.items():
        assert (scores - exact[i])[:, present].norm() <= 1.5 * abs(Ridge.path_tolerance) * exact[i][:, present].norm()
    assert why == "no descent" or any(not torch.equal(near[i], exact[i]) for i in near)
