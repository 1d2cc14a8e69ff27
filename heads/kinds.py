"""The heads: each maps features (N, D) to scores (N, C) whose softmax are its probabilities. Adding one is adding a class.

A head carries its standardisation and all it needs to be used again as buffers and parameters: they are what is saved.
"""

import abc
import math
from collections.abc import Callable
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from heads.config import TrainConfig
from heads.optimise import History, Split, descend

OnEpoch = Callable[[int, float, float | None], None]
"""Called after each epoch with its number from 1, the mean training loss, and the validation accuracy if there is one."""


class Head(nn.Module, abc.ABC):
    """Features (N, D) to scores (N, C). `rows` is the number of training rows, which only kNN keeps.

    `mean` and `std` (D,) are the training rows' own where the recipe standardises, else 0 and 1.
    """

    kind: ClassVar[str]
    mean: Tensor
    std: Tensor

    def __init__(self, dim: int, classes: int, config: TrainConfig, rows: int) -> None:
        super().__init__()
        self.config = config
        self.dim, self.classes, self.rows = dim, classes, rows
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("std", torch.ones(dim))

    def forward(self, features: Tensor) -> Tensor:
        """float32 features (N, D) as extracted to scores (N, C)."""
        return self.score((features - self.mean) / self.std)

    @abc.abstractmethod
    def score(self, features: Tensor) -> Tensor:
        """Standardised features (N, D) to scores (N, C)."""

    @abc.abstractmethod
    def fit(self, split: Split, generator: torch.Generator, on_epoch: OnEpoch) -> History:
        """Learn from standardised training rows. Raises FeaturesInvalid where the loss stops being finite."""


class Mlp(Head):
    """Linear(D, hidden), ReLU, Dropout, Linear(hidden, C), and the study's sigmoid where the recipe has it."""

    kind = "mlp"

    def __init__(self, dim: int, classes: int, config: TrainConfig, rows: int) -> None:
        super().__init__(dim, classes, config, rows)
        self.hidden = nn.Linear(dim, config.hidden)
        self.out = nn.Linear(config.hidden, classes)

    def score(self, features: Tensor) -> Tensor:
        hidden = functional.relu(self.hidden(features))
        scores: Tensor = self.out(functional.dropout(hidden, self.config.dropout, self.training))
        return scores.sigmoid() if self.config.sigmoid else scores

    def fit(self, split: Split, generator: torch.Generator, on_epoch: OnEpoch) -> History:
        return descend(self, split, self.config, generator, on_epoch)


class Linear(Head):
    """Linear(D, C): multinomial logistic regression, the linear probe."""

    kind = "linear"

    def __init__(self, dim: int, classes: int, config: TrainConfig, rows: int) -> None:
        super().__init__(dim, classes, config, rows)
        self.out = nn.Linear(dim, classes)

    def score(self, features: Tensor) -> Tensor:
        scores: Tensor = self.out(features)
        return scores.sigmoid() if self.config.sigmoid else scores

    def fit(self, split: Split, generator: torch.Generator, on_epoch: OnEpoch) -> History:
        return descend(self, split, self.config, generator, on_epoch)


class Ridge(Head):
    """Least squares on one-against-all targets, the penalty chosen by leave-one-out on the training rows (scikit-learn's
    RidgeClassifierCV). Its scores are distances, not log-odds: the probabilities rank rightly but are too even."""

    kind = "ridge"
    penalties = tuple(10.0**power for power in range(-3, 10))

    def __init__(self, dim: int, classes: int, config: TrainConfig, rows: int) -> None:
        super().__init__(dim, classes, config, rows)
        self.out = nn.Linear(dim, classes)

    def score(self, features: Tensor) -> Tensor:
        scores: Tensor = self.out(features)
        return scores

    def fit(self, split: Split, generator: torch.Generator, on_epoch: OnEpoch) -> History:
        from sklearn.linear_model import RidgeCV

        targets = functional.one_hot(split.labels, self.classes).double().mul(2).sub(1).cpu().numpy()
        found = RidgeCV(alphas=np.array(self.penalties)).fit(split.features.double().cpu().numpy(), targets)
        with torch.no_grad():
            self.out.weight.copy_(torch.from_numpy(np.asarray(found.coef_)))
            self.out.bias.copy_(torch.from_numpy(np.asarray(found.intercept_)))
        return History(losses=(), val_accuracies=(), best_epoch=None)


class Knn(Head):
    """The 20 most similar training rows by cosine vote, each with the weight exp(similarity / 0.07): the protocol of
    Z. Wu et al., https://arxiv.org/abs/1805.01978, with DINO's k (https://arxiv.org/abs/2104.14294)."""

    kind = "knn"
    neighbours = 20
    temperature = 0.07
    known: Tensor
    labels: Tensor

    def __init__(self, dim: int, classes: int, config: TrainConfig, rows: int) -> None:
        super().__init__(dim, classes, config, rows)
        self.register_buffer("known", torch.zeros(rows, dim))
        self.register_buffer("labels", torch.zeros(rows, dtype=torch.int64))

    def score(self, features: Tensor) -> Tensor:
        votes = [self._votes(chunk) for chunk in functional.normalize(features).split(1024)]  # bounds the (n, rows) matrix
        return torch.cat(votes).clamp_min(math.exp(-30)).log()

    def _votes(self, features: Tensor) -> Tensor:
        near, index = (features @ self.known.T).topk(min(self.neighbours, len(self.known)), dim=1)
        weights = ((near - near[:, :1]) / self.temperature).exp()
        votes = weights.new_zeros(len(features), self.classes).scatter_add_(1, self.labels[index], weights)
        return votes / votes.sum(dim=1, keepdim=True)

    def fit(self, split: Split, generator: torch.Generator, on_epoch: OnEpoch) -> History:
        self.known.copy_(functional.normalize(split.features))
        self.labels.copy_(split.labels)
        return History(losses=(), val_accuracies=(), best_epoch=None)


KINDS: dict[str, type[Head]] = {kind.kind: kind for kind in (Mlp, Linear, Ridge, Knn)}
