"""What a snapshot of a data set changed of the one before it."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from headstart.core.cache.digests import Digests, to_hex

Labels = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class Pictures:
    """The pictures of a snapshot: their contents (N, 32), class indices (N,), -1 where unknown, and the class names."""

    digests: Digests
    labels: Labels
    classes: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Change:
    """Of `pictures`, the features of `kept` were there and `computed` went through the backbone (equal ones once), `gone`
    are in the snapshot before and no longer here, of `relabelled` the class has another name. `before` is the digest of
    that snapshot, empty where there was none: all rows are then those of other sets."""

    before: str
    pictures: int
    kept: int
    computed: int
    gone: int
    relabelled: int

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "Change":
        """The fields as JSON has them. Raises ValueError, TypeError."""
        change = cls(**found)
        numbers = [value for name, value in vars(change).items() if name != "before"]
        if type(change.before) is not str or not all(type(one) is int and one >= 0 for one in numbers):
            raise ValueError(f"change is {dict(found)}, expected a digest and numbers of pictures")
        return change


def compared(before: Pictures, now: Pictures) -> tuple[int, int]:
    """How many pictures are no longer there, and how many have a class of another name. Equal pictures are told apart by
    their classes as far as that goes: a copy more or less is no changed label."""
    old, new = _by_content(before), _by_content(now)
    gone = relabelled = 0
    for mark, names in old.items():
        there = new.get(mark, {})
        lost = sum(max(0, count - there.get(name, 0)) for name, count in names.items())
        won = sum(max(0, count - names.get(name, 0)) for name, count in there.items())
        relabelled += min(lost, won)
        gone += max(0, lost - won)
    return gone, relabelled


def _by_content(pictures: Pictures) -> dict[str, dict[str, int]]:
    """How often each content is there in each class."""
    found: dict[str, dict[str, int]] = {}
    names = [*pictures.classes, ""]  # the last for -1
    for mark, label in zip(to_hex(pictures.digests), pictures.labels.tolist(), strict=True):
        counts = found.setdefault(mark, {})
        counts[names[label]] = counts.get(names[label], 0) + 1
    return found
