"""Heads without epochs from rows on the disk: ridge and logistic regression, and the nearest class mean."""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from headstart.core.heads.config import TrainConfig
from headstart.core.heads.kinds.base import Head
from headstart.core.heads.kinds.logreg import Logreg, refuse
from headstart.core.heads.kinds.prototype import Prototype
from headstart.core.heads.kinds.ridge import Ridge
from headstart.core.heads.solvers.logistic import solution
from headstart.core.heads.streams import logistic, products
from headstart.core.heads.streams.budget import Needs
from headstart.core.heads.streams.given import AT_ONCE, Mask, Streamed
from headstart.core.heads.streams.products import Eigen, Sums
from headstart.core.heads.training import threads

KINDS = ("logreg", "ridge", "prototype")
DECOMPOSED = ("logreg", "ridge")
"""Those that need the decomposition of the features' products."""
_USEFUL_ROWS = 1024
"""Rows of a block below which more penalties at once are not worth it."""


def needs(name: str, dim: int, classes: int, penalties: int = 1) -> list[Needs]:
    """What such a head holds beside its blocks, one part after the other, with so many penalties at once."""
    sums = 16 * classes * dim
    if name == "prototype":
        return [Needs("the class means", 3 * sums + AT_ONCE * dim * 8)]
    parts = [products.needs(dim, classes, "the products of features")]
    if name == "logreg":
        of_all = logistic.state(dim, classes, penalties) + AT_ONCE * dim * 8
        parts.append(Needs("logistic regression", 8 * dim**2 + sums + of_all))
    return parts


