"""Networks that end early, at an inner layer, and the ways of pooling what they end in."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from headstart.core.cache.errors import ArgumentInvalid
from headstart.core.cache.text import did_you_mean, listed
from headstart.core.extract.architectures.traced import Traced
from headstart.core.extract.network.body import Body, Layout, without_numbers

Way = Callable[[Layout, Tensor], Tensor]


def _both(layout: Layout, found: Tensor) -> Tensor:
    return torch.cat([layout.class_vector(found), layout.average(found)], dim=1)


WAYS: Mapping[str, Way] = {"avg": Layout.average, "cls": Layout.class_vector, "cls+avg": _both, "max": Layout.maximum}
"""What ends a network to features (N, D), float32."""


class Repooled(Body):
    """Another body, under the same names, whose map is pooled in one of the `WAYS`."""

    _body: nn.Module

    def __init__(self, body: nn.Module, layout: Layout, way: str) -> None:
        super().__init__()
        self.__dict__["_body"] = body  # no sub-module, which would put a word before the names
        for name in ("_parameters", "_buffers", "_non_persistent_buffers_set", "_modules"):
            self.__dict__[name] = body.__dict__[name]
        self.layout, self.float32, self._way = layout, getattr(body, "float32", ()), way

    def forward(self, pixels: Tensor) -> Tensor:
        """Pixels (N, 3, H, W) to the map or the tokens that are pooled."""
        found: Tensor = self._body(pixels)
        return found

    def head(self, found: Tensor) -> Tensor:
        """The map or tokens in float32 to features (N, D), float32."""
        return WAYS[self._way](self.layout, found)

    def train(self, mode: bool = True) -> Repooled:
        """As nn.Module's; the body, which is no sub-module, follows."""
        super().train(mode)
        self._body.training = mode
        return self


class _Reached(Exception):
    """Carries a layer's output out of the network: threads that run it side by side each get their own."""

    def __init__(self, output: Any) -> None:
        super().__init__()
        self.output = output


def _leave(seen: list[Any], module: nn.Module, inputs: object, output: Any) -> None:
    if not torch.compiler.is_exporting():
        raise _Reached(output)
    seen.append(output)


class _Until(Repooled):
    """A body that ends in a layer's output: nothing after it is computed."""

    def __init__(self, body: nn.Module, layer: str) -> None:
        super().__init__(body, Layout(), "avg")
        self._seen: list[Any] = []
        body.get_submodule(layer).register_forward_hook(functools.partial(_leave, self._seen))

    def forward(self, pixels: Tensor) -> Tensor:
        """Pixels (N, 3, H, W) to the layer's output."""
        if torch.compiler.is_exporting():  # which an exception would confuse, and which leaves out what is not used
            self._body(pixels)
            found: Tensor = self._seen.pop()
            return found
        try:
            self._body(pixels)
        except _Reached as reached:
            output: Tensor = reached.output
            return output
        raise AssertionError("the layer did not run")


def build(body: Callable[[], nn.Module], way: str, layer: str | None, name: str, image_size: int) -> Repooled:
    """What `body` builds, pooled in one of the `WAYS`, at an inner layer where one is named. Raises ArgumentInvalid."""
    whole = body().eval()
    layout = whole.layout if isinstance(whole, Body) else Layout()
    if layer is None:
        _check_map(whole, name, image_size)
    else:
        _check_layer(whole, layer, name, image_size)
        whole = whole.until(layer) if isinstance(whole, Traced) else _Until(whole, layer)
        layout = _layout_of(_found(whole, image_size), layout, layer, name)
    if way.startswith("cls") and not layout.class_token:
        where, expected = (name, "auto, avg or max") if layer is None else (f"{layer} of {name}", "avg or max")
        raise ArgumentInvalid(f"pool is {way}, and {where} has no class token, expected {expected}")
    return Repooled(whole, layout, way)


def dimension(body: Callable[[], Repooled], image_size: int) -> int:
    """The number of features that a body gives."""
    with torch.device("meta"):
        built = body()
    return int(built.head(_found(built, image_size)).shape[1])


