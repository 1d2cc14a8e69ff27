"""knn: the vote of the most similar training rows."""

import math

import torch
from torch import Tensor
from torch.nn import functional

from headstart.core.cache.errors import FeaturesInvalid
from headstart.core.heads.config import TrainConfig
from headstart.core.heads.kinds.base import ClosedFormHead, Rows

_MOST_SIMILARITIES = 2**25
"""Numbers of the (n, rows) matrix of similarities that are in memory at once."""


class Knn(ClosedFormHead):
    """The 20 most similar training rows by cosine vote, each with the weight exp(similarity / 0.07): the protocol of
    Z. Wu et al., https://arxiv.org/abs/1805.01978, with DINO's k (https://arxiv.org/abs/2104.14294).

    Under a recipe that standardises, similarities are of standardised features, which theirs are not."""

    caveat = "a knn head's probabilities are the weighted votes of the nearest training rows"
    neighbours = 20
    temperature = 0.07
    known: Tensor
    labels: Tensor

    def __init__(
        self, dim: int, classes: int, config: TrainConfig, rows: int, generator: torch.Generator | None = None
    ) -> None:
        super().__init__(dim, classes, config, rows)
        self.register_buffer("known", torch.empty(rows, dim))
        self.register_buffer("labels", torch.empty(rows, dtype=torch.int64))

    def score(self, features: Tensor) -> Tensor:
        at_once = max(1, min(1024, _MOST_SIMILARITIES // len(self.known)))
        votes = [self._votes(chunk) for chunk in functional.normalize(features).split(at_once)]
        return torch.cat(votes).clamp_min(math.exp(-30)).log()

    def _votes(self, features: Tensor) -> Tensor:
        near, index = (features @ self.known.T).topk(min(self.neighbours, len(self.known)), dim=1)
        weights = ((near - near[:, :1]) / self.temperature).exp()
        votes = weights.new_zeros(len(features), self.classes).scatter_add_(1, self.labels[index], weights)
        return votes / votes.sum(dim=1, keepdim=True)

    def fit(self, rows: Rows) -> None:
        if rows.weights is not None:
            raise FeaturesInvalid(
                "a knn head takes no sample weights; leave them out, or train a mlp, linear or ridge head"
            )
        self.known = functional.normalize(rows.features)  # not copied: it is as large as all the features
        self.labels = rows.labels.clone()
