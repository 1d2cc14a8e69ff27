"""The whole way from rows on the disk to heads: choose what is left open, train on all rows, learn how sure to be.

It is that of `selection.procedure`, with fewer rows to choose by: as many as have room. They are drawn once, however few
rows there are, since a cross-validation would read all rows for each fold.
"""

import contextlib
import dataclasses
import functools
import time
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from headstart.core.cache.errors import FeaturesInvalid
from headstart.core.heads.confidence import Confidence
from headstart.core.heads.config import AUTO, LEAST_CHOSEN_BY, TrainConfig
from headstart.core.heads.data import Labelled
from headstart.core.heads.data.sampling import sample
from headstart.core.heads.kinds.base import Head
from headstart.core.heads.kinds.logreg import Logreg
from headstart.core.heads.selection import procedure, search
from headstart.core.heads.selection.procedure import Fitted
from headstart.core.heads.streams import closed, descent
from headstart.core.heads.streams.budget import Budget, Needs
from headstart.core.heads.streams.closed import Closed
from headstart.core.heads.streams.division import set_aside
from headstart.core.heads.streams.given import Mask, Streamed, scaled
from headstart.core.heads.streams.on_disk import OnDisk
from headstart.core.heads.training import memory
from headstart.core.heads.training.epoch import Epoch, OnEpoch
from headstart.core.heads.training.optimise import History
from headstart.core.heads.training.train import Trained, scores

KINDS = (*closed.KINDS, "mlp", "linear")
"""The heads that learn from blocks of rows."""


def refusal(config: TrainConfig) -> str | None:
    """Why a head can't be trained in blocks, None where it can."""
    if config.head in (AUTO, *KINDS):
        return None
    others = f"{', '.join(KINDS[:-1])} or {KINDS[-1]}"
    return f"the head {config.head} needs all rows in memory; use --head {others}, or leave --memory out"


def opened(config: TrainConfig, rows: int) -> list[TrainConfig]:
    """What is tried for a configuration on so many training rows."""
    tried = procedure.candidates(config, rows, weighted=False)
    return [one for one in tried if one.head in KINDS]


