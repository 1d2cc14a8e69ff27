"""The axes along which rows vary, found once for every problem that is posed on them."""

import dataclasses
import functools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

CHUNK = 2048
"""Rows that are in double precision at once."""


@dataclasses.dataclass(frozen=True)
class Decomposition:
    """Of rows (N, D), less their weighted `mean` (D,) and each times the root of its weight: the eigenvalues `values` (r,)
    and eigenvectors `vectors` of the features' products (r = D), or of no more rows than features of the rows' products
    (r = N, `of_rows`). All float64; eigenvalues are 0 or more, in rising order.
    """

    features: Tensor
    weights: Tensor | None
    mean: Tensor
    values: Tensor
    vectors: Tensor
    of_rows: bool

    def along(self, targets: Callable[[slice], Tensor]) -> Tensor:
        """Centred targets, of which a call gives those of some rows (n, C), as sums along the axes (r, C)."""
        if self.of_rows:
            return self.vectors.T @ _weighted(targets(slice(None)), self.weights)
        parts = (self._rows(at).T @ _weighted(targets(at), _of(self.weights, at)) for at in _chunks(len(self.features)))
        return self.vectors.T @ functools.reduce(Tensor.add_, parts)

    def least_squares(self, along: Tensor, penalties: Sequence[float]) -> list[Tensor]:
        """The coefficients (D, C) of least squares with each penalty on their squares."""
        parts = [along / (self.values + penalty)[:, None] for penalty in penalties]
        found = self.vectors @ torch.cat(parts, dim=1)
        if self.of_rows:
            found = self._rows(slice(None)).T @ found
        return list(found.split(along.shape[1], dim=1))

    def _rows(self, at: slice) -> Tensor:
        return _weighted(self.features[at].double() - self.mean, _of(self.weights, at))


def decompose(features: Tensor, weights: Tensor | None = None) -> Decomposition:
    """Decompose rows (N, D) of any floating type, by weights (N,) above 0. Of several kinds of heads that pose problems on
    the same rows each has its answers for every penalty from it."""
    weights = None if weights is None else weights.double()
    mean = _mean(features, weights)
    plain = Decomposition(features, weights, mean, mean[:0], mean[:0], len(features) <= features.shape[1])
    if plain.of_rows:
        rows = plain._rows(slice(None))
        products = rows @ rows.T
    else:
        products = mean.new_zeros(features.shape[1], features.shape[1])
        for at in _chunks(len(features)):
            rows = plain._rows(at)
            products.addmm_(rows.T, rows)
    values, vectors = torch.linalg.eigh(products)
    return dataclasses.replace(plain, values=values.clamp_min(0), vectors=vectors)


def _mean(features: Tensor, weights: Tensor | None) -> Tensor:
    if weights is None:
        return torch.cat([part.double().mean(dim=0) for part in features.split(256, 1)])
    return torch.cat([weights @ part.double() for part in features.split(256, 1)]) / weights.sum()


def _of(weights: Tensor | None, at: slice) -> Tensor | None:
    return None if weights is None else weights[at]


def _weighted(values: Tensor, weights: Tensor | None) -> Tensor:
    return values if weights is None else values * weights.sqrt()[:, None]


def _chunks(rows: int) -> list[slice]:
    return [slice(start, min(start + CHUNK, rows)) for start in range(0, rows, CHUNK)]
