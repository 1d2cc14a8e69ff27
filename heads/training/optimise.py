"""Gradient descent for many heads at once, over features that sit on the device as a whole: no loader, one sync an epoch.

Heads of one shape that differ in seed, learning rate, weight decay or dropout step together: their parameters are stacked,
and a layer is one batched product. Each sees the rows, the order and the dropout that its own seed draws, so that it ends
as if it had been trained alone.
"""

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from headstart.core.cache.errors import FeaturesInvalid
from headstart.core.heads.config import TrainConfig
from headstart.core.heads.kinds.base import Batch, GradientHead, Rows, laid, precise
from headstart.core.heads.training.adamw import Optimiser
from headstart.core.heads.training.epoch import Epoch, OnEpoch

T = TypeVar("T")
_DRAWN = 2**22
"""Numbers of one head's dropout that are drawn at once: more would take memory by rows, fewer a step's time each."""

Judged = tuple[float, float]
"""A head's accuracy, 0 to 1, and mean loss, in nats, on some rows."""


@dataclasses.dataclass(frozen=True)
class Part:
    """What one head is given: the pictures it learns from (n,) and those that choose its epoch (v,), int64 row numbers, and
    a generator on the device for order, versions and dropout. `split` says that the latter are of a validation split, and
    were not set aside. `mean_weight` is that of all rows which the head learns from, where these are some of them."""

    train: Tensor
    val: Tensor
    generator: torch.Generator
    split: bool = False
    mean_weight: float | None = None

    def epochs(self, config: TrainConfig) -> int:
        """The epochs of a training on this part."""
        if self.split:
            return dataclasses.replace(config, val_fraction=0.0).epochs_of(len(self.train))
        return config.epochs_of(len(self.train) + len(self.val))


@dataclasses.dataclass(frozen=True)
class History:
    """Mean training loss and validation accuracy of each epoch, and the epoch (from 1) whose weights were kept.

    A loss is the weighted mean over the epoch's rows. The published study printed the mean over its batches: another number
    where the last batch is a smaller one, the same where, as there, it is not. `watched` is the accuracy of each epoch on
    rows that were only watched.
    """

    losses: tuple[float, ...]
    val_accuracies: tuple[float, ...]
    best_epoch: int | None
    watched: tuple[float, ...] = ()


Supply = Callable[[], Iterator[tuple[Rows, Part]]]
"""An epoch of one head, some rows at a time: rows, and the part of them that it takes its next steps on. All together
are of as many batches as if they were there at once."""


def descend(
    heads: Sequence[GradientHead],
    rows: Rows,
    parts: Sequence[Part],
    on_epoch: OnEpoch,
    watch: Rows | None = None,
    supply: Supply | None = None,
) -> list[History]:
    """Train heads of one shape by cross entropy; with a validation part the best epoch is kept: that of the least loss, or
    by accuracy the earliest of equals.

    `watch` are other rows on which the accuracy is told after each epoch, and by which nothing is chosen. With a `supply`
    the one head learns from what that gives: of its part the rows to learn from are counted alone. Raises
    FeaturesInvalid where a loss or a score is not finite.
    """
    config, stack = heads[0].config, _stacked(heads)
    epochs = parts[0].epochs(config)
    steps = math.ceil(len(parts[0].train) / config.batch_size) * epochs
    optimiser = Optimiser(stack, [head.config for head in heads], steps)
    losses: list[list[float]] = []
    judged: list[list[Judged]] = []
    watched: list[list[Judged]] = []
    best = _Best(stack, len(heads), config.epoch_by) if len(parts[0].val) else None
    for number in range(1, epochs + 1):
        if supply is None:
            losses.append(_epoch(heads, rows, parts, stack, optimiser))
        else:
            losses.append(_supplied(heads, supply, stack, optimiser))
        _refuse(losses[-1], heads, f"the loss is not finite in epoch {number}")
        if best is not None:
            judged.append(_judged(heads[0], rows, [part.val for part in parts], stack))
            best.keep(stack, judged[-1], number)
        if watch is not None:
            all_of_them = torch.arange(len(watch.labels), device=watch.labels.device)
            watched.append(_judged(heads[0], watch, [all_of_them] * len(heads), stack))
        accuracies = [accuracy for accuracy, _ in judged[-1]] if judged else ()
        on_epoch(Epoch(number, epochs, losses[-1], accuracies))
    _give_back(heads, stack if best is None else best.stack)
    found = [head.score(rows.features[: config.batch_size]).abs().max().item() for head in heads]
    _refuse(found, heads, f"the scores are not finite after epoch {epochs}")
    kept = [None] * len(heads) if best is None else best.numbers
    return [
        History(_of(k, losses), tuple(a for a, _ in _of(k, judged)), kept[k], tuple(a for a, _ in _of(k, watched)))
        for k in range(len(heads))
    ]