@dataclasses.dataclass(eq=False)
class Training:
    """Training rows: where they are, what is known of them (features (N, 0)), of how many classes, and the memory for
    all of it. Those that are `judging` are the last. `testing` is what that takes afterwards. `judges` is to how many
    rows the memory limits those that choose, once that is known and if it does."""

    rows: OnDisk
    known: Labelled
    classes: int
    budget: Budget
    device: str
    testing: Needs
    judges: int | None = None

    @functools.cached_property
    def learning(self) -> Mask:
        """The rows (N,) to learn from: all but those of a validation split that chooses."""
        return np.ones(len(self.known.labels), dtype=np.bool_) if self.known.judging is None else ~self.known.judging

    def fit(self, several: Sequence[Sequence[TrainConfig]], on_epoch: OnEpoch) -> list[Fitted]:
        """The best head of each of several lists of configurations, as `selection.procedure.fit`. Raises OutOfMemory,
        FeaturesInvalid, FeaturesDamaged."""
        first, (dim, rows) = several[0][0], (self.rows.dim, len(self.known.labels))
        with memory.known_errors([first], dim, self.classes), torch.no_grad():
            budget = self._budgeted(several[0])  # the others differ in their seeds
            scale = scaled(self.rows, self.learning, budget, standardise=first.standardise)
            given, found = Streamed(self.rows, self.classes, scale, budget), dict[tuple[TrainConfig, ...], _Searched]()
            done = list[Fitted]()
            for tried in several:
                key = tuple(tried) if len(tried) > 1 else (dataclasses.replace(tried[0], seed=0),)
                if key not in found and self._wants_a_search(tried, rows, budget):
                    found[key] = self._searched(given, tried)
                done.append(self._fitted(given, tried, found.get(key), on_epoch))
        return done

    def _budgeted(self, tried: Sequence[TrainConfig]) -> Budget:
        """The budget with the rows to choose by: those of the search, and those that choose the epochs of a head in it."""
        parts = [self.testing]
        for config in {one.head: one for one in tried}.values():
            parts += _needs(config, self.rows.dim, self.classes, _held_by(tried, self.rows.dim))
        rows = int(self.learning.sum())
        wanted = round(rows * search.HELD_OUT) if self.known.judging is None else int(self.known.judging.sum())
        wanted = max(wanted, *(one.held(rows) for one in tried))
        sets = (
            2 if any(one.trained_by_gradient for one in tried) and (len(tried) > 1 or self.known.judging is not None) else 1
        )
        of_each = sets * 4 * self.rows.dim + self.classes * (4 * len(tried) + 48) + 16
        found = self.budget.with_judges(wanted, of_each, parts)
        self.judges = found.judges if found.judges < wanted else None
        return found

    def _wants_a_search(self, tried: Sequence[TrainConfig], rows: int, budget: Budget) -> bool:
        held = min(tried[0].held(rows), budget.judges)
        return len(tried) > 1 or (self.known.judging is None and not (tried[0].sigmoid or held >= LEAST_CHOSEN_BY))

    def _judges(self, budget: Budget, seed: int) -> Mask:
        """The rows to choose by: some of those that are judging, or of all."""
        known, found = self.known, np.zeros(len(self.known.labels), dtype=np.bool_)
        if known.judging is not None:
            own = np.flatnonzero(known.judging)
            found[own[sample(known.labels[own], budget.judges, np.random.default_rng(seed))]] = True
            return found
        count = min(round(len(known.labels) * search.HELD_OUT), budget.judges)
        return set_aside(known.labels, known.groups, count, np.random.default_rng(seed))

    def _aside(self, given: Streamed, learn: Mask, config: TrainConfig) -> Mask:
        """The rows, among those to learn from, that choose an epoch: as `training.train.carve` draws them."""
        found, places = np.zeros(len(learn), dtype=np.bool_), np.flatnonzero(learn)
        if self.known.judging is not None:
            return self._judges(given.budget, config.seed) if config.val_fraction else found
        count = min(config.held(len(places)), given.budget.judges)
        groups = None if self.known.groups is None else self.known.groups[places]
        found[places] = set_aside(self.known.labels[places], groups, count, np.random.default_rng(config.seed))
        if count and not found.any():
            raise FeaturesInvalid(
                f"{len(places)} training rows, one of each class, leave none for validation; use --val-fraction 0"
            )
        return found

    def _searched(self, given: Streamed, tried: Sequence[TrainConfig]) -> "_Searched":
        started, judges = time.perf_counter(), self._judges(given.budget, tried[0].seed)
        if not judges.any():
            raise FeaturesInvalid(
                f"{len(judges)} training rows, one of each class, leave none to choose by; give --head and its --penalty"
            )
        held = _held_by(tried, self.rows.dim)
        side = _Side(self, dataclasses.replace(given, beside=held), self.learning & ~judges, given.kept(judges))
        labels = self.known.labels[judges]
        found = search.among(side, tried, labels, 1, self.known.judging is not None, started)
        if found is None:
            raise FeaturesInvalid("no row that was set aside could be predicted; give --head and its --penalty")
        again = found.selection.config.head == "logreg"  # whose steps can begin from there
        return _Searched(found, side.closed if again else None)

    def train(self, given: Streamed, learn: Mask, config: TrainConfig, on_epoch: OnEpoch) -> descent.Descended:
        """A head that has epochs."""
        aside, split = self._aside(given, learn, config), self.known.judging is not None
        return descent.descended(given, learn & ~aside, aside, config, self.device, on_epoch, split=split)

    def _fitted(
        self, given: Streamed, tried: Sequence[TrainConfig], found: "_Searched | None", on_epoch: OnEpoch
    ) -> Fitted:
        config = tried[0] if found is None or len(tried) == 1 else found.found.selection.config
        started = time.perf_counter()
        if config.trained_by_gradient:
            own = self.train(given, self.learning, config, on_epoch)
            head, history, rows, judged = own.head, own.history, own.rows, own.judged
        else:
            before = None if found is None else found.closed
            head = _closed(Closed(given, self.learning, before), config)
            history, rows, judged = History((), (), None), int(self.learning.sum()), np.zeros(0, dtype=np.bool_)
        elapsed_s = time.perf_counter() - started
        trained = Trained(head, history, elapsed_s, 1, rows, int(judged.sum()))
        if found is not None:
            return Fitted(trained, found.found.selection if len(tried) > 1 else None, found.found.confidence)
        return Fitted(trained, None, self._sure(given, trained, judged))

    def _sure(self, given: Streamed, trained: Trained, judged: Mask) -> Confidence | None:
        """How sure a head may be, by rows that were set aside."""
        config = trained.head.config
        if self.known.judging is not None:
            judged = self._judges(given.budget, config.seed)
        if config.sigmoid or judged.sum() < LEAST_CHOSEN_BY:
            return None
        own, labels = _said(trained.head, given.kept(judged), self.device), self.known.labels[judged]
        possible = np.isfinite(own[np.arange(len(labels)), labels]).any()
        return search.confidence(own, labels) if possible else None


