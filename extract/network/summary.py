"""A backbone described: its layers, parameters and floating-point operations, counted on torch's meta device.

Nothing is allocated and nothing computed: shapes alone run through the network.
"""

import dataclasses
from collections.abc import Callable

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from headstart.core.extract.backbones import Backbone
from headstart.core.extract.network.body import pooled, without_numbers


@dataclasses.dataclass(frozen=True)
class Layer:
    """A layer without layers of its own: output shape without the batch, parameters, operations for one image. What belongs
    to no layer has no name and no shape."""

    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int
    flops: int


@dataclasses.dataclass(frozen=True)
class Summary:
    """A backbone up to its pooled features. A multiplication and an addition count as two operations."""

    layers: tuple[Layer, ...]
    parameters: int
    flops: int


BETWEEN = "between the layers"
"""The kind of what belongs to no layer: operations that a network does itself, and parameters of its own."""


def summarise(backbone: Backbone, image_size: int) -> Summary:
    """The layers in the order in which one image of `image_size` px squared passes them; what belongs to none of them comes
    last, in a line of its own."""
    with torch.device("meta"):
        body = backbone.body().eval().requires_grad_(False)  # the counter follows gradients where it may
    shapes: dict[str, tuple[int, ...]] = {}
    leaves = {name: module for name, module in body.named_modules() if not list(module.children())}
    for name, module in leaves.items():
        module.register_forward_hook(_note_shape(shapes, name))
    counter = FlopCounterMode(display=False)
    with counter:
        found = without_numbers(body, image_size)
        if isinstance(found, torch.Tensor) and all(value.is_meta for value in body.parameters()):
            pooled(body, found)
    counts = {name.partition(".")[2]: found for name, found in counter.get_flop_counts().items()}  # less the root's class
    layers = [
        Layer(
            name,
            type(leaves[name]).__name__,
            shape,
            sum(value.numel() for value in leaves[name].parameters()),
            sum(counts.get(name, {}).values()),
        )
        for name, shape in shapes.items()
    ]
    parameters, flops = sum(value.numel() for value in body.parameters()), counter.get_total_flops()
    rest = parameters - sum(layer.parameters for layer in layers), flops - sum(layer.flops for layer in layers)
    if any(rest):
        layers.append(Layer("", BETWEEN, (), *rest))
    return Summary(tuple(layers), parameters, flops)


def _note_shape(shapes: dict[str, tuple[int, ...]], name: str) -> Callable[[nn.Module, object, object], None]:
    def hook(module: nn.Module, inputs: object, output: object) -> None:
        first = output[0] if isinstance(output, tuple) else output  # attention gives its weights, too
        if isinstance(first, torch.Tensor):
            shapes[name] = tuple(first.shape[1:])

    return hook
