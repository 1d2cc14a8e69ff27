"""Multinomial logistic regression with a penalty on the squared coefficients, for one penalty or a path of them."""

import dataclasses
import functools
import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from headstart.core.heads.solvers.lbfgs import Inverse, Memory
from headstart.core.heads.solvers.products import Products

_MEMORY, _MEMORY_BYTES = 60, 2**28
"""Steps that are remembered, and the room that they may take. Of 60 the path of nine penalties on 3,000 rows of real
features took 170 products with the rows, of 20 it took 233."""
_MOST_STEPS = 1000
"""Steps for one penalty: on real features none took 150, on features of few dimensions some 300."""
_WITHOUT_GAIN = 10
"""Steps in single precision that may bring no smaller gradient: then rounding is what is left of it."""
_ROUGH = 1e-2
"""Tolerances above it are checked in single precision, whose rounding is far smaller; those below in double precision."""
_MOST_TRIES = 30
"""Points that are tried along one direction; two are enough nearly always."""


@dataclasses.dataclass(frozen=True)
class Problem:
    """Features (N, D) of any floating type, labels (N,) int64 of C classes that each have a row, and how much each row
    counts (N,), float64 above 0. `smoothing` is the part of each label that goes to all classes evenly. `squares` (D,) are
    given where the sum of the rows' weighted squares, less their mean, is diagonal: then a step takes half the time."""

    features: Tensor
    labels: Tensor
    weights: Tensor
    classes: int
    smoothing: float = 0.0
    squares: Tensor | None = None


@dataclasses.dataclass(frozen=True)
class Solution:
    """Coefficients (C, D) and intercepts (C,), float64, whose sums over the classes are 0.

    `left` is the norm of the gradient as a share of the penalty's own, penalty x the norm of the coefficients; `steps` is
    what it took. Where `left` is above the tolerance that was asked for, the solution was not reached.
    """

    coefficients: Tensor
    intercepts: Tensor
    penalty: float
    steps: int
    left: float


def path(problem: Problem, penalties: Sequence[float], tolerances: Sequence[float]) -> Iterator[Solution]:
    """For each penalty, in falling order and when it is asked for, what minimises the sum of the rows' weighted cross
    entropies in nats and penalty / 2 x the squares of the coefficients: that of LogisticRegression with C = 1 / penalty.
    Intercepts are not penalised. Of two classes the penalty is on the one row of differences, as in scikit-learn.

    L-BFGS from the last solution, moved on by what the last change of the penalty changed: from a strong penalty to a weak
    one by way of others takes far fewer steps than at once. The first guess of the Hessian is that of least squares, the
    rows' squares times their mean curvature, after D. Böhning, Multinomial logistic regression algorithm (Annals of the
    Institute of Statistical Mathematics 44, 1992). Scores are linear in the coefficients, so that the search along a line
    needs no product with the rows.

    Each ends where the gradient's norm is at most its tolerance x penalty x the norm of the coefficients. The loss is
    strongly convex with the penalty as its constant, so the coefficients then are within the tolerance, relatively, of the
    solution's, and the loss within tolerance² / 2 x penalty x their squares (S. Boyd and L. Vandenberghe, Convex
    Optimization, 9.1.2).
    """
    descent = _Descent(problem)
    yield from (descent.to(penalty, tolerance) for penalty, tolerance in zip(penalties, tolerances, strict=True))


