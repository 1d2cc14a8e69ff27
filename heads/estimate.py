"""How long a study will take here: its rows at a measured rate, its heads' trainings each at the rate of a short one."""

import contextlib
import dataclasses
import functools
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from heads.config import HELD_OUT, TrainConfig
from heads.data import Labelled
from heads.questions import Budget
from heads.threads import limited
from heads.train import train_many

MEASURED_S = 0.05
"""Seconds that a measured epoch is to last; a study's two recipes have eight kinds of training, of four epochs each."""
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
        held = max(1, round(self.rows * self.config.val_fraction)) if self.config.val_fraction else 0
        return -(-(self.rows - held) // self.config.batch_size) * self.config.epochs


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
    held = max(1, round(splits[0] * HELD_OUT))
    return (splits[0], splits[1]) if len(splits) > 1 else (splits[0] - held, held)


def trainings(config: TrainConfig, budget: Budget, rows: int, watched: int) -> list[Training]:
    """What a study trains for one recipe on `rows` rows: its head, and all that `questions.answer` asks for."""
    few = functools.partial(Training, heads=budget.curve_seeds)
    through = not config.cosine and not config.val_fraction  # one long training passes through the shorter ones
    lengths = (max(budget.epochs),) if through else budget.epochs
    held = dataclasses.replace(config, val_fraction=config.val_fraction or HELD_OUT)
    return [
        Training(config, 1, rows),
        Training(config, budget.seeds, rows),
        Training(held, 1, rows),
        *(few(dataclasses.replace(config, epochs=n), rows=rows, watched=watched if through else 0) for n in lengths),
        *(few(config, rows=n) for n in sorted({min(size, rows) for size in budget.sizes})),
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


def waves(groups: Sequence[int], threads: int) -> float:
    """How many times as long so many groups of heads take as the first `threads` of them, which run side by side; each
    thread takes the next group when it is done."""
    loads = [0] * threads
    for heads in groups:
        loads[loads.index(min(loads))] += heads
    return max(loads) / max(groups[:threads])


def _measure(kind: Training, dim: int, classes: int, device: str) -> float:
    """Seconds of a step of this kind, from as many heads as train side by side."""
    epoch = functools.partial(_epoch, classes=classes, device=device)
    short = dataclasses.replace(kind, config=dataclasses.replace(kind.config, epochs=2))
    _, groups = epoch(dataclasses.replace(short, rows=4, watched=0), 1)  # tells how the heads are divided
    threads = torch.get_num_threads() if device == "cpu" else 1
    beside = sum(groups[:threads])
    trial = _of_steps(dataclasses.replace(short, heads=beside), 1)
    # one group gets more threads only while they are faster, which a short measurement can't foresee: one is the safe side
    with limited(1) if len(groups) == 1 else contextlib.nullcontext():
        steps = round(MEASURED_S / epoch(trial, dim)[0])
        some = _of_steps(dataclasses.replace(kind, heads=beside), max(1, min(steps, MOST_ROWS // kind.config.batch_size)))
        return epoch(some, dim)[0] / _steps(some) * waves(groups, threads)


def _of_steps(kind: Training, steps: int) -> Training:
    """The same in small: with rows for so many steps an epoch, and as many watched for each row as it has."""
    rows = int(steps * kind.config.batch_size / (1 - kind.config.val_fraction))
    return dataclasses.replace(kind, rows=rows, watched=round(rows * kind.watched / kind.rows))


def _steps(training: Training) -> int:
    """Steps of one epoch."""
    return training.steps // training.config.epochs


def _epoch(training: Training, dim: int, classes: int, device: str) -> tuple[float, list[int]]:
    """Seconds of an epoch after the first, the median, and how many heads each group had."""
    ends: dict[int, float] = {}
    configs = [dataclasses.replace(training.config, seed=seed) for seed in range(training.heads)]
    watch = _random(training.watched, dim, classes) if training.watched else None
    found = train_many(
        _random(training.rows, dim, classes), classes, configs, device,
        lambda number, *_: ends.update({number: time.perf_counter()}), watch,  # the last group to end it
    )  # fmt: skip
    groups: list[int] = []
    while sum(groups) < len(found):
        groups.append(found[sum(groups)].together)
    return statistics.median(ends[n + 1] - ends[n] for n in range(1, len(ends))), groups


def _random(rows: int, dim: int, classes: int) -> Labelled:
    rng = np.random.default_rng(0)
    return Labelled(rng.random((rows, dim), dtype=np.float32), rng.integers(0, classes, rows))
