"""What is summed over rows: convex losses of scores (K, C, N), their slopes and their curvatures, for K problems at once.

Of two classes there is one score, that of the second."""

import dataclasses
from typing import Protocol

from torch import Tensor
from torch.nn import functional


class Loss(Protocol):
    """What `Descent` asks of a loss."""

    @property
    def weights(self) -> Tensor:
        """How much each row counts in each problem (K, N): 0 where it has no part in it."""

    @property
    def quadratic(self) -> bool:
        """Whether the curvature is the same everywhere."""

    def value(self, scores: Tensor) -> Tensor:
        """The sums (K,) over the rows."""

    def residuals(self, scores: Tensor) -> Tensor:
        """The gradient by the scores (K, C, N)."""

    def bent(self, scores: Tensor, along: Tensor) -> Tensor:
        """The Hessian at scores (K, C, N) times `along` (K, C, N)."""

    def curvature(self, scores: Tensor) -> Tensor:
        """The mean of the curvature (K,) over rows and classes."""


@dataclasses.dataclass(frozen=True)
class Logistic:
    """The cross entropy in nats of two classes, of which `targets` (N,) are the shares of the second."""

    targets: Tensor
    weights: Tensor
    quadratic = False

    def value(self, scores: Tensor) -> Tensor:
        return (self.weights * (functional.softplus(scores[:, 0]) - self.targets * scores[:, 0])).sum(dim=1)

    def residuals(self, scores: Tensor) -> Tensor:
        return self.weights[:, None] * (scores.sigmoid() - self.targets)

    def bent(self, scores: Tensor, along: Tensor) -> Tensor:
        chances = scores.sigmoid()
        return self.weights[:, None] * chances * (1 - chances) * along

    def curvature(self, scores: Tensor) -> Tensor:
        chances = scores[:, 0].sigmoid()
        return (self.weights * chances * (1 - chances)).sum(dim=1) / self.weights.sum(dim=1)


@dataclasses.dataclass(frozen=True)
class Softmax:
    """The cross entropy in nats of several classes, of which `targets` (C, N) are the shares."""

    targets: Tensor
    weights: Tensor
    quadratic = False

    def value(self, scores: Tensor) -> Tensor:
        return (self.weights * (scores.logsumexp(dim=1) - (self.targets * scores).sum(dim=1))).sum(dim=1)

    def residuals(self, scores: Tensor) -> Tensor:
        return self.weights[:, None] * (scores.softmax(dim=1) - self.targets)

    def bent(self, scores: Tensor, along: Tensor) -> Tensor:
        chances = scores.softmax(dim=1)
        return self.weights[:, None] * chances * (along - (chances * along).sum(dim=1, keepdim=True))

    def curvature(self, scores: Tensor) -> Tensor:
        """After D. Böhning, Multinomial logistic regression algorithm (Annals of the Institute of Statistical Mathematics
        44, 1992)."""
        each = (1 - scores.softmax(dim=1).square().sum(dim=1)) / (scores.shape[1] - 1)
        return (self.weights * each).sum(dim=1) / self.weights.sum(dim=1)


@dataclasses.dataclass(frozen=True)
class Squares:
    """Half of the squared differences to `targets` (C, N)."""

    targets: Tensor
    weights: Tensor
    quadratic = True

    def value(self, scores: Tensor) -> Tensor:
        return (self.weights[:, None] * (scores - self.targets).square()).sum(dim=(1, 2)) / 2

    def residuals(self, scores: Tensor) -> Tensor:
        return self.weights[:, None] * (scores - self.targets)

    def bent(self, scores: Tensor, along: Tensor) -> Tensor:
        return self.weights[:, None] * along

    def curvature(self, scores: Tensor) -> Tensor:
        return self.weights.new_ones(len(self.weights))
