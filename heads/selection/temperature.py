"""The one temperature at which scores are most believable, for choosing among heads and for showing shares."""

import math

import numpy as np
import numpy.typing as npt

LOG_RANGE = (math.log(1e-3), math.log(1e4))
"""Where the logarithm of a temperature is looked for; scores of kNN and of a strongly penalised ridge lie far apart."""
_MOST_NUMBERS = 2**21
"""Scores that a temperature is fitted to: of more, rows at equal steps."""

Scores = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]


def log_losses(scores: Scores, labels: Labels, temperature: float) -> npt.NDArray[np.float64]:
    """Negative log-likelihoods (N,), in nats, of labels (N,) under softmax(scores (N, C) / temperature). Every label's
    score is finite."""
    behind = _behind(scores, labels) / temperature
    return _log_sum_exp(behind)


def fit(scores: Scores, labels: Labels) -> float:
    """The temperature with the least mean negative log-likelihood of labels (N,) under scores (N, C), both of rows that the
    heads did not see, N at least 1.

    A label counts as 1 - 1 / (N + 2), the rest goes to all classes that have a score: with J. C. Platt's correction of the
    targets (Probabilistic outputs for support vector machines, 1999) the optimum is finite where every row is right, and a
    few rows never make a head certain. It changes no label.
    """
    from scipy.optimize import minimize_scalar

    step = max(1, math.ceil(scores.size / _MOST_NUMBERS))
    some, truth = scores[::step], labels[::step]
    behind, smooth = _behind(some, truth), 1 / (len(labels) + 2)
    finite = np.isfinite(behind)
    lift = smooth * np.where(finite, behind, 0).sum(axis=1).mean() / max(1, finite.sum() / len(some))

    def cost(log_temperature: float) -> float:
        scale = math.exp(-log_temperature)
        return float(_log_sum_exp(behind * scale).mean() - lift * scale)

    return math.exp(float(minimize_scalar(cost, bounds=LOG_RANGE, method="bounded", options={"xatol": 1e-4}).x))


def _behind(scores: Scores, labels: Labels) -> Scores:
    """Scores less that of the label."""
    return scores - scores[np.arange(len(labels)), labels][:, None]


def _log_sum_exp(values: Scores) -> npt.NDArray[np.float64]:
    top = values.max(axis=1)
    with np.errstate(under="ignore"):
        return np.asarray(top + np.log(np.exp(values - top[:, None]).sum(axis=1)))
