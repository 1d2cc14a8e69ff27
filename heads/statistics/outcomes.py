"""What a head said of labelled rows: the one thing that every measure is taken of."""

import dataclasses
import functools

import numpy as np
import numpy.typing as npt

from headstart.core.heads.statistics.calibration import Calibration, calibration
from headstart.core.heads.statistics.checks import check_labels, check_probabilities


@dataclasses.dataclass(frozen=True, eq=False)
class Outcomes:
    """Class indices `labels` (N,) as they are and `predicted` (N,) as a head gave them, with its `probabilities` (N, C).

    `predicted` is not computed here: it is the highest score, and two probabilities that were rounded to float32 may be
    equal where the scores are not. Raises ValueError for no rows, for anything but class indices and for anything but
    probabilities.
    """

    labels: npt.NDArray[np.int64]
    predicted: npt.NDArray[np.int64]
    probabilities: npt.NDArray[np.floating]

    def __post_init__(self) -> None:
        checked = check_probabilities(self.probabilities)
        for values, what in ((self.labels, "labels"), (self.predicted, "predicted")):
            check_labels(values, checked.shape[1], what, rows=len(checked))

    @property
    def classes(self) -> int:
        """C, how many classes there are."""
        return int(self.probabilities.shape[1])

    @property
    def rows_of_class(self) -> npt.NDArray[np.int64]:
        """How many rows (C,) each class has."""
        return np.bincount(self.labels, minlength=self.classes)

    @functools.cached_property
    def calibration(self) -> Calibration:
        """ECE, log loss and Brier score with their reliability curve, computed once for the measures that share them."""
        return calibration(self.probabilities, self.labels)
