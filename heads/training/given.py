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
    `groups` (N,) and `judging` (N,) are those of `Labelled`, one for each picture."""

    rows: Rows
    watch: Rows | None
    groups: npt.NDArray[np.int64] | None = None
    mean: Tensor | None = None
    std: Tensor | None = None
    judging: npt.NDArray[np.bool_] | None = None

    @property
    def learning(self) -> Rows:
        """The rows that are not judging, all versions of each picture."""
        return self.rows if self.judging is None else _at(self.rows, ~self.judging)


def _at(rows: Rows, chosen: npt.NDArray[np.bool_]) -> Rows:
    """All versions of the pictures that are chosen (N,)."""
    places = torch.from_numpy(np.flatnonzero(np.tile(chosen, rows.versions))).to(rows.labels.device)
    weights = None if rows.weights is None else rows.weights[places]
    return Rows(rows.features[places], rows.labels[places], weights, rows.versions)


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


def by_class(rows: Rows, config: TrainConfig, judging: npt.NDArray[np.bool_] | None = None) -> Rows:
    """The rows with the weights that the configuration gives to classes; standardisation knows nothing of them. Those of
    rows that are `judging` (N,) are balanced by themselves."""
    if config.class_weight is None:
        return rows
    own = None if rows.weights is None else rows.weights.cpu().double().numpy()
    labels = rows.labels.cpu().numpy()
    weights = np.empty(len(labels))
    judges = np.zeros(len(labels), dtype=np.bool_) if judging is None else np.tile(judging, rows.versions)
    for part in filter(np.any, (~judges, judges)):
        weights[part] = balanced(labels[part], None if own is None else own[part])
    found = torch.from_numpy(weights)
    return dataclasses.replace(rows, weights=found.to(rows.features.device, precise(rows.features[:0]).dtype))


def standardised(plain: Given) -> Given:
    """The rows by their own mean and deviation, by weight, those set aside for validation included; test rows and those of
    a validation split not. A feature that never varies gets the deviation 1: it stays 0 instead of dividing by nothing."""
    stds, means, learning = [], [], plain.learning
    for features in learning.features.split(256, 1):
        found, mean = _std_mean(precise(features), learning.weights)
        stds.append(torch.where(found > 1e-6 * mean.abs().clamp_min(1e-6), found, 1.0).float())
        means.append(mean.float())
    mean, std = torch.cat(means), torch.cat(stds)
    rows, watch = (
        part and dataclasses.replace(part, features=(part.features - mean).div_(std)) for part in (plain.rows, plain.watch)
    )
    assert rows is not None
    return dataclasses.replace(plain, rows=rows, watch=watch, mean=mean, std=std)


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
    labels = given.rows.labels.cpu()
    if given.judging is not None:
        labels = labels[torch.from_numpy(np.tile(~given.judging, given.rows.versions))]
    present = torch.bincount(labels, minlength=classes)
    head.never((present == 0).nonzero().flatten().tolist())
    head = head.to(given.rows.features.device)
    if given.mean is not None and given.std is not None:
        head.mean.copy_(given.mean)
        head.std.copy_(given.std)
    return head