class Closed:
    """Heads for the rows to learn from, which are read for them as often as it takes. What is found out of the rows is
    kept; `before` is the same of nearly the same rows, whose solutions are good to begin with."""

    def __init__(self, given: Streamed, learn: Mask, before: "Closed | None" = None) -> None:
        self._given, self._learn = given, learn
        self._before = before
        self._once: dict[str | None, tuple[Sums, Eigen]] = {}
        self._points: dict[tuple[str | None, float], Tensor] = {}

    def heads(self, configs: Sequence[TrainConfig], tolerance: float | None = None) -> Iterator[tuple[int, Head]]:
        """For configurations of one kind their places, and the head of each. Logistic regressions are found to `tolerance`,
        that of penalties to choose among unless one is given. Raises OutOfMemory, FeaturesInvalid."""
        first = self._given.head(configs[0], self._learn)
        if isinstance(first, Logreg):
            yield from self._logreg(configs, first.path_tolerance if tolerance is None else tolerance)
        elif isinstance(first, Ridge):
            yield from self._ridge(configs)
        else:
            yield 0, self._prototype(configs[0])

    def _ridge(self, configs: Sequence[TrainConfig]) -> Iterator[tuple[int, Head]]:
        sums, eigen = self._decomposed(configs[0])
        mean = 2 * sums.weights / sums.total - 1
        # sums over rows less their mean, of targets that are 1 for a row's own class and -1 for others
        targets = 2 * sums.features - sums.features.sum(dim=0) - torch.outer(mean * sums.total, sums.offset)
        along = eigen.vectors.T @ targets.T
        for i, config in enumerate(configs):
            assert config.penalty is not None
            coefficients = (eigen.vectors @ (along / (eigen.values + config.penalty)[:, None])).T
            head = self._given.head(config, self._learn)
            assert isinstance(head, Ridge)
            head.take(coefficients, mean - coefficients @ sums.mean)
            yield i, head

    def _logreg(self, configs: Sequence[TrainConfig], tolerance: float) -> Iterator[tuple[int, Head]]:
        sums, eigen = self._decomposed(configs[0]) if self._before is None else self._begun(configs[0])
        present = torch.from_numpy(np.flatnonzero(sums.weights.numpy() > 0))
        heads = [self._given.head(config, self._learn) for config in configs]
        if len(present) < 2:
            yield from enumerate(heads)
            return
        at_once, most = self._at_once(configs)
        own = Sums(sums.weights[present], sums.features[present], sums.centre)
        problem = logistic.Streaming(
            lambda: self._labelled(most, present),
            self._weights(configs[0])[present],
            own,
            eigen,
            configs[0].label_smoothing,
        )
        for first in range(0, len(configs), at_once):
            part = [head for head in heads[first : first + at_once] if isinstance(head, Logreg)]
            ways = [head.strength() for head in part]
            starts = self._starts(configs[0].class_weight, ways, problem.scores)
            with threads.suited("cpu", AT_ONCE * self._given.rows.dim, len(ways) * problem.scores):
                found = logistic.solve(problem, ways, tolerance, starts)
            for i, (head, one) in enumerate(zip(part, found, strict=True), first):
                self._points[configs[0].class_weight, one.penalty] = one.point
                own_solution = solution(one.point, own.mean, one.penalty, one.steps, one.left)
                refuse(own_solution, tolerance)
                head.take(own_solution.coefficients, own_solution.intercepts, present)
                yield i, head

    def _prototype(self, config: TrainConfig) -> Head:
        (own,) = needs("prototype", self._given.rows.dim, self._given.classes)
        weights = self._weights(config)
        sums = products.summed(self._given, self._learn, weights, self._given.budget.block_rows(own))
        head = self._given.head(config, self._learn)
        assert isinstance(head, Prototype)
        head.means.copy_(functional.normalize(sums.features + torch.outer(sums.weights, sums.centre)))
        return head

    def _labelled(self, most: int, present: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Blocks of features, with labels that count the classes present."""
        labels = torch.searchsorted(present, torch.from_numpy(self._given.rows.labels))
        for places, features, _ in self._given.blocks(self._learn, most):
            yield features, labels[torch.from_numpy(places)]

    def _weights(self, config: TrainConfig) -> Tensor:
        return self._given.class_weights(config, self._learn)

    def _decomposed(self, config: TrainConfig) -> tuple[Sums, Eigen]:
        if config.class_weight not in self._once:
            given = self._given
            with threads.suited("cpu", AT_ONCE * given.rows.dim, given.rows.dim):
                found = products.decomposed(given, self._learn, self._weights(config), given.budget)
            self._once[config.class_weight] = found
        return self._once[config.class_weight]

    def _begun(self, config: TrainConfig) -> tuple[Sums, Eigen]:
        """The sums, with the decomposition of nearly the same rows for as many as these: it is but to begin steps with."""
        assert self._before is not None
        if config.class_weight not in self._before._once:
            return self._decomposed(config)
        theirs, eigen = self._before._once[config.class_weight]
        (own,) = needs("prototype", self._given.rows.dim, self._given.classes)
        most = self._given.budget.block_rows(dataclasses.replace(own, state=own.state + 8 * self._given.rows.dim**2))
        sums = products.summed(self._given, self._learn, self._weights(config), most)
        return sums, Eigen(eigen.values * float(sums.total / theirs.total), eigen.vectors)

    def _starts(self, class_weight: str | None, ways: Sequence[float], scores: int) -> list[Tensor] | None:
        """The solutions of nearly the same problem with so many scores, if it was solved for all of these penalties."""
        points = {} if self._before is None else self._before._points
        own = (points.get((class_weight, way)) for way in ways)
        found = [point for point in own if point is not None and len(point) == scores]
        return found if len(found) == len(ways) else None

    def _at_once(self, configs: Sequence[TrainConfig]) -> tuple[int, int]:
        """How many penalties have room at once, and the rows of a block beside them."""
        given, budget = self._given, self._given.budget
        for parts in range(1, len(configs)):
            count = -(-len(configs) // parts)
            own = needs("logreg", given.rows.dim, given.classes, count)[-1]
            if budget.least(dataclasses.replace(own, least=_USEFUL_ROWS)) <= budget.memory:
                return count, budget.block_rows(own)
        return 1, budget.block_rows(needs("logreg", given.rows.dim, given.classes)[-1])
