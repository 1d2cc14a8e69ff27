"""A head's settings in words: its recipe, and what differs from it."""

import dataclasses
from collections.abc import Sequence

from headstart.core.cache.key import NamedKey
from headstart.core.heads.config import RECIPES, STUDY_STANDARD, TrainConfig

_SAID_ELSEWHERE = {"recipe", "head", "seed", "train_limit"}
"""Stands in columns of its own, or is what runs of one kind may differ in."""


def settings_label(config: TrainConfig) -> str:
    """`study`, `standard, linear` or `study, changed: epochs 60, lr 0.003`: two trainings that differ in more than their
    seed and their rows never have the same label."""
    recipe = _recipe(config)
    head = [] if config.head == recipe.head and recipe is not STUDY_STANDARD else [config.head]
    if recipe is STUDY_STANDARD:
        head.append("as in the study")
    changed = [
        f"{field.name.replace('_', ' ')} {_value(getattr(config, field.name))}"
        for field in dataclasses.fields(config)
        if field.name not in _SAID_ELSEWHERE and _is_changed(config, field.name)
    ]
    return ", ".join([config.recipe, *head, *([f"changed: {', '.join(changed)}"] if changed else [])])


def _recipe(config: TrainConfig) -> TrainConfig:
    """What a configuration is told as a change of."""
    if config.recipe == STUDY_STANDARD.recipe and config.epoch_by == STUDY_STANDARD.epoch_by:
        return STUDY_STANDARD
    return RECIPES.get(config.recipe, TrainConfig(config.recipe))


def distinctions(configs: Sequence[TrainConfig]) -> list[str]:
    """What tells configurations of the same recipe apart beside their heads, in words for each: `penalty 0.1`, or nothing
    for one that keeps the recipe's values."""
    fields = [field.name for field in dataclasses.fields(TrainConfig) if field.name not in _SAID_ELSEWHERE]
    varied = [name for name in fields if len({getattr(config, name) for config in configs}) > 1]
    return [
        ", ".join(
            f"{name.replace('_', ' ')} {_value(getattr(config, name))}" for name in varied if _is_changed(config, name)
        )
        for config in configs
    ]


def _is_changed(config: TrainConfig, name: str) -> bool:
    return bool(getattr(config, name) != getattr(_recipe(config), name))


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        return " + ".join(value) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def is_published(config: TrainConfig, key: NamedKey) -> bool:
    """Whether a head is trained as the published study trained its own: its recipe up to seed and number of rows, on
    CIFAR-10 resized to 224 px. The published figures stand beside no other."""
    return (key.dataset, key.image_size, key.transform) == ("cifar10", 224, "squash") and dataclasses.replace(
        config, seed=0, train_limit=None
    ) == RECIPES["study"]
