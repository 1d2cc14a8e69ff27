"""What the rows of a split are by content: each picture is hashed once in a run, and only where that is asked for."""

import hashlib
import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from headstart.core.cache.digests import Digests, from_hex, inputs_digest
from headstart.core.extract.images import Images, stat_digest

_BLOCK = 4096
"""Rows of small arrays that are hashed together."""


class Contents:
    """The contents of a split's rows, and what the file system said of each file before it was read: were it asked
    afterwards, a file that is changed in between would pass for unchanged for ever."""

    def __init__(self, images: Images) -> None:
        self.images = images
        self._marks: list[str | None] = [None] * images.rows
        self._facts: list[bytes | str | None] = ["not asked"] * images.rows

    def marks(self, start: int, stop: int) -> list[str]:
        """The SHA-256 of each row's content, or the reason why its file can't be read. Raises DataNotFound, DataInvalid."""
        self.read(range(start, stop))
        return [mark for mark in self._marks[start:stop] if mark is not None]

    def read(self, rows: Sequence[int]) -> None:
        """Hash these rows, rising, that were not hashed before. Raises DataNotFound, DataInvalid."""
        for start, stop in _spans([row for row in rows if self._marks[row] is None]):
            self._ask(start, stop)
            self._marks[start:stop] = self.images.fingerprints(start, stop)

    def learn(self, row: int, mark: str) -> None:
        """A row's content, as it was read for its features."""
        self._marks[row] = mark

    def inputs(self, start: int, stop: int) -> str:
        """The digest of some rows that a shard is reused by. Raises DataNotFound, DataInvalid."""
        images = self.images
        return inputs_digest(images.ids(start, stop), images.labels(start, stop), self.marks(start, stop))

    def stat(self, start: int, stop: int) -> str | None:
        """What the file system says of some rows, from before they were read (`Images.stat`)."""
        self._ask(start, stop)
        facts = [fact for fact in self._facts[start:stop] if not isinstance(fact, str)]
        return stat_digest(self.images, (start, stop), facts)

    def digests(self, rows: int) -> Digests:
        """Of the first rows (n, 32) those that were hashed; the others, and files that can't be read, are like no other."""
        return from_hex([_mark(row, mark) for row, mark in enumerate(self._marks[:rows])])

    def _ask(self, start: int, stop: int) -> None:
        for first, last in _spans([row for row in range(start, stop) if isinstance(self._facts[row], str)]):
            self._facts[first:last] = self.images.facts(first, last)


def _mark(row: int, mark: str | None) -> str:
    if mark is not None and not mark.startswith("unreadable"):
        return mark
    return hashlib.sha256(b"row %d, whose content is not known" % row).hexdigest()


def _spans(rows: Sequence[int]) -> list[tuple[int, int]]:
    """Rising rows as ranges, none too long."""
    if not rows:
        return []
    numbers: npt.NDArray[np.int64] = np.asarray(rows, dtype=np.int64)
    starts = [0, *(np.flatnonzero(np.diff(numbers) != 1) + 1).tolist(), len(rows)]
    return [
        (rows[at], min(rows[at] + _BLOCK, rows[stop - 1] + 1))
        for first, stop in itertools.pairwise(starts)
        for at in range(first, stop, _BLOCK)
    ]
