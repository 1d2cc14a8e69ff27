"""logreg is scikit-learn's LogisticRegression: coefficients and loss, on data of any shape and balance."""

import dataclasses

import numpy as np
import numpy.typing as npt
import pytest
import torch
from heads_samples import make_config
from heads_samples import one_thread as one_thread
from sklearn.linear_model import LogisticRegression

from headstart.core.cache.errors import FeaturesInvalid
from headstart.core.heads.kinds.base import Rows
from headstart.core.heads.kinds.logreg import Logreg
from headstart.core.heads.solvers import descent
from headstart.core.heads.solvers.logistic import Problem, path

Doubles = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Case:
    """Rows, standardised where they vary, and labels with every class there."""

    features: Doubles
    labels: npt.NDArray[np.int64]
    weights: Doubles | None = None


def drawn(rows: int, dim: int, classes: int, seed: int = 0, spread: float = 1.0) -> Case:
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(classes), rng.integers(0, classes, rows - classes)])
    features = rng.standard_normal((rows, dim)) + spread * rng.standard_normal((classes, dim))[labels]
    return Case((features - features.mean(axis=0)) / features.std(axis=0), labels)


def changed(case: Case, **more: np.ndarray) -> Case:
    return dataclasses.replace(case, **more)


PLAIN = drawn(120, 12, 3)
CASES = {
    "two classes": drawn(100, 8, 2),
    "ten classes": drawn(300, 20, 10),
    "fewer rows than features": drawn(30, 80, 3),
    "as many rows as features": drawn(40, 40, 4),
    "constant features": changed(PLAIN, features=np.hstack([PLAIN.features, np.zeros((120, 3))])),
    "the same features twice": changed(PLAIN, features=np.hstack([PLAIN.features, PLAIN.features])),
    "duplicate rows": Case(np.repeat(PLAIN.features[:40], 3, axis=0), np.repeat(PLAIN.labels[:40], 3)),
    "one row in a class": Case(PLAIN.features, np.where(np.arange(120) == 5, 3, PLAIN.labels)),
    "hardly balanced": drawn(200, 10, 2, spread=0.3),
    "features of float16": changed(PLAIN, features=PLAIN.features.astype(np.float16).astype(np.float64)),
    "separable": drawn(60, 5, 3, spread=20.0),
    "weights": changed(PLAIN, weights=np.random.default_rng(1).uniform(0.1, 4, 120)),
    "features that are not centred": changed(PLAIN, features=PLAIN.features + 3),
}
PENALTIES = (100.0, 1.0, 0.1)


def reference(case: Case, penalty: float) -> LogisticRegression:
    model = LogisticRegression(C=1 / penalty, tol=1e-10, max_iter=20_000)
    return model.fit(case.features, case.labels, sample_weight=case.weights)


def problem(case: Case, dtype: torch.dtype = torch.float64) -> Problem:
    weights = np.ones(len(case.labels)) if case.weights is None else case.weights
    rows = torch.from_numpy(case.features).to(dtype)
    return Problem(rows, torch.from_numpy(case.labels), torch.from_numpy(weights), len(np.unique(case.labels)))


def cost(case: Case, coefficients: Doubles, intercepts: Doubles, penalty: float) -> float:
    """What is minimised; of two classes the penalty is on the difference, as in scikit-learn."""
    scores = case.features @ coefficients.T + intercepts
    logs = scores - scores.max(axis=1, keepdims=True)
    logs = logs - np.log(np.exp(logs).sum(axis=1, keepdims=True))
    weights = np.ones(len(case.labels)) if case.weights is None else case.weights
    squares = (coefficients**2).sum() if len(coefficients) > 2 else ((coefficients[1] - coefficients[0]) ** 2).sum()
    return float(penalty / 2 * squares - weights @ logs[np.arange(len(case.labels)), case.labels])


def spread_out(model: LogisticRegression) -> tuple[Doubles, Doubles]:
    """scikit-learn's coefficients for every class, those of two classes as halves of their difference."""
    if len(model.classes_) > 2:
        return model.coef_, model.intercept_
    return np.concatenate([-model.coef_, model.coef_]) / 2, np.concatenate([-model.intercept_, model.intercept_]) / 2


@pytest.mark.parametrize("name", CASES)
def test_coefficients_and_loss_are_those_of_scikit_learn(name: str) -> None:
    case = CASES[name]
    for found in path(problem(case), PENALTIES, [1e-5] * len(PENALTIES)):
        coefficients, intercepts = spread_out(reference(case, found.penalty))
        ours = found.coefficients.numpy()
        assert np.linalg.norm(ours - coefficients) <= 1e-3 * np.linalg.norm(coefficients)
        own = cost(case, ours, found.intercepts.numpy(), found.penalty)
        assert own == pytest.approx(cost(case, coefficients, intercepts, found.penalty), rel=1e-6)


@pytest.mark.parametrize("classes", [2, 1000])
def test_labels_are_those_of_scikit_learn_for_few_and_many_classes(classes: int) -> None:
    case = drawn(2 * classes + 20, 16, classes, spread=3.0)
    (found,) = path(problem(case), [10.0], [1e-4])
    scores = case.features @ found.coefficients.numpy().T + found.intercepts.numpy()
    assert (scores.argmax(axis=1) == reference(case, 10.0).predict(case.features)).mean() > 0.995


