"""ridge: least squares with the penalty chosen by leave-one-out, in the memory of one chunk of rows beside the features."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from headstart.core.heads.config import TrainConfig
from headstart.core.heads.kinds.base import PenalisedHead, Rows
from headstart.core.heads.solvers.decomposition import Decomposition, decompose
from headstart.core.heads.solvers.logistic import Posed, Problem, squares_path, squares_scores

_DECOMPOSED = 1024
"""The fewer of rows and features up to which several penalties are solved from a decomposition, exactly: of 2,048 features
that takes 3.6 s on a core, longer than all penalties by conjugate gradients."""
_CHUNK = 2048
"""Rows that are in double precision at once."""

Doubles = npt.NDArray[np.float64]
Features = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]


class Ridge(PenalisedHead):
    """Least squares on one-against-all targets: scikit-learn's RidgeClassifier, and RidgeClassifierCV where the
    configuration has no penalty, so that leave-one-out on the training rows chooses it. Its scores
    are distances, not log-odds: the probabilities rank rightly but are too even."""

    uses = frozenset({"penalty", "class_weight"})
    rank = 2
    caveat = "a ridge head's scores are not log-odds: its probabilities rank rightly, but are far too even"
    costly_end = True
    penalties = tuple(10.0**power for power in range(-3, 10))
    path_tolerance = 5e-2
    """The relative error of coefficients that are only to be chosen among, where they are not solved exactly."""

    def fit(self, rows: Rows) -> None:
        if self.config.penalty is not None:
            self.take(*fit_each(rows, self.classes, [self.config.penalty])[0])
            return
        # a picture left out leaves its views out too: the pictures as they are choose
        plain = slice(0, rows.pictures)
        features, labels = rows.features[plain].cpu().numpy(), rows.labels[plain].cpu().numpy()
        weights = None if rows.weights is None else rows.versions * rows.weights[plain].cpu().double().numpy()
        *found, penalty = fit_best(features, labels, self.classes, self.penalties, weights)
        if rows.versions == 1:
            self.take(*(torch.from_numpy(part) for part in found))
        else:
            self.take(*fit_each(rows, self.classes, [penalty])[0])

    @classmethod
    def scored(cls, heads: Sequence[Self], rows: Rows, features: Tensor) -> Iterator[tuple[int, Tensor]]:
        """All penalties from one decomposition, or where that is large, several from the strongest to the weakest, each
        fitted to `path_tolerance` when it is asked for; a head without one chooses its own."""
        there = [head.config.penalty for head in heads if head.config.penalty is not None]
        if len(set(there)) == len(heads) > 1 and min(rows.features.shape) > _DECOMPOSED and rows.posed is not None:
            yield from cls._in_turn(heads, rows, rows.posed, features)
            return
        yield from cls._exactly(dict(enumerate(heads)), rows, features)

    @classmethod
    def _exactly(cls, heads: Mapping[int, Self], rows: Rows, features: Tensor) -> Iterator[tuple[int, Tensor]]:
        there = [head.config.penalty for head in heads.values() if head.config.penalty is not None]
        found = dict(zip(there, fit_each(rows, next(iter(heads.values())).classes, there), strict=True))
        for i, head in heads.items():
            if head.config.penalty is None:
                head.fit(rows)
            else:
                head.take(*found[head.config.penalty])
            yield i, head.score(features)

    @classmethod
    def _in_turn(cls, heads: Sequence[Self], rows: Rows, posed: Posed, features: Tensor) -> Iterator[tuple[int, Tensor]]:
        """By descent; from the first penalty whose solution is not reached, exactly."""
        left = {head.config.penalty: i for i, head in enumerate(heads) if head.config.penalty is not None}
        ways = sorted(left, reverse=True)
        for found in squares_path(posed.problem, ways, cls.path_tolerance):
            if not found.left <= cls.path_tolerance:
                break
            i = left.pop(found.penalty)
            with torch.no_grad():
                heads[i].out.weight[posed.present] = found.coefficients.to(heads[i].out.weight)
                heads[i].out.bias[posed.present] = found.intercepts.to(heads[i].out.bias)
            yield i, heads[i].score(features)
        if left:
            yield from cls._exactly({left[way]: heads[left[way]] for way in ways if way in left}, rows, features)

    @classmethod
    def folded(cls, configs: Sequence[TrainConfig], problem: Problem) -> Iterator[tuple[int, Tensor]]:
        """From the strongest penalty to the weakest, each fitted to `path_tolerance` when it is asked for."""
        own = {config.penalty: i for i, config in enumerate(configs) if config.penalty is not None}
        for found in squares_scores(problem, sorted(own, reverse=True), cls.path_tolerance):
            if not found.left <= cls.path_tolerance:
                return
            yield own[found.penalty], found.scores

    def take(self, weights: Tensor, biases: Tensor) -> None:
        """Take coefficients (C, D) and intercepts (C,)."""
        with torch.no_grad():
            self.out.weight.copy_(weights)
            self.out.bias.copy_(biases)


def fit_each(rows: Rows, classes: int, penalties: Sequence[float]) -> list[tuple[Tensor, Tensor]]:
    """Coefficients (C, D) and intercepts (C,) as `fit` has them, for each penalty, float64, from the rows'
    decomposition."""
    found = rows.decomposition
    mean, along = _along(found, rows.labels.to(found.mean.device), classes)
    solved = found.least_squares(along, penalties)
    return [(coefficients.T, mean - found.mean @ coefficients) for coefficients in solved]


def _along(found: Decomposition, labels: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """The mean of the targets (C,), and these less it along the decomposition's axes (r, C)."""
    counts = torch.bincount(labels, found.weights, minlength=classes).double()
    mean = 2 * counts / counts.sum() - 1

    def targets(at: slice) -> Tensor:
        own = labels[at]
        there = torch.full((len(own), classes), -1.0, dtype=torch.float64, device=own.device)
        return there.scatter_(1, own[:, None], 1.0) - mean

    return mean, found.along(targets)


