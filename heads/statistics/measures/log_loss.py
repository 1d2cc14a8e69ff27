"""Log loss: how probable the true labels were."""

import math

from headstart.core.heads.statistics.measures.base import Measure
from headstart.core.heads.statistics.outcomes import Outcomes


def log_loss(found: Outcomes) -> float:
    """The mean negative log-likelihood of the labels, in nats: see `calibration`. Always defined.

    A head that gives each of C classes the same probability has ln C.
    """
    return found.calibration.nll


MEASURE = Measure("log loss", log_loss, 0, math.inf, higher_is_better=False, short=True)
