"""One of timm's models as a body: its `forward_features`, then its `forward_head` up to the last linear layer.

timm's own constructor arguments for other pooling are not used: `global_pool="avg"` gives a ViT a fresh `fc_norm` in place
of the `norm` that was trained, and any pool but `map` leaves out SigLIP's attention pooling (timm 1.0.31,
models/vision_transformer.py).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from headstart.core.extract.network.body import Body, Layout


@dataclasses.dataclass(frozen=True)
class Shape:
    """What a model's parts give for one picture: how its last feature map or tokens lie, None where it has not got one
    tensor of them; the feature dimension D; and the modules that only its head uses."""

    layout: Layout | None
    feature_dim: int
    head: tuple[str, ...]


class TimmBody(Body):
    """A model without its classifier, under timm's names of parameters.

    The model itself is no sub-module, which would put a word before the names: both share their parts. Where `shape` has no
    layout (several scales at once) all is done in `forward`, which then gives features.
    """

    def __init__(self, model: Any, shape: Shape) -> None:
        super().__init__()
        self.__dict__["_model"] = model
        for name in ("_parameters", "_buffers", "_non_persistent_buffers_set", "_modules"):
            self.__dict__[name] = model.__dict__[name]
        self._whole = shape.layout is None
        self.layout = shape.layout or Layout()
        self.float32 = shape.head

    def forward(self, pixels: Tensor) -> Tensor:
        """Pixels (N, 3, H, W) to the last feature map or tokens."""
        found = self._model.forward_features(pixels)
        result: Tensor = self._model.forward_head(found, pre_logits=True) if self._whole else found
        return result

    def head(self, found: Tensor) -> Tensor:
        """The last feature map or tokens in float32 to features (N, D): timm's own pooling, and what it does after it."""
        features: Tensor = found if self._whole else self._model.forward_head(found, pre_logits=True)
        return features

    def train(self, mode: bool = True) -> TimmBody:
        """As nn.Module's; the model, which is no sub-module, follows."""
        super().train(mode)
        self._model.training = mode
        return self

    def get_submodule(self, target: str) -> nn.Module:
        """As nn.Module's: a part called `head` is not the method. Raises AttributeError."""
        found: nn.Module = self._model.get_submodule(target)
        return found


def without_classifier(model: Any, classifiers: Sequence[str]) -> Any:
    """The model with nothing in the place of its last linear layers, in place."""
    for name in classifiers:
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, nn.Identity())
    return model


def shape_of(model: Any, size: int) -> Shape:
    """What the model gives for a picture of `size` px squared, found by running it: nothing is computed on torch's meta
    device. Raises what the model raises for a size that it does not take."""
    (pixels,) = (torch.empty(1, 3, size, size, device=next(model.parameters()).device),)
    with torch.inference_mode():
        in_features = _used(model, lambda: model.forward_features(pixels))
        found = in_features.result
        in_head = _used(model, lambda: model.forward_head(found, pre_logits=True))
    layout = _layout(model, found) if isinstance(found, Tensor) else None
    return Shape(layout, in_head.result.shape[1], tuple(name for name in in_head.names if name not in in_features.names))


@dataclasses.dataclass(frozen=True)
class _Used:
    result: Any
    names: tuple[str, ...]


def _used(model: Any, run: Callable[[], Any]) -> _Used:
    """What a run gives, and the modules it calls that have parameters or buffers of their own."""
    called: dict[str, None] = {}
    hooks = [module.register_forward_pre_hook(_note(called, name)) for name, module in _with_numbers(model)]
    try:
        result = run()
    finally:
        for hook in hooks:
            hook.remove()
    return _Used(result, tuple(called))


def _with_numbers(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    for name, module in model.named_modules():
        if name and (module._parameters or module._buffers):
            yield name, module


def _note(called: dict[str, None], name: str) -> Callable[[nn.Module, Any], None]:
    def hook(module: nn.Module, inputs: Any) -> None:
        called[name] = None

    return hook


def _layout(model: Any, found: Tensor) -> Layout | None:
    """How the last feature map lies. timm's models that keep channels last say so; tokens are (N, L, C)."""
    if found.ndim == 4:
        last = str(getattr(model, "output_fmt", "NCHW")) in ("NHWC", "Format.NHWC")
        return Layout("last" if last else "first")
    if found.ndim != 3:
        return None
    prefix = int(getattr(model, "num_prefix_tokens", 0) or 0)
    return Layout("tokens", prefix, prefix > 0 and getattr(model, "cls_token", None) is not None)
