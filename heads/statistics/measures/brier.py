"""The Brier score: how far probabilities are from the labels."""

from headstart.core.heads.statistics.measures.base import Measure
from headstart.core.heads.statistics.outcomes import Outcomes


def brier(found: Outcomes) -> float:
    """The mean squared distance of the probabilities from the one-hot labels, summed over classes: see `calibration`.
    Always defined. With two classes it is twice what is usual there."""
    return found.calibration.brier


MEASURE = Measure("Brier score", brier, 0, 2, higher_is_better=False)
