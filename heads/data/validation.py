"""A validation split beside the training rows: what heads are chosen by, or more rows to train on where it can't be."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from headstart.core.cache.text import listed
from headstart.core.heads.config import LEAST_CHOSEN_BY
from headstart.core.heads.data.labelled import Labelled

Labels = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class Validation:
    """The rows of a validation split. `reason` says why nothing can be chosen by them, None where it can: then they are
    `judging` beside the training rows, else they are training rows."""

    rows: Labelled
    reason: str | None

    @property
    def joins(self) -> int:
        """How many rows there are more to train on."""
        return len(self.rows.labels) if self.reason else 0

    def beside(self, training: Labelled, limit: int | None) -> Labelled:
        """The training rows and, behind them, those of the validation split; of rows that join, as many as leave no more
        than `limit` rows."""
        if self.reason is None:
            judging = np.arange(len(training.labels) + len(self.rows.labels)) >= len(training.labels)
            return dataclasses.replace(_appended(training, self.rows, ()), judging=judging, images=training.images)
        room = None if limit is None else max(0, limit - len(training.labels))
        note = f"the validation images are training images too: {self.reason}"
        return _appended(training, self.rows.at(np.arange(len(self.rows.labels))[:room]), (note,))


def validation(rows: Labelled, training: Labels, classes: Sequence[str]) -> Validation:
    """What a validation split is good for beside training rows of these labels (N,), whatever a limit leaves of them.

    Nothing is chosen by fewer rows than an epoch is (`LEAST_CHOSEN_BY`), nor by rows without a class of which a sample of
    so many would hold one; and rows of a class that the training rows lack are wanted among these.
    """
    count = len(rows.labels)
    ours, theirs = (np.bincount(labels, minlength=len(classes)) for labels in (training, rows.labels))
    absent = [classes[i] for i in np.flatnonzero((ours * count >= len(training)) & (theirs == 0)).tolist()]
    further = [classes[i] for i in np.flatnonzero((ours == 0) & (theirs > 0)).tolist()]
    reason = None
    if count < LEAST_CHOSEN_BY:
        reason = f"{'1 is' if count == 1 else f'{count} are'} too few to choose by, expected {LEAST_CHOSEN_BY} or more"
    elif absent:
        reason = f"none of them is of the class{'es' * (len(absent) > 1)} {listed(absent, 3)}, so that they can't choose"
    elif further:
        reason = f"no training image is of the class{'es' * (len(further) > 1)} {listed(further, 3)}, and some of them are"
    return Validation(rows, reason)


def kept_beside(data: Labelled, first: int, left_out: Labels) -> Labels:
    """The places of the rows from `first` on, those of a validation split, that are in no group of the rows left out."""
    places = np.arange(first, len(data.labels))
    if data.groups is None:
        return places
    return places[~np.isin(data.groups[places], data.groups[left_out])]


def _appended(one: Labelled, other: Labelled, notes: tuple[str, ...]) -> Labelled:
    ids = None if one.ids is None or other.ids is None else np.concatenate([one.ids, other.ids])
    both = (one.contents, other.contents)
    return Labelled(
        np.concatenate([one.features, other.features]),
        np.concatenate([one.labels, other.labels]),
        (*one.notes, *other.notes, *notes),
        np.concatenate([one.rows, other.rows]),
        f"{one.images} {other.images}",
        ids=ids,
        contents=None if both[0] is None or both[1] is None else np.concatenate([both[0], both[1]]),
    )
