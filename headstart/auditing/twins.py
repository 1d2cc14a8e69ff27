"""Which pictures of a data set are the same: by content, by features, and by pixels where they can be opened."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from headstart.auditing.found import Twins
from headstart.auditing.pixels.opened import Opened
from headstart.auditing.pixels.proposed import proposed
from headstart.auditing.pixels.verified import SAME, verified
from headstart.auditing.rows import Rows
from headstart.core.heads.audit import duplicates, outliers, sources
from headstart.core.heads.audit.duplicates import NEAR
from headstart.core.heads.neighbours.nearest import Directions, Nearest
from headstart.observer import Observer

Places = npt.NDArray[np.int64]
Shares = npt.NDArray[np.float64]

CANDIDATES = 0.5
"""The share of the median distance to the nearest picture up to which all pairs are looked at by their pixels: mirrored
and cut pictures lie farther apart than `NEAR`, and pixels tell the others from them."""
LOOKED_AT = 40_000
"""Pairs by features that are looked at. Where those within `CANDIDATES` are fewer, pictures and their nearest ones are
too, then their second nearest and so on, whatever their distance: to a network that is not trained, or is shown small
pictures, a mirrored one is another one. Where they are more, they have half."""


@dataclasses.dataclass(frozen=True, eq=False)
class Looked:
    """What one backbone's features say: pairs (P, 2) that are candidates with their distances as shares (P,) of the median,
    whether there were too many, how far rows are from others (N,), and the bursts."""

    pairs: Places
    shares: Shares
    full: bool
    median: float
    deviations: npt.NDArray[np.float64]
    bursts: tuple[Places, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Candidates:
    """The pairs (P, 2) of all backbones, each once with its least share (P,). The first `count` are to be looked at."""

    pairs: Places
    shares: Shares
    count: int

    @property
    def rows(self) -> Places:
        """The rows of the pairs that are to be looked at, rising."""
        return np.unique(self.pairs[: self.count])


def look(rows: Rows, same: Places, features: npt.NDArray[np.float32]) -> Looked:
    """Each content is looked at once, since copies would be nearest to each other: `same` (N,) are the places of the first
    rows of each."""
    first, of = np.unique(same, return_inverse=True)
    directions = Directions(features if len(first) == len(features) else features[first])
    nearest = directions.nearest(outliers.NEIGHBOURS)
    bound = duplicates.bound(nearest, CANDIDATES)
    near = duplicates.near(directions, bound)
    next_to, distances = _next_to(nearest, LOOKED_AT)
    pairs = np.concatenate([near.places, next_to])
    shares = np.concatenate([near.distances.astype(np.float64), distances]) / max(bound.median, 1e-30)
    far = outliers.outliers(nearest).deviations[of]
    ids = [bytes(name) for name in rows.ids]
    own = sources.bursts(ids, rows.parts, lambda pairs: directions.between(of[pairs]), bound.median)
    return Looked(first[pairs], shares, near.full, bound.median, far, tuple(own))


def candidates(seen: list[Looked]) -> Candidates:
    """The pairs of all backbones: those within `CANDIDATES` first, as far as they are no more than half of `LOOKED_AT`,
    then others. Of either each picture and its nearest come before its second nearest: many pictures that are all alike, as
    blank ones, leave room for others."""
    pairs, shares = (np.concatenate([getattr(one, name) for one in seen]) for name in ("pairs", "shares"))
    pairs, shares, _ = _once(pairs, shares, np.zeros(len(pairs), dtype=np.bool_))
    order = np.lexsort((shares, duplicates.ranks(pairs, shares)))
    near = shares[order] <= CANDIDATES
    late = near & (np.cumsum(near) > LOOKED_AT // 2)
    order = np.concatenate([order[near & ~late], order[~near], order[late]])
    return Candidates(pairs[order], shares[order], min(len(order), LOOKED_AT))


def twins(rows: Rows, same: Places, seen: list[Looked], found: Candidates, opened: Opened, observer: Observer) -> Twins:
    """The twins by all backbones, and by pixels from afar: a pair that one of these holds to be alike is looked at; what no
    pixels can be had of is a twin only where it is as near as `NEAR`."""
    pairs, shares, chosen = _all(found, opened, same, len(rows))
    scores = np.full(len(pairs), np.nan)
    scores[chosen] = verified(opened, pairs[chosen], observer)
    by_pixels = np.isfinite(scores)
    kept = np.where(by_pixels, np.nan_to_num(scores) >= SAME, shares <= NEAR)
    kept = np.flatnonzero(kept)[np.lexsort((np.where(by_pixels, -scores, shares)[kept], ~by_pixels[kept]))]
    alike = np.flatnonzero(by_pixels & ~(np.nan_to_num(scores) >= SAME) & (shares <= NEAR))
    alike = alike[np.argsort(shares[alike], kind="stable")]
    copies = np.flatnonzero(same != np.arange(len(rows)))
    exact = np.stack([same[copies], copies], axis=1)
    together = duplicates.groups(np.concatenate([exact, pairs[kept]]), len(rows))
    return Twins(
        tuple(duplicates.groups(exact, len(rows))),
        pairs[kept],
        np.where(by_pixels, scores, shares)[kept],
        by_pixels[kept],
        pairs[alike],
        shares[alike],
        tuple(together),
        duplicates.leaked(together, rows.testing),
        tuple(one.median for one in seen),
        _why(seen, pairs, shares, chosen, opened),
        len(np.setdiff1d(same, same[opened.rows])),
    )


def _all(found: Candidates, opened: Opened, same: Places, rows: int) -> tuple[Places, Shares, npt.NDArray[np.bool_]]:
    """The pairs of features and of pixels, each once, with shares, and which are to be looked at. Of blank pictures, which
    are all alike, there are only as many pairs as put them together."""
    more = proposed(opened, same)
    own = np.arange(len(found.pairs)) < found.count
    pairs, shares, chosen = _once(
        np.concatenate([found.pairs, more]),
        np.concatenate([found.shares, np.full(len(more), np.inf)]),
        np.concatenate([own, np.ones(len(more), dtype=np.bool_)]),
    )
    blank = np.flatnonzero(opened.blank(pairs).all(axis=1))
    few = blank[duplicates.forest(pairs[blank], rows)]
    chosen[few] = True
    kept = np.setdiff1d(np.arange(len(pairs)), np.setdiff1d(blank, few))
    return pairs[kept], shares[kept], chosen[kept]


def _why(seen: list[Looked], pairs: Places, shares: Shares, chosen: npt.NDArray[np.bool_], opened: Opened) -> str | None:
    """Why not all pairs that look alike were compared by their pixels, if so."""
    if any(one.full for one in seen):
        return "the features can't tell the pictures apart: too many pairs are alike, of which the first were compared"
    near = shares <= CANDIDATES
    if opened.why is not None and chosen.any():
        return opened.why
    unread = [opened.reasons[row] for row in np.unique(pairs[chosen]).tolist() if row in opened.reasons]
    if unread:
        return unread[-1]
    if (near & ~chosen).any():
        return (
            f"of {near.sum():,} pairs that look alike {(near & chosen).sum():,} were compared, each picture's nearest first"
        )
    return None


def _next_to(nearest: Nearest, most: int) -> tuple[Places, Shares]:
    """Pairs (P, 2) of rows and their nearest, before those of rows and their second nearest, and so on, the nearest of each
    first, with their distances (P,); no more than `most`."""
    rows, ranks = nearest.places.shape
    pairs = np.sort(np.stack([np.repeat(np.arange(rows), ranks), nearest.places.reshape(-1)], axis=1), axis=1)
    distances = nearest.distances.reshape(-1).astype(np.float64)
    order = np.lexsort((distances, np.tile(np.arange(ranks), rows)))
    _, first = np.unique(pairs[order], axis=0, return_index=True)
    kept = order[np.sort(first)[: max(0, most)]]
    return pairs[kept], distances[kept]


def _once(pairs: Places, shares: Shares, chosen: npt.NDArray[np.bool_]) -> tuple[Places, Shares, npt.NDArray[np.bool_]]:
    """Pairs (P, 2) each once, in rising order, with its least share, chosen where any of its kind is."""
    order = np.lexsort((shares, pairs[:, 1], pairs[:, 0]))
    first = np.ones(len(order), dtype=np.bool_)
    first[1:] = (np.diff(pairs[order], axis=0) != 0).any(axis=1)
    starts = np.flatnonzero(first)
    any_of = np.logical_or.reduceat(chosen[order], starts) if len(starts) else chosen
    return pairs[order[starts]], shares[order[starts]], any_of
