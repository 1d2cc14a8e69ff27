"""The recipes: how a head is trained. Importing it is cheap: the command line reads its choices and defaults from here."""

import dataclasses
import math
from collections.abc import Collection, Mapping
from typing import Any

from headstart.core.cache.errors import FeaturesInvalid
from headstart.core.heads import kinds

TRAINING_VERSION = 2
"""Raised whenever a change to our code changes the head that the same rows, settings and seed give, or what is measured of
it: results of another version are not found again. Version 1 drew the initial weights of heads in several groups from one
generator at the same time, so that a seed did not name a head."""

HEADS = kinds.NAMES
HeadName = str
"""One of `HEADS`."""


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """One head's training. `lr` and the rest are PyTorch's; `hidden` in units, `epochs` in passes over the training rows.

    `val_fraction` of the training rows is set aside to choose the best epoch on; 0 keeps the last epoch. `train_limit`
    is how many training rows are used. `sigmoid` squashes the scores before the loss, as the study did. A head's class says
    which of these concern it (`uses`).

    `penalty` is the weight of the squared coefficients beside the sum of the rows' losses: scikit-learn's alpha of ridge
    regression, 1 / C of logistic regression and of the SVM; `neighbours` is kNN's k. None of either is chosen on training
    rows. `class_weight` "balanced" makes every class count alike: a row by N / (C x the rows of its class), as in
    scikit-learn. `label_smoothing` is the part of each label that goes to all classes evenly (C. Szegedy et al.,
    https://arxiv.org/abs/1512.00567).

    Of a data set without a test split, `test_fraction` is held out for testing; None tests by cross-validation over all of
    it. `group_by` is a regular expression: rows in whose ids it finds the same text (its first group, or all it matched)
    are never on both sides of a division.
    """

    recipe: str
    head: str = kinds.DEFAULT
    epochs: int = 5
    lr: float = 1e-3
    batch_size: int = 64
    hidden: int = 128
    dropout: float = 0.2
    weight_decay: float = 0.0
    val_fraction: float = 0.0
    cosine: bool = False
    standardise: bool = False
    sigmoid: bool = False
    penalty: float | None = None
    neighbours: int | None = None
    class_weight: str | None = None
    label_smoothing: float = 0.0
    test_fraction: float | None = None
    group_by: str | None = None
    train_limit: int | None = None
    seed: int = 0

    @property
    def trained_by_gradient(self) -> bool:
        """True for the heads that have epochs."""
        return "epochs" in kinds.kind(self.head).uses

    def held(self, rows: int) -> int:
        """How many of so many training rows are set aside to choose the epoch."""
        return max(1, round(rows * self.val_fraction)) if self.trained_by_gradient and self.val_fraction else 0

    def steps(self, rows: int) -> int:
        """Optimiser steps of all epochs on so many training rows; the last of an epoch may be of fewer rows."""
        return math.ceil((rows - self.held(rows)) / self.batch_size) * self.epochs if self.trained_by_gradient else 0

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "TrainConfig":
        """What `to_json` wrote. Raises TypeError for missing or unknown fields."""
        return cls(**found)


RECIPES: Mapping[str, TrainConfig] = {
    "study": TrainConfig(recipe="study", sigmoid=True),
    "standard": TrainConfig(
        recipe="standard",
        epochs=20,
        batch_size=256,
        weight_decay=1e-2,
        val_fraction=0.1,
        cosine=True,
        standardise=True,
    ),
}
"""`study`: the published protocol, its sigmoid before the loss included (A. Casey and A. Racapé, Transfer Learning, 2023).
`standard`: AdamW (Loshchilov and Hutter, https://arxiv.org/abs/1711.05101) under one cosine to zero
(https://arxiv.org/abs/1608.03983), on features standardised with the training rows' own statistics."""


SWEEP_LR = (1e-4, 3e-4, 1e-3, 3e-3)
SWEEP_DECAY = (0.0, 1e-2, 1e-1)
SWEPT = frozenset({"lr", "weight_decay"})
"""The fields that a sweep tries values of."""
TEST_FRACTION = 0.2
"""The part of a set without a test split that is held out where one must be, though none was asked for: by a study, and as
`Features.test`."""
VALIDATION_FRACTION = 0.1
"""The part of the training rows set aside where something must be chosen or fitted and the recipe sets none aside."""


def refusal(config: TrainConfig, given: Collection[str], *, seeds: int = 1, sweep: bool = False) -> str | None:
    """Why the fields `given` by name, so many seeds or a sweep are not for this training, or None where all have an effect.

    A field is named as the option is: `batch_size` as --batch-size.
    """
    head = kinds.kind(config.head)
    if sweep and not head.uses >= SWEPT:
        return f"--sweep: a {config.head} head has no learning rate to try; use --head {_users('lr')}"
    for name in given:
        option = "--" + name.replace("_", "-")
        if name == "seed" and not head.random:
            return f"{option}: a {config.head} head is the same for every seed; leave it out"
        if name != "seed" and name not in head.uses:
            return f"{option}: a {config.head} head has none; leave it out, or use --head {_users(name)}"
        if sweep and name in SWEPT:
            return f"{option}: --sweep tries values of its own; leave one of the two out"
    if sweep and "val_fraction" in given and not config.val_fraction:
        return "--val-fraction 0: --sweep chooses by validation rows; give a part above 0, or leave it out"
    if seeds > 1 and not head.random:
        return f"--seeds {seeds}: a {config.head} head is the same for every seed; leave it out"
    return None


def _users(field: str) -> str:
    """The heads that take a field, as an option names them."""
    return " or ".join(name for name in HEADS if field in kinds.kind(name).uses)


def grid(config: TrainConfig) -> list[TrainConfig]:
    """The configurations that a sweep tries: learning rates by weight decays, chosen among on validation rows, of which a
    recipe without any gets a tenth. Raises FeaturesInvalid for a head without epochs, which has nothing to try."""
    if (reason := refusal(config, (), sweep=True)) is not None:
        raise FeaturesInvalid(reason)
    held = config.val_fraction or VALIDATION_FRACTION
    return [
        dataclasses.replace(config, lr=lr, weight_decay=decay, val_fraction=held)
        for lr in SWEEP_LR
        for decay in SWEEP_DECAY
    ]


@dataclasses.dataclass(frozen=True)
class BenchConfig:
    """How inference is timed: `warmup` batches first, the whole pass `repeats` times (the median counts), then
    `stage_batches` batches with a synchronisation after each stage, then `latency_images` images one by one."""

    warmup: int = 2
    repeats: int = 1
    stage_batches: int = 8
    latency_images: int = 100
    limit: int | None = None
