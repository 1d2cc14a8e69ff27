"""Sums over rows on the disk from which linear heads are computed: the products of features, and each class's features."""

import dataclasses

import numpy as np
import scipy.linalg
import torch
from torch import Tensor

from headstart.core.heads.streams.budget import Budget, Needs
from headstart.core.heads.streams.given import AT_ONCE, Mask, Streamed
from headstart.core.heads.streams.on_disk import room

_STRIPS = 8
"""Into so many strips the products are divided, of which those below the diagonal are not computed."""
_FEWEST_OF_A_STRIP = 128


@dataclasses.dataclass(frozen=True)
class Sums:
    """Sums over rows by their weights, float64: `weights` (C,) of each class, `features` (C, D) of each class, for features
    less a `centre` (D,)."""

    weights: Tensor
    features: Tensor
    centre: Tensor

    @property
    def total(self) -> Tensor:
        """The sum of all weights."""
        return self.weights.sum()

    @property
    def offset(self) -> Tensor:
        """The mean of the features less the centre (D,)."""
        return self.features.sum(dim=0) / self.total

    @property
    def mean(self) -> Tensor:
        """The mean of the features (D,)."""
        return self.centre + self.offset


@dataclasses.dataclass(frozen=True)
class Eigen:
    """Of rows less their mean, each times the root of its weight: the eigenvalues (D,), 0 or more, and eigenvectors (D,
    D) of the features' products, float64."""

    values: Tensor
    vectors: Tensor


def needs(dim: int, classes: int, name: str) -> Needs:
    """What `decomposed` holds: products, and a few rows in double precision; then the products and the vectors."""
    square, sums = 8 * dim**2, 8 * classes * dim * 2
    return Needs(name, square + sums + AT_ONCE * dim * 16, 2 * square + sums + 512 * dim)


def summed(given: Streamed, learn: Mask, weights: Tensor, most: int, into: Tensor | None = None) -> Sums:
    """The sums over the rows to learn from, whose classes have these weights (C,); the upper half of the products (D, D)
    of features less the centre is added up `into` a matrix where one is given."""
    labels, centre = torch.from_numpy(given.rows.labels), given.scale.centre
    sums = torch.zeros(given.classes, given.rows.dim, dtype=torch.float64)
    doubles = torch.from_numpy(room((AT_ONCE, given.rows.dim), np.float64))
    for places, features, _ in given.blocks(learn, most):
        own = labels[torch.from_numpy(places)]
        for part, of_class in zip(features.split(AT_ONCE), own.split(AT_ONCE), strict=True):
            rows = doubles[: len(part)].copy_(part).sub_(centre)
            sums.index_add_(0, of_class, rows)
            if into is not None:
                _add(into, rows.mul_(weights[of_class].sqrt()[:, None]))
    counts = torch.bincount(labels[torch.from_numpy(learn)], minlength=given.classes).double()
    return Sums(weights * counts, weights[:, None] * sums, centre)


def _add(into: Tensor, rows: Tensor) -> None:
    """Add the products of rows (n, D) to the upper half of a matrix: little more than half of the work."""
    width = max(_FEWEST_OF_A_STRIP, -(-len(into) // _STRIPS))
    for first in range(0, len(into), width):
        strip = slice(first, first + width)
        into[strip, first:].addmm_(rows[:, strip].T, rows[:, first:])


def decomposed(given: Streamed, learn: Mask, weights: Tensor, budget: Budget) -> tuple[Sums, Eigen]:
    """The sums, and the decomposition of the products of rows less their mean. Raises OutOfMemory."""
    dim = given.rows.dim
    most = budget.block_rows(needs(dim, given.classes, "the products of features"))
    products = torch.zeros(dim, dim, dtype=torch.float64)
    sums = summed(given, learn, weights, most, products)
    products.addr_(sums.offset, sums.offset, alpha=-float(sums.total))
    # torch's takes four times the room of the products (`syevd`), this one overwrites them; LAPACK sees them transposed
    upper = products.numpy().T
    values, vectors = scipy.linalg.eigh(upper, lower=True, overwrite_a=True, driver="evr", check_finite=False)
    return sums, Eigen(torch.from_numpy(values).clamp_min_(0), torch.from_numpy(vectors))
