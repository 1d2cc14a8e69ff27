"""Logistic regression on rows that are read again for each step: as few steps as can be, for all penalties in one pass.

L-BFGS (J. Nocedal and S. J. Wright, Numerical Optimization, algorithms 7.4 and 7.5), begun in each step with the inverse of
curvature x products + penalty, by the decomposition of the features' products. That alone would be D. Böhning's and B. G.
Lindsay's method of a fixed bound (Monotonicity of quadratic-approximation algorithms, Annals of the Institute of
Statistical Mathematics 40, 1988). A step is one pass: a problem whose value has not fallen enough tries half of its way
in the next.
"""

import dataclasses
import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from headstart.core.heads.solvers.losses import Logistic, Loss, Softmax
from headstart.core.heads.streams.on_disk import room
from headstart.core.heads.streams.products import Eigen, Sums

_MEMORY = 6
"""Steps that a direction is made from."""
_MOST_PASSES = 200
_MOST_HALVINGS = 30
_ROUGH = 1e-2
"""As `solvers.descent`: tolerances above it are reached in single precision."""
_DOUBTFUL = 3
"""Halvings in a row from which rounding is blamed: all goes on in double precision then."""
_BYTES_AT_ONCE = 4 * 10**6
"""Of the scores of rows at several points, and of what is computed from them."""

Blocks = Callable[[], Iterator[tuple[Tensor, Tensor]]]
"""A pass over all rows: features (n, D) float32 and labels (n,) from 0, each class with a row."""


@dataclasses.dataclass(frozen=True, eq=False)
class Streaming:
    """The problem of `solvers.logistic` on rows that come in blocks: their classes' `weights` (C,) float64, `sums` and
    `eigen` of them; `smoothing` is as there."""

    blocks: Blocks
    weights: Tensor
    sums: Sums
    eigen: Eigen
    smoothing: float = 0.0

    @property
    def scores(self) -> int:
        """Scores of a row: of two classes it is one."""
        return 1 if len(self.weights) == 2 else len(self.weights)


@dataclasses.dataclass(frozen=True)
class Found:
    """The coefficients (C, D + 1) of a penalty, the intercepts last, for features less their mean; of two classes (1, D
    + 1). `left` and `steps` are those of `solvers.logistic.Solution`."""

    point: Tensor
    penalty: float
    steps: int
    left: float


def state(dim: int, scores: int, penalties: int) -> int:
    """Bytes of so many problems at once, and of what is computed from rows for them."""
    return (
        penalties * 8 * (2 * _MEMORY + 8) * scores * (dim + 1) + _rows_at_once(penalties * scores) * penalties * scores * 96
    )


