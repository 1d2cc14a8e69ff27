"""What an audit found: the facts that are printed, written as CSV and given as JSON."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from headstart.auditing.pixels.looked import PictureFaults
from headstart.auditing.rows import Rows
from headstart.core.heads.audit.labels import LabelAudit
from headstart.core.heads.audit.sources import Confused
from headstart.core.heads.statistics.accuracy import Score

Places = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True, eq=False)
class Labels:
    """What is said of the labels. `places` (n,) are the rows that have one, which `audit` is of; `heads` name the head of
    each backbone."""

    places: Places
    audit: LabelAudit
    heads: tuple[str, ...]
    confused: tuple[Confused, ...]

    @property
    def right(self) -> Score:
        """For how many rows the likeliest class, by heads that did not see them, is their label."""
        own = self.audit
        return Score(int((own.margin[own.judged] >= 0).sum()), int(own.judged.sum()))

    @property
    def suspects(self) -> Places:
        """The places of suspects among all rows, the least sure first."""
        return self.places[self.audit.suspects]


@dataclasses.dataclass(frozen=True, eq=False)
class Twins:
    """Pictures that are the same. `exact` are groups of one content, `near` pairs (P, 2) that are nearly the same, with
    `scores` (P,): by pixels where those could be compared (`checked`, (P,) bool), a correlation; else how near features
    are, as a share of the median distance to the nearest picture. `alike` pairs (A, 2) are no twins: features hold them to
    be the same, and pixels don't; `shares` (A,) are their distances as shares of that median. `together` are the groups
    that exact and near twins make. `unopened` contents were not to be opened: no candidate by features has them."""

    exact: tuple[Places, ...]
    near: Places
    scores: npt.NDArray[np.float64]
    checked: npt.NDArray[np.bool_]
    alike: Places
    shares: npt.NDArray[np.float64]
    together: tuple[Places, ...]
    leaked: Places
    bounds: tuple[float, ...]
    why_unchecked: str | None = None
    unopened: int = 0


@dataclasses.dataclass(frozen=True)
class WithoutLeaks:
    """A run's accuracy on its test pictures, and without those that have a twin in training."""

    run: str
    all: Score
    clean: Score

    @property
    def leaked(self) -> int:
        """How many of its test pictures have a twin."""
        return self.all.total - self.clean.total


@dataclasses.dataclass(frozen=True, eq=False)
class Audit:
    """All that was found. `labels` is None where `why_no_labels` says why. `outliers` (O,) are places, the farthest first,
    `deviations` (N,) how far each row is. `small` are classes with their numbers of rows."""

    rows: Rows
    labels: Labels | None
    why_no_labels: str | None
    twins: Twins
    accuracies: tuple[WithoutLeaks, ...]
    outliers: Places
    deviations: npt.NDArray[np.float64]
    bursts: tuple[Places, ...]
    small: tuple[tuple[int, int], ...]
    pictures: PictureFaults
    elapsed_s: float

    @property
    def conflicting(self) -> tuple[Places, ...]:
        """Groups of the same picture with different labels, but those of which each picture was decided on."""
        labels, decided = self.rows.labels, self.rows.decided
        several = (one for one in self.twins.together if len(np.unique(labels[one][labels[one] >= 0])) > 1)
        return tuple(group for group in several if not decided[group].all())
