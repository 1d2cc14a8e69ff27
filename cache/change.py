"""What a snapshot of a data set changed of the one before it."""

import collections
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from headstart.core.cache.digests import Digests, to_hex

Labels = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class Pictures:
    """The pictures of a snapshot: their contents (N, 32), class indices (N,), -1 where unknown, the class names, and the
    names of their files; none where rows are no files."""

    digests: Digests
    labels: Labels
    classes: tuple[str, ...]
    files: Sequence[bytes] = ()


@dataclasses.dataclass(frozen=True)
class Difference:
    """What is another than in the snapshot before, in pictures: `gone` are no longer there, `gone_unreadable` of
    those that were left out, `relabelled` have a class of another name, `renamed` files have another name in the same
    class, `copies` are equal to a picture that was there or that came with them. `classes` are the old and the new name of
    each class that was renamed as a whole."""

    gone: int = 0
    relabelled: int = 0
    renamed: int = 0
    copies: int = 0
    classes: tuple[tuple[str, str], ...] = ()
    gone_unreadable: int = 0

    @property
    def words(self) -> list[str]:
        """What there is of each, in words."""
        counted = [
            (self.gone, "no longer there", "no longer there"),
            (self.gone_unreadable, "unreadable picture no longer there", "unreadable pictures no longer there"),
            (self.relabelled, "label changed", "labels changed"),
            (self.renamed, "file renamed", "files renamed"),
            (self.copies, "copy", "copies"),
        ]
        told = [f"{count:,} {one if count == 1 else many}" for count, one, many in counted if count]
        return [*told, *(f"class {old} is now {new}" for old, new in self.classes)]


@dataclasses.dataclass(frozen=True)
class Change:
    """Of `pictures`, the features of `kept` were there, `computed` went through the backbone (equal ones once), and
    `unreadable` could not be decoded. The others are as in `Difference`. `before` is the digest of the snapshot before,
    empty where there was none: all rows are then those of other sets."""

    before: str
    pictures: int
    kept: int
    computed: int
    gone: int
    relabelled: int
    renamed: int = 0
    copies: int = 0
    unreadable: int = 0
    classes: tuple[tuple[str, str], ...] = ()
    gone_unreadable: int = 0

    @property
    def difference(self) -> Difference:
        """What is another than before."""
        return Difference(self.gone, self.relabelled, self.renamed, self.copies, self.classes, self.gone_unreadable)

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON has them; those that came later only where they say something, since the first headstart with
        this layout knows none."""
        later = {
            field.name: field.default for field in dataclasses.fields(self) if field.default is not dataclasses.MISSING
        }
        found = dataclasses.asdict(self) | {"classes": [list(pair) for pair in self.classes]}
        return {name: value for name, value in found.items() if name not in later or value}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "Change":
        """The fields as JSON has them. Raises ValueError, TypeError."""
        pairs = found.get("classes", [])
        change = cls(**{**found, "classes": tuple((old, new) for old, new in pairs)})
        numbers = [value for name, value in vars(change).items() if name not in ("before", "classes")]
        texts = [change.before, *(name for pair in change.classes for name in pair)]
        if not all(type(one) is str for one in texts) or not all(type(one) is int and one >= 0 for one in numbers):
            raise ValueError(f"change is {dict(found)}, expected a digest, numbers of pictures and class names")
        return change


def compared(before: Pictures, now: Pictures) -> Difference:
    """What is another. Equal pictures are told apart by class as far as that goes: a copy more or less is no changed
    label."""
    classes = _renamed_classes(before, now)
    old, new = _by_content(before, dict(classes)), _by_content(now, {})
    gone = relabelled = renamed = 0
    for mark, names in old.items():
        there = new.get(mark, {})
        lost = sum(max(0, len(files) - len(there.get(name, ()))) for name, files in names.items())
        won = sum(max(0, len(files) - len(names.get(name, ()))) for name, files in there.items())
        relabelled += min(lost, won)
        gone += max(0, lost - won)
        renamed += sum(_renamed_files(files, there[name]) for name, files in names.items() if name in there)
    copies = sum(max(0, _count(names) - max(1, _count(old.get(mark, {})))) for mark, names in new.items())
    return Difference(gone, relabelled, renamed, copies, classes)


_Contents = dict[str, dict[str, list[bytes]]]
"""By content and by class name, the files' names below the class's folder."""


def _count(names: Mapping[str, Sequence[bytes]]) -> int:
    return sum(map(len, names.values()))


def _renamed_files(old: Sequence[bytes], new: Sequence[bytes]) -> int:
    """How many files of one content and class have another name."""
    there, here = collections.Counter(old), collections.Counter(new)
    return min((there - here).total(), (here - there).total())


def _renamed_classes(before: Pictures, now: Pictures) -> tuple[tuple[str, str], ...]:
    """The classes that are no longer there and whose pictures, as far as they are there, all have the one class that no
    other class's pictures came to."""
    lost, won = set(before.classes) - set(now.classes), set(now.classes) - set(before.classes)
    if not lost or not won:
        return ()
    old, new = _by_content(before, {}), _by_content(now, {})
    pairs = {(one, other) for mark, names in old.items() for one in names for other in new.get(mark, {}) if one != other}
    came, went = collections.defaultdict[str, set[str]](set), collections.defaultdict[str, set[str]](set)
    for one, other in pairs:
        went[one].add(other)
        came[other].add(one)
    certain = ((one, *went[one]) for one in sorted(lost) if len(went[one]) == 1)
    return tuple((one, other) for one, other in certain if other in won and len(came[other]) == 1)


def _by_content(pictures: Pictures, renamed: Mapping[str, str]) -> _Contents:
    """The files of each content and class; of a class that was renamed, under its new name."""
    found: _Contents = {}
    names = [*(renamed.get(name, name) for name in pictures.classes), ""]  # the last for -1
    files = pictures.files or [b""] * len(pictures.labels)
    for mark, label, file in zip(to_hex(pictures.digests), pictures.labels.tolist(), files, strict=True):
        found.setdefault(mark, {}).setdefault(names[label], []).append(file.partition(b"/")[2] or file)
    return found
