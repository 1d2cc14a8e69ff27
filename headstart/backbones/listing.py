"""The backbones that there are, by pattern, and what is known of each; what takes a network to know, of a few only."""

from __future__ import annotations

import dataclasses
import fnmatch
from collections.abc import Sequence

from headstart.backbones.showing import own_size
from headstart.core.cache.errors import WeightsMismatch
from headstart.core.cache.text import did_you_mean
from headstart.core.extract import backbones
from headstart.core.extract.backbones import Backbone, get_backbone
from headstart.core.extract.backbones.timm import INSTALL, PREFIX, installed
from headstart.core.extract.network.summary import summarise

MOST_MEASURED = 12
"""Networks that one listing builds to count parameters and operations: each takes up to a second or two."""


@dataclasses.dataclass(frozen=True)
class Counted:
    """What it takes a network to know: the feature dimension D, parameters, and floating-point operations for one image of
    `image_size` px squared."""

    feature_dim: int
    parameters: int
    flops: int
    image_size: int


@dataclasses.dataclass(frozen=True)
class Entry:
    """A backbone of a listing. `accuracies` are published, in per cent of ImageNet's top-1, by name of the weights, or None
    where none is; `counted` is None where that was too much to find out, or the backbone gives no features."""

    name: str
    image_size: tuple[int, int] | None
    licence: str
    accuracies: dict[str, float | None]
    counted: Counted | None


@dataclasses.dataclass(frozen=True)
class Listing:
    """The backbones that match; how many others there are by source, and whether timm's can be among them."""

    entries: tuple[Entry, ...]
    others: dict[str, int]
    with_timm: bool


def listing(pattern: str | None) -> Listing:
    """The backbones whose names match `pattern`, a shell's (`timm/convnext*`) or a part of a name; without one the short
    list. Raises WeightsMismatch where none does."""
    everything = backbones.known()
    names = backbones.names() if pattern is None else [name for name in everything if _matches(name, pattern)]
    if not names:
        missing = "" if installed() else f"; timm's models are not among them: {INSTALL}"
        hint = did_you_mean(pattern or "", everything)
        raise WeightsMismatch(f"no model's name matches {pattern!r}{hint}{missing}; `headstart models` lists some")
    few = len({_architecture(name) for name in names}) <= MOST_MEASURED
    others = {
        source: sum(_source(name) == source for name in everything) for source in dict.fromkeys(map(_source, everything))
    }
    shown = {source: sum(_source(name) == source for name in names) for source in others}
    rest = {source: count - shown[source] for source, count in others.items() if count > shown[source]}
    return Listing(tuple(_entries(names, few)), rest, installed())


def _matches(name: str, pattern: str) -> bool:
    """Whether a pattern means a name, with the word for its source or without it, whatever the capital letters."""
    name, pattern = name.lower(), pattern.lower()
    if not any(mark in pattern for mark in "*?["):
        return pattern in name
    return fnmatch.fnmatchcase(name, pattern) or fnmatch.fnmatchcase(name.removeprefix(PREFIX), pattern)


def _source(name: str) -> str:
    return "timm" if name.startswith(PREFIX) else "torchvision"


def _architecture(name: str) -> str:
    """A name without the tag, which says which weights are meant."""
    return name.partition(".")[0] if name.startswith(PREFIX) else name


def _entries(names: Sequence[str], few: bool) -> list[Entry]:
    counted: dict[tuple[str, int], Counted | None] = {}
    found = []
    for name in names:
        sketch = backbones.sketch(name)
        accuracies: dict[str, float | None] = dict.fromkeys(sketch.weights)
        numbers = None
        if few and (backbone := _built(name)) is not None:
            at = _architecture(name), own_size(backbone)
            if at not in counted:
                counted[at] = _counted(backbone, at[1])
            numbers = counted[at]
            accuracies |= {label: backbone.accuracies.get(label) for label in sketch.weights}
        found.append(Entry(name, sketch.image_size, sketch.licence, accuracies, numbers))
    return found


def _built(name: str) -> Backbone | None:
    """The backbone; None for one that gives no features, or for pictures that are no squares."""
    try:
        return get_backbone(name)
    except WeightsMismatch:
        return None


def _counted(backbone: Backbone, image_size: int) -> Counted:
    found = summarise(backbone, image_size)
    return Counted(backbone.feature_dim, found.parameters, found.flops, image_size)
