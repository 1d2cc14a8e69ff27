"""One backbone: its layers, the pictures that it is made for, and the licences of its weights."""

from __future__ import annotations

import dataclasses

from headstart.core.extract.backbones import Backbone, Preset, get_backbone
from headstart.core.extract.config import IMAGE_SIZE
from headstart.core.extract.network.summary import Summary, summarise
from headstart.core.extract.pooling import check_size
from headstart.core.extract.pooling.inner import Inner, layers
from headstart.core.extract.weights import usual
from headstart.core.extract.weights.licences import licence


def own_size(backbone: Backbone) -> int:
    """The size of the pictures that a backbone's authors give it, in pixels."""
    preset = _preset(backbone)
    return backbone.sizes.only or (preset.crop if preset is not None else IMAGE_SIZE)


def _preset(backbone: Backbone) -> Preset | None:
    return backbone.preset(usual(backbone)) if backbone.preset is not None else None


@dataclasses.dataclass(frozen=True)
class Shown:
    """A backbone and its layers for images of `image_size` px squared, and those that can be pooled instead of the last
    map; the licences of its weights by their names."""

    backbone: Backbone
    summary: Summary
    image_size: int
    preset: Preset | None
    licences: dict[str, str]
    inner: tuple[Inner, ...]


def show(name: str, image_size: int | None) -> Shown:
    """The backbone called `name`, for images of `image_size` px squared or, where that is None, of its own size. Raises
    WeightsMismatch where there is none, ArgumentInvalid where it takes no images of that size."""
    backbone = get_backbone(name)
    size = own_size(backbone) if image_size is None else image_size
    check_size(backbone, size)
    licences = {label: licence(backbone, label) for label in backbone.checkpoints}
    return Shown(backbone, summarise(backbone, size), size, _preset(backbone), licences, layers(backbone.body, size))