@dataclasses.dataclass(frozen=True)
class _Searched:
    """What a search found, and what its logistic regressions know of the rows
    where one of them was chosen."""

    found: search.Found
    closed: Closed | None


class _Side:
    """Rows to learn from on the disk, and scaled features (n, D) of those that are judged: `search.Judging`."""

    first: npt.NDArray[np.int64] | None = None

    def __init__(self, training: Training, given: Streamed, learn: Mask, judged: Tensor) -> None:
        self._training, self._given, self._learn, self._judged = training, given, learn, judged
        self.closed = Closed(given, learn)

    def threads(self, config: TrainConfig) -> contextlib.AbstractContextManager[None]:
        """All of them: products of blocks are large."""
        return contextlib.nullcontext()

    def trial(self, configs: Sequence[TrainConfig]) -> Iterator[npt.NDArray[np.float32]]:
        """There are no first rows: reading the others is what takes time."""
        yield from (scores for _, scores in self.scores(configs))

    def scores(self, configs: Sequence[TrainConfig]) -> Iterator[tuple[int, npt.NDArray[np.float32]]]:
        """As `search.Judging`."""
        if not configs[0].trained_by_gradient:
            for i, head in self.closed.heads(configs):
                yield i, _said(head, self._judged, "cpu")
            return
        for i, config in enumerate(configs):
            found = self._training.train(self._given, self._learn, config, _silent)
            yield i, _said(found.head, self._judged, self._training.device)


def _said(head: Head, scaled_features: Tensor, device: str) -> npt.NDArray[np.float32]:
    """The scores (n, C) of features that are scaled already."""
    with torch.inference_mode():
        parts = [head.allowed(head.score(part.to(device))).cpu() for part in scaled_features.split(2048)]
        return torch.cat(parts).numpy()


def _closed(rows: Closed, config: TrainConfig) -> Head:
    ((_, head),) = rows.heads([config], Logreg.tolerance)
    return head.eval().requires_grad_(False)


def _held_by(tried: Sequence[TrainConfig], dim: int) -> int:
    """Bytes of the decomposition that linear heads share and leave in memory, for the last word on one of them."""
    return 8 * dim**2 if any(one.head in closed.DECOMPOSED for one in tried) else 0


def _needs(config: TrainConfig, dim: int, classes: int, beside: int) -> list[Needs]:
    if config.trained_by_gradient:
        return descent.needs(config, dim, classes, beside)
    return closed.needs(config.head, dim, classes)


def _silent(epoch: Epoch) -> None:
    """An `OnEpoch` for heads that are not kept."""


def said(head: Head, rows: OnDisk, most: int, device: str) -> Tensor:
    """The scores (N, C) of all rows, as `training.train.scores`, in blocks of so many. Raises FeaturesDamaged,
    FeaturesInvalid."""
    found = torch.empty(len(rows.labels), head.classes)
    for block in rows.blocks(np.ones(len(rows.labels), dtype=np.bool_), most):
        for first in range(0, len(block.places), 1024):
            part = slice(first, first + 1024)
            found[torch.from_numpy(block.places[part])] = scores(head, block.features[part], device)
    return found


SCORE_BYTES = 24
"""Bytes of a test row and class: its score, its probability, and what measures make of them."""
