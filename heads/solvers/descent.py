"""Newton's method for penalised convex problems on the same rows, several at once, along a path of penalties."""

import dataclasses
import functools
import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from headstart.core.heads.solvers import conjugate
from headstart.core.heads.solvers.axes import Axes, leading
from headstart.core.heads.solvers.losses import Loss
from headstart.core.heads.solvers.products import Products

_MOST_STEPS = 200
"""Steps for one penalty: on real features none took ten."""
_WITHOUT_GAIN = 3
"""Steps that may not bring the gradient a tenth down: then it is time for more precision."""
_GRADIENTS, _ALL = 1, 2
"""What is in double precision: nothing at 0, then gradients alone, since a direction may be rough, and at last directions
too, where features are nearly dependent and the penalty weak."""
_ROUGH = 1e-2
"""Tolerances above it are checked in single precision, whose rounding is far smaller; those below in double precision."""
_MOST_HALVINGS = 30


@dataclasses.dataclass(frozen=True)
class Point:
    """Where K problems are: coefficients (K, C, D + 1), the intercepts last, for features less their mean, and the scores
    (K, C, N) of the rows. `left` (K,) are the norms of the gradients as shares of the penalty's own, penalty x the norm of
    the coefficients; `steps` is what it took."""

    coefficients: Tensor
    scores: Tensor
    penalty: float
    steps: int
    left: Tensor


