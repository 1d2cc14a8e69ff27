"""How far a mean over draws of training rows and over test rows may be off: both are samples."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]
Groups = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A standard error, and the half of the 95 % interval that goes with it."""

    error: float
    margin: float


def estimate(values: Values, groups: Groups | None, by_draw: Sequence[float], *, apart: bool) -> Estimate:
    """The error of a mean: of `values` (n,), one for each test row and each a mean over draws, whose means over test rows
    are `by_draw`. Rows with the same number in `groups` (n,) count as one observation.

    The variances over test rows and over draws are added; where the draws were tested on rows `apart` from each other,
    that over draws has the other in it already, and the larger of the two counts. The interval is Student's t with the
    degrees of freedom of F. E. Satterthwaite (Biometrics Bulletin 2, 1946). One draw alone says nothing of draws.
    """
    from scipy.stats import t

    rows, clusters = _over_rows(values, groups)
    draws = float(np.var(by_draw, ddof=1) / len(by_draw)) if len(by_draw) > 1 else 0.0
    draws = max(0.0, draws - rows) if apart else draws
    parts = [(rows, max(clusters - 1, 1)), (draws, max(len(by_draw) - 1, 1))]
    total = rows + draws
    freedom = total**2 / sum(part**2 / free for part, free in parts)
    error = math.sqrt(total)
    return Estimate(error, error * float(t.ppf(0.975, freedom)))


def _over_rows(values: Values, groups: Groups | None) -> tuple[float, int]:
    """The variance of the mean over test rows, groups as a whole, and the number of groups.

    Two pairs are added that differ by a half either way, as to the paired proportions of A. Agresti and Y. Min (Statistics
    in Medicine 24, 2005, 729-740): where eight test rows are all right the error is not 0.
    """
    sums = values - values.mean()
    if groups is not None:
        _, places = np.unique(groups, return_inverse=True)
        sums = np.bincount(places, weights=sums)
    clusters = len(sums)
    scaled = sums * clusters / len(values)
    return float((np.square(scaled).sum() + 1) / (clusters + 2) ** 2), clusters
