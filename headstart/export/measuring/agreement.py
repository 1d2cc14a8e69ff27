"""How far two lots of probabilities for the same pictures are apart."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

TOLERANCES = {"fp32": 1e-4, "fp16": 0.05, "int8": 0.5}
"""How far a probability may be from that of `predict` in fp32, by the precision of a file."""


@dataclasses.dataclass(frozen=True)
class Agreement:
    """Of so many pictures: the largest and the mean difference of a probability, and how many got the same label."""

    pictures: int
    largest: float
    mean: float
    same_labels: int

    @classmethod
    def of(cls, ours: npt.NDArray[Any], theirs: npt.NDArray[Any]) -> Agreement:
        """Of probabilities (N, C), N at least 1; what is no number is as far away as can be."""
        apart = np.abs(ours.astype(np.float64) - theirs.astype(np.float64))
        apart = np.where(np.isfinite(apart), apart, np.inf)
        same = int((ours.argmax(axis=1) == theirs.argmax(axis=1)).sum())
        return cls(len(apart), float(apart.max()), float(apart.mean()), same)


def farthest(ours: npt.NDArray[Any], theirs: npt.NDArray[Any], names: Sequence[str]) -> str:
    """The name of the picture whose probabilities differ most."""
    return names[int(np.nan_to_num(np.abs(ours - theirs), nan=np.inf).max(axis=1).argmax())]
