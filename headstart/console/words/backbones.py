"""What `models` says: the backbones, and the layers of one."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from headstart.core.cache.text import columns

if TYPE_CHECKING:
    from headstart.core.extract.backbones import Backbone
    from headstart.core.extract.network.summary import Summary


def backbones(found: Sequence[tuple[Backbone, Summary, dict[str, float]]], image_size: int) -> str:
    """A line for each backbone; the accuracies are torchvision's, by name of the weights."""
    lines: list[list[object]] = [
        ["model", "features", "parameters", f"GFLOPs at {image_size} px", "weights (ImageNet top-1, published)"]
    ]
    for backbone, counted, accuracies in found:
        weights = ", ".join(f"{name} ({accuracy:.2f} %)" for name, accuracy in accuracies.items())
        size = f"{counted.parameters / 1e6:.1f} M"
        lines.append([backbone.name, backbone.feature_dim, size, f"{counted.flops / 1e9:.1f}", weights])
    counting = "Parameters and operations up to the pooled features; a multiplication and an addition count as two."
    return f"{columns(lines)}\n{counting}"


def layers(backbone: Backbone, found: Summary, image_size: int) -> str:
    """A line for each layer, and the sums."""
    lines: list[list[object]] = [["layer", "kind", "output", "parameters", "MFLOPs"]]
    for layer in found.layers:
        size = " x ".join(str(length) for length in layer.shape)
        lines.append([layer.name, layer.kind, size, f"{layer.parameters:,}", f"{layer.flops / 1e6:,.1f}"])
    total = f"{found.parameters:,} parameters, {found.flops / 1e9:.2f} GFLOPs for one image of {image_size} px"
    return f"{columns(lines)}\n{backbone.name}: {total}, {backbone.feature_dim} features after global average pooling"


def layers_json(backbone: Backbone, found: Summary) -> dict[str, Any]:
    """The same as JSON values."""
    return {"model": backbone.name, "feature_dim": backbone.feature_dim, **dataclasses.asdict(found)}
