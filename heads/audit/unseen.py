"""What heads say of rows that they did not see, of all rows of a set at once."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from headstart.core.heads.config import TrainConfig
from headstart.core.heads.data import Labelled
from headstart.core.heads.data.folds import folds
from headstart.core.heads.selection import procedure, search, temperature
from headstart.core.heads.selection.divided import divided
from headstart.core.heads.sessions.cross_validation import fold_count
from headstart.core.heads.statistics.calibration import softmax


@dataclasses.dataclass(frozen=True, eq=False)
class Unseen:
    """The probabilities (N, C) of all rows by heads that did not see them, which rows' labels could be predicted at all
    (N,), and the settings of the heads."""

    probabilities: npt.NDArray[np.float64]
    judged: npt.NDArray[np.bool_]
    config: TrainConfig


def unseen(data: Labelled, classes: int, config: TrainConfig, device: str, seed: int) -> Unseen:
    """What heads of a configuration say out of fold. What it leaves open, as `auto` does, is chosen once, on all rows, as
    for a head that is kept: one choice among some dozen by all rows tells a head nothing of one of them. Rows of a group
    are never on both sides. One temperature, which suits all rows, makes probabilities of scores.

    Raises FeaturesInvalid where no folds can be dealt, and as `train_many`.
    """
    k, rng = fold_count(data), np.random.default_rng(seed)
    numbers = folds(data.labels, data.groups, k, rng)
    chosen = _chosen(data, classes, config, device, seed)
    sides = [(np.flatnonzero(numbers != i), np.flatnonzero(numbers == i)) for i in range(int(numbers.max()) + 1)]
    order = np.concatenate([judge for _, judge in sides])
    own = divided(data, sides, classes, device)
    with own.threads(chosen):
        ((_, found),) = own.scores([chosen])
    scores = np.empty(found.shape, dtype=np.float64)
    scores[order] = found
    judged = np.isfinite(scores[np.arange(len(order)), data.labels])
    at = temperature.fit(scores[judged], data.labels[judged]) if judged.any() else 1.0
    return Unseen(softmax(scores, at), judged, chosen)


def _chosen(data: Labelled, classes: int, config: TrainConfig, device: str, seed: int) -> TrainConfig:
    tried = procedure.candidates(config, len(data.labels))
    found = search.search(data, classes, tried, device, seed) if len(tried) > 1 else None
    return tried[0] if found is None else found.selection.config
