"""What heads learn from, ready on the device: rows, standardised or not, and heads made for them."""

import dataclasses

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from headstart.core.heads.config import TrainConfig
from headstart.core.heads.data import Labelled
from headstart.core.heads.data.weights import balanced
from headstart.core.heads.kinds import kind
from headstart.core.heads.kinds.base import Head, Rows, precise


@dataclasses.dataclass(frozen=True)
class Given:
    """What all heads are given: rows, those that are only watched, and the mean and deviation that were applied to both.
    `groups` are those of `Labelled`, one for each picture."""

    rows: Rows
    watch: Rows | None
    groups: npt.NDArray[np.int64] | None = None
    mean: Tensor | None = None
    std: Tensor | None = None


def on_device(device: str, data: Labelled) -> Rows:
    """The rows as tensors on a device, all versions of the pictures. Each version has the weight of its picture, until
    `shared`."""
    features, labels = (torch.from_numpy(part).to(device) for part in (data.every, np.tile(data.labels, data.versions)))
    if data.weights is None:
        return Rows(features, labels, versions=data.versions)
    weights = torch.from_numpy(np.tile(data.weights, data.versions)).to(device, precise(features[:0]).dtype)
    return Rows(features, labels, weights, data.versions)


def shared(rows: Rows) -> Rows:
    """The rows, each version of a picture with its part of the picture's weight: so all of them count as one picture, and
    a penalty means what it means without views."""
    if rows.versions == 1:
        return rows
    dtype = precise(rows.features[:0]).dtype
    own = torch.ones(len(rows.labels), dtype=dtype, device=rows.labels.device) if rows.weights is None else rows.weights
    return dataclasses.replace(rows, weights=own / rows.versions)


def by_class(rows: Rows, config: TrainConfig) -> Rows:
    """The rows with the weights that the configuration gives to classes; standardisation knows nothing of them."""
    if config.class_weight is None:
        return rows
    own = None if rows.weights is None else rows.weights.cpu().double().numpy()
    found = torch.from_numpy(balanced(rows.labels.cpu().numpy(), own))
    return dataclasses.replace(rows, weights=found.to(rows.features.device, precise(rows.features[:0]).dtype))


def standardised(plain: Given) -> Given:
    """The rows by their own mean and deviation, by weight, validation rows included and test rows not. A feature that never
    varies gets the deviation 1: it stays 0 instead of dividing by nothing."""
    stds, means = [], []
    for features in plain.rows.features.split(256, 1):
        found, mean = _std_mean(precise(features), plain.rows.weights)
        stds.append(torch.where(found > 1e-6 * mean.abs().clamp_min(1e-6), found, 1.0).float())
        means.append(mean.float())
    mean, std = torch.cat(means), torch.cat(stds)
    rows, watch = (
        part and dataclasses.replace(part, features=(part.features - mean).div_(std)) for part in (plain.rows, plain.watch)
    )
    assert rows is not None
    return Given(rows, watch, plain.groups, mean, std)


def _std_mean(features: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor]:
    """The deviation and the mean (D,) of features (N, D), each row counted by its weight."""
    if weights is None:
        return torch.std_mean(features, dim=0, correction=0)
    shares = weights / weights.sum()
    mean = shares @ features
    return (shares @ (features - mean).square()).sqrt(), mean


def new_head(given: Given, classes: int, config: TrainConfig, count: int) -> Head:
    """An initialised head that knows how its features are standardised and which classes have no row.

    Its weights are those that PyTorch's layers draw after `torch.manual_seed(config.seed)`, from a generator of its own.
    """
    generator = torch.Generator().manual_seed(config.seed)
    head = kind(config.head)(given.rows.features.shape[1], classes, config, count, generator)
    present = torch.bincount(given.rows.labels.cpu(), minlength=classes)
    head.never((present == 0).nonzero().flatten().tolist())
    head = head.to(given.rows.features.device)
    if given.mean is not None and given.std is not None:
        head.mean.copy_(given.mean)
        head.std.copy_(given.std)
    return head