def _of(k: int, epochs: Sequence[Sequence[T]]) -> tuple[T, ...]:
    """What each epoch has of one head."""
    return tuple(epoch[k] for epoch in epochs)


def _stacked(heads: Sequence[GradientHead]) -> dict[str, Tensor]:
    parameters = [dict(head.named_parameters()) for head in heads]
    return {name: torch.stack([laid(p[name].detach()) for p in parameters]) for name in parameters[0]}


def _give_back(heads: Sequence[GradientHead], stack: Mapping[str, Tensor]) -> None:
    with torch.no_grad():
        for k, head in enumerate(heads):
            for name, value in head.named_parameters():
                value.copy_(laid(stack[name][k]))


def _refuse(values: Sequence[float], heads: Sequence[GradientHead], what: str) -> None:
    for value, head in zip(values, heads, strict=True):
        if not math.isfinite(value):
            raise FeaturesInvalid(f"{what} (seed {head.config.seed}); try a --lr below {head.config.lr}")


class _Best:
    """Each head as it was after its best epoch, and that epoch's number from 1."""

    def __init__(self, stack: Mapping[str, Tensor], heads: int, by: str) -> None:
        self.stack = {name: value.clone() for name, value in stack.items()}
        self.numbers: list[int | None] = [None] * heads
        self._least, self._by = [math.inf] * heads, by

    def keep(self, stack: Mapping[str, Tensor], judged: Sequence[Judged], number: int) -> None:
        """Copy the heads that did better than ever before."""
        for k, (accuracy, loss) in enumerate(judged):
            if (cost := loss if self._by == "loss" else -accuracy) < self._least[k]:
                self._least[k], self.numbers[k] = cost, number
                for name, value in stack.items():
                    self.stack[name][k].copy_(value[k])


def _epoch(
    heads: Sequence[GradientHead],
    rows: Rows,
    parts: Sequence[Part],
    stack: Mapping[str, Tensor],
    optimiser: Optimiser,
) -> list[float]:
    """One pass of each head over its own rows in its own order; the mean losses."""
    count = len(parts[0].train)
    size = min(heads[0].config.batch_size, count)
    order = torch.stack([part.train[_shuffled(part)] for part in parts])
    seen = order if rows.versions == 1 else order + rows.pictures * torch.stack([_versions(part, rows) for part in parts])
    weights = _weights(rows, order, parts[0].mean_weight)
    dropout = _Dropout(heads, parts, size)
    sums, room = [], torch.empty(len(heads) * size, rows.features.shape[1], device=rows.features.device)
    for start in range(0, count, size):
        places = order[:, start : start + size]
        keep = dropout.kept(start, places.shape[1])
        at = seen[:, start : start + size].flatten()
        features = torch.index_select(rows.features, 0, at, out=room[: places.numel()])
        own = None if weights is None else weights[:, start : start + size]
        batch = Batch(features.view(*places.shape, -1), rows.labels[places], own, keep)
        losses = heads[0].learn(stack, batch, optimiser.gradients)
        optimiser.step()
        sums.append(losses * places.shape[1])
    total: list[float] = (torch.stack(sums).cpu().double().sum(dim=0) / count).tolist()  # Apple's GPUs have no doubles
    return total


