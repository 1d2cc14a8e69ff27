"""The recipes: how a head is trained. Importing it is cheap: the command line reads its choices and defaults from here."""

import dataclasses
import math
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from headstart.core.cache.errors import FeaturesInvalid
from headstart.core.heads import kinds

TRAINING_VERSION = 5
"""Raised whenever a change to our code changes the head that the same rows, settings and seed give, or what is measured of
it: results of another version are not found again. Version 1 drew the initial weights of heads in several groups from one
generator at the same time, so that a seed did not name a head. Version 2 chose epochs by accuracy, however few the rows.
Version 3 preferred ridge to logistic regression, and the strongest penalty within one standard error of the best. Version 4
standardised each fold by itself and found logistic regressions by L-BFGS."""

AUTO = "auto"
"""The head that is chosen, with its settings, on the training rows."""
HEADS = (AUTO, *kinds.NAMES)
CLASS_WEIGHTS = ("balanced",)
HeadName = str
"""One of `HEADS`."""
LEAST_CHOSEN_BY = 100
"""Rows of which an epoch is chosen: of fewer, one more mistake would make it another."""


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """One head's training. `lr` and the rest are PyTorch's; `hidden` in units, `epochs` in passes over the training rows.

    `val_fraction` of the training rows is set aside to choose the best epoch on, by `epoch_by`: the least "loss", or the
    best "accuracy", as earlier versions did; 0 keeps the last epoch, and so do fewer than 100 rows where "loss" chooses.
    There are more epochs than `epochs` where these make fewer than `least_steps` optimiser steps. `train_limit` is how many
    training rows are used. `sigmoid` squashes the scores before the loss, as the study did. A head's class says which of
    these concern it (`uses`).

    `penalty` is the weight of the squared coefficients beside the sum of the rows' losses: scikit-learn's alpha of ridge
    regression, 1 / C of logistic regression and of the SVM; `neighbours` is kNN's k. None of either is chosen on training
    rows. `class_weight` "balanced" makes every class count alike: a row by N / (C x the rows of its class), as in
    scikit-learn. `label_smoothing` is the part of each label that goes to all classes evenly (C. Szegedy et al.,
    https://arxiv.org/abs/1512.00567).

    Of a data set without a test split, `test_fraction` is held out for testing; None tests by cross-validation over all of
    it. `group_by` is a regular expression: rows in whose ids it finds the same text (its first group, or all it matched)
    are never on both sides of a division. `views` are the kept views of the training pictures, in the words of their keys,
    that are trained on beside the pictures as they are.
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
    least_steps: int = 0
    epoch_by: str = "accuracy"
    test_fraction: float | None = None
    group_by: str | None = None
    train_limit: int | None = None
    seed: int = 0
    views: tuple[str, ...] = ()

    @property
    def trained_by_gradient(self) -> bool:
        """True for the heads that have epochs."""
        return "epochs" in uses(self.head)

    @property
    def random(self) -> bool:
        """Whether another seed gives another head, or may choose another."""
        return self.head == AUTO or kinds.kind(self.head).random

    def held(self, rows: int) -> int:
        """How many of so many training rows are set aside to choose the epoch."""
        if not self.trained_by_gradient or not self.val_fraction:
            return 0
        held = max(1, round(rows * self.val_fraction))
        return 0 if self.epoch_by == "loss" and held < LEAST_CHOSEN_BY else held

    def epochs_of(self, rows: int) -> int:
        """The epochs of a training on so many rows."""
        return max(self.epochs, math.ceil(self.least_steps / self._steps_of_an_epoch(rows)))

    def steps(self, rows: int) -> int:
        """Optimiser steps of all epochs on so many training rows; the last of an epoch may be of fewer rows."""
        return self._steps_of_an_epoch(rows) * self.epochs_of(rows) if self.trained_by_gradient else 0

    def _steps_of_an_epoch(self, rows: int) -> int:
        return max(1, math.ceil((rows - self.held(rows)) / self.batch_size))

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return dataclasses.asdict(self, dict_factory=stated)

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "TrainConfig":
        """What `to_json` wrote. Records that do not say what was held out are of when it was always a fifth. Raises
        TypeError for missing or unknown fields."""
        return cls(**{"test_fraction": TEST_FRACTION, **found, "views": tuple(found.get("views", ()))})


def stated(fields: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """The fields of a record that stand in JSON and digests, for `dataclasses.asdict`: those that records did not have once
    are left out where they say nothing, so that the others are what they were."""
    return {name: value for name, value in fields if name not in _LATER or value}


_LATER = ("views", "averaged", "val", "validation", "kept_views", "in_blocks", "without_twins")

TEST_FRACTION = 0.2
"""The part of a set without a test split that is held out where one must be, though none was asked for: by a study, and as
`Features.test`."""


RECIPES: Mapping[str, TrainConfig] = {
    "study": TrainConfig(recipe="study", sigmoid=True, test_fraction=TEST_FRACTION),
    "standard": TrainConfig(
        recipe="standard",
        head=AUTO,
        epochs=20,
        batch_size=256,
        weight_decay=1e-2,
        val_fraction=0.1,
        cosine=True,
        standardise=True,
        least_steps=400,
        epoch_by="loss",
    ),
}
"""`study`: the published protocol, its sigmoid before the loss included (A. Casey and A. Racapé, Transfer Learning, 2023).
`standard`: AdamW (Loshchilov and Hutter, https://arxiv.org/abs/1711.05101) under one cosine to zero
(https://arxiv.org/abs/1608.03983), on features standardised with the training rows' own statistics. The heads without
epochs take the standardisation alone of it."""

STUDY_STANDARD = dataclasses.replace(RECIPES["standard"], head=kinds.DEFAULT, least_steps=0, epoch_by="accuracy")
"""What the study compares its own recipe with: the standard recipe's MLP, as it was when the study was answered."""


SWEEP_LR = (1e-4, 3e-4, 1e-3, 3e-3)
SWEEP_DECAY = (0.0, 1e-2, 1e-1)
SWEPT = frozenset({"lr", "weight_decay"})
"""The fields that a sweep tries values of."""
VALIDATION_FRACTION = 0.1
"""The part of the training rows set aside where something must be fitted and the recipe sets none aside."""


def changed(recipe: str, changes: Mapping[str, Any]) -> TrainConfig:
    """The recipe with these fields changed; where a number of epochs is given, that many are trained."""
    own = {"least_steps": 0} if "epochs" in changes else {}
    return dataclasses.replace(RECIPES[recipe], **{**own, **changes})


def uses(head: str) -> frozenset[str]:
    """The fields of `TrainConfig` that a head takes from its user, beside those of every head."""
    return AUTO_USES if head == AUTO else kinds.kind(head).uses


AUTO_USES = frozenset({"class_weight"})


def refusal(
    config: TrainConfig,
    given: Collection[str],
    *,
    seeds: int = 1,
    sweep: bool = False,
    curve: bool = False,
    views: bool = False,
) -> str | None:
    """Why the fields `given` by name, so many seeds, a sweep, a curve or views are not for this training, or None where all
    have an effect.

    A field is named as the option is: `batch_size` as --batch-size.
    """
    if config.head == AUTO and config.recipe != "standard":
        return f"--head auto chooses among heads of the standard recipe; leave --recipe {config.recipe} out, or name a head"
    if views and config.recipe == "study":
        return "--views: the study recipe is the published protocol, which had none; leave one of the two out"
    if curve and (seeds > 1 or sweep):
        other = "--sweep" if sweep else f"--seeds {seeds}"
        return (
            f"--curve: it is measured of one head with given settings, and {other} trains several; leave one of the two out"
        )
    used, random = uses(config.head), config.random
    if sweep and not used >= SWEPT:
        what = "--head auto has" if config.head == AUTO else f"a {config.head} head has"
        return f"--sweep: {what} no learning rate to try; use --head {_users('lr')}"
    for name in given:
        option = "--" + name.replace("_", "-")
        if name == "seed" and not random:
            return f"{option}: a {config.head} head is the same for every seed; leave it out"
        if name != "seed" and name not in used:
            return f"{option}: {_without(config.head)}; leave it out, or use --head {_users(name)}"
        if sweep and name in SWEPT:
            return f"{option}: --sweep tries values of its own; leave one of the two out"
    if seeds > 1 and not random:
        return f"--seeds {seeds}: a {config.head} head is the same for every seed; leave it out"
    return None


def _users(field: str) -> str:
    """The heads that take a field, as an option names them."""
    return " or ".join(name for name in HEADS if field in uses(name))


def _without(head: str) -> str:
    return "--head auto tries heads with settings of its own" if head == AUTO else f"a {head} head has none"


def grid(config: TrainConfig) -> list[TrainConfig]:
    """The configurations that a sweep chooses among: learning rates by weight decays. Raises FeaturesInvalid for a head
    without epochs, which has nothing to try."""
    if (reason := refusal(config, (), sweep=True)) is not None:
        raise FeaturesInvalid(reason)
    return [dataclasses.replace(config, lr=lr, weight_decay=decay) for lr in SWEEP_LR for decay in SWEEP_DECAY]


@dataclasses.dataclass(frozen=True)
class BenchConfig:
    """How inference is timed: `warmup` batches first, the whole pass `repeats` times (the median counts), then
    `stage_batches` batches with a synchronisation after each stage, then `latency_images` images one by one."""

    warmup: int = 2
    repeats: int = 1
    stage_batches: int = 8
    latency_images: int = 100
    limit: int | None = None
