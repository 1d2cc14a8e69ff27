"""Which of several backbones to take: the best, or one that can't be told apart from it and costs clearly less."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from headstart.core.heads.statistics.compare import Comparison, all_pairs, mcnemar

LEVEL = 0.05
"""The adjusted p-value from which on a difference may be chance."""
CLEARLY = 1.5
"""How many times as much the best must cost for another to be taken instead: what may be better by chance is still likely
to be better, and speeds that were measured one after the other differ by what else the machine was doing."""


@dataclasses.dataclass(frozen=True)
class Recommendation:
    """What to take. `best` has the most rows right, `tied` are those that can't be told apart from it, itself among them,
    and `recommended` is the one of these that costs least, where that is clearly less, else the best. `against` compares
    the best, which is `first`, with each other, the best of them first; `pairs` were compared in all."""

    best: str
    recommended: str
    tied: tuple[str, ...]
    against: tuple[Comparison, ...]
    pairs: int


def recommend(correct: Mapping[str, npt.NDArray[np.bool_]], costs: Mapping[str, float]) -> Recommendation:
    """What to take, where `correct` (N,) says of each name which of the same rows it has right, and `costs` what it costs.

    Names are compared by McNemar's test, and the p-values corrected by Holm for all pairs, not for those with the best
    alone: which one that is, the same rows have decided. A difference that may be chance is no proof that there is none.
    Raises ValueError for no name, or rows that are not the same.
    """
    if not correct:
        raise ValueError("nothing to choose from")
    order = sorted(correct, key=lambda name: (-int(correct[name].sum()), costs[name], name))
    best, *others = order
    found = {frozenset((one.first, one.second)): one for one in (all_pairs(correct) if others else ())}
    against = tuple(
        Comparison(best, name, mcnemar(correct[best], correct[name]), found[frozenset((best, name))].adjusted)
        for name in others
    )
    tied = (best, *(one.second for one in against if one.adjusted >= LEVEL))
    cheapest = min(tied, key=lambda name: costs[name])
    recommended = cheapest if CLEARLY * costs[cheapest] <= costs[best] else best
    return Recommendation(best, recommended, tied, against, len(found))
