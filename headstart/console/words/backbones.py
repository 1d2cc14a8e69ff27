"""What `models` says: the backbones, and the layers of one."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from headstart.core.cache.text import columns

if TYPE_CHECKING:
    from headstart.backbones.listing import Entry, Listing
    from headstart.backbones.showing import Shown
    from headstart.core.extract.network.summary import Layer


def listing(found: Listing) -> str:
    """A line for each backbone, and how others are listed."""
    heading: list[object] = ["model", "features", "parameters", "GFLOPs", "image", "weights (ImageNet top-1)", "licence"]
    text = columns([heading, *map(_line, found.entries)])
    return "\n".join([text, *_remarks(found)])


def _line(entry: Entry) -> list[object]:
    counted, size = entry.counted, entry.image_size
    numbers: list[object] = ["", "", ""]
    if counted is not None:
        numbers = [counted.feature_dim, f"{counted.parameters / 1e6:.1f} M", f"{counted.flops / 1e9:.1f}"]
        size = size or (counted.image_size, counted.image_size)
    pixels = "" if size is None else f"{size[0]} px" if size[0] == size[1] else f"{size[0]}x{size[1]} px"
    weights = ", ".join(
        name if accuracy is None else f"{name} ({accuracy:.2f} %)" for name, accuracy in entry.accuracies.items()
    )
    return [entry.name, *numbers, pixels, weights or "none", entry.licence]


def _remarks(found: Listing) -> Iterator[str]:
    if any(entry.counted for entry in found.entries):
        yield (
            "Features, parameters and operations up to the pooled features, at the size shown; a multiplication and an "
            "addition count as two."
        )
    else:
        yield "Fewer at once have features, parameters and operations with them; so has `headstart models show NAME`."
    many = " and ".join(f"{count:,} of {source}" for source, count in found.others.items())
    if many:
        yield f"There are more, {many}: `headstart models PATTERN` lists those that match, as in 'timm/*dinov2*'."
    if not found.with_timm:
        yield "timm's models are backbones too where it is installed: pip install 'headstart[timm]'"


def layers(found: Shown) -> str:
    """The sums, what is known of the pictures and the weights, and a line for each layer, with a mark at those that can be
    pooled; blocks of layers stand after their last one."""
    backbone, summary = found.backbone, found.summary
    total = f"{summary.parameters:,} parameters, {summary.flops / 1e9:.2f} GFLOPs for one image of {found.image_size} px"
    sums = f"{backbone.name}: {total}, {backbone.feature_dim} features, pooling: {backbone.pooling}"
    inner = {layer.name: layer for layer in found.inner}
    lines: list[list[object]] = [["", "layer", "kind", "output", "parameters", "MFLOPs"]]
    blocks = [layer for layer in found.inner if layer.name not in {one.name for one in summary.layers}]
    last = {block.name: _last_in(block.name, summary.layers) for block in blocks}
    for place, layer in enumerate(summary.layers):
        numbers = [f"{layer.parameters:,}", f"{layer.flops / 1e6:,.1f}"]
        lines.append([_mark(layer.name in inner), layer.name, layer.kind, _size(layer.shape), *numbers])
        ended = (block for block in blocks if last[block.name] == place)
        lines += [[_mark(True), block.name, block.kind, _size(block.shape), "", ""] for block in ended]
    takes = (
        f"`--layer` takes the {len(inner):,} layers that are marked with *" if inner else "it has no layer for `--layer`"
    )
    return "\n".join([sums, *_facts(found), takes, columns(lines)])


def _mark(pooled: bool) -> str:
    return "*" if pooled else ""


def _size(shape: Sequence[int]) -> str:
    return " x ".join(str(length) for length in shape)


def _last_in(block: str, layers: Sequence[Layer]) -> int:
    """The place of the last layer within a block; that of the last of all for one that has none."""
    own = [place for place, layer in enumerate(layers) if layer.name.startswith(f"{block}.")]
    return own[-1] if own else len(layers) - 1


def _facts(found: Shown) -> Iterator[str]:
    sizes, preset = found.backbone.sizes, found.preset
    if sizes.only is not None:
        yield f"takes images of {sizes.only} px only"
    elif sizes.step > 1:
        yield f"takes images of {sizes.least} px or more, in steps of {sizes.step}"
    if preset is not None:
        mean, std = (", ".join(f"{value:g}" for value in values) for values in (preset.mean, preset.std))
        yield (
            f"its authors' transform: resize to {preset.resize} px ({preset.interpolation}), crop {preset.crop} px, "
            f"mean {mean}, std {std}"
        )
    for label, licence in found.licences.items():
        yield f"weights {label}: {licence}"


def layers_json(found: Shown) -> dict[str, Any]:
    """The same as JSON values."""
    backbone = found.backbone
    facts = {"model": backbone.name, "feature_dim": backbone.feature_dim, "pooling": backbone.pooling}
    preset = None if found.preset is None else dataclasses.asdict(found.preset)
    more = {"image_size": found.image_size, "preset": preset, "licences": found.licences}
    inner = {layer.name: layer.shape for layer in found.inner}
    return {**facts, **more, **dataclasses.asdict(found.summary), "inner_layers": inner}
