"""Measure a few-shot curve: the whole way from rows to a head, again on fewer and fewer of the training rows."""

import dataclasses
import time
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from headstart.core.cache.errors import FeaturesInvalid
from headstart.core.heads.curve.draws import Draw, Plan, plan
from headstart.core.heads.curve.errors import Estimate, estimate
from headstart.core.heads.curve.record import Curve, CurvePoint, Gain
from headstart.core.heads.data import Labelled, kept_beside
from headstart.core.heads.sessions.cross_validation import Fit, OnFold
from headstart.core.heads.training.train import predict


@dataclasses.dataclass(frozen=True, eq=False)
class _Level:
    """What heads trained on about `rows` rows said: the accuracies of the repeats, and for each test row the share of
    repeats that had it right, not a number where none was asked (n,)."""

    rows: int
    accuracies: tuple[float, ...]
    right: npt.NDArray[np.float64]


def measure(
    training: Labelled, testing: Labelled | None, fit: Fit, device: str, rngs: Sequence[np.random.Generator], told: OnFold
) -> Curve:
    """The accuracy of the head that `fit` makes of all training rows, of half of them, of a quarter, and so on, drawn by
    `draws.plan` with the generators: of each draw one head, which knows no other row but those that are judging. No head
    is tested on a row that it, or what chose it, has seen. `told` learns how many of how many rows were trained on: a row
    counts each time.

    Raises FeaturesInvalid, and what `fit` raises.
    """
    learning = training.learning
    started, drawn = time.perf_counter(), plan(learning, testing, rngs)
    judged = learning if testing is None else testing
    wanted = [draw.count(level) for level in range(drawn.levels) for repeat in drawn.at(level) for draw in repeat]
    done, found = 0, list[_Level]()
    told(done, sum(wanted))
    for level in reversed(range(drawn.levels)):
        filled = _Filled(len(judged.labels))
        for repeat in drawn.at(level):
            for draw in repeat:
                places = _learned(training, draw, level, drawn.divided)
                filled.put(draw.judge, _right(training, places, judged, draw, fit, device))
                done += draw.count(level)
                told(done, sum(wanted))
            filled.close()
        found.append(filled.level(round(drawn.rows(level))))
    return _curve(found, drawn, judged.groups, time.perf_counter() - started)


def _learned(training: Labelled, draw: Draw, level: int, divided: bool) -> npt.NDArray[np.int64]:
    """The places of the rows that a draw's head is given: those drawn, and those that are judging, which stand behind all
    others, but for those of a group that is tested."""
    rows = draw.first(level)
    if training.judging is None:
        return rows
    tested = draw.judge if divided else draw.judge[:0]
    return np.concatenate([rows, kept_beside(training, int((~training.judging).sum()), tested)])


def _right(
    training: Labelled, places: npt.NDArray[np.int64], judged: Labelled, draw: Draw, fit: Fit, device: str
) -> npt.NDArray[np.bool_]:
    """Which of a draw's test rows are right by the head of the rows at these places (n,)."""
    learn = training.at(places)
    try:
        (fitted,) = fit(learn)
    except FeaturesInvalid as error:
        rows = f"{len(learn.labels):,} of {len(training.labels):,} rows"
        raise FeaturesInvalid(f"in the few-shot curve, on {rows}: {error}; or leave --curve out") from error
    right: npt.NDArray[np.bool_] = (
        predict(fitted.trained.head, judged.features[draw.judge], device) == judged.labels[draw.judge]
    )
    return right


class _Filled:
    """Right answers of the repeats of a level, test row by test row."""

    def __init__(self, rows: int) -> None:
        self._hits, self._asked = np.zeros(rows), np.zeros(rows)
        self._accuracies: list[float] = []
        self._repeat: list[npt.NDArray[np.bool_]] = []

    def put(self, judge: npt.NDArray[np.int64], right: npt.NDArray[np.bool_]) -> None:
        self._hits[judge] += right
        self._asked[judge] += 1
        self._repeat.append(right)

    def close(self) -> None:
        """The repeat is over."""
        self._accuracies.append(float(np.concatenate(self._repeat).mean()))
        self._repeat.clear()

    def level(self, rows: int) -> _Level:
        asked = self._asked > 0
        right = np.divide(self._hits, self._asked, out=np.full(len(asked), np.nan), where=asked)
        return _Level(rows, tuple(self._accuracies), right)


def _curve(levels: Sequence[_Level], drawn: Plan, groups: npt.NDArray[np.int64] | None, elapsed_s: float) -> Curve:
    asked = np.isfinite(levels[-1].right)
    own = None if groups is None else groups[asked]

    def error(values: npt.NDArray[np.float64], by_draw: Sequence[float]) -> Estimate:
        return estimate(values[asked], own, by_draw, apart=drawn.apart)

    points = tuple(CurvePoint(it.rows, it.accuracies, error(it.right, it.accuracies).error) for it in levels)
    gain = None
    if len(points) > 1:
        before, last = levels[-2:]
        # all rows are trained on once where there are test rows: that head is set against each of the draws
        of_last = last.accuracies * (len(before.accuracies) // len(last.accuracies))
        differences = [one - other for one, other in zip(of_last, before.accuracies, strict=True)]
        found = error(last.right - before.right, differences)
        gain = Gain(points[-1].mean - points[-2].mean, found.error, found.margin)
    return Curve(points, int(asked.sum()), gain, round(elapsed_s, 4))
