"""Choose among configurations by log loss on rows that the heads did not see, and learn how sure the chosen one may be."""

import contextlib
import dataclasses
import math
import time
from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from headstart.core.cache.errors import FeaturesInvalid
from headstart.core.heads.confidence import Confidence
from headstart.core.heads.config import TrainConfig
from headstart.core.heads.data import Labelled
from headstart.core.heads.data.folds import folds, held_out
from headstart.core.heads.kinds import kind
from headstart.core.heads.selection import temperature
from headstart.core.heads.selection.divided import divided
from headstart.core.heads.selection.record import Selection, Tried
from headstart.core.heads.selection.unseen import Scores
from headstart.core.heads.statistics.calibration import softmax

Labels = npt.NDArray[np.int64]

CROSS_VALIDATED = 5_000
"""Rows up to which each is predicted once by cross-validation; of more, a part is held out once."""
HELD_OUT = 0.2
"""The part held out of more rows."""
FOLDS = 5
PATIENCE = 2
"""Penalties in a row that are clearly worse than the best, after which no weaker one is tried."""
_CLEARLY = 2
"""Standard errors of the difference in log loss from which one penalty is clearly worse than another."""
_HOPELESS = 3
"""Those from which a kind is not tried on more rows."""
_FAR = 4
"""Those from which no weaker penalty is tried."""
_KEPT = 10_001
"""Probabilities of true labels that a head keeps: of more rows, a sample at equal steps."""


@dataclasses.dataclass(frozen=True)
class Found:
    """What a search found: the selection, and of the chosen configuration the confidence and the scores (n, C) of the rows
    that were judged, in the order of the divisions."""

    selection: Selection
    confidence: Confidence
    scores: Scores


def search(data: Labelled, classes: int, configs: Sequence[TrainConfig], device: str, seed: int) -> Found | None:
    """Choose among configurations on the training rows alone; None where no row can be judged, since each is its class's
    only one.

    Each configuration has a temperature of its own, so that log losses compare what heads know and not the scale of their
    scores. A row whose class none of the others is of can be predicted by no head and is left out of the figures. Raises as
    `train_many`.
    """
    started = time.perf_counter()
    sides = divisions(data, np.random.default_rng(seed))
    if not sides:
        return None
    labels = np.concatenate([data.labels[judge] for _, judge in sides])
    return among(divided(data, sides, classes, device), configs, labels, len(sides), data.judging is not None, started)


class Judging(Protocol):
    """What scores rows that heads did not see: `Divided`, or rows of which the others are on the disk."""

    @property
    def first(self) -> npt.NDArray[np.int64] | None:
        """The places of some of the rows that are judged, by which a kind may be left out before the others are asked; None
        where that would save nothing."""

    def threads(self, config: TrainConfig) -> contextlib.AbstractContextManager[None]:
        """Threads for heads of this kind."""

    def scores(self, configs: Sequence[TrainConfig]) -> Iterator[tuple[int, Scores]]:
        """For configurations of one kind their places, and the scores (n, C) of the rows that are judged."""

    def trial(self, configs: Sequence[TrainConfig]) -> Iterator[Scores]:
        """For configurations of one kind the scores (m, C) of the `first` rows alone."""


def among(
    rows: Judging,
    configs: Sequence[TrainConfig],
    labels: Labels,
    sides: int,
    split: bool,
    started: float,
) -> Found | None:
    """Choose among configurations by rows with these labels (n,), in so many divisions, or of a validation `split`: what
    `search` says. `started` is when, by `time.perf_counter`."""
    judged = dict[int, _Judged]()
    for own in _by_kind(configs):
        least = min(judged.values(), key=lambda one: one.log_loss) if judged else None
        if least is None or not _lost(rows, [configs[i] for i in own], labels, least):
            judged.update(_in_turn(rows, configs, own, labels, least))
    if not judged:
        return None
    order = sorted(judged, key=lambda i: (judged[i].log_loss, i))
    tried = [judged[i].against(judged[order[0]]) for i in order]
    near = [place for place, one in enumerate(tried) if one.log_loss - tried[0].log_loss <= one.error]
    chosen = min(near, key=lambda place: (kind(tried[place].config.head).rank, place))
    best = judged[order[chosen]]
    elapsed_s = round(time.perf_counter() - started, 4)
    selection = Selection(max(sides, 1), len(best.losses), tuple(tried), chosen, elapsed_s, split)
    return Found(selection, confidence(best.scores, labels, best.temperature), best.scores)


def divisions(data: Labelled, rng: np.random.Generator) -> list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """Pairs of rows to learn from and rows to judge by: each row judged once, or of many rows a fifth; the rows that are
    `judging` where there are some."""
    if data.judging is not None:
        return [(np.flatnonzero(~data.judging), np.flatnonzero(data.judging))]
    rows = len(data.labels)
    if rows > CROSS_VALIDATED:
        return [held_out(data.labels, data.groups, round(rows * HELD_OUT), rng)]
    try:
        numbers = folds(data.labels, data.groups, FOLDS, rng)
    except FeaturesInvalid:
        return []
    return [(np.flatnonzero(numbers != i), np.flatnonzero(numbers == i)) for i in range(int(numbers.max()) + 1)]


