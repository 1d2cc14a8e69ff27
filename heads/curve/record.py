"""A few-shot curve as it is kept: its points, and what the last doubling of the training rows brought."""

import dataclasses
import itertools
import math
import statistics
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass(frozen=True)
class CurvePoint:
    """Accuracies (fractions of 1) of heads trained on `rows` rows, one for each draw: see `measure.measure`.

    `error` is the standard error of their mean, over draws and test rows (`errors.Estimate`). Raises ValueError for
    anything else.
    """

    rows: int
    accuracies: tuple[float, ...]
    error: float

    def __post_init__(self) -> None:
        if type(self.rows) is not int or self.rows < 1:
            raise ValueError(f"a point of the curve is at {self.rows!r} rows, expected 1 or more")
        if not self.accuracies or not all(_is_number(share) and 0 <= share <= 1 for share in self.accuracies):
            raise ValueError(f"accuracies of the curve are {self.accuracies!r}, expected numbers from 0 to 1")
        _check_error(self.error)

    @property
    def mean(self) -> float:
        """The mean over draws."""
        return statistics.fmean(self.accuracies)


@dataclasses.dataclass(frozen=True)
class Gain:
    """What the accuracy gained from a point to the next, a fraction of 1, with its standard `error` over draws and test
    rows and the half of its 95 % interval, `margin`. Raises ValueError for anything else."""

    value: float
    error: float
    margin: float

    def __post_init__(self) -> None:
        if not _is_number(self.value) or not -1 <= self.value <= 1:
            raise ValueError(f"the gain of the curve is {self.value!r}, expected a number from -1 to 1")
        _check_error(self.error)
        _check_error(self.margin)

    @property
    def interval(self) -> tuple[float, float]:
        """The ends of the 95 % interval."""
        return self.value - self.margin, self.value + self.margin


@dataclasses.dataclass(frozen=True)
class Curve:
    """Points by rising numbers of rows, tested on `test_rows` rows. `gain` is that from the last point but one to the last,
    None where there is one point. Raises ValueError for anything else."""

    points: tuple[CurvePoint, ...]
    test_rows: int
    gain: Gain | None
    elapsed_s: float

    def __post_init__(self) -> None:
        rows = [point.rows for point in self.points]
        if not rows or any(one >= other for one, other in itertools.pairwise(rows)):
            raise ValueError(f"points of the curve are at {rows} rows, expected rising numbers")
        if (self.gain is None) != (len(rows) == 1):
            raise ValueError(f"a curve of {len(rows)} points has the gain {self.gain!r}")
        if type(self.test_rows) is not int or self.test_rows < 1:
            raise ValueError(f"the curve was tested on {self.test_rows!r} rows, expected 1 or more")
        if not _is_number(self.elapsed_s):
            raise ValueError(f"the curve took {self.elapsed_s!r} seconds, expected a number")

    def doubled(self) -> tuple[float, float] | None:
        """What twice the rows may add to the accuracy, from least to most; None where there is one point.

        By the power law of learning curves, error(N) = a + b N^-c (C. Cortes et al., Learning Curves: Asymptotic Values and
        Rate of Convergence, NIPS 1993; J. Hestness et al., https://arxiv.org/abs/1712.00409, find it in deep networks, with
        c below 1/2; 1 is the rate of a problem without noise). From N / r to N rows it falls by b N^-c (r^c - 1), from N to
        2 N by b N^-c (1 - 2^-c). So whatever a and b are, the next gain is a share of the last one: ln 2 / ln r where c is
        near 0 and the accuracy rises by the logarithm, 1 / (2 (r - 1)) at c = 1; after a doubling, between all and half of
        it. A fit of three numbers to a handful of points would say no more. The ends are those of the gain's 95 %
        interval, the lower one with the lesser share. Nothing gains more than it has wrong, known to 1.96 errors.
        """
        if self.gain is None:
            return None
        before, last = self.points[-2:]
        ratio = last.rows / before.rows
        most, least = math.log(2) / math.log(ratio), 0.5 / (ratio - 1)
        low, high = self.gain.interval
        ends = low * (least if low > 0 else most), high * (most if high > 0 else least)
        wrong = [1 - last.mean - 1.96 * last.error, 1 - last.mean + 1.96 * last.error]
        return max(min(ends[0], max(wrong[0], 0.0)), -last.mean), min(ends[1], wrong[1])

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "Curve":
        """What `dataclasses.asdict` gave, from JSON. Raises ValueError, TypeError, KeyError."""
        points = tuple(CurvePoint(**{**one, "accuracies": tuple(one["accuracies"])}) for one in found["points"])
        gain = None if found["gain"] is None else Gain(**found["gain"])
        return cls(**{**found, "points": points, "gain": gain})


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]


def _check_error(value: object) -> None:
    if not _is_number(value) or value < 0:  # type: ignore[operator]
        raise ValueError(f"an error of the curve is {value!r}, expected a number of 0 or more")
