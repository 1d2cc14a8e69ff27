"""What every head is: features (N, D) to scores (N, C) whose softmax are its probabilities.

A head carries its standardisation and all it needs to be used again as buffers and parameters: they are what is saved.
"""

import abc
import dataclasses
import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from headstart.core.heads.config import TrainConfig
from headstart.core.heads.kinds import kind
from headstart.core.heads.solvers.decomposition import Decomposition, decompose
from headstart.core.heads.solvers.logistic import Posed, Problem, posed

DESCENT = frozenset({"epochs", "lr", "batch_size", "weight_decay", "val_fraction", "class_weight", "label_smoothing"})
"""The fields of `TrainConfig` that gradient descent takes."""


@dataclasses.dataclass(frozen=True)
class Rows:
    """Standardised features (N, D) float32 and labels (N,) int64, on the device.

    `weights` (N,), as `precise` as the device allows and above 0, say how much each row counts: None where all count alike.
    With several `versions` of each picture the pictures themselves come first, then one view of all after the other.
    """

    features: Tensor
    labels: Tensor
    weights: Tensor | None = None
    versions: int = 1

    @property
    def pictures(self) -> int:
        """How many pictures the rows are of."""
        return len(self.labels) // self.versions

    @functools.cached_property
    def decomposition(self) -> Decomposition:
        """That of the features, by weight, on the device; on a processor where the device has no doubles."""
        where = "cpu" if self.features.device.type == "mps" else self.features.device
        return decompose(self.features.to(where), None if self.weights is None else self.weights.to(where))

    @functools.cached_property
    def posed(self) -> Posed | None:
        """The problem that they pose to heads which are solved by descent, once for all kinds; None of one class."""
        return posed(self.features, self.labels, self.weights)


@dataclasses.dataclass(frozen=True)
class Batch:
    """What K stacked heads take a step on: features (K, n, D) float32 and labels (K, n) int64.

    `weights` (K, n) multiply each row's loss, None where all count alike. `keep` (K, n, units) is what each unit is
    multiplied by, 0 or 1 / (1 - dropout), None where dropout leaves none out.
    """

    features: Tensor
    labels: Tensor
    weights: Tensor | None = None
    keep: Tensor | None = None