def _by_kind(configs: Sequence[TrainConfig]) -> list[list[int]]:
    """The places of the configurations of each kind of head."""
    names = dict.fromkeys(config.head for config in configs)
    return [[i for i, config in enumerate(configs) if config.head == name] for name in names]


def _lost(rows: Judging, wanted: Sequence[TrainConfig], labels: Labels, best: "_Judged") -> bool:
    """Whether a kind that is `raced` is out by the `first` rows: each of its configurations worse there than the best of
    other kinds by `_HOPELESS` standard errors, as in O. Maron and A. W. Moore, Hoeffding races (Advances in Neural
    Information Processing Systems 6, 1994)."""
    if not kind(wanted[0].head).raced or (first := rows.first) is None:
        return False
    least = _judge(best.config, best.scores[first], labels[first])
    with rows.threads(wanted[0]):
        several = [_judge(config, scores, labels[first]) for config, scores in zip(wanted, rows.trial(wanted), strict=True)]
    return least is not None and all(one is None or _behind(one, least) for one in several)


def _behind(one: "_Judged", best: "_Judged") -> bool:
    """Whether one is worse than the best by `_HOPELESS` standard errors."""
    return one.log_loss - best.log_loss > _HOPELESS * one.against(best).error


def _in_turn(
    rows: Judging,
    configs: Sequence[TrainConfig],
    own: Sequence[int],
    labels: Labels,
    least: "_Judged | None",
) -> Iterator[tuple[int, "_Judged"]]:
    """The configurations of one kind at the places `own`, each judged on all sides before the next is trained on any.

    Where weak penalties cost much more than strong ones, those beyond `PATIENCE` in a row that are clearly worse than the
    best, by `_CLEARLY` standard errors, or beyond one that is by `_FAR`, are not tried. Nor are those beyond the first that
    is no better than a stronger one, where the `least` of other kinds is better than all by `_HOPELESS` standard errors:
    the log loss has one least value along the penalties. None is judged where no row's label could be predicted."""
    wanted = [configs[i] for i in own]
    costly_end, best, worse = kind(wanted[0].head).costly_end, None, 0
    with rows.threads(wanted[0]):
        for at, scores in rows.scores(wanted):
            place = own[at]
            if (one := _judge(configs[place], scores, labels)) is None:
                return
            yield place, one
            turned = best is not None and one.log_loss >= best.log_loss
            best = one if best is None or one.log_loss < best.log_loss else best
            against = one.against(best)
            behind = against.log_loss - best.log_loss
            worse = worse + 1 if behind > _CLEARLY * against.error else 0
            lost = turned and least is not None and _behind(best, least)
            if costly_end and (lost or worse == PATIENCE or (worse and behind > _FAR * against.error)):
                return


@dataclasses.dataclass(frozen=True)
class _Judged:
    """A configuration's scores (n, C) of all rows, and the log losses at its temperature of those (m,) whose label could be
    predicted."""

    config: TrainConfig
    scores: npt.NDArray[np.float32]
    losses: npt.NDArray[np.float64]
    accuracy: float
    temperature: float

    @property
    def log_loss(self) -> float:
        return float(self.losses.mean())

    def against(self, best: "_Judged") -> Tried:
        """With the standard error of the mean difference to the best."""
        differences = self.losses - best.losses
        error = float(differences.std() / math.sqrt(len(differences)))
        return Tried(self.config, self.log_loss, error, self.accuracy, self.temperature)


def _judge(config: TrainConfig, scores: npt.NDArray[np.float32], labels: Labels) -> _Judged | None:
    possible = np.isfinite(scores[np.arange(len(labels)), labels])
    if not possible.any():
        return None
    own, truth = scores[possible].astype(np.float64), labels[possible]
    found = temperature.fit(own, truth)
    losses = temperature.log_losses(own, truth, found)
    return _Judged(config, scores, losses, float((scores[possible].argmax(axis=1) == truth).mean()), found)


def confidence(scores: npt.NDArray[np.float32], labels: npt.NDArray[np.int64], at: float | None = None) -> Confidence:
    """What unseen rows' scores (n, C) and labels (n,) say of how sure a head may be; `at` is a temperature that was fitted
    already. A label that could not be predicted has the probability 0."""
    doubles = scores.astype(np.float64)
    if at is None:
        possible = np.isfinite(doubles[np.arange(len(labels)), labels])
        at = temperature.fit(doubles[possible], labels[possible])
    shares = softmax(doubles, at)
    of_label = np.sort(shares[np.arange(len(labels)), labels].astype(np.float32))
    if len(of_label) > _KEPT:
        of_label = of_label[np.round(np.linspace(0, len(of_label) - 1, _KEPT)).astype(np.int64)]
    return Confidence(at, of_label, len(labels))
