"""What to type to make a run's features, or its head, again: the options that lead to the same ones."""

from __future__ import annotations

from headstart.core.cache.key import FeatureKey, NamedKey
from headstart.core.cache.manifest import Manifest
from headstart.core.extract.backbones import get_backbone
from headstart.core.heads.config import RECIPES, TrainConfig, uses
from headstart.requests import EVERY_HEAD


def made_by(key: FeatureKey, place: str, manifests: tuple[Manifest, ...], *, whole: bool = False) -> tuple[str, ...]:
    """The options of the features of `key`, from the data set at `place`, as `--dataset` takes it. `manifests` are those
    of its sets that are there: they say where a file of weights was, and, unless the `whole` data set is meant, whether
    only the first rows were taken."""
    options = ["-m", key.backbone, "--dataset", place, "--weights", _weights(key, manifests)]
    options += ["--transform", key.transform, "--image-size", str(key.image_size), "--precision", key.precision]
    options += _pooling(key)
    stops = [found.stop for found in manifests if found.stop < found.provenance.split_rows]
    return (*options, *(["--limit", str(max(stops))] if stops and not whole else []))


def _pooling(key: FeatureKey) -> list[str]:
    """What says how features are pooled, where that is not the network's own way."""
    if key.pool == "auto" or (key.layer is None and get_backbone(key.backbone).pooling == key.pooling):
        return []
    return ["--pool", key.pool, *(["--layer", key.layer] if key.layer is not None else [])]


def _weights(key: FeatureKey, manifests: tuple[Manifest, ...]) -> str:
    """As `--weights` takes them: weights from a file by its path."""
    kind, mark, member = key.weights.partition("#")
    if kind != "file":
        return key.weights
    path = manifests[0].provenance.weights_from if manifests else "PATH"
    return path if path.endswith(mark + member) else f"{path}{mark}{member}"


def trained_by(key: NamedKey, config: TrainConfig) -> tuple[str, ...]:
    """The options of `train-head` that train with these settings on the features of `key`, which are named in words: the
    weights too, but for those of a file, whose name is no part of the key. And what differs from the recipe."""
    recipe = RECIPES.get(config.recipe, RECIPES["standard"])
    options = ["-m", key.backbone, "--dataset", key.dataset, "--image-size", str(key.image_size)]
    options += ["--precision", key.precision, "--transform", key.transform, *_pooling(key)]
    options += ["--weights", key.weights] if key.weights.partition("#")[0] != "file" else []
    options += ["--recipe", config.recipe] if config.recipe != RECIPES["standard"].recipe else []
    for name in ("head", *sorted((uses(config.head) | EVERY_HEAD) - {"head"}), *(["seed"] if config.random else [])):
        value = getattr(config, name)
        if value is not None and value != getattr(recipe, name):
            options += [f"--{name.replace('_', '-')}", str(value)]
    options += ["--views"] if config.views else []
    return tuple(options)
