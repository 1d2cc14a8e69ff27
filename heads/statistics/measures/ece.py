"""Expected calibration error: whether 90 % means 90 %."""

from headstart.core.heads.statistics.measures.base import Measure
from headstart.core.heads.statistics.outcomes import Outcomes


def ece(found: Outcomes) -> float:
    """The mean distance between confidence and accuracy over 15 bins of equal width: see `calibration`. Always defined.

    Chance alone keeps it above 0, the more so the fewer rows there are: compare it only on equally many.
    """
    return found.calibration.ece


MEASURE = Measure("calibration error (ECE)", ece, 0, 1, higher_is_better=False, share=True)
