"""Labels for features from outside: the most probable classes of each row."""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from headstart.core.cache.errors import FeaturesInvalid
from headstart.core.heads.checkpoint import Checkpoint
from headstart.core.heads.kinds.base import Head
from headstart.core.heads.training.train import probabilities

Labels = tuple[tuple[str, float], ...]
"""Class names with their probabilities, the most probable first."""


@dataclasses.dataclass(frozen=True)
class Photo:
    """A picture and what each head, by name, says of it; or why it could not be read."""

    name: str
    labels: Mapping[str, Labels]
    error: str | None = None


def label(head: Checkpoint, features: Sequence[npt.NDArray[np.float32]], device: str, topk: int) -> list[Labels]:
    """The `topk` most probable classes of each of the features (D,), none that had no training row.

    Raises FeaturesInvalid where D is not the head's.
    """
    if not features:
        return []
    stacked = np.stack(features)
    if stacked.shape[1] != head.head.dim:
        raise FeaturesInvalid(f"features have {stacked.shape[1]} numbers, the head expects {head.head.dim}")
    found = probabilities(head.head.to(device), stacked, device)
    absent = head.head.absent
    ranked = found.copy()
    ranked[:, list(absent)] = -1  # behind those whose probability is rounded to 0
    best = np.argsort(-ranked, axis=1, kind="stable")[:, : min(topk, found.shape[1] - len(absent))]
    return [tuple((head.classes[i], float(row[i])) for i in order) for row, order in zip(found, best, strict=True)]


def caveat(head: Head) -> str | None:
    """What must be said of a head's probabilities, in one sentence; None where they can be read as they are."""
    if head.caveat is not None:
        return head.caveat
    if head.config.sigmoid:
        most = math.e / (math.e + head.classes - 1)
        return f"with the study recipe's sigmoid no probability can exceed {most:.0%}"
    return None
