"""Which heads are trained at once, and how their epochs are told of."""

import dataclasses
import functools
import threading
from collections.abc import Sequence

import torch

from headstart.core.heads.config import TrainConfig
from headstart.core.heads.training.epoch import Epoch, OnEpoch

_AT_ONCE = {"cpu": 1, "mps": 32, "cuda": 64}
"""Heads that step together. On a CPU a stack is no faster where the first layer's product is what takes the time, and a
head in one is not, to the bit, what it is alone; so each has a thread there, and is the same in any company."""
_TOLD = 8
"""Heads whose epochs are told of at once."""


def groups(configs: Sequence[TrainConfig], device: str) -> list[list[int]]:
    """Places of configurations that are trained at once: of one shape, and as many as the device takes well."""
    alike: dict[TrainConfig, list[int]] = {}
    for i, config in enumerate(configs):
        alike.setdefault(shape(config), []).append(i)
    found = []
    for config, places in alike.items():
        most = _AT_ONCE[torch.device(device).type] if config.trained_by_gradient else len(places)
        found += [places[i : i + most] for i in range(0, len(places), most)]
    return found


def shape(config: TrainConfig) -> TrainConfig:
    """What heads that can be trained at once have in common."""
    free = {"seed": 0, **({"lr": 1.0, "weight_decay": 0.0, "dropout": 0.0} if config.trained_by_gradient else {})}
    return dataclasses.replace(config, **free)  # type: ignore[arg-type]


def together(configs: Sequence[TrainConfig], places: Sequence[Sequence[int]], on_epoch: OnEpoch) -> list[OnEpoch]:
    """For each group an `on_epoch`; groups of one shape are told of together, some heads at a time."""
    found: list[OnEpoch] = []
    last: tuple[TrainConfig, list[int]] | None = None
    tellers: list[_Teller] = []
    for own in places:
        own_shape = shape(configs[own[0]])
        if last is None or last[0] != own_shape or len(last[1]) >= _TOLD:
            last = own_shape, []
            tellers.append(_Teller(on_epoch))
        last[1].extend(own)
        found.append(functools.partial(tellers[-1].tell, tellers[-1].join()))
    return found


class _Teller:
    """Tells of an epoch once all groups that joined have ended it, from whichever thread was the last."""

    def __init__(self, on_epoch: OnEpoch) -> None:
        self._on_epoch, self._groups, self._lock = on_epoch, 0, threading.Lock()
        self._ended: dict[int, dict[int, Epoch]] = {}

    def join(self) -> int:
        """The number of another group."""
        self._groups += 1
        return self._groups - 1

    def tell(self, group: int, epoch: Epoch) -> None:
        """The group has ended an epoch."""
        with self._lock:
            ended = self._ended.setdefault(epoch.number, {})
            ended[group] = epoch
            if len(ended) == self._groups:
                own = [ended[i] for i in sorted(ended)]
                losses, accuracies = [x for one in own for x in one.losses], [x for one in own for x in one.accuracies]
                self._on_epoch(Epoch(epoch.number, epoch.epochs, losses, accuracies))
