"""Gradient descent over features that sit on the device as a whole: no loader, no transfer, one sync an epoch."""

import copy
import dataclasses
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from cache.errors import FeaturesInvalid
from heads.config import TrainConfig


@dataclasses.dataclass(frozen=True)
class Split:
    """Training rows and the validation rows carved out of them: features (n, D) float32, labels (n,) int64."""

    features: Tensor
    labels: Tensor
    val_features: Tensor
    val_labels: Tensor


@dataclasses.dataclass(frozen=True)
class History:
    """Mean training loss and validation accuracy of each epoch, and the epoch (from 1) whose weights were kept."""

    losses: tuple[float, ...]
    val_accuracies: tuple[float, ...]
    best_epoch: int | None


def descend(
    head: nn.Module,
    split: Split,
    config: TrainConfig,
    generator: torch.Generator,
    on_epoch: Callable[[int, float, float | None], None],
) -> History:
    """Train `head.score` by cross entropy; with a validation part the best epoch is kept, the earliest of equals.

    `generator` lives on the features' device and orders the rows. Raises FeaturesInvalid where the loss is not finite.
    """
    optimiser = _optimiser(head, config)
    steps = math.ceil(len(split.labels) / config.batch_size) * config.epochs
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps) if config.cosine else None
    losses: list[float] = []
    accuracies: list[float] = []
    best: dict[str, Tensor] | None = None
    for epoch in range(1, config.epochs + 1):
        losses.append(_epoch(head, split, config, generator, optimiser, schedule))
        if not math.isfinite(losses[-1]):
            raise FeaturesInvalid(f"the loss is {losses[-1]} in epoch {epoch}; try a --lr below {config.lr}")
        if len(split.val_labels):
            accuracies.append(_accuracy(head, split.val_features, split.val_labels))
            if accuracies[-1] > max(accuracies[:-1], default=-1.0):
                best = copy.deepcopy(head.state_dict())
        on_epoch(epoch, losses[-1], accuracies[-1] if accuracies else None)
    if best is not None:
        head.load_state_dict(best)
    if not torch.isfinite(_scores(head, split.features[: config.batch_size])).all():
        raise FeaturesInvalid(f"the scores are not finite after epoch {config.epochs}; try a --lr below {config.lr}")
    best_epoch = accuracies.index(max(accuracies)) + 1 if accuracies else None
    return History(tuple(losses), tuple(accuracies), best_epoch)


def _optimiser(head: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """Adam without weight decay is what the study used; AdamW with none would be the same."""
    return torch.optim.AdamW(head.parameters(), lr=config.lr, weight_decay=config.weight_decay, fused=True)


def _epoch(
    head: nn.Module,
    split: Split,
    config: TrainConfig,
    generator: torch.Generator,
    optimiser: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler | None,
) -> float:
    head.train()
    rows = len(split.labels)
    order = torch.randperm(rows, generator=generator, device=split.labels.device)
    total = split.features.new_zeros((), dtype=torch.float64)
    for batch in order.split(config.batch_size):
        scores = head.score(split.features[batch])  # type: ignore[operator]  # nn.Module's attributes are untyped
        loss = functional.cross_entropy(scores, split.labels[batch])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if schedule is not None:
            schedule.step()
        total += loss.detach() * len(batch)
    return float(total) / rows


def _scores(head: nn.Module, features: Tensor) -> Tensor:
    head.eval()
    with torch.inference_mode():
        scores: Tensor = head.score(features)  # type: ignore[operator]  # as above
    return scores


def _accuracy(head: nn.Module, features: Tensor, labels: Tensor) -> float:
    predicted = _scores(head, features).argmax(dim=1)
    return float((predicted == labels).double().mean())