def test_many_rows_in_single_precision_end_at_the_same_solution(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headstart.core.heads.solvers.products._SMALL", 100)
    case = drawn(500, 30, 5)
    (found,) = path(problem(case, torch.float32), [1.0], [1e-4])
    coefficients = reference(case, 1.0).coef_
    assert np.linalg.norm(found.coefficients.numpy() - coefficients) <= 1e-3 * np.linalg.norm(coefficients)


@pytest.mark.parametrize(
    "weights", [None, np.random.default_rng(2).uniform(0.1, 4, 600)], ids=["rows alike", "weighted rows"]
)
def test_rounding_of_features_of_few_dimensions_is_no_obstacle(
    monkeypatch: pytest.MonkeyPatch, weights: Doubles | None
) -> None:
    # their squares, summed in single precision, have eigenvalues below 0 by more than the penalty
    monkeypatch.setattr("headstart.core.heads.solvers.products._SMALL", 100)
    plain = drawn(600, 8, 4)
    turn = np.random.default_rng(0).standard_normal((8, 300))
    case = changed(plain, features=(100 * plain.features @ turn).astype(np.float32).astype(np.float64), weights=weights)
    (found,) = path(problem(case, torch.float32), [1e-2], [1e-3])
    assert found.left <= 1e-3
    model = LogisticRegression(C=1e2, solver="newton-cholesky", tol=1e-12, max_iter=500)
    model.fit(plain.features, plain.labels, sample_weight=weights)
    scores = case.features @ found.coefficients.numpy().T + found.intercepts.numpy()
    assert (scores.argmax(axis=1) == model.predict(plain.features)).mean() > 0.98


def test_a_path_ends_where_each_penalty_alone_does() -> None:
    penalties = [100.0, 10.0, 1.0]
    for found, penalty in zip(path(problem(PLAIN), penalties, [1e-6] * 3), penalties, strict=True):
        (alone,) = path(problem(PLAIN), [penalty], [1e-6])
        assert torch.allclose(found.coefficients, alone.coefficients, rtol=1e-4, atol=1e-6)


def test_smoothed_labels_are_weighted_copies_of_each_row() -> None:
    # a label smoothed by s is one row of weight 1 - s + s / C and one of s / C for each other class
    smooth, classes = 0.3, 3
    copies = np.repeat(PLAIN.features, classes, axis=0)
    labels = np.tile(np.arange(classes), len(PLAIN.labels))
    weights = np.full(len(labels), smooth / classes) + (1 - smooth) * (labels == np.repeat(PLAIN.labels, classes))
    (copied,) = path(problem(Case(copies, labels, weights)), [1.0], [1e-6])
    (found,) = path(dataclasses.replace(problem(PLAIN), smoothing=smooth), [1.0], [1e-6])
    assert torch.allclose(found.coefficients, copied.coefficients, rtol=1e-3, atol=1e-5)


def head_of(case: Case, classes: int, **changes: object) -> Logreg:
    head = Logreg(case.features.shape[1], classes, make_config("logreg", **changes), len(case.labels))
    head.fit(Rows(torch.from_numpy(case.features).float(), torch.from_numpy(case.labels)))
    return head


def test_the_head_scores_as_scikit_learn_predicts() -> None:
    head = head_of(PLAIN, 3, penalty=1.0)
    expected = reference(PLAIN, 1.0).predict_proba(PLAIN.features)
    found = head.score(torch.from_numpy(PLAIN.features).float()).softmax(dim=1).detach().numpy()
    assert np.abs(found - expected).max() < 2e-3


def test_a_class_without_rows_changes_no_other() -> None:
    shifted = Case(PLAIN.features, np.where(PLAIN.labels == 2, 3, PLAIN.labels))
    one, other = head_of(PLAIN, 3, penalty=1.0), head_of(shifted, 4, penalty=1.0)
    assert torch.equal(one.out.weight, other.out.weight[[0, 1, 3]])
    assert not other.out.weight[2].any()


@pytest.mark.parametrize("rows", [2, 3])
def test_two_or_three_rows_are_enough(rows: int) -> None:
    case = Case(np.eye(rows, 5), np.arange(rows))
    assert (head_of(case, rows).score(torch.eye(rows, 5)).argmax(dim=1).numpy() == case.labels).all()


def test_features_that_say_nothing_give_the_classes_shares() -> None:
    case = Case(np.zeros((30, 4)), np.arange(30) // 10 % 2)
    found = head_of(case, 2).score(torch.zeros(1, 4)).softmax(dim=1)[0]
    assert found.tolist() == pytest.approx([2 / 3, 1 / 3], abs=1e-3)


def test_a_solution_that_is_not_reached_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(descent, "_MOST_STEPS", 1)
    with pytest.raises(FeaturesInvalid, match=r"penalty 0\.01 did not converge: after 1 steps .* use a larger --penalty"):
        head_of(drawn(100, 20, 4), 4, penalty=0.01)


def test_the_grid_goes_from_the_simplest_on_unless_a_penalty_is_given() -> None:
    penalties = [config.penalty or 0 for config in Logreg.grid(make_config("logreg"), 100)]
    assert penalties == sorted(penalties, reverse=True)
    assert [config.penalty for config in Logreg.grid(make_config("logreg", penalty=7.0), 100)] == [7.0]