@dataclasses.dataclass(frozen=True)
class Inner:
    """A layer that can be pooled: its kind, and its output's shape without the batch."""

    name: str
    kind: str
    shape: tuple[int, ...]


def layers(body: Callable[[], nn.Module], image_size: int) -> tuple[Inner, ...]:
    """The layers whose output can be pooled, in the order in which one picture passes their ends."""
    with torch.device("meta"):
        whole = body().eval()
    layout = whole.layout if isinstance(whole, Body) else Layout()
    found = list[Inner]()
    for name, output in _outputs(whole, image_size).items():
        with contextlib.suppress(ArgumentInvalid):
            _layout_of(output, layout, name, "")
            found.append(Inner(name, type(whole.get_submodule(name)).__name__, tuple(output.shape[1:])))
    return tuple(found)


def _outputs(body: nn.Module, image_size: int) -> dict[str, Any]:
    """What each module that runs once gives."""
    if isinstance(body, Traced):
        shapes = body.layer_shapes(image_size)
        return {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
    outputs = dict[str, list[Any]]()

    def note(name: str, module: nn.Module, inputs: object, output: object) -> None:
        outputs.setdefault(name, []).append(output)

    for name, module in body.named_modules():
        module.register_forward_hook(functools.partial(note, name))
    _found(body, image_size)
    outputs.pop("", None)  # the body itself
    return {name: several[0] for name, several in outputs.items() if len(several) == 1}


def _found(body: nn.Module, image_size: int) -> Tensor:
    found: Tensor = without_numbers(body, image_size)
    return found


def _check_map(body: nn.Module, name: str, image_size: int) -> None:
    """A network of several scales ends in features at once, and has no one map."""
    if (shape := tuple(_found(body, image_size).shape))[2:] == ():
        raise ArgumentInvalid(f"{name} ends in {shape[1:]} and in no feature map: no pool but auto, expected auto")


def _check_layer(body: nn.Module, layer: str, name: str, image_size: int) -> None:
    """Raises ArgumentInvalid for a layer that is unknown, or that does not run exactly once on the way to the last map."""
    runs = _runs(body, image_size)
    if runs.get(layer) == 1:
        return
    once = [one for one, times in runs.items() if times == 1]
    if layer not in runs:
        hint, way_out = did_you_mean(layer, once), f"`headstart models show {name}` lists them"
        raise ArgumentInvalid(f"layer is {layer!r}, which {name} has not got before its head{hint}; {way_out}")
    raise ArgumentInvalid(
        f"layer is {layer!r}, which runs more than once in {name}; choose one that runs once, such as {listed(once[-3:])}"
    )


def _runs(body: nn.Module, image_size: int) -> dict[str, int]:
    """How often each module runs; those of a traced network that are left out of its graph are no layers."""
    if isinstance(body, Traced):
        return {name: 2 if node is None else 1 for name, node in body.layer_nodes.items()}
    runs: dict[str, int] = {}
    hooks = [module.register_forward_hook(_count(runs, name)) for name, module in body.named_modules() if name]
    try:
        _found(body, image_size)
    finally:
        for hook in hooks:
            hook.remove()
    return runs


def _count(runs: dict[str, int], name: str) -> Callable[[nn.Module, object, object], None]:
    def hook(module: nn.Module, inputs: object, output: object) -> None:
        runs[name] = runs.get(name, 0) + 1

    return hook


def _layout_of(found: Any, whole: Layout, layer: str, name: str) -> Layout:
    """How the output of a layer lies, from the shape that it has for a square picture. Raises ArgumentInvalid."""
    shape = tuple(found.shape) if isinstance(found, Tensor) else None
    match shape:
        case (_, _, height, width) if height == width:
            return Layout("first")
        case (_, height, width, _) if height == width:
            return Layout("last")
        case (_, _, _) if whole.channels == "tokens":
            return whole
    what = "is no single tensor" if shape is None else f"has the shape {shape[1:]} for a picture"
    raise ArgumentInvalid(
        f"layer is {layer!r}, whose output in {name} {what}; expected a map (C, H, H) or (H, H, C), or tokens like its last"
    )
