"""knn: the vote of the most similar training rows."""

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional

from headstart.core.cache.errors import FeaturesInvalid
from headstart.core.heads.config import TrainConfig
from headstart.core.heads.kinds.base import ClosedFormHead, Rows

_MOST_SIMILARITIES = 2**25
"""Numbers of the (n, rows) matrix of similarities that are in memory at once."""


class Knn(ClosedFormHead):
    """The most similar training rows by cosine vote, each with the weight exp(similarity / 0.07): the protocol of
    Z. Wu et al., https://arxiv.org/abs/1805.01978; 20 of them, as in DINO (https://arxiv.org/abs/2104.14294), where the
    configuration says no number.

    Under a recipe that standardises, similarities are of standardised features, which theirs are not."""

    uses = frozenset({"neighbours"})
    rank = 5
    weighted = False
    raced = True
    caveat = "a knn head's probabilities are the weighted votes of the nearest training rows"
    neighbours = 20
    tried = (50, 20, 10, 5, 1)
    """Of more neighbours the answer is smoother."""
    temperature = 0.07
    known: Tensor
    labels: Tensor

    def __init__(
        self, dim: int, classes: int, config: TrainConfig, rows: int, generator: torch.Generator | None = None
    ) -> None:
        super().__init__(dim, classes, config, rows)
        self.register_buffer("known", torch.empty(rows, dim))
        self.register_buffer("labels", torch.empty(rows, dtype=torch.int64))

    @classmethod
    def grid(cls, config: TrainConfig, rows: int) -> list[TrainConfig]:
        if config.neighbours is not None:
            return [config]
        counts = [count for count in cls.tried if count <= rows] or [1]
        return [dataclasses.replace(config, neighbours=count) for count in counts]

    def score(self, features: Tensor) -> Tensor:
        return _votes([self], features)[0]

    @classmethod
    def scored(cls, heads: Sequence[Self], rows: Rows, features: Tensor) -> Iterator[tuple[int, Tensor]]:
        """The most similar rows are looked for once."""
        heads[0].fit(rows)
        for head in heads[1:]:
            head.known, head.labels = heads[0].known, heads[0].labels
        yield from enumerate(_votes(heads, features))

    @property
    def _count(self) -> int:
        return self.neighbours if self.config.neighbours is None else self.config.neighbours

    def fit(self, rows: Rows) -> None:
        if rows.weights is not None:
            raise FeaturesInvalid("a knn head takes no sample weights; leave them out, or train another head")
        self.known = functional.normalize(rows.features)  # not copied: it is as large as all the features
        self.labels = rows.labels.clone()


def _votes(heads: Sequence[Knn], features: Tensor) -> list[Tensor]:
    """The logarithm of the shares of the votes (n, C) by each of the heads, which know the same rows."""
    known = heads[0].known
    at_once = max(1, min(1024, _MOST_SIMILARITIES // len(known)))
    most = max(min(head._count, len(known)) for head in heads)
    votes: list[list[Tensor]] = [[] for _ in heads]
    normal = functional.normalize(features)
    # in a graph that is exported nobody knows how many rows there will be
    for chunk in [normal] if torch.compiler.is_exporting() else normal.split(at_once):
        near, index = (chunk @ known.T).topk(most, dim=1)
        for own, head in zip(votes, heads, strict=True):
            own.append(_shares(head, near[:, : head._count], index[:, : head._count]))
    return [torch.cat(own).clamp_min(math.exp(-30)).log() for own in votes]


def _shares(head: Knn, near: Tensor, index: Tensor) -> Tensor:
    """Shares of the votes (n, C) of the rows at `index` (n, k), whose similarities are `near` (n, k), largest first."""
    weights = ((near - near[:, :1]) / head.temperature).exp()
    votes = weights.new_zeros(near.shape[0], head.classes).scatter_add_(1, head.labels[index], weights)
    return votes / votes.sum(dim=1, keepdim=True)
