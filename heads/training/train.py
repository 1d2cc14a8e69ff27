"""Train heads on features in memory, one or many at once, and use them: scores, labels, probabilities."""

import contextlib
import copy
import dataclasses
import functools
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from headstart.core.cache.errors import FeaturesInvalid
from headstart.core.heads.config import TrainConfig
from headstart.core.heads.data import Labelled, counted
from headstart.core.heads.data.folds import held_out
from headstart.core.heads.kinds.base import ClosedFormHead, GradientHead, Head, Rows, layer_shapes
from headstart.core.heads.training import memory, threads
from headstart.core.heads.training.epoch import Epoch, OnEpoch
from headstart.core.heads.training.given import Given, by_class, new_head, on_device, shared, standardised
from headstart.core.heads.training.groups import groups, together
from headstart.core.heads.training.optimise import History, Part, descend

_ROWS_AT_ONCE = 8192


@dataclasses.dataclass(frozen=True)
class Trained:
    """A head, how its training went, the rows it learned from and those that chose its epoch.

    `elapsed_s` is the time by the clock of the whole call, in which `together` heads were trained: in seconds, from
    features on the device to the last of the heads.
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
    and dropout can be trained at once. Heads that have no seed are trained once for all.

    The same call gives the same heads, bit for bit, on the same device and versions. On a CPU a configuration gives the
    same head, bit for bit, alone and in any company, whatever the time that anything takes and the number of threads,
    except where a head is so large that threads share its products (`threads.shared`). On a GPU heads are stacked, and a
    stacked product adds up in another order: a few epochs leave a weight within 1e-4, as a share of the largest of its
    tensor, of that of the head trained alone; after thousands of steps one label in some thousands is another (2 of 10,000
    after 1,875 steps, measured with stacks of four on a CPU). No generator but the heads' own is touched, and no class is
    predicted of which there is no row.

    Of pictures with views a head that has epochs sees one version in each, drawn by its seed, and epochs are chosen by the
    pictures as they are; the others see all versions, which count as one picture together. Rows that are `judging` are not
    trained on, nor standardised by: they choose the epoch of a head that has epochs.

    A row counts by its weight, and one of weight 0 is left out. To heads that have epochs only the ratios of weights
    matter; ridge sets its penalty against their sum, as scikit-learn does.

    On the rows to `watch` the accuracy is told after each epoch, and nothing is chosen by it. Raises FeaturesInvalid where
    the rows are too few, a weight is no finite number of 0 or more, the head takes no weights or a loss diverges,
    OutOfMemory where there is no room.
    """
    data = counted(data)
    memory.check(configs, len(data.labels), data.features.shape[1], classes, device)
    with memory.known_errors(configs, data.features.shape[1], classes):
        watched = None if watch is None else on_device(device, counted(watch))
        plain = Given(on_device(device, data), watched, data.groups, judging=data.judging)
        _synchronize(device)
        started = time.perf_counter()
        given = {alike: standardised(plain) if alike else plain for alike in {c.standardise for c in configs}}
        places = groups(configs, device)
        trained = _train_groups(given, classes, configs, places, device, on_epoch)
        _synchronize(device)
        elapsed_s = time.perf_counter() - started
    found = {i: one for own, group in zip(places, trained, strict=True) for i, one in zip(own, group, strict=True)}
    return [dataclasses.replace(found[i], elapsed_s=elapsed_s, together=len(configs)) for i in range(len(configs))]


def _train_groups(
    given: Mapping[bool, Given],
    classes: int,
    configs: Sequence[TrainConfig],
    places: Sequence[Sequence[int]],
    device: str,
    on_epoch: OnEpoch,
) -> list[list[Trained]]:
    """The heads of each group, side by side where each has one thread; `given` is by whether rows are standardised."""
    work = [
        functools.partial(_train_group, given[configs[own[0]].standardise], classes, [configs[i] for i in own], device)
        for own in places
    ]
    rows, dim = given[configs[0].standardise].rows.features.shape if configs else (0, 0)
    told = together(configs, places, on_epoch)
    several = [_several(configs[own[0]], len(own), rows, dim, classes) for own in places]
    if len(work) > 1 and device == "cpu" and not any(several):
        trained = threads.run_groups([functools.partial(_checked, *both) for both in zip(work, told, strict=True)])
    else:
        trained = []
        for piece, tell, all_of_them in zip(work, told, several, strict=True):
            with contextlib.nullcontext() if all_of_them or device != "cpu" else threads.limited(1):
                trained.append(piece(tell))
    return trained


def _several(config: TrainConfig, heads: int, rows: int, dim: int, classes: int) -> bool:
    """Whether a group's products have all threads; those of heads without epochs always do."""
    shapes = layer_shapes(dim, classes, config)
    return not shapes or threads.shared(heads, min(config.batch_size, rows), *shapes[0])


