"""Scores of rows by heads that did not see them."""

import contextlib
import dataclasses
import functools
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch

from headstart.core.heads.config import TrainConfig
from headstart.core.heads.data import Labelled, counted
from headstart.core.heads.kinds import kind
from headstart.core.heads.kinds.base import ClosedFormHead, Rows
from headstart.core.heads.training import threads
from headstart.core.heads.training.given import Given, by_class, new_head, on_device, shared, standardised
from headstart.core.heads.training.train import scores, train_many

Features = npt.NDArray[np.float32]
Scores = npt.NDArray[np.float32]


def unseen_scores(learn: Labelled, unseen: Features, classes: int, config: TrainConfig, device: str) -> Scores:
    """The scores (n, C) of features (n, D) by one head. Raises as `train_many`."""
    side = Side(learn, unseen, classes, device)
    with threads_of(config, device, learn.features.size * learn.versions, classes):
        ((_, found),) = side.scores([config])
    return found


def threads_of(config: TrainConfig, device: str, numbers: int, classes: int) -> contextlib.AbstractContextManager[None]:
    """Threads for heads of this kind on so many numbers of features: gradient descent deals its groups of heads to threads
    itself, and needs them all."""
    if not issubclass(kind(config.head), ClosedFormHead):
        return contextlib.nullcontext()
    return threads.suited(device, numbers, classes)


@dataclasses.dataclass(frozen=True)
class Side:
    """One division: the rows `learn` that heads learn from, and the features (n, D) of those that they did not see.

    Heads of all kinds have the same standardised rows, and what is found out about them once.
    """

    learn: Labelled
    unseen: Features
    classes: int
    device: str
    _weighted: dict[tuple[bool, str | None, bool], Rows] = dataclasses.field(default_factory=dict)

    def scores(
        self, configs: Sequence[TrainConfig], at: npt.NDArray[np.int64] | None = None
    ) -> Iterator[tuple[int, Scores]]:
        """For configurations of one kind, which differ in what its `grid` varies: their places, and the scores (n, C) by a
        head trained on the rows to learn from; with `at`, of these rows alone. Minus infinity for classes of which none of
        the rows to learn from is. What is not asked for is not computed, as far as the kind allows. Raises as
        `train_many`."""
        unseen = self.unseen if at is None else self.unseen[at]
        if issubclass(kind(configs[0].head), ClosedFormHead):
            yield from self._closed(configs, unseen)
            return
        trained = train_many(self.learn, self.classes, configs, self.device, lambda *_: None)
        yield from enumerate(scores(one.head, unseen, self.device).numpy() for one in trained)

    @torch.no_grad()
    def _closed(self, configs: Sequence[TrainConfig], unseen: Features) -> Iterator[tuple[int, Scores]]:
        plain, first = self._plain, configs[0]
        given = self._standardised if first.standardise else plain
        made = [new_head(given, self.classes, config, len(given.rows.labels)) for config in configs]
        heads = [head for head in made if isinstance(head, ClosedFormHead)]
        held = torch.from_numpy(np.ascontiguousarray(unseen)).to(self.device)
        held = (held - heads[0].mean).div_(heads[0].std)
        for i, found in type(heads[0]).scored(heads, self._rows(given.rows, first, heads[0].weighted), held):
            yield i, heads[i].allowed(found).cpu().numpy()

    @functools.cached_property
    def _plain(self) -> Given:
        return Given(on_device(self.device, counted(self.learn.learning)), None)

    @functools.cached_property
    def _standardised(self) -> Given:
        return standardised(self._plain)

    def _rows(self, rows: Rows, config: TrainConfig, weighted: bool) -> Rows:
        """The rows by the weights of classes and, for kinds that take weights, of versions: the same object for all of
        these, so that they are decomposed once."""
        key = config.standardise, config.class_weight, weighted
        if key not in self._weighted:
            own = by_class(rows, config)
            self._weighted[key] = shared(own) if weighted else own
        return self._weighted[key]
