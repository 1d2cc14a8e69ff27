"""The recipes: how a head is trained. Imports nothing heavy: the command line reads its defaults from here."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal, get_args

from cache.errors import FeaturesInvalid

TRAINING_VERSION = 2
"""Raised whenever a change to our code changes the head that the same rows, settings and seed give, or what is measured of
it: results of another version are not found again. Version 1 drew the initial weights of heads in several groups from one
generator at the same time, so that a seed did not name a head."""

HeadName = Literal["mlp", "linear", "ridge", "knn"]
HEADS: tuple[str, ...] = get_args(HeadName)


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """One head's training. `lr` and the rest are PyTorch's; `hidden` in units, `epochs` in passes over the training rows.

    `val_fraction` of the training rows is set aside to choose the best epoch on; 0 keeps the last epoch. `train_limit`
    takes the first rows only. `sigmoid` squashes the scores before the loss, as the study did. ridge and knn have no
    epochs and ignore what only concerns them.
    """

    recipe: str
    head: HeadName = "mlp"
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
    train_limit: int | None = None
    seed: int = 0

    @property
    def trained_by_gradient(self) -> bool:
        """True for the heads that have epochs."""
        return self.head in ("mlp", "linear")

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
HELD_OUT = 0.1
"""The part of the training rows set aside where something must be chosen or fitted and the recipe sets none aside."""


def grid(config: TrainConfig) -> list[TrainConfig]:
    """The configurations that a sweep tries: learning rates by weight decays, chosen among on validation rows, of which a
    recipe without any gets a tenth. Heads without epochs have nothing to try."""
    if not config.trained_by_gradient:
        raise FeaturesInvalid(f"--sweep: a {config.head} head has no learning rate; use --head mlp or linear")
    held = config.val_fraction or HELD_OUT
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
    latency_images: int = 50
    limit: int | None = None