def _checked(piece: Callable[[OnEpoch], list[Trained]], on_epoch: OnEpoch, check: Callable[[], None]) -> list[Trained]:
    def after_epoch(epoch: Epoch) -> None:
        check()
        on_epoch(epoch)

    return piece(after_epoch)


def _train_group(
    given: Given, classes: int, configs: Sequence[TrainConfig], device: str, on_epoch: OnEpoch
) -> list[Trained]:
    if given.judging is not None and not configs[0].trained_by_gradient:
        given = dataclasses.replace(given, rows=given.learning, judging=None, groups=None)
    given = dataclasses.replace(given, rows=by_class(given.rows, configs[0], given.judging))
    labels = given.rows.labels[: given.rows.pictures].cpu().numpy()
    parts = [carve(labels, config, device, given.groups, given.judging) for config in configs]
    if configs[0].trained_by_gradient:
        heads = [new_head(given, classes, config, len(part.train)) for config, part in zip(configs, parts, strict=True)]
        histories = descend(
            [head for head in heads if isinstance(head, GradientHead)], given.rows, parts, on_epoch, given.watch
        )
    else:
        with threads.suited(device, given.rows.features.numel(), classes):
            heads, histories = _fitted(new_head(given, classes, configs[0], len(given.rows.labels)), configs, given.rows)
    for head in heads:
        head.eval().requires_grad_(False)
    return [
        Trained(head, history, 0.0, len(heads), len(part.train), len(part.val))
        for head, history, part in zip(heads, histories, parts, strict=True)
    ]


def _fitted(head: Head, configs: Sequence[TrainConfig], rows: Rows) -> tuple[list[Head], list[History]]:
    """The head fitted once, and for each configuration one that shares its numbers."""
    assert isinstance(head, ClosedFormHead)
    head.fit(shared(rows) if head.weighted else rows)
    heads: list[Head] = []
    for config in configs:
        twin = copy.copy(head)
        twin.config = config
        heads.append(twin)
    return heads, [History((), (), None) for _ in heads]


def carve(
    labels: npt.NDArray[np.int64],
    config: TrainConfig,
    device: str,
    groups: npt.NDArray[np.int64] | None = None,
    judging: npt.NDArray[np.bool_] | None = None,
) -> Part:
    """Which of the rows with these labels (N,) are trained on and which, `val_fraction` of them, choose the epoch.

    They are drawn by the seed, each class in its share and never all of its rows; where some are `judging`, it is these,
    unless `val_fraction` is 0. Test rows are never seen here. Raises FeaturesInvalid where nothing would be left to train
    on, or to choose by.
    """
    rows, generator = len(labels), torch.Generator(device if device.startswith("cuda") else "cpu").manual_seed(config.seed)
    if judging is not None:
        own = np.flatnonzero(judging if config.val_fraction else judging[:0])
        return Part(
            torch.from_numpy(np.flatnonzero(~judging)).to(device), torch.from_numpy(own).to(device), generator, split=True
        )
    count = config.held(rows)
    if rows - count < 1:
        raise FeaturesInvalid(f"{rows} training rows less {count} for validation leave none; use --val-fraction 0")
    train, val = held_out(labels, groups, count, np.random.default_rng(config.seed))
    if count and not len(val):
        raise FeaturesInvalid(f"{rows} training rows, one of each class, leave none for validation; use --val-fraction 0")
    return Part(torch.from_numpy(train).to(device), torch.from_numpy(val).to(device), generator)


def probabilities(
    head: Head, features: npt.NDArray[np.float32], device: str, temperature: float = 1.0
) -> npt.NDArray[np.float32]:
    """Features (N, D) as extracted to float32 probabilities (N, C): the softmax of the scores over the temperature. At 1
    they are those of the loss.

    With the study's sigmoid before it no probability can exceed e / (e + C - 1), 0.23 for ten classes.
    """
    found: npt.NDArray[np.float32] = (scores(head, features, device) / temperature).softmax(dim=1).numpy()
    return found


def scores(head: Head, features: npt.NDArray[np.float32], device: str) -> Tensor:
    """Features (N, D) as extracted to scores (N, C) on the CPU, minus infinity for classes without a training row."""
    with torch.inference_mode():
        chunks = torch.from_numpy(np.ascontiguousarray(features)).split(_ROWS_AT_ONCE)
        return torch.cat([head(chunk.to(device)).cpu() for chunk in chunks])


def predict(head: Head, features: npt.NDArray[np.float32], device: str) -> npt.NDArray[np.int64]:
    """Features (N, D) as extracted to class indices (N,) int64: the highest score, as `bench-inference` takes it, since two
    probabilities rounded to float32 may be equal where the scores are not."""
    found: npt.NDArray[np.int64] = scores(head, features, device).argmax(dim=1).numpy()
    return found


def _synchronize(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    elif device == "mps":
        torch.mps.synchronize()
