"""Convolutions that take in the BatchNorm behind them: less rounding and less time in low precision.

Which convolutions those are is seen in a run on torch's meta device, where nothing is computed, and not told from names: a
network's `forward` may use a convolution's output twice, or run a layer more than once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.utils._python_dispatch import TorchDispatchMode

from headstart.core.extract.network.body import without_numbers


def fold_batch_norm(body: nn.Module, image_size: int) -> None:
    """Replace each convolution and the BatchNorm fed by it, and by it alone, by one convolution, in place and in its dtype.

    Pictures are of `image_size` px squared, which the network must take.
    """
    for conv, norm in _pairs(body, image_size):
        first, second = body.get_submodule(conv), body.get_submodule(norm)
        _put(body, conv, fuse_conv_bn_eval(first, second))  # type: ignore[arg-type,type-var]
        _put(body, norm, nn.Identity().eval())


def _put(body: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    body.get_submodule(parent)._modules[child] = module


@dataclasses.dataclass
class _Calls:
    """The calls of one module: the tensors that it was given and gave, kept so that no other takes their place."""

    module: nn.Module
    taken: list[Any] = dataclasses.field(default_factory=list)
    given: list[Any] = dataclasses.field(default_factory=list)

    def note(self, module: nn.Module, inputs: Sequence[Any], output: Any) -> None:
        """A forward hook."""
        self.taken.append(inputs[0])
        self.given.append(output)


class _Uses(TorchDispatchMode):
    """Counts the operations that take a tensor, by the tensor's id, and keeps the tensors."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.counts: dict[int, int] = {}
        self._kept: list[Tensor] = []

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Sequence[type], args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        for one in torch.utils._pytree.tree_leaves((args, kwargs or {})):
            if isinstance(one, Tensor):
                self.counts[id(one)] = self.counts.get(id(one), 0) + 1
                self._kept.append(one)
        return func(*args, **(kwargs or {}))


def _pairs(body: nn.Module, image_size: int) -> Iterator[tuple[str, str]]:
    """Names of a convolution and the BatchNorm that alone takes its output, of modules that run once. A sub-class may do
    more than its base does, and whoever listens to a module must find it there: neither is folded."""
    calls = {
        name: _Calls(module)
        for name, module in body.named_modules()
        if type(module) in (nn.Conv2d, nn.BatchNorm2d) and not module._forward_hooks
    }
    hooks = [call.module.register_forward_hook(call.note) for call in calls.values()]
    uses = _Uses()
    try:
        with uses:
            result = without_numbers(body, image_size)
    finally:
        for hook in hooks:
            hook.remove()
    once = {name: call for name, call in calls.items() if len(call.given) == 1}
    norms = {id(call.taken[0]): name for name, call in once.items() if isinstance(call.module, nn.BatchNorm2d)}
    for name, call in once.items():
        output = call.given[0]
        fed = isinstance(call.module, nn.Conv2d) and id(output) in norms and output is not result
        if fed and uses.counts[id(output)] == 1:
            yield name, norms[id(output)]
