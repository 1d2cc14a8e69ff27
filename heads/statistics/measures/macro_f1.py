"""Macro F1: precision and recall in one number, every class counting alike."""

from headstart.core.heads.statistics.measures.base import Measure
from headstart.core.heads.statistics.outcomes import Outcomes


def macro_f1(found: Outcomes) -> float:
    """The mean over classes of F1, the harmonic mean of precision and recall (scikit-learn's `f1_score`). Always defined.

    A class without rows that is never predicted has no F1 and is left out; one that is predicted, or never found, has 0.
    """
    from sklearn.metrics import f1_score

    return float(f1_score(found.labels, found.predicted, average="macro", zero_division=0))


MEASURE = Measure("macro F1", macro_f1, 0, 1, higher_is_better=True, share=True, short=True)
