"""The heads: each maps features (N, D) to scores (N, C) whose softmax are its probabilities. Adding one is adding a class.

A head carries its standardisation and all it needs to be used again as buffers and parameters: they are what is saved.
"""

import abc
import math
from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from headstart.core.cache.errors import FeaturesInvalid
from headstart.core.heads.config import TrainConfig
from headstart.core.heads.kinds import leave_one_out as ridge
from headstart.core.heads.training.optimise import Batch, Rows, laid
from torch import Tensor, nn
from torch.nn import functional

_MOST_SIMILARITIES = 2**25
"""Numbers of the (n, rows) matrix of kNN that are in memory at once."""


class Head(nn.Module, abc.ABC):
    """Features (N, D) to scores (N, C). `rows` is the number of training rows, which only kNN keeps.

    `mean` and `std` (D,) are the training rows' own where the recipe standardises, else 0 and 1. `absent` are the classes
    that had no training row: nothing is known of them, so they are never predicted. The initial weights are drawn from
    `generator`; without one all are 0.
    """

    kind: ClassVar[str]
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

    @abc.abstractmethod
    def score(self, features: Tensor) -> Tensor:
        """Standardised features (N, D) to scores (N, C), those of absent classes among them."""


class _Layer(nn.Linear):
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


class ClosedFormHead(Head):
    """A head that has no epochs."""

    @abc.abstractmethod
    def fit(self, rows: Rows) -> None:
        """Learn from standardised training rows."""


class GradientHead(Head):
    """A head trained by gradient descent, alone or stacked with others of its shape (see `heads.training.optimise`).

    The gradients are written out: a step of few small products would spend a third of its time on recording them.
    """

    dropped = 0
    """How many units dropout chooses from."""

    @abc.abstractmethod
    def scores(self, parameters: Mapping[str, Tensor], features: Tensor, keep: Tensor | None) -> Tensor:
        """Stacked parameters (K, …), each laid by `optimise.laid`, and standardised features (K, n, D) to scores
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
        # the operation that autograd uses: its exponentials differ from `exp` in their last digits
        gradient = torch.ops.aten._log_softmax_backward_data(onward, logs, 2, logs.dtype)
        return losses, gradient.mul_(1 - scores).mul_(scores) if self.config.sigmoid else gradient


def _affine(parameters: Mapping[str, Tensor], name: str, features: Tensor) -> Tensor:
    """`nn.Linear` of each head of a stack: features (K, n, in) to (K, n, out)."""
    return torch.baddbmm(parameters[f"{name}.bias"][:, None], features, parameters[f"{name}.weight"])


def _affine_gradients(gradients: Mapping[str, Tensor], name: str, features: Tensor, gradient: Tensor) -> None:
    """Write the gradients of `_affine`'s bias and weight, whose result has the gradient (K, n, out)."""
    torch.sum(gradient, dim=1, out=gradients[f"{name}.bias"])
    torch.bmm(features.mT, gradient, out=gradients[f"{name}.weight"])


class Mlp(GradientHead):
    """Linear(D, hidden), ReLU, Dropout, Linear(hidden, C), and the study's sigmoid where the recipe has it."""

    kind = "mlp"

    def __init__(
        self, dim: int, classes: int, config: TrainConfig, rows: int, generator: torch.Generator | None = None
    ) -> None:
        super().__init__(dim, classes, config, rows)
        self.hidden = _Layer(dim, config.hidden, generator)
        self.out = _Layer(config.hidden, classes, generator)
        self.dropped = config.hidden

    def scores(self, parameters: Mapping[str, Tensor], features: Tensor, keep: Tensor | None) -> Tensor:
        hidden = functional.relu(_affine(parameters, "hidden", features))
        return self._squashed(_affine(parameters, "out", hidden if keep is None else hidden * keep))

    def learn(self, parameters: Mapping[str, Tensor], batch: Batch, gradients: Mapping[str, Tensor]) -> Tensor:
        keep, hidden = batch.keep, _affine(parameters, "hidden", batch.features).relu_()
        kept = hidden if keep is None else hidden * keep
        losses, gradient = self._cross_entropy(self._squashed(_affine(parameters, "out", kept)), batch)
        _affine_gradients(gradients, "out", kept, gradient)
        onward = torch.bmm(gradient, parameters["out.weight"].mT)
        onward = (onward if keep is None else onward.mul_(keep)).masked_fill_(hidden <= 0, 0)
        _affine_gradients(gradients, "hidden", batch.features, onward)
        return losses


class Linear(GradientHead):
    """Linear(D, C): multinomial logistic regression, the linear probe."""

    kind = "linear"

    def __init__(
        self, dim: int, classes: int, config: TrainConfig, rows: int, generator: torch.Generator | None = None
    ) -> None:
        super().__init__(dim, classes, config, rows)
        self.out = _Layer(dim, classes, generator)

    def scores(self, parameters: Mapping[str, Tensor], features: Tensor, keep: Tensor | None) -> Tensor:
        return self._squashed(_affine(parameters, "out", features))

    def learn(self, parameters: Mapping[str, Tensor], batch: Batch, gradients: Mapping[str, Tensor]) -> Tensor:
        losses, gradient = self._cross_entropy(self._squashed(_affine(parameters, "out", batch.features)), batch)
        _affine_gradients(gradients, "out", batch.features, gradient)
        return losses


class Ridge(ClosedFormHead):
    """Least squares on one-against-all targets, the penalty chosen by leave-one-out on the training rows (scikit-learn's
    RidgeClassifierCV). Its scores are distances, not log-odds: the probabilities rank rightly but are too even."""

    kind = "ridge"
    penalties = tuple(10.0**power for power in range(-3, 10))

    def __init__(
        self, dim: int, classes: int, config: TrainConfig, rows: int, generator: torch.Generator | None = None
    ) -> None:
        super().__init__(dim, classes, config, rows)
        self.out = _Layer(dim, classes, generator)

    def score(self, features: Tensor) -> Tensor:
        scores: Tensor = self.out(features)
        return scores

    def fit(self, rows: Rows) -> None:
        features, labels = rows.features.cpu().numpy(), rows.labels.cpu().numpy()
        given = None if rows.weights is None else rows.weights.cpu().numpy()
        weights, biases = ridge.fit(features, labels, self.classes, self.penalties, given)
        with torch.no_grad():
            self.out.weight.copy_(torch.from_numpy(weights))
            self.out.bias.copy_(torch.from_numpy(biases))


class Knn(ClosedFormHead):
    """The 20 most similar training rows by cosine vote, each with the weight exp(similarity / 0.07): the protocol of
    Z. Wu et al., https://arxiv.org/abs/1805.01978, with DINO's k (https://arxiv.org/abs/2104.14294).

    Under a recipe that standardises, similarities are of standardised features, which theirs are not."""

    kind = "knn"
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


KINDS: dict[str, type[Head]] = {kind.kind: kind for kind in (Mlp, Linear, Ridge, Knn)}
