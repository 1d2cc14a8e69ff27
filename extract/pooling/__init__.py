"""How features are pooled where somebody asks for another way than the network's own, or for an inner layer.

A backbone pooled in another way is another backbone of the same name, whose `pooling` goes into the key. torch is imported
where a network must be looked at, not before.
"""

from __future__ import annotations

import dataclasses
import functools

from headstart.core.cache.errors import ArgumentInvalid, WeightsMismatch
from headstart.core.cache.key import AT, POOLINGS, FeatureKey
from headstart.core.extract.backbones import Backbone, get_backbone


@dataclasses.dataclass(frozen=True)
class Pooling:
    """A way of pooling, `auto` for the network's own, and the inner layer whose output is pooled; None for the last map."""

    way: str = "auto"
    layer: str | None = None


def pooled_by(backbone: Backbone, pooling: Pooling, image_size: int) -> Backbone:
    """The backbone pooled so. Its own way by another word is itself. At an inner layer `auto` is the way in which the last
    map is pooled where it is one of these, else the average.

    `image_size` in pixels is that of the pictures, which it must take. Raises ArgumentInvalid for a way that the network
    has not got, and for a layer that is unknown, that runs more than once or whose output can't be pooled.
    """
    way = pooling.way
    if way == "auto" and pooling.layer is not None:
        way = next((one for one, words in POOLINGS.items() if words == backbone.pooling), "avg")
    words = backbone.pooling if way == "auto" else POOLINGS[way]
    if pooling.layer is None and words == backbone.pooling:
        return backbone
    from headstart.core.extract.pooling.inner import build, dimension

    body = functools.partial(build, backbone.body, way, pooling.layer, backbone.name, image_size)
    text = words if pooling.layer is None else f"{words}{AT}{pooling.layer}"
    return dataclasses.replace(backbone, pooling=text, body=body, feature_dim=dimension(body, image_size), compared=False)


def of_key(key: FeatureKey, image_size: int) -> Backbone:
    """The backbone of a key, pooled as the key says. Raises WeightsMismatch where there is none, or it has not got that
    layer or way of pooling."""
    backbone = get_backbone(key.backbone)
    try:
        return pooled_by(backbone, Pooling(key.pool, key.layer), image_size)
    except ArgumentInvalid as error:
        raise WeightsMismatch(f"pooling is {key.pooling!r} in the head's features: {error}") from error


def check_size(backbone: Backbone, image_size: int) -> None:
    """Raises ArgumentInvalid for pictures of a size that the backbone does not take."""
    sizes = backbone.sizes
    if sizes.only is not None and image_size != sizes.only:
        raise ArgumentInvalid(f"image_size is {image_size}, and {backbone.name} takes pictures of {sizes.only} px only")
    if image_size < sizes.least:
        raise ArgumentInvalid(f"image_size is {image_size}, expected {sizes.least} or more for {backbone.name}")
    if image_size % sizes.step:
        below = image_size // sizes.step * sizes.step
        near = f"{below} or {below + sizes.step}" if below >= sizes.least else f"{below + sizes.step}"
        raise ArgumentInvalid(
            f"image_size is {image_size}, expected a multiple of {sizes.step} for {backbone.name}: {near}"
        )
