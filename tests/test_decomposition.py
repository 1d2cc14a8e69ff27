"""A decomposition gives what NumPy's own solution gives, of more and of fewer rows than features, weighted or not."""

import numpy as np
import pytest
import torch
from heads_samples import one_thread as one_thread

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