def fit(
    features: Features, labels: Labels, classes: int, penalties: Sequence[float], weights: Doubles | None = None
) -> tuple[Doubles, Doubles]:
    """Coefficients (C, D) and intercepts (C,) as `fit_best` has them."""
    return fit_best(features, labels, classes, penalties, weights)[:2]


def fit_best(
    features: Features, labels: Labels, classes: int, penalties: Sequence[float], weights: Doubles | None = None
) -> tuple[Doubles, Doubles, float]:
    """Coefficients (C, D) and intercepts (C,) of least squares from features (N, D) on targets of 1 for a row's own class
    and -1 for others, with the penalty whose leave-one-out errors have the smallest mean square, the first of equals; and
    that penalty.

    `weights` (N,) above 0 multiply the squared errors of their rows, in the fit and in the choice of the penalty; a row is
    left out with its whole weight.

    What scikit-learn's RidgeCV finds. That copies features and targets several times over in double precision; of more rows
    than features one needs only their products (D, D), so here they go through in chunks.
    """
    if len(features) <= features.shape[1]:
        return _dual(features, labels, classes, penalties, weights)
    rows = _Centred(features, labels, classes, weights)
    found = decompose(torch.from_numpy(features), None if weights is None else torch.from_numpy(weights))
    values, vectors = found.values.numpy(), found.vectors.numpy()
    along = _along(found, torch.from_numpy(labels), classes)[1].numpy()
    best = penalties[int(_errors(rows, values, vectors, along, penalties).argmin())]
    coefficients = (vectors @ (along / (values + best)[:, None])).T
    return coefficients, rows.target_mean - coefficients @ rows.mean, best


def _errors(rows: "_Centred", values: Doubles, vectors: Doubles, along: Doubles, penalties: Sequence[float]) -> Doubles:
    """For each penalty the sum of all squared leave-one-out errors: a residual over 1 less its row's leverage."""
    errors = np.zeros(len(penalties))
    for inputs, targets, shares in rows.chunks():
        turned = inputs @ vectors
        for i, penalty in enumerate(penalties):
            left = turned @ (along / (values + penalty)[:, None])
            np.subtract(targets, left, out=left)
            left /= (1 - shares - turned**2 @ (1 / (values + penalty)))[:, None]
            errors[i] += (left**2).sum()
    return errors


class _Centred:
    """Features and targets less their weighted means, each row multiplied by the root of its weight."""

    def __init__(self, features: Features, labels: Labels, classes: int, weights: Doubles | None) -> None:
        self._features, self._labels, self._weights = features, labels, weights
        if weights is None:
            self.mean: Doubles = features.mean(axis=0, dtype=np.float64)
            counts, self._total = np.bincount(labels, minlength=classes), float(len(labels))
        else:
            self._total = float(weights.sum())
            sums = np.stack([weights[own] @ features[own] for own in _slices(len(labels))])
            self.mean = sums.sum(axis=0) / self._total
            counts = np.bincount(labels, weights, minlength=classes)
        self.target_mean: Doubles = 2 * counts / self._total - 1

    def chunks(self) -> Iterator[tuple[Doubles, Doubles, Doubles | float]]:
        """Some rows at a time: features (n, D), targets (n, C), and each row's share of the sum of weights."""
        for own in _slices(len(self._labels)):
            labels = self._labels[own]
            targets = np.full((len(labels), len(self.target_mean)), -1.0)
            targets[np.arange(len(labels)), labels] = 1
            inputs, targets = self._features[own] - self.mean, targets - self.target_mean
            if self._weights is None:
                yield inputs, targets, 1 / self._total
            else:
                roots = np.sqrt(self._weights[own])[:, None]
                yield inputs * roots, targets * roots, self._weights[own] / self._total


def _slices(rows: int) -> Iterator[slice]:
    for start in range(0, rows, _CHUNK):
        yield slice(start, start + _CHUNK)


def _dual(
    features: Features, labels: Labels, classes: int, penalties: Sequence[float], weights: Doubles | None
) -> tuple[Doubles, Doubles, float]:
    """The same for no more rows than features, by scikit-learn itself: the copies are small there."""
    from sklearn.linear_model import RidgeCV

    targets = np.full((len(labels), classes), -1.0)
    targets[np.arange(len(labels)), labels] = 1
    found = RidgeCV(alphas=np.array(penalties)).fit(features.astype(np.float64), targets, sample_weight=weights)
    return np.asarray(found.coef_), np.asarray(found.intercept_), float(found.alpha_)
