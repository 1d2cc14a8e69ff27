"""Gradient descent on rows from the disk: chunks in an order drawn anew for each epoch, and shuffled within large
blocks."""

import contextlib
import dataclasses
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from headstart.core.cache.errors import FeaturesInvalid
from headstart.core.heads.config import TrainConfig, uses
from headstart.core.heads.kinds.base import GradientHead, Head, Rows, layer_shapes
from headstart.core.heads.streams.budget import Needs
from headstart.core.heads.streams.given import Mask, Streamed
from headstart.core.heads.training import threads
from headstart.core.heads.training.epoch import OnEpoch
from headstart.core.heads.training.optimise import History, Part, descend

_MOST_ROWS = 2**16
"""Rows of a block: more are no better mixed."""
_LEAST_BATCHES = 4


@dataclasses.dataclass(frozen=True, eq=False)
class Descended:
    """A head, how its training went, how many rows it learned from, and the places of those that chose its epoch."""

    head: Head
    history: History
    rows: int
    judged: Mask


def needs(config: TrainConfig, dim: int, classes: int, beside: int = 0) -> list[Needs]:
    """What a training holds beside its blocks, where so many bytes are taken already."""
    shapes = layer_shapes(dim, classes, config)
    parameters = sum(inputs * outputs for inputs, outputs in shapes)
    batch = config.batch_size * (4 * dim + 4 * sum(outputs for _, outputs in shapes))
    dropped = 6 * config.hidden if "dropout" in uses(config.head) else 0
    state = beside + 4 * (8 * parameters + batch)
    return [
        Needs(f"the head {config.head}", state, least=_LEAST_BATCHES * config.batch_size, of_a_row=dropped, most=_MOST_ROWS)
    ]


def descended(
    given: Streamed, learn: Mask, judge: Mask, config: TrainConfig, device: str, on_epoch: OnEpoch, *, split: bool = False
) -> Descended:
    """A head trained on the rows to learn from, whose epoch those to `judge` choose, which are few; `split` says that these
    are of a validation split. Raises FeaturesInvalid where nothing is left to learn from, or a loss diverges;
    OutOfMemory."""
    if not (count := int(learn.sum())):
        raise FeaturesInvalid("the rows set aside for validation leave none; use --val-fraction 0")
    where = "cpu" if device == "mps" else device  # its generators draw other numbers
    generator = torch.Generator(where if where.startswith("cuda") else "cpu").manual_seed(config.seed)
    head = given.head(config, learn).to(device)
    assert isinstance(head, GradientHead)
    shown = judge
    if not judge.any():  # the scores of some rows tell whether all went well
        shown = learn & (np.cumsum(learn) <= config.batch_size)
    weights = given.class_weights(config, learn)
    judges = Rows(given.kept(shown).to(device), torch.from_numpy(given.rows.labels[shown]).to(device))
    if config.class_weight is not None:
        own = given.class_weights(config, shown)
        judges = dataclasses.replace(judges, weights=own[judges.labels.cpu()].to(device, _weighted(device)))
    nothing = torch.zeros(0, dtype=torch.int64, device=device)
    val = torch.arange(int(judge.sum()), device=device)
    part = Part(torch.zeros(1, dtype=torch.int64).expand(count), val, generator, split)
    supply = _Supply(given, learn, weights if config.class_weight else None, config, generator, device)
    several = threads.shared(1, config.batch_size, *head.shapes(given.rows.dim, given.classes, config)[0])
    with contextlib.nullcontext() if several or device != "cpu" else threads.limited(1):
        (history,) = descend([head], judges, [part], on_epoch, supply=lambda: supply.epoch(nothing))
    head = head.eval().requires_grad_(False)
    return Descended(head, history, count, judge)


def _weighted(device: str) -> torch.dtype:
    return torch.float32 if device == "mps" else torch.float64


class _Supply:
    """The rows of each epoch of one head."""

    def __init__(
        self,
        given: Streamed,
        learn: Mask,
        weights: Tensor | None,
        config: TrainConfig,
        generator: torch.Generator,
        device: str,
    ) -> None:
        self._given, self._learn, self._weights, self._device = given, learn, weights, device
        self._batch, self._count = config.batch_size, int(learn.sum())
        self._generator, self._rng = generator, np.random.default_rng(config.seed)
        self._labels = torch.from_numpy(given.rows.labels)
        (own,) = needs(config, given.rows.dim, given.classes, given.beside)
        self._rows = given.budget.block_rows(own)
        self._mean = None if weights is None else float(weights[self._labels[torch.from_numpy(learn)]].mean())

    def epoch(self, nothing: Tensor) -> Iterator[tuple[Rows, Part]]:
        """All rows once. What a block has beyond whole batches waits for the next, so that steps are as many, and of as
        many rows, as if all rows were there."""
        waiting, labels, done = torch.zeros(0, self._given.rows.dim), self._labels[:0], 0
        for places, features, room in self._given.blocks(self._learn, self._rows, rng=self._rng, spare=self._batch):
            first = self._batch - len(waiting)
            room[first : self._batch] = waiting
            every = room[first : self._batch + len(features)]
            of_class = torch.cat([labels, self._labels[torch.from_numpy(places)]])
            last = done + len(every) == self._count
            used = len(every) if last else len(every) // self._batch * self._batch
            order = torch.randperm(len(every), generator=self._generator, device=self._generator.device).cpu()
            waiting, labels = every[order[used:]].clone(), of_class[order[used:]]
            done += used
            if used:
                weights = (
                    None if self._weights is None else self._weights[of_class].to(self._device, _weighted(self._device))
                )
                rows = Rows(every.to(self._device), of_class.to(self._device), weights)
                own = order[:used].to(self._device)
                yield rows, Part(own, nothing, self._generator, mean_weight=self._mean)
