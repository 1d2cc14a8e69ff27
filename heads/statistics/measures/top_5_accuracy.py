"""Top-5 accuracy: whether the true class is among the five most probable."""

import numpy as np

from headstart.core.heads.statistics.measures.base import Measure
from headstart.core.heads.statistics.outcomes import Outcomes

LEAST_CLASSES = 10


def top_5_accuracy(found: Outcomes) -> float | None:
    """The share of rows whose label is among the five most probable classes. Not defined below ten classes, where guessing
    would be right in more than half of all rows.

    Where classes are equally probable at the fifth place, the label counts with the chance of being drawn among them;
    without such ties this is scikit-learn's `top_k_accuracy_score`, which takes those with the highest indices.
    """
    if found.classes < LEAST_CLASSES:
        return None
    own = found.probabilities[np.arange(len(found.labels)), found.labels][:, None]
    above = (found.probabilities > own).sum(axis=1)
    level = (found.probabilities == own).sum(axis=1)
    return float(np.clip((5 - above) / level, 0, 1).mean())


MEASURE = Measure("top-5 accuracy", top_5_accuracy, 0, 1, higher_is_better=True, share=True)
