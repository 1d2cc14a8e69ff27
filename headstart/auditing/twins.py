"""Which pictures of a data set are the same: by content, by features, and by pixels where they can be opened."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import numpy.typing as npt

from headstart.auditing.found import Twins
from headstart.auditing.pixels.verified import SAME, verified
from headstart.auditing.rows import Rows
from headstart.core.heads.audit import duplicates, outliers, sources
from headstart.core.heads.audit.duplicates import NEAR
from headstart.core.heads.neighbours.nearest import Directions, Nearest
from headstart.observer import Observer

Places = npt.NDArray[np.int64]

CANDIDATES = 0.5
"""The share of the median distance to the nearest picture up to which all pairs are looked at by their pixels: mirrored
and cut pictures lie farther apart than `NEAR`, and pixels tell the others from them."""
LOOKED_AT = 40_000
"""Where these are fewer, pictures and their nearest ones are looked at too, then their second nearest and so on, whatever
their distance: to a network that is not trained, or is shown small pictures, a mirrored one is another one."""


@dataclasses.dataclass(frozen=True, eq=False)
class Looked:
    """What one backbone's features say: pairs (P, 2) that are candidates with their distances as shares (P,) of the median,
    whether there were too many, how far rows are from others (N,), and the bursts."""

    pairs: Places
    shares: npt.NDArray[np.float64]
    full: bool
    median: float
    deviations: npt.NDArray[np.float64]
    bursts: tuple[Places, ...]


def look(rows: Rows, same: Places, features: npt.NDArray[np.float32]) -> Looked:
    """Each content is looked at once, since copies would be nearest to each other: `same` (N,) are the places of the first
    rows of each."""
    first, of = np.unique(same, return_inverse=True)
    directions = Directions(features if len(first) == len(features) else features[first])
    nearest = directions.nearest(outliers.NEIGHBOURS)
    bound = duplicates.bound(nearest, CANDIDATES)
    near = duplicates.near(directions, bound)
    pairs, shares = near.places, near.distances.astype(np.float64) / max(bound.median, 1e-30)
    next_to, distances = _next_to(nearest, LOOKED_AT - len(pairs))
    pairs = np.concatenate([pairs, next_to])
    shares = np.concatenate([shares, distances / max(bound.median, 1e-30)])
    far = outliers.outliers(nearest).deviations[of]
    ids = [bytes(name) for name in rows.ids]
    own = sources.bursts(ids, rows.parts, lambda pairs: directions.between(of[pairs]), bound.median)
    return Looked(first[pairs], shares, near.full, bound.median, far, tuple(own))


def twins(rows: Rows, same: Places, seen: list[Looked], data_dir: Path, observer: Observer) -> Twins:
    """The twins by all backbones: a pair that one of them holds to be alike is looked at; what no pixels can be had of is
    a twin only where it is as near as `NEAR`."""
    pairs, shares = _joined(seen)
    checked = verified(rows, pairs, data_dir, observer)
    by_pixels = np.isfinite(checked.scores)
    kept = np.where(by_pixels, np.nan_to_num(checked.scores) >= SAME, shares <= NEAR)
    alike = by_pixels & ~kept & (shares <= NEAR)
    copies = np.flatnonzero(same != np.arange(len(rows)))
    exact = np.stack([same[copies], copies], axis=1)
    together = duplicates.groups(np.concatenate([exact, pairs[kept]]), len(rows))
    why = checked.why
    if any(one.full for one in seen):
        why = "the features can't tell the pictures apart: too many pairs are alike, of which the first were compared"
    return Twins(
        tuple(duplicates.groups(exact, len(rows))),
        pairs[kept],
        np.where(by_pixels, checked.scores, shares)[kept],
        by_pixels[kept],
        pairs[alike],
        shares[alike],
        tuple(together),
        duplicates.leaked(together, rows.testing),
        tuple(one.median for one in seen),
        why,
    )


def _next_to(nearest: Nearest, most: int) -> tuple[Places, npt.NDArray[np.float64]]:
    """Pairs (P, 2) of rows and their nearest, before those of rows and their second nearest, and so on, the nearest of each
    first, with their distances (P,); no more than `most`."""
    rows, ranks = nearest.places.shape
    pairs = np.sort(np.stack([np.repeat(np.arange(rows), ranks), nearest.places.reshape(-1)], axis=1), axis=1)
    distances = nearest.distances.reshape(-1).astype(np.float64)
    order = np.lexsort((distances, np.tile(np.arange(ranks), rows)))
    _, first = np.unique(pairs[order], axis=0, return_index=True)
    kept = order[np.sort(first)[: max(0, most)]]
    return pairs[kept], distances[kept]


def _joined(seen: list[Looked]) -> tuple[Places, npt.NDArray[np.float64]]:
    """The pairs of all backbones once, each with its least share, the nearest first."""
    pairs, shares = (np.concatenate([getattr(one, name) for one in seen]) for name in ("pairs", "shares"))
    order = np.lexsort((pairs[:, 1], pairs[:, 0], shares))
    _, first = np.unique(pairs[order], axis=0, return_index=True)
    chosen = order[np.sort(first)]
    return pairs[chosen], shares[chosen]
