"""logreg: multinomial logistic regression with a penalty, solved exactly."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Self

import torch
from torch import Tensor

from headstart.core.cache.errors import FeaturesInvalid
from headstart.core.heads.config import TrainConfig
from headstart.core.heads.kinds.base import PenalisedHead, Rows
from headstart.core.heads.solvers.logistic import Posed, Problem, Solution, logistic_scores, path


class Logreg(PenalisedHead):
    """Linear(D, C) by the least sum of weighted cross entropies and penalty / 2 x the squared coefficients, scikit-learn's
    LogisticRegression of C = 1 / penalty; found by Newton's method, its last word in double precision
    (`heads/solvers/logistic.py`).

    Classes without a row have no part in it: their coefficients are 0. Smoothed labels are spread over the others.
    """

    uses = frozenset({"penalty", "class_weight", "label_smoothing"})
    rank = 1
    costly_end = True
    penalties = tuple(10 ** (power / 2) for power in range(8, -3, -1))
    """C from 1e-4 to 10 by half decades: on 100 to 16,000 rows of standardised DenseNet169 features the best was between
    0.003 and 0.3. One step of a decade would take twice the steps of two halves."""
    penalty = 1e2
    """Without one: C = 0.01, within 0.02 nats of the best at those sizes, each at its temperature."""
    tolerance = 1e-3
    """The largest relative error of the coefficients; that of the loss is at most its square."""
    path_tolerance = 5e-2
    """That of penalties that are only to be chosen among: it takes less than half the steps. Near the best penalty it moved
    the log loss of unseen rows by 0.0003 nats on 1,000 rows of those features and by 0.003 on 200."""

    def fit(self, rows: Rows) -> None:
        """Fit the head to `tolerance`. Raises FeaturesInvalid where the solution is not reached."""
        if (posed := _posed(rows, self.config)) is None:
            return
        penalty = self.strength()
        ways = [*(way for way in sorted(self.penalties, reverse=True) if way > penalty), penalty]
        *_, found = path(posed.problem, ways, [self.path_tolerance] * (len(ways) - 1) + [self.tolerance])
        refuse(found, self.tolerance)
        self.take(found.coefficients, found.intercepts, posed.present)

    @classmethod
    def scored(cls, heads: Sequence[Self], rows: Rows, features: Tensor) -> Iterator[tuple[int, Tensor]]:
        """From the strongest penalty to the weakest, each fitted to `path_tolerance` when it is asked for."""
        posed = _posed(rows, heads[0].config)
        if posed is None:
            yield from super().scored(heads, rows, features)
            return
        ways = cls._ways([head.strength() for head in heads])
        for found in path(posed.problem, ways, [cls.path_tolerance] * len(ways)):
            for i, head in enumerate(heads):
                if head.strength() == found.penalty:
                    refuse(found, cls.path_tolerance)
                    head.take(found.coefficients, found.intercepts, posed.present)
                    yield i, head.score(features)

    @classmethod
    def folded(cls, configs: Sequence[TrainConfig], problem: Problem) -> Iterator[tuple[int, Tensor]]:
        """From the strongest penalty to the weakest, each fitted to `path_tolerance` when it is asked for."""
        problem = dataclasses.replace(problem, smoothing=configs[0].label_smoothing)
        own = [cls.penalty if config.penalty is None else config.penalty for config in configs]
        ways = cls._ways(own)
        for found in logistic_scores(problem, ways, cls.path_tolerance):
            if not found.left <= cls.path_tolerance:
                return
            yield from ((i, found.scores) for i, penalty in enumerate(own) if penalty == found.penalty)

    @classmethod
    def _ways(cls, own: Sequence[float]) -> list[float]:
        """These penalties and what leads to them, the strongest first."""
        return sorted({*own, *(way for way in cls.penalties if way > min(own))}, reverse=True)

    def strength(self) -> float:
        """The penalty that it is fitted with."""
        return self.penalty if self.config.penalty is None else self.config.penalty

    def take(self, coefficients: Tensor, intercepts: Tensor, present: Tensor) -> None:
        """Take coefficients (n, D) and intercepts (n,) of the n classes that are `present`."""
        with torch.no_grad():
            self.out.weight[present] = coefficients.to(self.out.weight)
            self.out.bias[present] = intercepts.to(self.out.bias)


def _posed(rows: Rows, config: TrainConfig) -> Posed | None:
    """The problem that rows pose, with the configuration's smoothing; None where they are of one class."""
    if (posed := rows.posed) is None:
        return None
    return dataclasses.replace(posed, problem=dataclasses.replace(posed.problem, smoothing=config.label_smoothing))


def refuse(found: Solution, tolerance: float) -> None:
    """Raise FeaturesInvalid where a solution was not reached."""
    if not found.left <= tolerance:
        raise FeaturesInvalid(
            f"logistic regression with the penalty {found.penalty:g} did not converge: after {found.steps} steps its "
            f"gradient is {found.left:.1e} of the penalty's, expected {tolerance:g} or less; use a larger --penalty"
        )
