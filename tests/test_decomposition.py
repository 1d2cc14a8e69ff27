"""A decomposition gives what NumPy's own solution gives, of more and of fewer rows than features, weighted or not."""

import numpy as np
import pytest
import torch
from heads_samples import one_thread as one_thread
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.core.heads.solvers import decomposition
from headstart.core.heads.solvers.decomposition import decompose

SHAPES = [(60, 8), (8, 60), (20, 20), (2, 5), (1, 3)]


def drawn(rows: int, dim: int, weighted: bool, seed: int = 0) -> tuple[np.ndarray, np.ndarray | None]:
    rng = np.random.default_rng(seed)
    features = (rng.standard_normal((rows, dim)) + 2).astype(np.float32)
    return features, rng.uniform(0.1, 3, rows) if weighted else None


def centred(features: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    own = np.ones(len(features)) if weights is None else weights
    return np.sqrt(own)[:, None] * (features - own @ features / own.sum())


def tensors(features: np.ndarray, weights: np.ndarray | None) -> tuple[torch.Tensor, torch.Tensor | None]:
    return torch.from_numpy(features), None if weights is None else torch.from_numpy(weights)


@pytest.mark.parametrize("weighted", [False, True], ids=["alike", "weighted"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_least_squares_is_the_solution_of_the_normal_equations(shape: tuple[int, int], weighted: bool) -> None:
    features, weights = drawn(*shape, weighted)
    found = decompose(*tensors(features, weights))
    targets = np.random.default_rng(1).standard_normal((shape[0], 3))
    rows = centred(features, weights)
    own = np.ones(shape[0]) if weights is None else weights
    solved = found.least_squares(found.along(lambda at: torch.from_numpy(targets)[at]), [10.0, 0.1])
    for penalty, coefficients in zip([10.0, 0.1], solved, strict=True):
        expected = np.linalg.solve(rows.T @ rows + penalty * np.eye(shape[1]), rows.T @ (np.sqrt(own)[:, None] * targets))
        np.testing.assert_allclose(coefficients.numpy(), expected, rtol=1e-6, atol=1e-9)


@given(rows=st.integers(2, 40), dim=st.integers(1, 40), weighted=st.booleans(), seed=st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_turned_rows_have_diagonal_squares_and_lead_back_to_the_same_scores(
    rows: int, dim: int, weighted: bool, seed: int
) -> None:
    features, weights = drawn(rows, dim, weighted, seed)
    turned = decompose(*tensors(features, weights)).turned()
    own = torch.ones(rows).double() if weights is None else torch.from_numpy(weights)
    squares = turned.rows.double().T @ (own[:, None] * turned.rows.double())
    scale = max(1.0, float(turned.squares.max())) if len(turned.squares) else 1.0
    np.testing.assert_allclose(squares.numpy(), torch.diag(turned.squares).numpy(), atol=1e-5 * scale)
    own_coefficients = torch.randn(4, turned.rows.shape[1], generator=torch.Generator().manual_seed(seed)).double()
    intercepts = torch.arange(4.0).double()
    coefficients, offsets = turned.back(own_coefficients, intercepts)
    expected = turned.rows.double() @ own_coefficients.T + intercepts
    got = torch.from_numpy(features).double() @ coefficients.T + offsets
    np.testing.assert_allclose(got.numpy(), expected.numpy(), rtol=1e-3, atol=1e-3 * float(expected.abs().max()))


def test_a_penalty_on_turned_coefficients_is_one_on_those_of_the_features() -> None:
    for shape in ((60, 8), (8, 60)):
        turned = decompose(*tensors(*drawn(*shape, False))).turned()
        own = torch.randn(3, turned.rows.shape[1], generator=torch.Generator().manual_seed(0)).double()
        assert float(turned.back(own, own[:, 0])[0].norm()) == pytest.approx(float(own.norm()), rel=1e-5)


def test_axes_that_only_rounding_tells_from_none_are_left_out() -> None:
    features, _ = drawn(12, 50, False)
    turned = decompose(torch.from_numpy(np.repeat(features, 3, axis=0))).turned()
    assert turned.rows.shape == (36, 11)  # twelve different rows, less their mean


def test_many_rows_go_through_in_chunks_to_the_same_end(monkeypatch: pytest.MonkeyPatch) -> None:
    features, weights = drawn(100, 6, True)
    whole = decompose(*tensors(features, weights))
    monkeypatch.setattr(decomposition, "CHUNK", 7)
    parts = decompose(*tensors(features, weights))
    targets = torch.randn(100, 3, generator=torch.Generator().manual_seed(0)).double()
    np.testing.assert_allclose(parts.values.numpy(), whole.values.numpy(), rtol=1e-10)
    for one, other in zip(
        parts.least_squares(parts.along(lambda at: targets[at]), [1.0]),
        whole.least_squares(whole.along(lambda at: targets[at]), [1.0]),
        strict=True,
    ):
        np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-8, atol=1e-12)
