"""What a head says of pictures by several versions of each: the mean of what it says of each version."""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from headstart.core.heads.data import Labelled
from headstart.core.heads.kinds.base import Head
from headstart.core.heads.statistics.accuracy import Score
from headstart.core.heads.training.train import probabilities

Features = npt.NDArray[np.float32]


def averaged(head: Head, versions: Iterable[Features], device: str, temperature: float) -> Features:
    """For one or more versions of the same pictures, each (N, D) as extracted: the mean (N, C) of the probabilities at the
    head's temperature, each version counted alike."""
    several = [probabilities(head, features, device, temperature).astype(np.float64) for features in versions]
    return np.asarray(sum(several) / len(several), dtype=np.float32)


def averaged_score(head: Head, data: Labelled, device: str, temperature: float) -> Score | None:
    """How many rows get their label from the probabilities averaged over their pictures as they are and all views; None
    without views."""
    if data.views is None:
        return None
    found = averaged(head, [data.features, *data.views], device, temperature)
    return Score(int((found.argmax(axis=1) == data.labels).sum()), len(data.labels))
