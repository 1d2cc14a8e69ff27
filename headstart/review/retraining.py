"""Heads trained anew on corrected labels, in seconds: what corrections do to the accuracy, and what to look at next.

Nothing is kept; `headstart train-head --corrections` does that.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from headstart.auditing.audit import labelled_rows
from headstart.auditing.found import Audit
from headstart.core.cache.corrected import Corrected, corrected
from headstart.core.cache.corrections import Corrections
from headstart.core.cache.errors import FeaturesInvalid
from headstart.core.heads.audit import labels as label_audit
from headstart.core.heads.audit.unseen import unseen
from headstart.core.heads.config import RECIPES
from headstart.core.heads.selection import procedure
from headstart.core.heads.statistics.accuracy import Score
from headstart.core.heads.statistics.calibration import softmax
from headstart.core.heads.training.train import scores
from headstart.review.contents import Contents
from headstart.review.order import Guessed, Judged

Places = npt.NDArray[np.int64]
Labels = npt.NDArray[np.int64]
Shares = npt.NDArray[np.float64]

Told = Callable[[int, int], None]
"""Told how many of how many steps are done."""

TEST, FOLDS = "the test pictures", "cross-validation"
CONFIG = RECIPES["standard"]


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Accuracies of heads that learned from the labels as they were given (`before`, None where there were none to learn
    from) and as they are corrected (`after`), both on the same pictures with the same, corrected labels. `decisions` stood
    then."""

    by: str
    before: Score | None
    after: Score
    decisions: int
    elapsed_s: float


@dataclasses.dataclass(frozen=True, eq=False)
class Retrained:
    """A comparison, None where no picture could be tested on, and what the heads say of all pictures."""

    comparison: Comparison | None
    current: Corrected
    judged: Judged | None
    guessed: Guessed | None


