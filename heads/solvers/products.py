"""Products with the rows of a problem, in the precision that is asked for."""

import torch
from torch import Tensor

_SMALL = 2**17
"""Numbers of a matrix of rows that are kept in double precision: 1 MB, which stays near a core."""
_CHUNK = 2048
"""Rows of one product in single precision, and rows that are in double precision at once; sums of chunks are doubles."""


class Products:
    """Rows (N, D), less the mean of theirs by `shares` (N,), times stacks of coefficients and of residuals.

    One product serves the whole stack: a few columns cost hardly more than one, since reading the rows is what takes time.
    """

    def __init__(self, features: Tensor, shares: Tensor) -> None:
        self.mean = torch.cat([shares @ part.double() for part in features.split(256, 1)], -1)
        small = features.numel() <= _SMALL
        self._rows = features.double() - self.mean if small else features
        self._centre = torch.zeros_like(self.mean) if small else self.mean

    @property
    def rounded(self) -> bool:
        """Whether products that are not `exact` are in single precision."""
        return self._rows.dtype != torch.float64

    def forward(self, coefficients: Tensor, *, exact: bool = False) -> Tensor:
        """Coefficients (K, C, D) to the scores of the rows (K, C, N), float64."""
        flat = coefficients.flatten(0, 1)
        if not self.rounded:
            found = flat @ self._rows.T
        elif exact:
            found = torch.cat([flat @ part.double().T for part in self._rows.split(_CHUNK)], dim=1)
        else:
            found = (flat.to(self._rows.dtype) @ self._rows.T).double()
        return (found - (flat @ self._centre)[:, None]).view(*coefficients.shape[:2], -1)

    def backward(self, residuals: Tensor, *, exact: bool = False) -> Tensor:
        """Residuals (K, C, N) to the gradient (K, C, D) of their products with the scores, float64."""
        flat = residuals.flatten(0, 1)
        if not self.rounded:
            found = flat @ self._rows
        else:
            found = flat.new_zeros(len(flat), len(self.mean))
            for rows, own in zip(self._rows.split(_CHUNK), flat.split(_CHUNK, dim=1), strict=True):
                found += own @ rows.double() if exact else (own.to(rows.dtype) @ rows).double()
        return (found - torch.outer(flat.sum(dim=1), self._centre)).view(*residuals.shape[:2], -1)
