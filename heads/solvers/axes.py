"""The axes along which rows vary most: a first guess of how steeply a sum over the rows curves."""

import dataclasses
import functools
import math

import torch
from torch import Tensor

_MOST = 256
"""Axes that are found; no more features are decomposed whole."""
_ROWS = 2**14
"""Rows that they are found from: of more, rows at equal steps."""


@dataclasses.dataclass(frozen=True)
class Axes:
    """Orthonormal axes `vectors` (D, r) float32, the sums of the rows' squares along them `values` (r,), and what is taken
    for the squares along all others, `rest`: half of the least that was found."""

    vectors: Tensor
    values: Tensor
    rest: float

    @functools.cached_property
    def precise(self) -> Tensor:
        """The vectors in double precision, orthonormal in it."""
        basis: Tensor = torch.linalg.qr(self.vectors.double())[0]
        return basis

    def inverse(self, vectors: Tensor, curvatures: Tensor, penalty: float, *, exact: bool = False) -> Tensor:
        """Vectors (K, C, D) times the inverse of curvature (K,) x squares + penalty, float64.

        A preconditioner of this form is that of Z. Frangella, J. A. Tropp and M. Udell, Randomized Nyström preconditioning
        (SIAM Journal on Matrix Analysis and Applications 44, 2023). In single precision unless `exact`: that is enough
        where the squares are less than some million times the penalty.
        """
        size = vectors.norm() + torch.finfo(torch.float64).tiny  # small gradients would be 0 in single precision
        plain = 1 / (curvatures * self.rest + penalty)
        more = 1 / (curvatures[:, None] * self.values + penalty) - plain[:, None]
        axes = self.precise if exact else self.vectors
        scaled = (vectors / size).to(axes).flatten(0, 1)
        along = (scaled @ axes).view(*vectors.shape[:2], -1) * more[:, None].to(axes)
        found: Tensor = (along.flatten(0, 1) @ axes.T).view_as(vectors).double() * size
        return found.addcmul_(plain[:, None, None], vectors)


def leading(features: Tensor, mean: Tensor, weights: Tensor) -> Axes:
    """The leading axes of rows (N, D) of any floating type, less their mean (D,), each counted by its weight (N,).

    From a random sample of their sums, the same at each call: algorithm 4.3 of N. Halko, P.-G. Martinsson and J. A. Tropp,
    Finding structure with randomness (SIAM Review 53, 2011), with one turn to the features' products.
    """
    step = math.ceil(len(features) / _ROWS)
    rows = (features[::step].float() - mean.float()) * (weights[::step] * step).sqrt().float()[:, None]
    dim = rows.shape[1]
    if dim <= _MOST:
        values, vectors = torch.linalg.eigh(rows.double().T @ rows.double())
        return Axes(vectors.float(), values.clamp_min(0), 0.0)
    start = torch.randn(dim, _MOST, generator=torch.Generator().manual_seed(0)).to(rows)
    basis, _ = torch.linalg.qr(rows.T @ (rows @ start))
    inside = rows @ basis
    values, turn = torch.linalg.eigh((inside.T @ inside).double())
    return Axes(basis @ turn.float(), values.clamp_min(0), float(values[0].clamp_min(0)) / 2)
