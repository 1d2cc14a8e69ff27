"""What heads say of rows that they did not see, of all rows of a set at once."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from headstart.core.heads.config import AUTO, TrainConfig
from headstart.core.heads.data import Labelled
from headstart.core.heads.data.folds import folds
from headstart.core.heads.selection import procedure, search, temperature
from headstart.core.heads.selection.divided import Divided, divided
from headstart.core.heads.sessions.cross_validation import fold_count
from headstart.core.heads.statistics.calibration import softmax

OF_MANY = "logreg"
"""The one kind that `auto` tries in an audit of more than `search.CROSS_VALIDATED` rows. An audit needs probabilities, and
keeps no head: of 24,000 rows whose labels people gave, the other kinds took most of the time and ranked no better."""
TOLERANCE = 0.15
"""The largest relative error of coefficients: a ranking needs less than a head that is kept."""
_LEVEL = 4
"""By how many times a gain in log loss must be less than the one before, for weaker penalties not to be tried."""


@dataclasses.dataclass(frozen=True, eq=False)
class Unseen:
    """The probabilities (N, C) of all rows by heads that did not see them, which rows' labels could be predicted at all
    (N,), and the settings of the heads."""

    probabilities: npt.NDArray[np.float64]
    judged: npt.NDArray[np.bool_]
    config: TrainConfig


def unseen(data: Labelled, classes: int, config: TrainConfig, device: str, seed: int) -> Unseen:
    """What heads of a configuration say out of fold. What it leaves open, as `auto` does, is chosen once, on all rows, as
    for a head that is kept: one choice among some dozen by all rows tells a head nothing of one of them. Of many rows
    `auto` tries the penalties of `OF_MANY`, on the very folds that the probabilities are of. Rows of a group are never on
    both sides. One temperature, which suits all rows, makes probabilities of scores.

    Raises FeaturesInvalid where no folds can be dealt, and as `train_many`.
    """
    k, rng = fold_count(data), np.random.default_rng(seed)
    numbers = folds(data.labels, data.groups, k, rng)
    sides = [(np.flatnonzero(numbers != i), np.flatnonzero(numbers == i)) for i in range(int(numbers.max()) + 1)]
    order = np.concatenate([judge for _, judge in sides])
    chosen, found = _scored(divided(data, sides, classes, device), config, data.labels[order], seed)
    scores = np.empty(found.shape, dtype=np.float64)
    scores[order] = found
    judged = np.isfinite(scores[np.arange(len(order)), data.labels])
    at = temperature.fit(scores[judged], data.labels[judged]) if judged.any() else 1.0
    return Unseen(softmax(scores, at), judged, chosen)


def _scored(
    rows: Divided, config: TrainConfig, labels: npt.NDArray[np.int64], seed: int
) -> tuple[TrainConfig, npt.NDArray[np.float32]]:
    """The configuration that is chosen, and its scores (N, C) of rows with these labels (N,), in the order of the
    divisions."""
    many = len(labels) > search.CROSS_VALIDATED
    config = dataclasses.replace(config, head=OF_MANY) if many and config.head == AUTO else config
    tried = procedure.candidates(config, len(labels))
    if many and rows.shared and config.head == OF_MANY and len(tried) > 1:
        found = _walked(rows, tried, labels)
        if found is not None:
            return found
    chosen = _chosen(rows, tried, seed)
    with rows.threads(chosen):
        ((_, scores),) = rows.scores([chosen])
    return chosen, scores


def _walked(
    rows: Divided, tried: Sequence[TrainConfig], labels: npt.NDArray[np.int64]
) -> tuple[TrainConfig, npt.NDArray[np.float32]] | None:
    """From the strongest penalty on the one with the least log loss, and its scores (N, C); None where none was fitted. By
    so many rows the log loss has one least value along the penalties: it ends where that has been passed, or is near."""
    by_penalty = {one.penalty: one for one in tried if one.penalty is not None}
    losses, best = list[float](), None
    with rows.threads(tried[0]):
        for penalty, scores in rows.logistic(tried[0], sorted(by_penalty, reverse=True), TOLERANCE):
            own = scores.astype(np.float64)
            loss = float(temperature.log_losses(own, labels, temperature.fit(own, labels)).mean())
            if not losses or loss < min(losses):
                best = by_penalty[penalty], scores
            losses.append(loss)
            if _levels_off(losses):
                break
    return best


def _levels_off(losses: Sequence[float]) -> bool:
    """Whether the last of falling losses is no gain, or a much smaller one than that before."""
    gains = [before - after for before, after in itertools.pairwise(losses)]
    return bool(gains) and (gains[-1] <= 0 or (len(gains) > 1 and gains[-1] < gains[-2] / _LEVEL))


def _chosen(rows: Divided, tried: list[TrainConfig], seed: int) -> TrainConfig:
    found = search.search(rows.data, rows.classes, tried, rows.device, seed) if len(tried) > 1 else None
    return tried[0] if found is None else found.selection.config
