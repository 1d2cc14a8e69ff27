"""Several systems of linear equations at once by conjugate gradients."""

from collections.abc import Callable

import torch
from torch import Tensor

_MOST_STEPS = 500


def solve(
    multiply: Callable[[Tensor], tuple[Tensor, Tensor]],
    inverse: Callable[[Tensor], Tensor],
    right: Tensor,
    enough: Tensor,
) -> tuple[Tensor, Tensor]:
    """For K positive definite matrices the vectors (K, ...) whose products with them are `right`, but for rests whose norms
    are at most `enough` (K,), and what belongs to the vectors linearly.

    `multiply` gives the products with vectors and what belongs to these, `inverse` those with a guess of the inverse
    matrices. The preconditioned method of G. H. Golub and C. F. Van Loan, Matrix Computations, 4th edition, 11.5.2. Each
    system ends by itself: its vectors don't depend on the others'.
    """
    found, rest = torch.zeros_like(right), right
    turned = way = inverse(rest)
    inner, going = _dot(rest, turned), _norm(rest) > enough
    _, belongs = multiply(way) if not going.any() else (None, None)
    total = None if belongs is None else torch.zeros_like(belongs)
    for _ in range(_MOST_STEPS):
        if not going.any():
            break
        bent, belongs = multiply(way)
        curvature = _dot(way, bent)
        going &= curvature > 0  # what is left is rounding
        length = torch.where(going, inner / curvature.where(going, 1), 0)
        found = found + _each(length, found) * way
        total = _each(length, belongs) * belongs + (0 if total is None else total)
        rest = rest - _each(length, rest) * bent
        going &= _norm(rest) > enough
        turned, before = inverse(rest), inner
        inner = _dot(rest, turned)
        way = turned + _each(inner / before.where(before > 0, 1), way) * way
    assert total is not None
    return found, total


def _dot(one: Tensor, other: Tensor) -> Tensor:
    return (one * other).flatten(1).sum(dim=1)


def _norm(vectors: Tensor) -> Tensor:
    found: Tensor = vectors.flatten(1).norm(dim=1)
    return found


def _each(numbers: Tensor, like: Tensor) -> Tensor:
    return numbers.view(-1, *(1 for _ in like.shape[1:]))
