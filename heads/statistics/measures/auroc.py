"""Area under the ROC curve: whether rows of a class have higher probabilities of it than other rows."""

import numpy as np

from headstart.core.heads.statistics.measures.base import Measure
from headstart.core.heads.statistics.outcomes import Outcomes


def auroc(found: Outcomes) -> float | None:
    """The chance that a row of a class has a higher probability of it than a row of another, equal ones counting as half.

    Of two classes it is that of the second, which is that of the first. Of more it is the mean over classes of each one
    against the rest, all classes counting alike (scikit-learn's `roc_auc_score`, one-vs-rest, macro). Not defined where a
    class has no rows or one class has them all: there is then nothing to compare.
    """
    from sklearn.metrics import roc_auc_score

    rows = found.rows_of_class
    if (rows == 0).any():
        return None
    shown = (1,) if found.classes == 2 else range(found.classes)
    return float(np.mean([roc_auc_score(found.labels == i, found.probabilities[:, i]) for i in shown]))


MEASURE = Measure("AUROC", auroc, 0, 1, higher_is_better=True, share=True)
