"""Products with the rows of a problem, in as few dimensions as the rows span and in the precision that is asked for."""

import torch
from torch import Tensor

_SMALL = 2**17
"""Numbers of a matrix of rows that are kept in double precision: 1 MB, which stays near a core."""
_CHUNK = 2048
"""Rows of one product in single precision, and rows that are in double precision at once; sums of chunks are doubles."""


class Products:
    """Rows (N, D), less the mean of theirs by `shares` (N,), times coefficients and residuals.

    Fewer rows than features are turned into coordinates of the space that they span (N, N): a penalty on the squares of
    coefficients leaves the solution in that space, and the turn changes no square. `dim` is the number of coordinates.
    """

    def __init__(self, features: Tensor, shares: Tensor) -> None:
        self._basis: Tensor | None = None
        self._mean = torch.cat([shares @ part.double() for part in features.split(256, 1)], -1)
        self._rows = features
        if features.shape[0] < features.shape[1]:
            self._basis, upper = torch.linalg.qr((features.double() - self._mean).T)
            self._rows = upper.T.contiguous() if upper.numel() <= _SMALL else upper.T.float().contiguous()
        elif features.numel() <= _SMALL:
            self._rows = features.double() - self._mean
        centred = self._doubles or self._basis is not None
        self._centre = torch.zeros_like(self._mean[: self._rows.shape[1]]) if centred else self._mean
        self.dim = self._rows.shape[1]

    @property
    def _doubles(self) -> bool:
        return self._rows.dtype == torch.float64

    @property
    def rounded(self) -> bool:
        """Whether products that are not `exact` are in single precision."""
        return not self._doubles

    def forward(self, coefficients: Tensor, *, exact: bool = False) -> Tensor:
        """Coefficients (C, dim) to the scores of the rows (N, C), float64."""
        if self._doubles:
            return self._rows @ coefficients.T
        if exact:
            found = torch.cat([part.double() @ coefficients.T for part in self._rows.split(_CHUNK)])
        else:
            found = (self._rows @ coefficients.T.float()).double()
        return found - coefficients @ self._centre

    def backward(self, residuals: Tensor, *, exact: bool = False) -> Tensor:
        """Residuals (N, C) to the gradient (C, dim) of their products with the scores, float64."""
        if self._doubles:
            return residuals.T @ self._rows
        parts = zip(self._rows.split(_CHUNK), residuals.split(_CHUNK), strict=True)
        found = residuals.new_zeros(residuals.shape[1], self.dim)
        for rows, own in parts:
            found += own.T @ rows.double() if exact else (own.T.float() @ rows).double()
        return found - torch.outer(residuals.sum(dim=0), self._centre)

    def gram(self, weights: Tensor) -> Tensor:
        """The sum of the rows' squares by their weights (N,): (dim, dim) float64."""
        found = weights.new_zeros(self.dim, self.dim)
        for rows, own in zip(self._rows.split(_CHUNK), weights.split(_CHUNK), strict=True):
            found += (rows.T @ (rows * own[:, None].to(rows.dtype))).double()
        return found - weights.sum() * torch.outer(self._centre, self._centre)

    def coefficients(self, turned: Tensor, intercepts: Tensor) -> tuple[Tensor, Tensor]:
        """What are coefficients (C, dim) and intercepts (C,) here, of the features as they were given: (C, D), (C,)."""
        found = turned if self._basis is None else turned @ self._basis.T
        return found, intercepts - found @ self._mean