class Retrainer:
    """Trains on features (N, D) of each backbone, which stay in memory. What heads say by the labels as given is computed
    once."""

    def __init__(
        self, found: Audit, contents: Contents, features: Sequence[npt.NDArray[np.float32]], device: str, seed: int
    ) -> None:
        self._found, self._contents, self._features = found, contents, features
        self._device, self._seed = device, seed
        self._rows = found.rows
        self._before: Labels | None = None

    def current(self, found: Corrections) -> Corrected:
        """The labels (N,) with the decisions that stand."""
        return corrected(found, self._rows.digests, self._rows.labels, self._rows.classes)

    def first(self, found: Corrections) -> Retrained:
        """What is known before anything is trained: the audit's verdict on the labels as given."""
        labels = self._found.labels
        judged = None if labels is None else Judged(labels.places, labels.audit)
        return Retrained(None, self.current(found), judged, None)

    def run(self, found: Corrections, told: Told) -> Retrained:
        """Train and test, by the test split where there is one, else by cross-validation. Raises FeaturesInvalid where
        there are too few labels to learn from."""
        started, current = time.perf_counter(), self.current(found)
        own = np.flatnonzero(current.kept & (current.labels >= 0))
        if len(there := np.unique(current.labels[own])) < 2:
            named = f"all of {current.classes[there[0]]!r}" if len(there) else "no picture has one"
            have = "1 picture has" if len(own) == 1 else f"{len(own):,} pictures have"
            raise FeaturesInvalid(f"{have} a label, {named}: label some of two classes or more first")
        testing = self._rows.testing
        open_ones = np.flatnonzero(current.kept & (current.labels < 0))
        steps = 1 + bool(len(open_ones)) + 2 * bool(testing.any())
        told(0, steps)
        said = self._unseen(current, own)
        told(done := 1, steps)
        guessed = None
        if len(open_ones):
            guessed = _guessed(open_ones, self._learned(current.labels, current.classes, own, open_ones))
            told(done := done + 1, steps)
        before, after = (None, None)
        if testing.any():
            before = self._before_tested()
            told(done := done + 1, steps)
            after = self._tested(current.labels, current.classes, current.kept)
            told(steps, steps)
            by = TEST
        else:
            before, after, by = self._before_folds(), np.full(len(self._rows), -1, dtype=np.int64), FOLDS
            after[own] = said[0].argmax(axis=1)
        elapsed_s = time.perf_counter() - started
        comparison = self._compared(current, before, after, by, len(found.stands), elapsed_s)
        verdict = label_audit.audit(said[0], current.labels[own], said[1], np.random.default_rng(self._seed))
        return Retrained(comparison, current, Judged(own, verdict), guessed)

    def _compared(
        self, current: Corrected, before: Labels | None, after: Labels | None, by: str, decisions: int, elapsed_s: float
    ) -> Comparison | None:
        common = current.kept & (current.labels >= 0)
        common &= self._rows.testing if by == TEST else (self._rows.labels >= 0) | (before is None)
        if after is None or not common.any():
            return None

        def score(predicted: Labels) -> Score:
            return Score(int((predicted == current.labels)[common].sum()), int(common.sum()))

        return Comparison(by, None if before is None else score(before), score(after), decisions, elapsed_s)

    # -------------------------------------------------------------------------------------------- by cross-validation

    def _unseen(self, current: Corrected, own: Places) -> tuple[Shares, npt.NDArray[np.bool_]]:
        """What heads say out of fold of the rows at `own` (n,): probabilities (n, C), and which could be judged."""
        found = [
            unseen(
                labelled_rows(self._rows, features, current.labels, own, self._contents.same),
                len(current.classes),
                CONFIG,
                self._device,
                self._seed,
            )
            for features in self._features
        ]
        judged = np.logical_and.reduce([one.judged for one in found])
        return label_audit.joined([one.probabilities for one in found]), judged

    def _before_folds(self) -> Labels | None:
        """What the audit's heads say out of fold (N,), -1 of rows without a label."""
        if self._found.labels is None:
            return None
        predicted = np.full(len(self._rows), -1, dtype=np.int64)
        predicted[self._found.labels.places] = self._found.labels.audit.proposed
        return predicted

    # --------------------------------------------------------------------------------------------- by the test split

    def _before_tested(self) -> Labels | None:
        if self._before is None:
            self._before = self._tested(self._rows.labels, self._rows.classes, np.ones(len(self._rows), dtype=np.bool_))
        return self._before

    def _tested(self, labels: Labels, classes: Sequence[str], kept: npt.NDArray[np.bool_]) -> Labels | None:
        """The labels (N,) that heads trained on all but the test rows give to these, -1 to others; None where there are not
        two classes to learn from."""
        testing = self._rows.testing
        own = np.flatnonzero(kept & ~testing & (labels >= 0))
        if len(np.unique(labels[own])) < 2:
            return None
        places = np.flatnonzero(testing)
        predicted = np.full(len(self._rows), -1, dtype=np.int64)
        predicted[places] = self._learned(labels, classes, own, places).argmax(axis=1)
        return predicted

    def _learned(self, labels: Labels, classes: Sequence[str], own: Places, places: Places) -> Shares:
        """What heads trained on the rows at `own` say of those at `places` (u,): probabilities (u, C). Rows of a validation
        split only choose."""
        by_split = np.array([one.manifest.split == "val" for one in self._rows.sets])[self._rows.parts[own]]
        judging = by_split if by_split.any() and len(np.unique(labels[own][~by_split])) > 1 else None
        found = list[Shares]()
        for features in self._features:
            given = labelled_rows(self._rows, features, labels, own, self._contents.same)
            data = dataclasses.replace(given, judging=judging)
            (fitted,) = procedure.fit(data, len(classes), [CONFIG], self._device, lambda _: None)
            at = 1.0 if fitted.confidence is None else fitted.confidence.temperature
            found.append(
                softmax(scores(fitted.trained.head, features[places], self._device).numpy().astype(np.float64), at)
            )
        return label_audit.joined(found)


def _guessed(places: Places, shares: Shares) -> Guessed:
    order = np.sort(shares, axis=1)
    return Guessed(places, shares.argmax(axis=1), order[:, -1], order[:, -1] - order[:, -2])
