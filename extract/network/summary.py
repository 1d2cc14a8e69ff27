"""A backbone described: its layers, parameters and floating-point operations, counted on torch's meta device.

Nothing is allocated and nothing computed: shapes alone run through the network.
"""

import dataclasses
from collections.abc import Callable

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from headstart.core.extract.backbones import Backbone
from headstart.core.extract.network.body import pooled


@dataclasses.dataclass(frozen=True)
class Layer:
    """A layer without layers of its own: output shape without the batch, parameters, operations for one image."""

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


def summarise(backbone: Backbone, image_size: int) -> Summary:
    """The layers in the order in which one image of `image_size` px squared passes them."""
    with torch.device("meta"):
        body = backbone.body().eval().requires_grad_(False)  # the counter follows gradients where it may
        image = torch.empty(1, 3, image_size, image_size)
    shapes: dict[str, tuple[int, ...]] = {}
    leaves = {name: module for name, module in body.named_modules() if not list(module.children())}
    for name, module in leaves.items():
        module.register_forward_hook(_note_shape(shapes, name))
    counter = FlopCounterMode(display=False)
    with torch.inference_mode(), counter:
        pooled(body, body(image))
    counts = counter.get_flop_counts()
    layers = tuple(
        Layer(
            name,
            type(leaves[name]).__name__,
            shape,
            sum(value.numel() for value in leaves[name].parameters()),
            sum(counts.get(f"{type(body).__name__}.{name}", {}).values()),
        )
        for name, shape in shapes.items()
    )
    return Summary(layers, sum(value.numel() for value in body.parameters()), counter.get_total_flops())


def _note_shape(shapes: dict[str, tuple[int, ...]], name: str) -> Callable[[nn.Module, object, torch.Tensor], None]:
    def hook(module: nn.Module, inputs: object, output: torch.Tensor) -> None:
        shapes[name] = tuple(output.shape[1:])

    return hook