def _supplied(
    heads: Sequence[GradientHead], supply: Supply, stack: Mapping[str, Tensor], optimiser: Optimiser
) -> list[float]:
    """One pass of one head over rows that come in turn; its mean loss."""
    total, rows = 0.0, 0
    for own, part in supply():
        (loss,) = _epoch(heads, own, [part], stack, optimiser)
        total, rows = total + loss * len(part.train), rows + len(part.train)
    return [total / rows]


def _weights(rows: Rows, order: Tensor, mean: float | None) -> Tensor | None:
    """The weights of each head's rows in its order (K, n), with a mean of 1, or over the mean of all: so batches of n rows
    add up to the weighted mean of all."""
    if rows.weights is None:
        return None
    found = rows.weights[order]
    return (found / (found.mean(dim=1, keepdim=True) if mean is None else mean)).float()


def _shuffled(part: Part) -> Tensor:
    drawn = torch.randperm(len(part.train), generator=part.generator, device=part.generator.device)
    return drawn.to(part.train.device)


def _versions(part: Part, rows: Rows) -> Tensor:
    """Which version of each picture an epoch takes, 0 for the picture as it is, in the order of the epoch (n,)."""
    where = part.generator.device
    drawn = torch.randint(rows.versions, (len(part.train),), generator=part.generator, device=where)
    return drawn.to(part.train.device)


class _Dropout:
    """Which hidden units stay in an epoch, drawn for many steps at once: a draw in each step would cost a step's time.

    How many rows are drawn at once changes no number on a CPU: a generator gives the same ones in one call or in several.
    """

    def __init__(self, heads: Sequence[GradientHead], parts: Sequence[Part], batch: int) -> None:
        self._rates, self._units, self._parts = [head.config.dropout for head in heads], heads[0].dropped, parts
        self._used = bool(self._units) and any(self._rates)
        self._rows = batch * max(1, _DRAWN // max(1, batch * self._units))
        device = parts[0].train.device
        self._made_up = torch.tensor([1 / (1 - rate) for rate in self._rates]).view(-1, 1, 1).to(device)
        self._drawn, self._first = torch.empty(0), 0

    def kept(self, start: int, rows: int) -> Tensor | None:
        """What each unit of the batch at `start` is multiplied by (K, rows, units), None where nothing is left out. Batches
        come one after the other, from the first."""
        if not self._used:
            return None
        if start % self._rows == 0:
            left = min(self._rows, len(self._parts[0].train) - start)
            drawn = [self._draw(part, rate, left) for part, rate in zip(self._parts, self._rates, strict=True)]
            self._drawn, self._first = torch.stack(drawn).to(self._made_up.device), start
        own = start - self._first
        return self._drawn[:, own : own + rows] * self._made_up

    def _draw(self, part: Part, rate: float, rows: int) -> Tensor:
        shape, device = (rows, self._units), part.generator.device
        if not rate:  # draws nothing, as where it is alone: a draw would change the next epoch's order
            return torch.ones(shape, dtype=torch.bool, device=device)
        return torch.rand(shape, generator=part.generator, device=device) >= rate


def _judged(head: GradientHead, rows: Rows, chosen: Sequence[Tensor], stack: Mapping[str, Tensor]) -> list[Judged]:
    """Each head's weighted accuracy and mean loss on the rows chosen for it; one head at a time, since the gathered rows
    are large."""
    found = []
    with torch.inference_mode():
        for k, own in enumerate(chosen):
            parameters = {name: value[k : k + 1] for name, value in stack.items()}
            features = rows.features if len(own) == len(rows.labels) else rows.features[own]
            labels = rows.labels[own]
            scores = head.allowed(head.scores(parameters, features[None], None)[0])
            figures = precise(
                torch.stack([(scores.argmax(dim=1) == labels).float(), cross_entropy(scores, labels, reduction="none")])
            )
            weights = None if rows.weights is None else rows.weights[own]
            found.append(figures.mean(dim=1) if weights is None else figures @ weights / weights.sum())
    return [(accuracy, loss) for accuracy, loss in torch.stack(found).tolist()]
