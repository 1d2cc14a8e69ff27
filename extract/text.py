"""Words for people: what an extraction did or would do, and what a backbone is made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from headstart.core.cache.shard_plan import Part
from headstart.core.cache.text import columns, key_facts, megabytes, shape
from headstart.core.extract.backbones import Backbone
from headstart.core.extract.job import Job
from headstart.core.extract.run import Outcome

if TYPE_CHECKING:
    from headstart.core.extract.network.summary import Summary  # which imports torch


def outcome(job: Job, done: Outcome) -> str:
    """What a run left behind and what it cost."""
    if done.computed:
        speed = done.computed / max(done.elapsed_s, 1e-9)  # some clocks stand still for a while
        did = f"{done.computed:,} images in {done.elapsed_s:.1f} s, {speed:.1f} images/s"
    else:
        did = "already there"
    return f"{job.title}: {shape(done.features)}; {did}; {done.features.folder}"


def survey(job: Job, parts: Sequence[tuple[Part, bool]], folder: object) -> str:
    """What a run would do: rows, bytes, what is there, and the key."""
    rows, there = parts[-1][0].stop, sum(part.rows for part, present in parts if present)
    size = f"{rows:,} x {job.backbone.feature_dim} {job.dtype}, {megabytes(rows * job.row_bytes)} in {len(parts)} shards"
    key = (f"    {field} = {value}" for field, value in key_facts(job.key))
    return "\n".join([f"{job.title}: {size}; {there:,} rows there, {rows - there:,} to compute; {folder}", *key])


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