def _rows_at_once(scores: int) -> int:
    """Rows of which so many scores are computed at once."""
    return max(32, min(512, _BYTES_AT_ONCE // (48 * scores)))


def solve(
    problem: Streaming, penalties: Sequence[float], tolerance: float, starts: Sequence[Tensor] | None = None
) -> list[Found]:
    """For each penalty what `solvers.logistic.path` finds, all in the same passes; from `starts`, solutions of nearly the
    same problem, where there are some. Where `left` is above the tolerance a solution was not reached."""
    begun = [_begin(problem)] * len(penalties) if starts is None else starts
    ways = [_Way(problem, penalty, start) for penalty, start in zip(penalties, begun, strict=True)]
    exact = tolerance <= _ROUGH
    for _ in range(_MOST_PASSES):
        going = [way for way in ways if not way.ended]
        if not going:
            break
        values, gradients, curvatures = _evaluated(problem, torch.stack([way.trial for way in going]), exact)
        for way, value, gradient, curvature in zip(going, values.tolist(), gradients, curvatures.tolist(), strict=True):
            way.see(value, gradient, curvature, tolerance)
        if not exact and any(way.halvings >= _DOUBTFUL for way in going):
            exact = True
            for way in going:
                way.again()
    return [Found(way.point, way.penalty, way.steps, way.left) for way in ways]


def _begin(problem: Streaming) -> Tensor:
    """No coefficients, and the intercepts that the classes' shares have then."""
    weights, even = problem.sums.weights, problem.smoothing / len(problem.weights)
    logs = ((1 - problem.smoothing) * weights / weights.sum() + even).log()
    start = torch.zeros(problem.scores, len(problem.eigen.values) + 1, dtype=torch.float64)
    start[:, -1] = logs[1:] - logs[:1] if problem.scores == 1 else logs - logs.mean()
    return start


def _evaluated(problem: Streaming, points: Tensor, exact: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Of K points (K, C, D + 1) the sums of the losses (K,), their gradients (K, C, D + 1) and mean curvatures (K,)."""
    count, scores = points.shape[:2]
    flat = points.flatten(0, 1)
    mean, coefficients = problem.sums.mean, flat[:, :-1]
    own = coefficients if exact else coefficients.float()
    start = flat[:, -1] - coefficients @ mean
    values, bent = points.new_zeros(count), points.new_zeros(count)
    gradients = torch.zeros_like(flat)
    at_once = _rows_at_once(len(flat))
    doubles = torch.from_numpy(room((at_once, len(mean)), np.float64)) if exact else flat
    for features, labels in problem.blocks():
        for part, of_class in zip(features.split(at_once), labels.split(at_once), strict=True):
            rows = doubles[: len(part)].copy_(part) if exact else part
            said = (own @ rows.T).double().add_(start[:, None]).view(count, scores, -1)
            loss = _loss(problem, of_class, count)
            values += loss.value(said)
            bent += loss.curvature(said) * loss.weights.sum(dim=1)
            residuals = loss.residuals(said).flatten(0, 1)
            sums = residuals.sum(dim=1)
            gradients[:, :-1] += (residuals.to(rows) @ rows).double() - torch.outer(sums, mean)
            gradients[:, -1] += sums
    return values, gradients.view_as(points), bent / problem.sums.total


def _loss(problem: Streaming, labels: Tensor, count: int) -> Loss:
    """The loss of some rows, the same for K points."""
    classes, own = len(problem.weights), problem.weights[labels]
    even = problem.smoothing / classes
    shares = torch.full((classes, len(labels)), even, dtype=torch.float64)
    shares.scatter_add_(0, labels[None], torch.full((1, len(labels)), 1 - problem.smoothing, dtype=torch.float64))
    weights = own.expand(count, -1)
    return Logistic(shares[1], weights) if classes == 2 else Softmax(shares, weights)


class _Way:
    """One penalty's way to its solution. `trial` is the point that is to be looked at next."""

    def __init__(self, problem: Streaming, penalty: float, start: Tensor) -> None:
        self.penalty, self.point, self.trial = penalty, start, start
        self.steps, self.left, self.halvings, self.ended = 0, math.inf, 0, False
        self._problem = problem
        self._value, self._slope, self._length = math.inf, 0.0, 1.0
        self._gradient, self._way = torch.zeros_like(start), torch.zeros_like(start)
        self._curvature = 1.0
        self._seen: deque[tuple[Tensor, Tensor]] = deque(maxlen=_MEMORY)

    def again(self) -> None:
        """Look at the point itself once more: its value is to be known more precisely."""
        self.trial, self._value, self.halvings = self.point, math.inf, 0
        self._seen.clear()

    def see(self, loss: float, gradient: Tensor, curvature: float, tolerance: float) -> None:
        """Take the loss at `trial`, its gradient (C, D + 1) and the mean curvature there, and choose the next trial."""
        value = loss + self.penalty / 2 * float(self.trial[:, :-1].square().sum())
        rounding = 1e-10 * abs(self._value) if math.isfinite(self._value) else 0.0
        if not value <= self._value + 1e-4 * self._length * self._slope + rounding:
            self.halvings += 1
            self.ended = self.halvings > _MOST_HALVINGS
            self._length /= 2
            self.trial = self.point + self._length * self._way
            return
        slopes = gradient.clone()
        slopes[:, :-1] += self.penalty * self.trial[:, :-1]
        if math.isfinite(self._value):
            moved, turned = self.trial - self.point, slopes - self._gradient
            if float((moved * turned).sum()) > 0:
                self._seen.append((moved, turned))
            self.steps += 1
        self.point, self._value, self._gradient, self._curvature = self.trial, value, slopes, max(curvature, 1e-9)
        self.halvings, self._length = 0, 1.0
        self.left = self._share()
        self.ended = self.left <= tolerance
        if not self.ended:
            self._way = -self._turned(slopes)
            self._slope = float((self._way * slopes).sum())
            self.trial = self.point + self._way

    def _share(self) -> float:
        norm, size = float(self._gradient.norm()), self.penalty * float(self.point[:, :-1].norm())
        if norm <= 1e-12 * float(self._problem.sums.total):
            return 0.0
        return norm / size if size > 0 else math.inf

    def _turned(self, gradient: Tensor) -> Tensor:
        """The two loops of L-BFGS."""
        found, parts = gradient, list[tuple[Tensor, Tensor, Tensor, Tensor]]()
        for moved, turned in reversed(self._seen):
            inverse = 1 / (moved * turned).sum()
            along = inverse * (moved * found).sum()
            found = found - along * turned
            parts.append((moved, turned, inverse, along))
        found = self._inverse(found)
        if parts:
            moved, turned, _, _ = parts[0]
            found = found * ((moved * turned).sum() / (turned * self._inverse(turned)).sum())
        for moved, turned, inverse, along in reversed(parts):
            found = found + (along - inverse * (turned * found).sum()) * moved
        return found

    def _inverse(self, vectors: Tensor) -> Tensor:
        """Vectors (C, D + 1) times the inverse of curvature x products + penalty."""
        eigen = self._problem.eigen
        along = (vectors[:, :-1] @ eigen.vectors) / (self._curvature * eigen.values + self.penalty)
        rest = vectors[:, -1:] / (self._curvature * self._problem.sums.total)
        return torch.cat([along @ eigen.vectors.T, rest], dim=1)
