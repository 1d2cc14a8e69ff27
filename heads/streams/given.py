"""What heads are given where features stay on the disk: blocks of rows, standardised as they come, and rows kept in
memory."""

import dataclasses
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from headstart.core.heads.config import TrainConfig
from headstart.core.heads.data.weights import balanced
from headstart.core.heads.kinds import kind
from headstart.core.heads.kinds.base import Head
from headstart.core.heads.streams.budget import Budget, Needs
from headstart.core.heads.streams.on_disk import OnDisk, room

Mask = npt.NDArray[np.bool_]
AT_ONCE = 512
"""Rows of a block that are in double precision at once."""
MOMENTS = "the means"


@dataclasses.dataclass(frozen=True)
class Scale:
    """What is taken from features, and what they are divided by, (D,) float32: 0 and 1 where a recipe standardises nothing.
    `centre` (D,) float64 is about their mean after that."""

    mean: Tensor
    std: Tensor
    centre: Tensor

    def apply(self, features: Tensor) -> Tensor:
        """Features (n, D), changed in place."""
        return features.sub_(self.mean).div_(self.std)


@dataclasses.dataclass(frozen=True, eq=False)
class Streamed:
    """Rows on the disk whose labels are of so many `classes`, how their features are scaled, and the memory that there is,
    of which heads that are there already hold `beside` bytes."""

    rows: OnDisk
    classes: int
    scale: Scale
    budget: Budget
    beside: int = 0

    def blocks(
        self, chosen: Mask, most: int, *, rng: np.random.Generator | None = None, spare: int = 0
    ) -> Iterator[tuple[npt.NDArray[np.int64], Tensor, Tensor]]:
        """As `OnDisk.blocks`: places (n,), scaled features (n, D), and the room they lie in, `spare` rows free before
        them."""
        for block in self.rows.blocks(chosen, most, rng=rng, spare=spare):
            yield block.places, self.scale.apply(torch.from_numpy(block.features)), torch.from_numpy(block.room)

    def kept(self, chosen: Mask) -> Tensor:
        """The scaled features (n, D) of rows that are few, in memory."""
        return self.scale.apply(torch.from_numpy(taken(self.rows, chosen, self.budget)))

    def head(self, config: TrainConfig, learn: Mask) -> Head:
        """An initialised head for the rows to learn from, as `training.given.new_head` makes it."""
        generator = torch.Generator().manual_seed(config.seed)
        head = kind(config.head)(self.rows.dim, self.classes, config, int(learn.sum()), generator)
        present = np.bincount(self.rows.labels[learn], minlength=self.classes)
        head.never(np.flatnonzero(present == 0).tolist())
        head.mean.copy_(self.scale.mean)
        head.std.copy_(self.scale.std)
        return head

    def class_weights(self, config: TrainConfig, learn: Mask) -> Tensor:
        """How much each row of a class counts (C,) float64."""
        found, labels = torch.ones(self.classes, dtype=torch.float64), self.rows.labels[learn]
        if config.class_weight is not None:
            found[torch.from_numpy(labels)] = torch.from_numpy(balanced(labels))
        return found


def taken(rows: OnDisk, chosen: Mask, budget: Budget) -> npt.NDArray[np.float32]:
    """The features (n, D) as extracted of rows that are few."""
    found, done = room((int(chosen.sum()), rows.dim), np.float32), 0
    for block in rows.blocks(chosen, budget.block_rows(Needs("the rows that choose", 0))):
        found[done : done + len(block.places)] = block.features
        done += len(block.places)
    return found


def scaled(rows: OnDisk, learn: Mask, budget: Budget, *, standardise: bool) -> Scale:
    """The scale by the rows to learn from, as `training.given.standardised` has it: their own mean and deviation, 1 for a
    feature that never varies. Raises FeaturesInvalid for features that are not finite.

    Sums of blocks are joined as T. F. Chan, G. H. Golub and R. J. LeVeque do it (Updating Formulae and a Pairwise Algorithm
    for Computing Sample Variances, 1979).
    """
    count, mean, squares = 0, np.zeros(rows.dim), np.zeros(rows.dim)
    doubles = room((AT_ONCE, rows.dim), np.float64)
    for block in rows.blocks(learn, budget.block_rows(Needs(MOMENTS, AT_ONCE * rows.dim * 12))):
        for first in range(0, len(block.places), AT_ONCE):
            features = block.features[first : first + AT_ONCE]
            part = doubles[: len(features)]
            part[:] = features
            own = part.mean(axis=0)
            apart, total = own - mean, count + len(part)
            part -= own
            squares += np.einsum("ij,ij->j", part, part) + apart**2 * (count * len(part) / total)
            mean += apart * (len(part) / total)
            count = total
    if not standardise:
        zeros = torch.zeros(rows.dim)
        return Scale(zeros, zeros + 1, torch.from_numpy(mean))
    deviation = np.sqrt(squares / count)
    std = np.where(deviation > 1e-6 * np.maximum(np.abs(mean), 1e-6), deviation, 1.0).astype(np.float32)
    return Scale(torch.from_numpy(mean.astype(np.float32)), torch.from_numpy(std), torch.zeros(rows.dim).double())
