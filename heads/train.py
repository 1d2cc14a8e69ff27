"""Train one head on features in memory, and use it: scores, labels, probabilities."""

import dataclasses
import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cache.errors import FeaturesInvalid
from heads.config import TrainConfig
from heads.data import Labelled
from heads.kinds import KINDS, Head
from heads.optimise import History, Split

_ROWS_AT_ONCE = 8192


@dataclasses.dataclass(frozen=True)
class Trained:
    """A head, how its training went, the seconds it took (features already on the device), and the rows it learned from."""

    head: Head
    history: History
    elapsed_s: float
    rows: int


def train(
    data: Labelled, classes: int, config: TrainConfig, device: str, on_epoch: Callable[[int, float, float | None], None]
) -> Trained:
    """Train `config.head` on the rows of `data`. The same seed on the same device gives the same head, bit for bit.

    The global generators, which dropout and initialisation draw from, are seeded for the duration and put back after.
    Raises FeaturesInvalid where the rows are too few or the loss diverges.
    """
    cuda = [torch.device(device)] if device.startswith("cuda") else []
    with torch.random.fork_rng(devices=cuda):
        torch.manual_seed(config.seed)
        split = carve(data, config, device)
        head = KINDS[config.head](data.features.shape[1], classes, config, len(split.labels)).to(device)
        _synchronize(device)
        started = time.perf_counter()
        split = _standardise(head, split) if config.standardise else split
        generator = torch.Generator(device=device if cuda else "cpu").manual_seed(config.seed)
        history = head.fit(split, generator, on_epoch)
        _synchronize(device)
        elapsed_s = time.perf_counter() - started
    return Trained(head.eval().requires_grad_(False), history, elapsed_s, len(split.labels))


def carve(data: Labelled, config: TrainConfig, device: str) -> Split:
    """The rows on the device, `val_fraction` of them drawn at random for validation. Test rows are never seen here.

    Raises FeaturesInvalid where nothing would be left to train on.
    """
    rows = len(data.labels)
    for_validation = config.trained_by_gradient and config.val_fraction > 0
    count = max(1, round(rows * config.val_fraction)) if for_validation else 0
    if rows - count < 1:
        raise FeaturesInvalid(f"{rows} training rows less {count} for validation leave none; use --val-fraction 0")
    order = np.random.default_rng(config.seed).permutation(rows)
    val, kept = np.sort(order[:count]), np.sort(order[count:])

    def part(index: npt.NDArray[np.intp]) -> tuple[Tensor, Tensor]:
        return torch.from_numpy(data.features[index]).to(device), torch.from_numpy(data.labels[index]).to(device)

    return Split(*part(kept), *part(val))


def _standardise(head: Head, split: Split) -> Split:
    """Fill the head's mean and std from the training rows alone, and apply them to both parts.

    A feature that never varies gets the deviation 1: it stays 0 instead of dividing by nothing.
    """
    deviation, mean = torch.std_mean(split.features.double(), dim=0, correction=0)
    head.mean.copy_(mean)
    head.std.copy_(torch.where(deviation > 1e-6 * mean.abs().clamp_min(1e-6), deviation, 1.0))
    return dataclasses.replace(
        split,
        features=(split.features - head.mean) / head.std,
        val_features=(split.val_features - head.mean) / head.std,
    )


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
