"""How long a study will take here: its rows at a measured rate, its heads' trainings each at the rate of a short one."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from headstart.core.heads.config import VALIDATION_FRACTION, TrainConfig
from headstart.core.heads.data import Labelled, held_out
from headstart.core.heads.study.analyses import Budget, curve_sizes, equal_steps
from headstart.core.heads.training.train import train_many

MEASURED_S = 0.05
"""Seconds that a measured epoch is to last, more or less; a study's two recipes have some eight kinds of training."""
MOST_ROWS = 4096
"""Rows of a measured epoch at most: enough that they do not lie in a processor's fast caches."""


@dataclasses.dataclass(frozen=True)
class Training:
    """So many heads of one configuration, trained at once on `rows` rows; `watched` others are counted each epoch."""

    config: TrainConfig
    heads: int
    rows: int
    watched: int = 0

    @property
    def steps(self) -> int:
        """Steps of all epochs; the last of an epoch may be a smaller one."""
        return self.config.steps(self.rows)


StepSeconds = Callable[[Training], float]
"""Seconds of one of its steps, for all its heads."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a study has still to do for one model: rows to extract by split, rows to time inference on, and seconds of each
    recipe's trainings. `images_per_s` is None where no row is left, or no batch can be run."""

    model: str
    missing: dict[str, int]
    timed: int
    images_per_s: float | None
    heads_s: dict[str, float]

    def spent(self, rows: int) -> float:
        """Seconds of so many rows through the backbone."""
        return rows / self.images_per_s if self.images_per_s else 0.0

    @property
    def total_s(self) -> float:
        """Seconds of all of it."""
        return self.spent(sum(self.missing.values()) + self.timed) + sum(self.heads_s.values())

    def to_json(self) -> dict[str, Any]:
        """The fields and their seconds as JSON values."""
        seconds_of = {"extraction_s": self.spent(sum(self.missing.values())), "inference_s": self.spent(self.timed)}
        return {**dataclasses.asdict(self), **seconds_of, "total_s": self.total_s}


def divided(splits: Sequence[int]) -> tuple[int, int]:
    """Training and test rows of a data set's splits; of one without splits a part is held out, as by `data.load`."""
    held = held_out(splits[0])
    return (splits[0], splits[1]) if len(splits) > 1 else (splits[0] - held, held)


def trainings(config: TrainConfig, budget: Budget, rows: int, watched: int, classes: int = 1) -> list[Training]:
    """What a study trains for one recipe on `rows` rows of so many classes: its head, and all that `analyses.analyse`
    trains."""
    few = functools.partial(Training, heads=budget.curve_seeds)
    through = not config.cosine and not config.val_fraction  # one long training passes through the shorter ones
    lengths = (max(budget.epochs),) if through else budget.epochs
    held = dataclasses.replace(config, val_fraction=VALIDATION_FRACTION)
    points = curve_sizes(budget, rows, classes)
    longer = {n: equal_steps(config, n, rows) for n in points}
    return [
        Training(config, 1, rows),
        Training(config, budget.seeds, rows),
        *(few(config, rows=n) for n in points),
        *([] if config.val_fraction else [Training(held, 1, rows)]),  # the temperature's
        *(few(dataclasses.replace(config, epochs=n), rows=rows, watched=watched if through else 0) for n in lengths),
        *(few(longer[n], rows=n) for n in points if longer[n] != config),
        *(few(dataclasses.replace(config, sigmoid=sigmoid), rows=rows) for sigmoid in (True, False)),
    ]


def seconds(found: Sequence[Training], step_s: StepSeconds) -> float:
    """Of all the trainings, one after the other. Reading, standardising and statistics are not in it."""
    return sum(training.steps * step_s(training) for training in found)


def measured(dim: int, classes: int, device: str) -> StepSeconds:
    """Steps on random features (n, dim) on this device, each kind of training measured once; some seconds in all."""
    kept: dict[Training, float] = {}

    def step_s(training: Training) -> float:
        config = dataclasses.replace(training.config, epochs=4, sigmoid=False, seed=0)
        kind = Training(config, training.heads, 1000, round(1000 * training.watched / training.rows))
        if kind not in kept:
            kept[kind] = _measure(kind, dim, max(2, classes), device)
        return kept[kind]

    return step_s


def _measure(kind: Training, dim: int, classes: int, device: str) -> float:
    """Seconds of a step of this kind, for all its heads: what three more epochs take than one does."""
    one = dataclasses.replace(kind, config=dataclasses.replace(kind.config, epochs=1))
    trial = _elapsed(_of_steps(one, 1), dim, classes, device)
    trial = min(trial, _elapsed(_of_steps(one, 1), dim, classes, device))  # the first also loads what it needs
    steps = max(1, min(round(MEASURED_S / trial), MOST_ROWS // kind.config.batch_size))
    some = _of_steps(kind, steps)
    further = _elapsed(some, dim, classes, device) - _elapsed(_of_steps(one, steps), dim, classes, device)
    return max(further, 1e-9) / (some.steps - some.steps // some.config.epochs)


def _of_steps(kind: Training, steps: int) -> Training:
    """The same in small: with rows for so many steps an epoch, and as many watched for each row as it has."""
    rows = int(steps * kind.config.batch_size / (1 - kind.config.val_fraction))
    return dataclasses.replace(kind, rows=rows, watched=round(rows * kind.watched / kind.rows))


def _elapsed(training: Training, dim: int, classes: int, device: str) -> float:
    """Seconds of a training on random rows."""
    configs = [dataclasses.replace(training.config, seed=seed) for seed in range(training.heads)]
    watch = _random(training.watched, dim, classes) if training.watched else None
    data = _random(training.rows, dim, classes)
    return train_many(data, classes, configs, device, lambda *_: None, watch)[0].elapsed_s


def _random(rows: int, dim: int, classes: int) -> Labelled:
    rng = np.random.default_rng(0)
    return Labelled(rng.random((rows, dim), dtype=np.float32), rng.integers(0, classes, rows))
