"""Train heads on features in memory, one or many at once, and use them: scores, labels, probabilities."""

import dataclasses
import functools
import math
import time
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cache.errors import FeaturesInvalid
from heads import threads
from heads.config import TrainConfig
from heads.data import Labelled
from heads.kinds import KINDS, ClosedFormHead, GradientHead, Head
from heads.optimise import History, OnEpoch, Part, Rows, descend

_ROWS_AT_ONCE = 8192
_AT_ONCE = {"cpu": 8, "mps": 32, "cuda": 64}
"""Heads that step together: on a CPU the parameters of more of them would leave its caches."""


@dataclasses.dataclass(frozen=True)
class Trained:
    """A head, how its training went, the rows it learned from and those that chose its epoch.

    `elapsed_s` is the time of the `together` heads that were trained at once, in seconds, features already on the device.
    """

    head: Head
    history: History
    elapsed_s: float
    together: int
    rows: int
    val_rows: int


def train(data: Labelled, classes: int, config: TrainConfig, device: str, on_epoch: OnEpoch) -> Trained:
    """One head: `train_many` of one configuration."""
    return train_many(data, classes, [config], device, on_epoch)[0]


def train_many(
    data: Labelled,
    classes: int,
    configs: Sequence[TrainConfig],
    device: str,
    on_epoch: OnEpoch,
    watch: Labelled | None = None,
) -> list[Trained]:
    """A head for each configuration, in their order; those that differ in no more than seed, learning rate, weight decay
    and dropout are trained at once.

    The same seed on the same device gives the same head, bit for bit; in other company it is the same within 1e-4 (sums of
    another order). On the rows to `watch` the accuracy is told after each epoch, and nothing is chosen by it.
    Raises FeaturesInvalid where the rows are too few or a loss diverges.
    """
    plain = _Given(_on(device, data), None if watch is None else _on(device, watch))
    given = {alike: _standardised(plain, device) if alike else plain for alike in {c.standardise for c in configs}}
    groups = _groups(configs, device)
    work = [
        functools.partial(
            _train_group, given[configs[places[0]].standardise], classes, [configs[i] for i in places], device
        )
        for places in groups
    ]
    if len(work) > 1 and device == "cpu":
        trained = threads.run_groups([functools.partial(_checked, piece, on_epoch) for piece in work])
    else:
        trained = [piece(on_epoch) for piece in work]
    found = {i: one for places, group in zip(groups, trained, strict=True) for i, one in zip(places, group, strict=True)}
    return [found[i] for i in range(len(configs))]


def _checked(piece: Callable[[OnEpoch], list[Trained]], on_epoch: OnEpoch, check: Callable[[], None]) -> list[Trained]:
    def after_epoch(number: int, losses: Sequence[float], accuracies: Sequence[float]) -> None:
        check()
        on_epoch(number, losses, accuracies)

    return piece(after_epoch)


def _on(device: str, data: Labelled) -> Rows:
    return Rows(torch.from_numpy(data.features).to(device), torch.from_numpy(data.labels).to(device))


def _groups(configs: Sequence[TrainConfig], device: str) -> list[list[int]]:
    """Places of configurations that can be trained at once, as many as the device takes well."""
    alike: dict[TrainConfig, list[int]] = {}
    for i, config in enumerate(configs):
        free = {"seed": 0, "lr": 1.0, "weight_decay": 0.0, "dropout": 0.0} if config.trained_by_gradient else {}
        alike.setdefault(dataclasses.replace(config, **free), []).append(i)  # type: ignore[arg-type]
    most = _AT_ONCE[torch.device(device).type]
    if device == "cpu":  # a group for each thread at least
        most = min(most, max(1, math.ceil(max(map(len, alike.values()), default=1) / torch.get_num_threads())))
    return [places[i : i + most] for places in alike.values() for i in range(0, len(places), most)]


@dataclasses.dataclass(frozen=True)
class _Given:
    """What all heads are given: rows, those that are only watched, the mean and deviation that were applied to both, and
    the seconds that took."""

    rows: Rows
    watch: Rows | None
    mean: Tensor | None = None
    std: Tensor | None = None
    elapsed_s: float = 0.0


