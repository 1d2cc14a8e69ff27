"""Accuracy without the test pictures that have a twin in training: a head may know those by heart."""

import dataclasses
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from headstart.core.heads.statistics.accuracy import Score, wilson
from headstart.core.heads.statistics.outcomes import Outcomes

Mask = npt.NDArray[np.bool_]


@dataclasses.dataclass(frozen=True)
class WithoutTwins:
    """How often a head is right on the test pictures that have no twin among those it was trained or chosen on.

    A twin is the same picture; where it is `audited`, near-duplicates that `headstart audit` found are twins too.
    """

    score: Score
    audited: bool = False

    @classmethod
    def of(cls, outcomes: Outcomes, leaked: Mask, audited: bool) -> "WithoutTwins | None":
        """Of a head's outcomes on test rows (T,), of which those `leaked` (T,) have a twin; None where none has."""
        if not leaked.any():
            return None
        right = (outcomes.predicted == outcomes.labels) & ~leaked
        return cls(Score(int(right.sum()), int((~leaked).sum())), audited)

    @classmethod
    def from_json(cls, found: Mapping[str, Any] | None) -> "WithoutTwins | None":
        """What stands in a record, None where nothing does. Raises ValueError, TypeError, KeyError."""
        if found is None:
            return None
        score = Score(**found["score"])
        if not all(type(value) is int for value in (score.correct, score.total)) or not 0 <= score.correct <= score.total:
            raise ValueError(f"without_twins is {found!r}, expected how many of how many rows are right")
        if type(found["audited"]) is not bool or len(found) != 2:
            raise ValueError(f"without_twins is {found!r}, expected a score, and whether near-duplicates count")
        return cls(score, found["audited"])


@dataclasses.dataclass(frozen=True)
class Apart:
    """The same of heads that differ in their seeds: of `test_rows` pictures `leaked` have a twin; `accuracy` is the mean
    over `seeds`, with its 95 % interval over pictures, None where all have one. `chosen` says that twins among the
    validation pictures count."""

    test_rows: int
    leaked: int
    accuracy: float | None
    interval: tuple[float, float] | None
    audited: bool
    seeds: int
    chosen: bool

    def sentence(self, percent: Callable[[float], str] = "{:.2%}".format) -> str:
        """How many have a twin, what that is, and the accuracy without them; `percent` spells shares."""
        where = "training or validation" if self.chosen else "training"
        what = "identical, or nearly so by an audit" if self.audited else "identical"
        one = self.test_rows == 1 or self.leaked == 1
        has = f"{self.leaked:,} of {self.test_rows:,} test pictures {'has' if one else 'have'} a twin in {where} ({what})"
        if self.accuracy is None or self.interval is None:
            return f"{has}: none is left to tell an accuracy by"
        low, high = map(percent, self.interval)
        mean = f", mean of {self.seeds} seeds" if self.seeds > 1 else ""
        return f"{has}; without them {percent(self.accuracy)} (95 % interval {low} to {high}{mean})"


def apart(found: Sequence[WithoutTwins | None], test_rows: int, *, chosen: bool) -> Apart | None:
    """What is known of heads that differ in their seeds and were tested on the same `test_rows` pictures; None where none
    of them is known to have a twin. Of heads of which more is known than of others, those alone count."""
    known = [one for one in found if one is not None]
    if not known:
        return None
    least = min(one.score.total for one in known)
    own = [one for one in known if one.score.total == least]
    mean = statistics.fmean(one.score.accuracy for one in own) if least else None
    return Apart(
        test_rows,
        test_rows - least,
        mean,
        None if mean is None else wilson(mean * least, least),
        any(one.audited for one in own),
        len(own),
        chosen,
    )
