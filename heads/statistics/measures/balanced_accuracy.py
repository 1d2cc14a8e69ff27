"""Balanced accuracy: every class counts alike, however many rows it has."""

import numpy as np

from headstart.core.heads.statistics.measures.base import Measure
from headstart.core.heads.statistics.outcomes import Outcomes


def balanced_accuracy(found: Outcomes) -> float:
    """The mean of the recalls of the classes that have rows (scikit-learn's `balanced_accuracy_score`). Always defined.

    It equals the accuracy where all classes have equally many rows.
    """
    from sklearn.metrics import recall_score

    present = np.unique(found.labels)
    return float(recall_score(found.labels, found.predicted, labels=present, average="macro", zero_division=0))


MEASURE = Measure("balanced accuracy", balanced_accuracy, 0, 1, higher_is_better=True, share=True, short=True)
