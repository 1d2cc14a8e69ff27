"""Rows drawn at random so that every class keeps its share: sub-sets, each within the next larger one, and hold-outs."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.int64]
"""Places among the rows, int64."""

NAMED = 8
"""Classes that a message names."""


def in_shares(labels: Rows, rng: np.random.Generator) -> Rows:
    """The rows (N,) in an order whose first n hold the classes of `labels` (N,) in their shares of the whole, each class
    one row at least as soon as n allows it.

    The j-th row of a class of m, from 0, comes at j / m: the divisor method of Adams (M. L. Balinski and H. P. Young, Fair
    Representation, 1982). Which row of a class comes when is drawn, and so is the order of equals.
    """
    rank, size, drawn = _ranked(labels, rng)
    return _by(rank / size, drawn)


def sample(labels: Rows, count: int, rng: np.random.Generator) -> Rows:
    """`count` of the rows, at least one, drawn by `in_shares`, in their own order (count,)."""
    return np.sort(in_shares(labels, rng)[:count])


def divide(labels: Rows, count: int, rng: np.random.Generator) -> tuple[Rows, Rows]:
    """The rows that stay and the `count` that are held out, each in their own order, every class in its share.

    The j-th row of a class of m comes at (j + 1/2) / m: the divisor method of Webster (as in `in_shares`). One row of each
    class always stays, so that a class of one row is not held out, and fewer than `count` are where nothing else is left.
    """
    order = spread(labels, rng)
    held = min(count, len(labels) - len(np.unique(labels)))
    return np.sort(order[held:]), np.sort(order[:held])


def spread(labels: Rows, rng: np.random.Generator) -> Rows:
    """The rows (N,) in the order in which `divide` holds them out, the last of each class at the end."""
    rank, size, drawn = _ranked(labels, rng)
    return _by(np.where(rank == size - 1, np.inf, (rank + 0.5) / size), drawn)


def _ranked(labels: Rows, rng: np.random.Generator) -> tuple[Rows, Rows, Rows]:
    """Each row's place among those of its class, from 0, and how many these are; and the permutation that decided it."""
    drawn = rng.permutation(len(labels)).astype(np.int64)
    counts = np.bincount(labels)
    grouped = drawn[np.argsort(labels[drawn], kind="stable")]
    rank = np.empty_like(drawn)
    rank[grouped] = np.arange(len(labels)) - np.repeat(np.cumsum(counts) - counts, counts)
    return rank, counts[labels], drawn


def _by(key: npt.NDArray[np.float64], drawn: Rows) -> Rows:
    found: Rows = drawn[np.argsort(key[drawn], kind="stable")]
    return found


def named(names: Sequence[str]) -> str:
    """Names for a message, the last ones counted where they are many: "a, b and 12 more"."""
    shown, more = names[:NAMED], len(names) - NAMED
    return ", ".join(shown) + (f" and {more:,} more" if more > 0 else "")


FEW = 2
"""Classes with as many training rows are named."""
UNEVEN = 10
"""Where the largest class has so many times the training rows of the smallest, heads learn how rare it is: that is said.
With 2 of 62 pictures in a class, a test with as many of each class gave 69 % correct, and 73 % with balanced weights
(docs/heads.md); that ten times is worth a word is a judgement."""


def missing_classes(
    classes: Sequence[str], train: npt.NDArray[np.int64], test: npt.NDArray[np.int64] | None
) -> tuple[str, ...]:
    """What must be said of classes that have no row to learn from, few, or none to be tested on."""
    found, counts = [], np.bincount(train, minlength=len(classes))
    few = [f"{name} ({count})" for name, count in zip(classes, counts.tolist(), strict=True) if 0 < count <= FEW]
    told = [("training row, never predicted", [classes[i] for i in np.flatnonzero(counts == 0).tolist()])]
    if test is not None:
        told.append(("test row", [classes[i] for i in np.setdiff1d(np.arange(len(classes)), test)]))
    for what, absent in told:
        if absent:
            has = "has" if len(absent) == 1 else "have"
            found.append(f"{len(absent):,} of {len(classes):,} classes {has} no {what}: {named(absent)}")
    if few:
        has = "has" if len(few) == 1 else "have"
        found.append(f"{len(few):,} of {len(classes):,} classes {has} no more than {FEW} training rows: {named(few)}")
    return tuple(found)


def uneven_classes(train: npt.NDArray[np.int64]) -> tuple[str, ...]:
    """What must be said to somebody who gives no weights, where some classes are rare in training."""
    counts = np.bincount(train)
    least, most = int(counts[counts > 0].min()), int(counts.max())
    if most < UNEVEN * least:
        return ()
    return (
        f"classes have {least:,} to {most:,} training rows, and heads seldom name rare ones: train with --class-weight "
        "balanced if they won't be rare among the pictures to come",
    )
