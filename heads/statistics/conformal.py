"""Conformal prediction sets: the classes that a picture may be of, the true one among them as often as asked.

A class is in a picture's set where its probability reaches a threshold, which is taken from the probabilities of the true
labels of m rows that were not seen. It is the score of M. Sadinle, J. Lei and L. Wasserman (Least ambiguous set-valued
classifiers with bounded error levels, Journal of the American Statistical Association 114, 2019, 223-234) in split, or
inductive, conformal prediction (V. Vovk, A. Gammerman and G. Shafer, Algorithmic learning in a random world, 2005).

**Guaranteed** where head and temperature were made without the m rows, and these and the new picture are exchangeable: the
true class is in the set with a probability of at least the coverage, over the draw of all of them. It is 1 - k / (m + 1)
where no two probabilities are equal, k being the rank of the threshold. Given the m rows, the coverage of endless new
pictures has the law Beta(m + 1 - k, k), and the number covered of n the beta-binomial one (P. C. Marques F., Universal
distribution of the empirical coverage in split conformal prediction, https://arxiv.org/abs/2303.02770; bounds in
V. Vovk, Conditional validity of inductive conformal predictors, Machine Learning 92, 2013, 349-376). It holds on average
over pictures, for no class and no picture by itself.

**Observed only** for the heads kept here, since the same rows choose the temperature, and an epoch or settings where these
are open. Of few rows all are predicted out of fold, by heads trained on part of them, and the head that is used is trained
on all. That is cross-conformal prediction (V. Vovk, Annals of Mathematics and Artificial Intelligence 74, 2015, 9-28) with
one head in place of the folds'. Where each of K folds' own heads is asked, sets of n rows cover at least
2 c - 1 - 2 c (K - 1) / (n + K) for a coverage c that was asked for, K being far below n (M. Gasparin and A. Ramdas,
Improving the statistical efficiency of cross-conformal prediction, https://arxiv.org/abs/2503.01495). With one head nothing
is guaranteed, as R. F. Barber, E. J. Candès, A. Ramdas and R. J. Tibshirani show of the jackknife, unless a fold more or
less hardly changes a prediction (Predictive inference with the jackknife+, Annals of Statistics 49, 2021, 486-507; for
classes Y. Romano, M. Sesia and E. J. Candès, Classification with valid and adaptive coverage, 2020). A head of all rows is
mostly surer of the truth than those of the folds, so that sets are rather too large.
"""

import math
import numbers
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from headstart.core.cache.errors import ArgumentInvalid
from headstart.core.heads.confidence import Confidence

_ROUNDING = 1e-5
"""Equal probabilities that were computed in two batches differ by less, as a share: a class just below the threshold by
rounding is in the set. That can only make sets larger."""


def check_coverage(coverage: float) -> None:
    """Raise ArgumentInvalid unless it is above 0 and below 1."""
    if not isinstance(coverage, numbers.Real) or not 0 < coverage < 1:
        raise ArgumentInvalid(f"coverage is {coverage!r}, expected a number above 0 and below 1")


def rank(rows: int, coverage: float) -> int:
    """k = floor((m + 1) * (1 - coverage)): the probabilities of so many of m rows may lie at or below the threshold. In
    whole numbers of the decimal as it is written: nine rows are enough for 0.9. Raises ValueError."""
    return math.floor((rows + 1) * _missed(coverage))


def rows_needed(coverage: float) -> int:
    """The fewest rows of which the rank is not 0. Raises ValueError."""
    return math.ceil(1 / _missed(coverage)) - 1


def threshold(sure: Confidence, coverage: float) -> float:
    """The probability from which on a class is in a set: the k-th smallest of the true labels'. Where the rows are fewer
    than `rows_needed` it is 0, so that no class is left out.

    Where `of_label` is a sample at equal steps from the smallest to the largest, it is the largest one of the sample whose
    rank among all rows is at most k. Raises ValueError for a coverage that is none.
    """
    k = rank(sure.rows, coverage)
    if not k or not len(sure.of_label):
        return 0.0
    ranks = 1 + np.round(np.linspace(0, sure.rows - 1, len(sure.of_label))).astype(np.int64)
    return float(sure.of_label[np.searchsorted(ranks, k, side="right") - 1])


def members(probabilities: npt.NDArray[np.float32], least: float, absent: Sequence[int] = ()) -> npt.NDArray[np.bool_]:
    """Which classes are in each row's set (N, C), by probabilities (N, C) and the threshold.

    Those `absent`, which had no training row, are in none: the rows that the threshold is from had no such label either, so
    that the guarantee is one for pictures of the other classes. A set may be empty.
    """
    found = probabilities >= least * (1 - _ROUNDING)
    found[:, list(absent)] = False
    return found


def _missed(coverage: float) -> Fraction:
    check_coverage(coverage)
    return 1 - Fraction(repr(float(coverage)))