class _Descent:
    """Coefficients on their way along the path: a point (C, dim + 1), the intercepts last, and the rows' scores there."""

    def __init__(self, problem: Problem) -> None:
        self._problem, self._weights = problem, problem.weights.double()
        total = self._weights.sum()
        self._products = Products(problem.features, self._weights / total)
        self._gram = self._products.gram(self._weights) if problem.squares is None else problem.squares
        counts = torch.bincount(problem.labels, self._weights, minlength=problem.classes)
        shares = (1 - problem.smoothing) * counts / total + problem.smoothing / problem.classes
        self._point = self._gram.new_zeros(problem.classes, self._products.dim + 1)
        self._point[:, -1] = shares.log() - shares.log().mean()
        self._scores = self._point[:, -1].expand(len(problem.labels), -1)
        room = _MEMORY_BYTES // (3 * 8 * self._point.numel())
        self._memory = Memory(self._point.numel(), max(3, min(_MEMORY, room)), self._point)
        self._penalties: list[float] = []
        self._before = self._point, self._scores
        self._exact = False

    def to(self, penalty: float, tolerance: float) -> Solution:
        """Go on to the solution for this penalty."""
        self._begin(penalty * (2 if self._problem.classes == 2 else 1))
        self._exact = not self._products.rounded
        enough = tolerance > _ROUGH
        self._arrive()
        steps, least, idle = 0, math.inf, 0
        while (left := self._left()) > tolerance or not (self._exact or enough):
            if left <= tolerance or (idle >= _WITHOUT_GAIN and not self._exact):
                self._exact = True  # the last word is in double precision
                self._scores = self._products.forward(self._point[:, :-1], exact=True) + self._point[:, -1]
                self._arrive()
            elif steps == _MOST_STEPS:
                break
            else:
                least, idle, steps = min(left, least), 0 if left < least else idle + 1, steps + 1
                self._step()
        coefficients, intercepts = self._products.coefficients(self._point[:, :-1], self._point[:, -1])
        return Solution(coefficients, intercepts - intercepts.mean(), penalty, steps, left)

    def _begin(self, penalty: float) -> None:
        """Another penalty: begin where the change of the last one points to, if lower, and bend what is remembered."""
        here, before = (self._point, self._scores), self._before
        last = self._penalty if self._penalties else penalty
        self._penalties.append(penalty)
        self._before = here
        if len(self._penalties) > 2 and self._penalties[-3] > last:
            further = math.log(last / penalty) / math.log(self._penalties[-3] / last)
            there = tuple(now + further * (now - then) for now, then in zip(here, before, strict=True))
            if self._value(*there) < self._value(*here):
                self._point, self._scores = there
        self._guess = self._least_squares()
        self._memory.begin(self._guess, functools.partial(self._bent, penalty - last))

    @property
    def _penalty(self) -> float:
        return self._penalties[-1]

    def _bent(self, more: float, steps: Tensor) -> Tensor:
        """By how much a penalty that is larger by `more` changes the Hessian times steps (m, P)."""
        found = more * steps.view(-1, *self._point.shape)
        found[..., -1] = 0
        return found.flatten(1)

    def _least_squares(self) -> Inverse:
        chances = self._scores.softmax(dim=1)
        curvature = (1 - chances.square().sum(dim=1)) / max(1, self._problem.classes - 1)
        mean = max(float(self._weights @ curvature / self._weights.sum()), 1e-9)  # 0 where all rows are certain
        guess = _LeastSquares if self._problem.squares is None else _OnAxes
        return guess(mean * self._gram, mean * float(self._weights.sum()), self._penalty, self._problem.classes)

    def _value(self, point: Tensor, scores: Tensor) -> float:
        logs, smoothing = scores.log_softmax(dim=1), self._problem.smoothing
        rows = (1 - smoothing) * logs.gather(1, self._problem.labels[:, None])[:, 0]
        rows = rows + smoothing * logs.mean(dim=1) if smoothing else rows
        return float(self._penalty / 2 * point[:, :-1].square().sum() - self._weights @ rows)

    def _residuals(self, scores: Tensor) -> Tensor:
        """The gradient of the rows' losses by their scores (N, C)."""
        found = scores.softmax(dim=1)
        if self._problem.smoothing:
            found -= self._problem.smoothing / self._problem.classes
        at = self._problem.labels[:, None]
        found.scatter_add_(1, at, found.new_full((1, 1), self._problem.smoothing - 1).expand(len(at), 1))
        return found.mul_(self._weights[:, None])

    def _arrive(self) -> None:
        """Take the gradient at the point (C, dim + 1), and the gradient times the guess."""
        residuals = self._residuals(self._scores)
        found = self._products.backward(residuals, exact=self._exact) + self._penalty * self._point[:, :-1]
        self._gradient = torch.cat([found, residuals.sum(dim=0)[:, None]], dim=1)
        self._guessed = self._guess(self._gradient.view(1, -1))[0]

    def _left(self) -> float:
        norm, size = float(self._gradient.norm()), float(self._penalty * self._point[:, :-1].norm())
        # where features say nothing there are no coefficients: what is left is rounding, relative to all weights
        floor = 1e-12 * float(self._weights.sum())
        return 0.0 if norm <= floor else norm / size if size > 0 else math.inf

    def _step(self) -> None:
        gradient, guessed = self._gradient, self._guessed
        way = self._memory.direction(gradient.flatten(), guessed).view_as(gradient)
        scores = self._products.forward(way[:, :-1], exact=self._exact) + way[:, -1]
        length = self._length(way, scores, float((gradient * way).sum()))
        self._point, self._scores = self._point + length * way, self._scores + length * scores
        self._arrive()
        self._memory.learn(length * way.flatten(), (self._gradient - gradient).flatten(), self._guessed - guessed)

    def _length(self, way: Tensor, along: Tensor, slope: float) -> float:
        """How far to go, so that the slope is at most a tenth of the first: Newton's method between bounds, on scores that
        change by `along` (N, C) and with the penalty's part, whose derivatives are written out."""
        inner = self._penalty * float((self._point[:, :-1] * way[:, :-1]).sum())
        square = self._penalty * float(way[:, :-1].square().sum())
        smoothing = self._problem.smoothing
        right = (1 - smoothing) * along.gather(1, self._problem.labels[:, None])[:, 0] + smoothing * along.mean(dim=1)
        low, high, length = 0.0, math.inf, 1.0
        for _ in range(_MOST_TRIES):
            chances = (self._scores + length * along).softmax(dim=1)
            mean = (chances * along).sum(dim=1)
            first = float(self._weights @ (mean - right)) + inner + length * square
            if abs(first) <= 0.1 * abs(slope):
                break
            second = float(self._weights @ ((chances * along.square()).sum(dim=1) - mean.square())) + square
            low, high = (low, length) if first > 0 else (length, high)
            length = length - first / second if second > 0 else high
            if not low < length < high:
                length = (low + high) / 2 if high < math.inf else 2 * low
        return length


