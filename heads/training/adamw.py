"""AdamW for many stacked heads at once, without what its class imports."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim.adamw import adamw

from headstart.core.heads.config import TrainConfig


class Optimiser:
    """AdamW over stacked parameters, with each head's own rate and decay. Adam without decay is what the study used;
    AdamW with none is the same. `gradients` are where a step finds them, laid as the parameters.

    It steps by the function behind `torch.optim.AdamW`, and gives the same numbers to the last digit: the class imports
    torch._dynamo when a process makes its first one, which takes longer than most heads (2.1 s, AMD EPYC, torch 2.14).
    """

    def __init__(self, stack: Mapping[str, Tensor], configs: Sequence[TrainConfig], steps: int) -> None:
        self.gradients = {name: torch.zeros_like(value) for name, value in stack.items()}
        alike = len({(config.lr, config.weight_decay) for config in configs}) == 1
        # one group steps fastest; heads that differ become groups of views, which share the stacked tensors' memory
        places: Sequence[Any] = [...] if alike else range(len(configs))
        self._groups = [
            _Group([(value[place], self.gradients[name][place]) for name, value in stack.items()], config)
            for place, config in zip(places, configs, strict=False)
        ]
        self._cosine, self._steps, self._done = configs[0].cosine, steps, 0

    @torch.no_grad()
    def step(self) -> None:
        """Descend by the gradients that are there, in which no head's parameters meet another's."""
        for group in self._groups:
            group.step()
        self._done += 1
        if self._cosine and self._done < self._steps:
            # as CosineAnnealingLR has it, each rate from the last one: another order of rounding is another head
            share = (1 + math.cos(math.pi * self._done / self._steps)) / (
                1 + math.cos(math.pi * (self._done - 1) / self._steps)
            )
            for group in self._groups:
                group.rate *= share


class _Group:
    """Parameters, their gradients, and what AdamW remembers of them, with one learning rate and decay."""

    def __init__(self, values: Sequence[tuple[Tensor, Tensor]], config: TrainConfig) -> None:
        self._values, self._gradients = [value for value, _ in values], [gradient for _, gradient in values]
        self._means = [torch.zeros_like(value) for value in self._values]
        self._squares = [torch.zeros_like(value) for value in self._values]
        self._counts = [torch.zeros((), dtype=torch.float32, device=value.device) for value in self._values]
        self.rate, self._decay = config.lr, config.weight_decay

    def step(self) -> None:
        """One step, with the class's own constants."""
        adamw(
            self._values, self._gradients, self._means, self._squares, [], self._counts, fused=True,
            amsgrad=False, beta1=0.9, beta2=0.999, lr=self.rate, weight_decay=self._decay, eps=1e-8, maximize=False,
        )  # fmt: skip
