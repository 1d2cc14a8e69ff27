"""Multinomial logistic regression and least squares with a penalty on the squared coefficients, for one penalty or a path
of them, on all rows or without each fold of them."""

import dataclasses
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from headstart.core.heads.solvers.axes import Axes, leading
from headstart.core.heads.solvers.descent import Descent
from headstart.core.heads.solvers.losses import Logistic, Loss, Softmax, Squares


@dataclasses.dataclass(frozen=True)
class Problem:
    """Features (N, D) of any floating type, labels (N,) int64 of C classes that each have a row, and how much each row
    counts, float64: (N,) above 0, or (K, N) for K problems on the same rows, 0 where a row has no part in one. `smoothing`
    is the part of each label that goes to all classes evenly. `axes` are what `leading` found of the features and the mean
    weights: of several kinds of problems on the same rows each can have them."""

    features: Tensor
    labels: Tensor
    weights: Tensor
    classes: int
    smoothing: float = 0.0
    axes: Axes | None = None


@dataclasses.dataclass(frozen=True)
class Posed:
    """The problem of the classes that have a row, whose labels are `present` (n,)."""

    problem: Problem
    present: Tensor


def posed(features: Tensor, labels: Tensor, weights: Tensor | None) -> Posed | None:
    """The problem of rows (N, D), with its axes, on their device, or on a processor where that has no doubles; None where
    they are of one class."""
    present, numbers = labels.unique(return_inverse=True)
    if len(present) < 2:
        return None
    where = torch.device("cpu") if features.device.type == "mps" else features.device
    features, even = features.to(where), torch.ones(len(labels), dtype=torch.float64)
    counts = (even if weights is None else weights).to(where).double()
    shares = counts / counts.sum()
    mean = torch.cat([shares @ part.double() for part in features.split(256, 1)])
    axes = leading(features, mean, counts)
    return Posed(Problem(features, numbers.to(where), counts, len(present), axes=axes), present)


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


@dataclasses.dataclass(frozen=True)
class Scores:
    """What K problems say of all rows, those that have no part in them among them: scores (K, C, N) float64."""

    scores: Tensor
    penalty: float
    left: float


def path(problem: Problem, penalties: Sequence[float], tolerances: Sequence[float]) -> Iterator[Solution]:
    """For each penalty, in falling order and when it is asked for, what minimises the sum of the rows' weighted cross
    entropies in nats and penalty / 2 x the squares of the coefficients: that of LogisticRegression with C = 1 / penalty.
    Intercepts are not penalised. Of two classes the penalty is on the one row of differences, as in scikit-learn.

    Each ends where the gradient's norm is at most its tolerance x penalty x the norm of the coefficients. The loss is
    strongly convex with the penalty as its constant, so the coefficients then are within the tolerance, relatively, of the
    solution's, and the loss within tolerance² / 2 x penalty x their squares (S. Boyd and L. Vandenberghe, Convex
    Optimization, 9.1.2).
    """
    descent = _logistic(problem)
    for point in descent.path(penalties, tolerances):
        yield solution(point.coefficients[0], descent.mean, point.penalty, point.steps, float(point.left[0]))


def logistic_scores(problem: Problem, penalties: Sequence[float], tolerance: float) -> Iterator[Scores]:
    """The scores at the solutions of `path`, for each of the K problems."""
    for point in _logistic(problem).path(penalties, [tolerance] * len(penalties)):
        shares = _of_two(point.scores / 2) if problem.classes == 2 else point.scores
        yield Scores(shares, point.penalty, float(point.left.max()))


def squares_path(problem: Problem, penalties: Sequence[float], tolerance: float) -> Iterator[Solution]:
    """For each penalty, in falling order and when it is asked for, least squares on targets of 1 for a row's own class and
    -1 for others, with the penalty on the squared coefficients of each class: RidgeClassifier's."""
    descent = _squares(problem)
    for point in descent.path(penalties, [tolerance] * len(penalties)):
        own = point.coefficients[0]
        own = torch.cat([-own, own]) if problem.classes == 2 else own
        coefficients, intercepts = own[:, :-1], own[:, -1] - own[:, :-1] @ descent.mean
        yield Solution(coefficients, intercepts, point.penalty, point.steps, float(point.left[0]))


def squares_scores(problem: Problem, penalties: Sequence[float], tolerance: float) -> Iterator[Scores]:
    """The scores at the solutions of `squares_path`, for each of the K problems."""
    for point in _squares(problem).path(penalties, [tolerance] * len(penalties)):
        found = _of_two(point.scores) if problem.classes == 2 else point.scores
        yield Scores(found, point.penalty, float(point.left.max()))


def _squares(problem: Problem) -> Descent:
    weights = _stacked(problem.weights)
    targets = 2 * _shares(problem) - 1
    targets = targets[1:] if problem.classes == 2 else targets
    start = (weights @ targets.T) / weights.sum(dim=1, keepdim=True)
    loss: Loss = Squares(targets, weights)
    return Descent(problem.features, loss, start, problem.axes)


def _logistic(problem: Problem) -> Descent:
    weights, shares = _stacked(problem.weights), _shares(problem)
    logs = ((weights @ shares.T) / weights.sum(dim=1, keepdim=True)).log()
    if problem.classes == 2:
        loss: Loss = Logistic(shares[1], weights)
        return Descent(problem.features, loss, logs[:, 1:] - logs[:, :1], problem.axes)
    start = logs - logs.mean(dim=1, keepdim=True)
    return Descent(problem.features, Softmax(shares, weights), start, problem.axes)


def _stacked(weights: Tensor) -> Tensor:
    return weights.double() if weights.ndim == 2 else weights.double()[None]


def _shares(problem: Problem) -> Tensor:
    """Each class's share of each label (C, N)."""
    even = problem.smoothing / problem.classes
    found = torch.full((problem.classes, len(problem.labels)), even, dtype=torch.float64, device=problem.labels.device)
    return found.scatter_add_(0, problem.labels[None], torch.full_like(found[:1], 1 - problem.smoothing))


def _of_two(difference: Tensor) -> Tensor:
    """Scores (K, 1, N) of the second class, as those of both, whose sum is 0."""
    return torch.cat([-difference, difference], dim=1)


def solution(own: Tensor, mean: Tensor, penalty: float, steps: int, left: float) -> Solution:
    """That of coefficients (C, D + 1) for features less their mean (D,), the intercepts last; of two classes each has half
    of the difference (1, D + 1)."""
    own = torch.cat([-own, own]) / 2 if len(own) == 1 else own
    coefficients, intercepts = own[:, :-1], own[:, -1] - own[:, :-1] @ mean
    return Solution(coefficients, intercepts - intercepts.mean(), penalty, steps, left)