def _standardised(plain: _Given, device: str) -> _Given:
    """The rows by their own mean and deviation, validation rows included and test rows not. A feature that never varies
    gets the deviation 1: it stays 0 instead of dividing by nothing."""
    _synchronize(device)
    started = time.perf_counter()
    stds, means = [], []
    for features in plain.rows.features.split(256, 1):
        found, mean = torch.std_mean(_precise(features), dim=0, correction=0)
        stds.append(torch.where(found > 1e-6 * mean.abs().clamp_min(1e-6), found, 1.0).float())
        means.append(mean.float())
    mean, std = torch.cat(means), torch.cat(stds)
    both = [None if part is None else Rows((part.features - mean) / std, part.labels) for part in (plain.rows, plain.watch)]
    _synchronize(device)
    assert both[0] is not None
    return _Given(both[0], both[1], mean, std, time.perf_counter() - started)


def _train_group(
    given: _Given, classes: int, configs: Sequence[TrainConfig], device: str, on_epoch: OnEpoch
) -> list[Trained]:
    parts = [carve(len(given.rows.labels), config, device) for config in configs]
    heads = [_new_head(given, classes, config, len(part.train)) for config, part in zip(configs, parts, strict=True)]
    _synchronize(device)
    started = time.perf_counter()
    histories = _fit(heads, given.rows, parts, on_epoch, given.watch)
    _synchronize(device)
    elapsed_s = given.elapsed_s + time.perf_counter() - started
    for head in heads:
        head.eval().requires_grad_(False)
    return [
        Trained(head, history, elapsed_s, len(heads), len(part.train), len(part.val))
        for head, history, part in zip(heads, histories, parts, strict=True)
    ]


def _new_head(given: _Given, classes: int, config: TrainConfig, count: int) -> Head:
    """An initialised head that knows how its features are standardised; the global generator, which torch's layers draw
    from, is seeded meanwhile and put back.

    `torch.manual_seed` would seed those of all other devices too.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(config.seed)
        head = KINDS[config.head](given.rows.features.shape[1], classes, config, count).to(given.rows.features.device)
    if given.mean is not None and given.std is not None:
        head.mean.copy_(given.mean)
        head.std.copy_(given.std)
    return head


def _fit(heads: Sequence[Head], rows: Rows, parts: Sequence[Part], on_epoch: OnEpoch, watch: Rows | None) -> list[History]:
    if by_gradient := [head for head in heads if isinstance(head, GradientHead)]:
        return descend(by_gradient, rows, parts, on_epoch, watch)
    for head in heads:
        if isinstance(head, ClosedFormHead):
            head.fit(rows)
    return [History((), (), None) for _ in heads]


def carve(rows: int, config: TrainConfig, device: str) -> Part:
    """Which of so many rows are trained on and which, `val_fraction` of them drawn at random, choose the epoch. Test rows
    are never seen here. Raises FeaturesInvalid where nothing would be left to train on."""
    for_validation = config.trained_by_gradient and config.val_fraction > 0
    count = max(1, round(rows * config.val_fraction)) if for_validation else 0
    if rows - count < 1:
        raise FeaturesInvalid(f"{rows} training rows less {count} for validation leave none; use --val-fraction 0")
    order = torch.from_numpy(np.random.default_rng(config.seed).permutation(rows))
    generator = torch.Generator(device if device.startswith("cuda") else "cpu").manual_seed(config.seed)
    train, val = order[count:].sort().values, order[:count].sort().values
    return Part(train.to(device), val.to(device), generator)


def _precise(features: Tensor) -> Tensor:
    return features if features.device.type == "mps" else features.double()  # Apple's GPUs have no doubles


def probabilities(head: Head, features: npt.NDArray[np.float32], device: str) -> npt.NDArray[np.float32]:
    """Features (N, D) as extracted to float32 probabilities (N, C): the softmax of the scores, as in the loss.

    With the study's sigmoid before it no probability can exceed e / (e + C - 1), 0.23 for ten classes.
    """
    with torch.inference_mode():
        chunks = torch.from_numpy(np.ascontiguousarray(features)).split(_ROWS_AT_ONCE)
        parts = [head(chunk.to(device)).softmax(dim=1).cpu() for chunk in chunks]
    found: npt.NDArray[np.float32] = torch.cat(parts).numpy()
    return found


def predict(head: Head, features: npt.NDArray[np.float32], device: str) -> npt.NDArray[np.int64]:
    """Features (N, D) as extracted to class indices (N,) int64."""
    found: npt.NDArray[np.int64] = probabilities(head, features, device).argmax(axis=1)
    return found


def _synchronize(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    elif device == "mps":
        torch.mps.synchronize()
