"""prototype: the class whose mean is nearest."""

import torch
from torch import Tensor

from headstart.core.heads.config import TrainConfig
from headstart.core.heads.kinds.base import ClosedFormHead, Layer, Rows


class Prototype(ClosedFormHead):
    """The nearest class mean (T. Mensink et al., Distance-based image classification, TPAMI 35, 2013), by squared Euclidean
    distance, for which the mean is the point nearest to all of a class's rows (J. Snell et al., Prototypical networks,
    https://arxiv.org/abs/1703.05175, section 2.4).

    A row's distance to a mean is -2 x its score but for a number that is the same for all classes, so that the scores are
    linear: row · mean - |mean|² / 2.
    """

    rank = 0
    caveat = "a prototype head's scores are distances: its probabilities rank rightly, but are far too sure"

    def __init__(
        self, dim: int, classes: int, config: TrainConfig, rows: int, generator: torch.Generator | None = None
    ) -> None:
        super().__init__(dim, classes, config, rows)
        self.out = Layer(dim, classes, None)

    def score(self, features: Tensor) -> Tensor:
        scores: Tensor = self.out(features)
        return scores

    def fit(self, rows: Rows) -> None:
        weights = rows.features.new_ones(len(rows.labels)) if rows.weights is None else rows.weights.float()
        totals = weights.new_zeros(self.classes).index_add_(0, rows.labels, weights)
        sums = torch.zeros_like(self.out.weight).index_add_(0, rows.labels, rows.features * weights[:, None])
        with torch.no_grad():
            means = sums / totals.where(totals > 0, 1.0)[:, None]
            self.out.weight.copy_(means)
            self.out.bias.copy_(-means.square().sum(dim=1) / 2)