class Descent:
    """Problems of the sum over rows of a loss and penalty / 2 x the squares of the coefficients, without the intercepts,
    on the features (N, D) of any floating type.

    Newton's method with directions by conjugate gradients that end early (R. S. Dembo and T. Steihaug, Truncated-Newton
    algorithms for large-scale unconstrained optimization, Mathematical Programming 26, 1983), as in scikit-learn's
    `newton-cg`, from the last solution, moved on by what the last change of the penalty changed. All problems share the
    products with the rows, but each goes its own way and ends by itself.
    """

    def __init__(self, features: Tensor, loss: Loss, intercepts: Tensor, axes: Axes | None = None) -> None:
        self._loss = loss
        together = loss.weights.sum(dim=0)
        self._products = Products(features, together / together.sum())
        self._axes = axes or leading(features, self._products.mean, together / len(loss.weights))
        problems, scores = intercepts.shape
        self._point = intercepts.new_zeros(problems, scores, features.shape[1] + 1)
        self._point[..., -1] = intercepts
        self._scores = intercepts[..., None].expand(-1, -1, len(features))
        self._totals = loss.weights.sum(dim=1)
        self._penalties: list[float] = []
        self._before = self._point, self._scores
        self._precision = 0

    @property
    def mean(self) -> Tensor:
        """What the features are less (D,)."""
        return self._products.mean

    def path(self, penalties: Sequence[float], tolerances: Sequence[float]) -> Iterator[Point]:
        """The solutions, in the order of the penalties, each computed when it is asked for."""
        yield from (self._to(penalty, tolerance) for penalty, tolerance in zip(penalties, tolerances, strict=True))

    def _to(self, penalty: float, tolerance: float) -> Point:
        self._begin(penalty)
        self._precision, enough = 0 if self._products.rounded else _ALL, tolerance > _ROUGH
        self._arrive()
        steps, least, idle = 0, math.inf, 0
        while (worst := float(self._left.max())) > tolerance or not (self._precision or enough):
            if worst <= tolerance or (idle >= _WITHOUT_GAIN and self._precision < _ALL):
                self._precision, idle = self._precision + 1, 0  # the last word is in double precision
                self._arrive()
            elif steps == _MOST_STEPS:
                break
            else:
                gain, steps = worst < 0.9 * least, steps + 1
                least, idle = min(worst, least), 0 if gain else idle + 1
                self._step(tolerance)
        return Point(self._point, self._scores, penalty, steps, self._left)

    def _begin(self, penalty: float) -> None:
        """Another penalty: begin where the change of the last one points to, for each problem where its loss is lower."""
        here, before = (self._point, self._scores), self._before
        self._penalties.append(penalty)
        self._before = here
        if len(self._penalties) > 2 and self._penalties[-3] > self._penalties[-2]:
            further = math.log(self._penalties[-2] / penalty) / math.log(self._penalties[-3] / self._penalties[-2])
            point, scores = (now + further * (now - then) for now, then in zip(here, before, strict=True))
            lower = (self._value(point, scores) < self._value(*here))[:, None, None]
            self._point, self._scores = torch.where(lower, point, here[0]), torch.where(lower, scores, here[1])

    @property
    def _penalty(self) -> float:
        return self._penalties[-1]

    def _value(self, point: Tensor, scores: Tensor) -> Tensor:
        return self._penalty / 2 * point[..., :-1].square().sum(dim=(1, 2)) + self._loss.value(scores)

    def _arrive(self) -> None:
        """Take the gradient at the point, and in double precision the scores anew."""
        exact = self._precision >= _GRADIENTS
        if exact:
            self._scores = self._forward(self._point, exact=True)
        residuals = self._loss.residuals(self._scores)
        self._gradient = self._backward(residuals, self._point, exact=exact)
        self._norms = self._gradient.flatten(1).norm(dim=1)
        self._sizes = self._penalty * self._point[..., :-1].flatten(1).norm(dim=1)
        # where features say nothing there are no coefficients: what is left is rounding, relative to all weights
        shares = torch.where(self._sizes > 0, self._norms / self._sizes, math.inf)
        self._left = torch.where(self._norms <= 1e-12 * self._totals, 0, shares)

    def _forward(self, way: Tensor, *, exact: bool = False) -> Tensor:
        return self._products.forward(way[..., :-1], exact=exact) + way[..., -1:]

    def _backward(self, residuals: Tensor, way: Tensor, *, exact: bool = False) -> Tensor:
        found = self._products.backward(residuals, exact=exact) + self._penalty * way[..., :-1]
        return torch.cat([found, residuals.sum(dim=2, keepdim=True)], dim=2)

    def _step(self, tolerance: float) -> None:
        """One step of the problems that have not ended; directions are the less exact, the farther there is to go."""
        share = self._left.clamp(1e-3, 1e-3 if self._loss.quadratic else 0.2)
        enough = torch.maximum(share * self._norms, tolerance / 2 * self._sizes)
        enough = torch.where(self._left > tolerance, enough, math.inf)
        curvatures = self._loss.curvature(self._scores).clamp_min(1e-9)  # 0 where all rows are certain
        way, along = conjugate.solve(
            functools.partial(self._bent, self._scores),
            functools.partial(self._inverse, curvatures),
            -self._gradient,
            enough,
        )
        if not (way.isfinite().all() and along.isfinite().all()):  # beyond single precision's largest number
            way, along = torch.zeros_like(way), torch.zeros_like(along)
        length = self._length(way, along)[:, None, None]
        self._point, self._scores = self._point + length * way, self._scores + length * along
        self._arrive()

    def _bent(self, scores: Tensor, way: Tensor) -> tuple[Tensor, Tensor]:
        """The Hessian times a way, and by how much the scores change along it."""
        exact = self._precision == _ALL
        along = self._forward(way, exact=exact)
        return self._backward(self._loss.bent(scores, along), way, exact=exact), along

    def _inverse(self, curvatures: Tensor, vectors: Tensor) -> Tensor:
        shares = self._totals / self._totals.mean()
        found = self._axes.inverse(vectors[..., :-1], curvatures * shares, self._penalty, exact=self._precision == _ALL)
        return torch.cat([found, vectors[..., -1:] / (curvatures * self._totals)[:, None, None]], dim=2)

    def _length(self, way: Tensor, along: Tensor) -> Tensor:
        """How much of the way (K,) each problem goes: all of it, or the half, so often that its value falls by a ten
        thousandth of what the slope promises (J. Nocedal and S. J. Wright, Numerical Optimization, 3.1)."""
        length, before = self._totals.new_ones(len(way)), self._value(self._point, self._scores)
        slope = (self._gradient * way).flatten(1).sum(dim=1)
        for _ in range(_MOST_HALVINGS):
            each = length[:, None, None]
            now = self._value(self._point + each * way, self._scores + each * along)
            high = ~(now <= before + 1e-4 * length * slope + 1e-12 * before.abs())
            if not high.any():
                break
            length = torch.where(high, length / 2, length)
        return length
