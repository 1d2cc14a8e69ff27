"""Conjugate gradients and the axes of rows are what NumPy's dense answers are."""

import numpy as np
import pytest
import torch
from heads_samples import one_thread as one_thread

from headstart.core.heads.solvers import axes, conjugate


def systems(count: int = 3, dim: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    drawn = torch.randn(count, dim, 2 * dim, generator=torch.Generator().manual_seed(0)).double()
    right = torch.randn(count, dim, generator=torch.Generator().manual_seed(1)).double()
    return drawn @ drawn.mT + torch.eye(dim).double(), right


def solved(matrices: torch.Tensor, right: torch.Tensor, enough: list[float]) -> torch.Tensor:
    def multiply(ways: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return (matrices @ ways[..., None])[..., 0], 2 * ways

    found, belongs = conjugate.solve(multiply, torch.Tensor.clone, right, torch.tensor(enough).double())
    assert torch.allclose(belongs, 2 * found)
    return found


def test_conjugate_gradients_solve_each_system() -> None:
    matrices, right = systems()
    found = solved(matrices, right, [1e-10] * 3)
    np.testing.assert_allclose(
        found.numpy(), np.linalg.solve(matrices.numpy(), right.numpy()[..., None])[..., 0], rtol=1e-6
    )


def test_each_system_ends_by_itself() -> None:
    matrices, right = systems()
    together = solved(matrices, right, [1e-10, 1.0, np.inf])
    for i, enough in enumerate((1e-10, 1.0)):
        assert torch.allclose(together[i], solved(matrices[i : i + 1], right[i : i + 1], [enough])[0], rtol=1e-12)
    assert not together[2].any()


def test_where_nothing_is_to_be_done_nothing_moves() -> None:
    matrices, right = systems()
    assert not solved(matrices, right, [np.inf] * 3).any()


def rows(dim: int) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(0)
    features = rng.standard_normal((400, dim)) * np.linspace(3, 0.1, dim) + 2
    return torch.from_numpy(features.astype(np.float32)), torch.from_numpy(rng.uniform(0.1, 2, 400))


def squares(features: torch.Tensor, weights: torch.Tensor) -> tuple[np.ndarray, torch.Tensor]:
    mean = weights @ features.double() / weights.sum()
    own = (features.double() - mean).numpy()
    return own.T @ (weights.numpy()[:, None] * own), mean


@pytest.mark.parametrize("exact", [False, True])
def test_of_few_features_the_inverse_is_that_of_their_squares(exact: bool) -> None:
    features, weights = rows(20)
    dense, mean = squares(features, weights)
    found = axes.leading(features, mean, weights)
    vectors = torch.randn(2, 3, 20, generator=torch.Generator().manual_seed(0)).double()
    got = found.inverse(vectors, torch.tensor([0.2, 1.0]).double(), 5.0, exact=exact)
    for curvature, own, one in zip((0.2, 1.0), vectors, got, strict=True):
        expected = np.linalg.solve(curvature * dense + 5 * np.eye(20), own.numpy().T).T
        np.testing.assert_allclose(one.numpy(), expected, rtol=1e-3, atol=1e-6)


def test_of_many_features_the_leading_axes_make_the_rest_even(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(axes, "_MOST", 40)
    features, weights = rows(120)
    features[:, :5] *= 30
    dense, mean = squares(features, weights)
    found = axes.leading(features, mean, weights)
    assert found.vectors.shape == (120, 40)
    guess = found.inverse(torch.eye(120).double()[None], torch.ones(1).double(), 100.0)[0].numpy()
    before = np.linalg.cond(dense + 100 * np.eye(120))
    after = np.abs(np.linalg.eigvals(guess @ (dense + 100 * np.eye(120))))
    assert after.max() / after.min() < min(30, before / 100)


def test_of_very_many_rows_some_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    features, weights = rows(20)
    whole = axes.leading(features, squares(features, weights)[1], weights)
    monkeypatch.setattr(axes, "_ROWS", 100)
    some = axes.leading(features, squares(features, weights)[1], weights)
    assert float(some.values.sum()) == pytest.approx(float(whole.values.sum()), rel=0.2)
