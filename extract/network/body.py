"""A network in two parts: up to its last feature map or tokens, and from there to features.

What a source builds may be a plain module that ends in a feature map (N, C, H, W), whose features are the map's average;
everything else is a `Body`, which says what it ends in and what comes after.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any, Literal

import torch
from torch import Tensor, nn


@dataclasses.dataclass(frozen=True)
class Layout:
    """How the last feature map lies in memory: `first` (N, C, H, W), `last` (N, H, W, C), or `tokens` (N, k + T, C), whose
    first k = `prefix` are no places of the picture; the first of those is the class token where there is a `class_token`.
    """

    channels: Literal["first", "last", "tokens"] = "first"
    prefix: int = 0
    class_token: bool = False

    def places(self, found: Tensor) -> Tensor:
        """The vectors of the picture's places, (N, P, C)."""
        if self.channels == "first":
            return found.flatten(2).transpose(1, 2)
        return found.flatten(1, 2) if self.channels == "last" else found[:, self.prefix :]

    def average(self, found: Tensor) -> Tensor:
        """The mean over the places in float32, (N, C)."""
        if self.channels == "first":
            return nn.functional.adaptive_avg_pool2d(found.float(), 1).flatten(1)
        return self.places(found).float().mean(1)

    def maximum(self, found: Tensor) -> Tensor:
        """The largest of the places for each channel in float32, (N, C)."""
        return self.places(found).float().amax(1)

    def class_vector(self, found: Tensor) -> Tensor:
        """The class token in float32, (N, C); there must be one."""
        return found[:, 0].float()


class Body(nn.Module):
    """A network without its last linear layer, under the names that its source gives its parameters.

    `forward` takes pixels (N, 3, H, W) to the last feature map or tokens, which lie as `layout` says; in low precision its
    parameters are cast, but for BatchNorm's. `head` takes those, in float32, to what the network's authors classify on.
    `float32` names the modules, parameters and buffers that stay float32 (by the beginning of their names): all that `head`
    uses, and what would lose too much. Both methods are called from several threads at once and keep nothing.
    """

    layout: Layout = Layout()
    float32: tuple[str, ...] = ()

    def head(self, found: Tensor) -> Tensor:
        """The last feature map or tokens in float32 to features (N, D), float32."""
        return self.layout.average(found)


def pooled(body: nn.Module, found: Tensor) -> Tensor:
    """What a body ends in, in any precision, to float32 features (N, D)."""
    return body.head(found.float()) if isinstance(body, Body) else Layout().average(found)


def without_numbers(body: nn.Module, image_size: int) -> Any:
    """What a body gives for one picture of `image_size` px squared: shapes alone, on torch's meta device."""
    values = itertools.chain(body.named_parameters(), body.named_buffers())
    state = {name: torch.empty_like(value, device="meta") for name, value in values}
    with torch.inference_mode():
        pixels = torch.empty(1, 3, image_size, image_size, device="meta")
        return torch.func.functional_call(body, state, (pixels,))


def cast(body: nn.Module, dtype: torch.dtype) -> None:
    """Cast the parameters and floating-point buffers in place. BatchNorm keeps its float32 statistics, which one that can't
    be folded computes with, and a `Body` what it names."""
    kept = body.float32 if isinstance(body, Body) else ()
    for place, module in body.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            continue
        prefix = f"{place}." if place else ""
        for own in (module._parameters, module._buffers):
            for name, value in own.items():
                full = f"{prefix}{name}"
                if value is not None and value.is_floating_point() and not any(_within(full, one) for one in kept):
                    value.data = value.data.to(dtype)


def _within(name: str, prefix: str) -> bool:
    """Whether a name is that of a module, or of something in it."""
    return name == prefix or name.startswith(f"{prefix}.")