class _LeastSquares:
    """The inverse of the Hessian that least squares of the same rows would have, for each class alike.

    A guess need not be exact: its factor is in single precision. Where rounding makes the rows' squares (dim, dim)
    indefinite, as with features of few dimensions, more than the penalty is added until they are not.
    """

    def __init__(self, gram: Tensor, intercept: float, penalty: float, classes: int) -> None:
        self._intercept, self._classes = intercept, classes
        more = torch.finfo(torch.float32).eps * float(gram.diagonal().mean())
        gram.diagonal().add_(penalty)
        self._factor, failed = torch.linalg.cholesky_ex(gram.float())
        while failed and 0 < more < math.inf:
            gram.diagonal().add_(more)
            self._factor, failed = torch.linalg.cholesky_ex(gram.float())
            more *= 10

    def __call__(self, vectors: Tensor) -> Tensor:
        each = vectors.view(len(vectors) * self._classes, len(self._factor) + 1)
        size = each[:, :-1].norm() + torch.finfo(torch.float64).tiny  # small gradients would be 0 in single precision
        found = torch.cholesky_solve((each[:, :-1] / size).T.float(), self._factor).T.double() * size
        return torch.cat([found, each[:, -1:] / self._intercept], dim=1).view_as(vectors)


class _OnAxes:
    """The same where the rows' squares are diagonal (dim,)."""

    def __init__(self, squares: Tensor, intercept: float, penalty: float, classes: int) -> None:
        self._classes = classes
        self._curvatures = torch.cat([squares + penalty, squares.new_tensor([intercept])])

    def __call__(self, vectors: Tensor) -> Tensor:
        return (vectors.view(len(vectors), self._classes, -1) / self._curvatures).view_as(vectors)