class Head(nn.Module, abc.ABC):
    """Features (N, D) to scores (N, C). `rows` is the number of training rows, which only kNN keeps.

    `mean` and `std` (D,) are the training rows' own where the recipe standardises, else 0 and 1. `absent` are the classes
    that had no training row: nothing is known of them, so they are never predicted. The initial weights are drawn from
    `generator`; without one all are 0.
    """

    uses: ClassVar[frozenset[str]] = frozenset()
    """The fields of `TrainConfig` that it takes from its user, beside those of every head."""
    random: ClassVar[bool] = False
    """Whether another seed gives another head."""
    weighted: ClassVar[bool] = True
    """Whether it takes sample weights."""
    rank: ClassVar[int] = 9
    """Simpler heads have lower ranks: of two that do equally well the simpler one is chosen. Of two linear
    ones it is that whose probabilities can be read as they are."""
    raced: ClassVar[bool] = False
    """Whether the first fold of many rows is enough to leave the kind out, where it is clearly worse there."""
    costly_end: ClassVar[bool] = False
    """Whether weak penalties cost much more than strong ones: those far beyond the best need not be tried."""
    caveat: ClassVar[str | None] = None
    """What must be said of its probabilities, in one sentence; None where they can be read as they are."""
    mean: Tensor
    std: Tensor
    absent: tuple[int, ...] = ()
    _mask: Tensor

    def __init__(
        self, dim: int, classes: int, config: TrainConfig, rows: int, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.config = config
        self.dim, self.classes, self.rows = dim, classes, rows
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("std", torch.ones(dim))
        self.register_buffer("_mask", torch.zeros(classes, dtype=torch.bool), persistent=False)

    @classmethod
    def grid(cls, config: TrainConfig, rows: int) -> list[TrainConfig]:  # noqa: ARG003
        """What is tried where the configuration leaves something open (`penalty`, `neighbours`) on so many training rows,
        the simplest first; the configuration alone where it leaves nothing open."""
        return [config]

    def forward(self, features: Tensor) -> Tensor:
        """float32 features (N, D) as extracted to scores (N, C); that of an absent class is minus infinity."""
        return self.allowed(self.score((features - self.mean) / self.std))

    def allowed(self, scores: Tensor) -> Tensor:
        """Scores (N, C) with minus infinity for the absent classes, whose probability is then 0."""
        return scores.masked_fill(self._mask, -math.inf) if self.absent else scores

    def never(self, absent: Sequence[int]) -> None:
        """Note the classes that had no training row. Raises ValueError for what is no class, or all of them."""
        if not all(0 <= i < self.classes for i in absent) or len(set(absent)) >= self.classes:
            raise ValueError(f"absent classes {list(absent)}, expected some of 0 to {self.classes - 1}")
        self.absent = tuple(absent)
        self._mask[list(absent)] = True

    @property
    def kind(self) -> str:
        """The head's name: that of its module."""
        return type(self).__module__.rpartition(".")[2]

    @abc.abstractmethod
    def score(self, features: Tensor) -> Tensor:
        """Standardised features (N, D) to scores (N, C), those of absent classes among them."""


class ClosedFormHead(Head):
    """A head that has no epochs."""

    @abc.abstractmethod
    def fit(self, rows: Rows) -> None:
        """Learn from standardised training rows."""

    @classmethod
    def scored(cls, heads: Sequence[Self], rows: Rows, features: Tensor) -> Iterator[tuple[int, Tensor]]:
        """Heads that differ in what `grid` varies, each as `fit` would fit it: their places, and scores (n, C) of
        standardised features (n, D). What is not asked for is not computed. A kind overrides it to share work: one
        decomposition, starts from the last solution."""
        for i, head in enumerate(heads):
            head.fit(rows)
            yield i, head.score(features)

    @classmethod
    def folded(cls, configs: Sequence[TrainConfig], problem: Problem) -> Iterator[tuple[int, Tensor]] | None:  # noqa: ARG003
        """The same for K weightings of the same rows at once, 0 for those of a fold: places, and scores (K, C, N) of all
        rows. What can't be solved is left out, with all that comes after it. None where a kind has no such way."""
        return None


class PenalisedHead(ClosedFormHead):
    """One layer Linear(D, C) without epochs, whose squared coefficients are penalised; several penalties are tried where
    the configuration has none."""

    penalties: ClassVar[tuple[float, ...]]

    def __init__(
        self, dim: int, classes: int, config: TrainConfig, rows: int, generator: torch.Generator | None = None
    ) -> None:
        super().__init__(dim, classes, config, rows, generator)
        self.out = Layer(dim, classes, None)

    @classmethod
    def grid(cls, config: TrainConfig, rows: int) -> list[TrainConfig]:  # noqa: ARG003
        if config.penalty is not None:
            return [config]
        return [dataclasses.replace(config, penalty=penalty) for penalty in sorted(cls.penalties, reverse=True)]

    def score(self, features: Tensor) -> Tensor:
        scores: Tensor = self.out(features)
        return scores


class GradientHead(Head):
    """A head trained by gradient descent, alone or stacked with others of its shape.

    The gradients are written out: a step of few small products would spend a third of its time on recording them.
    """

    uses = DESCENT
    random = True
    dropped = 0
    """How many units dropout chooses from."""

    @staticmethod
    @abc.abstractmethod
    def shapes(dim: int, classes: int, config: TrainConfig) -> list[tuple[int, int]]:
        """Inputs and outputs of each of its layers, from first to last."""

    @abc.abstractmethod
    def scores(self, parameters: Mapping[str, Tensor], features: Tensor, keep: Tensor | None) -> Tensor:
        """Stacked parameters (K, …), each as `laid` lays it, and standardised features (K, n, D) to scores
        (K, n, C).

        `keep` (K, n, `dropped`) is what each unit is multiplied by in training, None where none is left out.
        """

    @abc.abstractmethod
    def learn(self, parameters: Mapping[str, Tensor], batch: Batch, gradients: Mapping[str, Tensor]) -> Tensor:
        """The mean cross entropy (K,) of each head's rows, by their weights; the parameters are as in `scores`, and its
        gradient by each of them is written into `gradients`."""

    def score(self, features: Tensor) -> Tensor:
        with torch.no_grad():
            own = {name: laid(value)[None] for name, value in self.named_parameters()}
            return self.scores(own, features[None], None)[0]

    def _squashed(self, scores: Tensor) -> Tensor:
        return scores.sigmoid() if self.config.sigmoid else scores

    def _cross_entropy(self, scores: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """The mean loss (K,) of scores (K, n, C), and its gradient by them as they were before the recipe's sigmoid."""
        logs, at, share = scores.log_softmax(dim=2), batch.labels[..., None], 1 / batch.labels.shape[1]
        picked = logs.gather(2, at).squeeze(2)
        if batch.weights is None:
            losses, onward = picked.mean(dim=1).neg(), torch.zeros_like(logs).scatter_(2, at, -share)
        else:
            losses = (picked * batch.weights).mean(dim=1).neg()
            onward = torch.zeros_like(logs).scatter_(2, at, -share * batch.weights[..., None])
        if smooth := self.config.label_smoothing:
            counts = 1.0 if batch.weights is None else batch.weights[..., None]
            spread = (-share * smooth / logs.shape[2]) * torch.ones_like(logs) * counts
            losses = (1 - smooth) * losses + (spread * logs).sum(dim=(1, 2))
            onward = onward.mul_(1 - smooth).add_(spread)
        # the operation that autograd uses: its exponentials differ from `exp` in their last digits
        gradient = torch.ops.aten._log_softmax_backward_data(onward, logs, 2, logs.dtype)
        return losses, gradient.mul_(1 - scores).mul_(scores) if self.config.sigmoid else gradient


def layer_shapes(dim: int, classes: int, config: TrainConfig) -> list[tuple[int, int]]:
    """Inputs and outputs of each layer that gradient descent trains, none for a head without epochs."""
    found = kind(config.head)
    return found.shapes(dim, classes, config) if issubclass(found, GradientHead) else []


class Layer(nn.Linear):
    """`nn.Linear` whose weights are drawn from a generator of its own: PyTorch's draws from the process-wide one, which
    several trainings at once would take from each other. The same numbers come from the same seed."""

    def __init__(self, inputs: int, outputs: int, generator: torch.Generator | None) -> None:
        self._generator = generator
        super().__init__(inputs, outputs)
        del self._generator  # it can't be copied with the layer

    def reset_parameters(self) -> None:
        """As `nn.Linear` does it."""
        if self._generator is None:
            nn.init.zeros_(self.weight)
            nn.init.zeros_(self.bias)
            return
        bound = 1 / math.sqrt(self.in_features)
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5), generator=self._generator)
        nn.init.uniform_(self.bias, -bound, bound, generator=self._generator)


def affine(parameters: Mapping[str, Tensor], name: str, features: Tensor) -> Tensor:
    """`nn.Linear` of each head of a stack: features (K, n, in) to (K, n, out)."""
    return torch.baddbmm(parameters[f"{name}.bias"][:, None], features, parameters[f"{name}.weight"])


def affine_gradients(gradients: Mapping[str, Tensor], name: str, features: Tensor, gradient: Tensor) -> None:
    """Write the gradients of `affine`'s bias and weight, whose result has the gradient (K, n, out)."""
    torch.sum(gradient, dim=1, out=gradients[f"{name}.bias"])
    torch.bmm(features.mT, gradient, out=gradients[f"{name}.weight"])


def laid(value: Tensor) -> Tensor:
    """A parameter as it lies in a stack: matrices transposed (in, out), so that their gradients are contiguous."""
    return value.t() if value.ndim == 2 else value


def precise(values: Tensor) -> Tensor:
    """The values in float64, or in float32 on Apple's GPUs, which have no doubles."""
    return values.float() if values.device.type == "mps" else values.double()
