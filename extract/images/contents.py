"""What the rows of a split are by content: each picture is hashed once in a run, and only where that is asked for; and
whether they are still those that features were made from."""

import dataclasses
import functools
import hashlib
import itertools
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from headstart.core.cache.digests import SIZE, Digests, inputs_digest, to_hex
from headstart.core.cache.known_files import NO_FACTS, Facts, KnownFiles, nothing_known
from headstart.core.cache.manifest import Manifest
from headstart.core.extract.images import Images, rows_digest, stat_digest

_BLOCK = 4096
"""Rows of small arrays that are hashed together."""


@dataclasses.dataclass(frozen=True)
class KnownRows:
    """What is known of the n rows from `start` on: digests (n, 32) and which were `hashed` (n,), by row the reasons of
    files that can't be read, facts (n, 4) and which were `asked` for (n,)."""

    start: int
    digests: Digests
    hashed: npt.NDArray[np.bool_]
    unreadable: dict[int, str]
    facts: Facts
    asked: npt.NDArray[np.bool_]


class Contents:
    """The contents of a split's rows, and what the file system said of each file before it was read: were it asked
    afterwards, a file that is changed in between would pass for unchanged for ever.

    What `remembered` gives, asked when it is first needed, is not read again. Arrays, since a million rows are no rarity:
    66 bytes a row.
    """

    def __init__(self, images: Images, remembered: Callable[[], KnownFiles] = nothing_known) -> None:
        self.images = images
        self._remembered = functools.cache(remembered)
        self._digests: Digests = np.zeros((images.rows, SIZE), dtype=np.uint8)
        self._hashed: npt.NDArray[np.bool_] = np.zeros(images.rows, dtype=np.bool_)
        self._unreadable: dict[int, str] = {}
        self._facts: Facts = np.zeros((images.rows, len(NO_FACTS)), dtype=np.int64)
        self._asked: npt.NDArray[np.bool_] = np.zeros(images.rows, dtype=np.bool_)

    def marks(self, start: int, stop: int) -> list[str]:
        """The SHA-256 of each row's content, or the reason why its file can't be read. Raises DataNotFound, DataInvalid."""
        self.read(range(start, stop))
        marks = to_hex(self._digests[start:stop])
        return [self._unreadable.get(row, mark) for row, mark in enumerate(marks, start)]

    def read(self, rows: Sequence[int]) -> None:
        """Hash these rows, rising, that were not hashed before. Raises DataNotFound, DataInvalid."""
        for start, stop in _spans(rows, self._hashed):
            self._recall(start, stop)
        for start, stop in _spans(rows, self._hashed):
            for row, mark in enumerate(self.images.fingerprints(start, stop), start):
                self.learn(row, mark)

    def learn(self, row: int, mark: str) -> None:
        """A row's content, as it was read for its features."""
        self._hashed[row] = True
        self._unreadable.pop(row, None)
        if mark.startswith("unreadable"):
            self._unreadable[row] = mark
        else:
            self._digests[row] = np.frombuffer(bytes.fromhex(mark), dtype=np.uint8)

    def known(self, start: int, stop: int) -> KnownRows:
        """What is known of some rows, for another process or from one."""
        own = slice(start, stop)
        unreadable = {row: reason for row, reason in self._unreadable.items() if start <= row < stop}
        return KnownRows(start, self._digests[own], self._hashed[own], unreadable, self._facts[own], self._asked[own])

    def take(self, known: KnownRows) -> None:
        """Know what another process knows of some rows."""
        own = slice(known.start, known.start + len(known.hashed))
        self._digests[own], self._hashed[own] = known.digests, known.hashed
        self._facts[own], self._asked[own] = known.facts, known.asked
        for row in range(own.start, own.stop):
            self._unreadable.pop(row, None)
        self._unreadable.update(known.unreadable)

    def inputs(self, start: int, stop: int) -> str:
        """The digest of some rows that a shard is reused by. Raises DataNotFound, DataInvalid."""
        images = self.images
        return inputs_digest(images.ids(start, stop), images.labels(start, stop), self.marks(start, stop))

    def stat(self, start: int, stop: int) -> str | None:
        """What the file system says of some rows, from before they were read (`Images.stat`)."""
        self._ask(start, stop)
        return stat_digest(self.images, (start, stop), self._facts[start:stop])

    def digests(self, rows: int) -> Digests:
        """Of the first rows (n, 32) those that were hashed; the others, and files that can't be read, are like no other."""
        found = self._digests[:rows].copy()
        nowhere = [*np.flatnonzero(~self._hashed[:rows]).tolist(), *(row for row in self._unreadable if row < rows)]
        for row in nowhere:
            found[row] = np.frombuffer(_like_no_other(row), dtype=np.uint8)
        return found

    def unread(self, start: int, stop: int) -> set[str]:
        """The SHA-256s of these rows as far as they are known without reading a file."""
        for first, last in _spans(range(start, stop), self._hashed):
            self._recall(first, last)
        return {*to_hex(self._digests[start:stop][self._hashed[start:stop]])}

    def remembered(self, ids: Sequence[bytes]) -> list[str | None]:
        """The SHA-256 of what each of these ids was in the last snapshot that remembers any file; None where none knows."""
        digests, known = self._remembered().contents(ids)
        return [mark if there else None for mark, there in zip(to_hex(digests), known.tolist(), strict=True)]

    def known_files(self, rows: int) -> KnownFiles:
        """The files of the first rows whose contents are known, to be remembered."""
        for start, stop in _spans(range(rows), self._hashed):
            self._recall(start, stop)
        self._ask(0, rows)
        known = self._hashed[:rows] & self._facts[:rows].any(axis=1)
        known[[row for row in self._unreadable if row < rows]] = False
        places = np.flatnonzero(known)
        ids = self.images.ids(0, rows)
        return KnownFiles.of([ids[place] for place in places.tolist()], self._facts[places], self._digests[places])

    def _recall(self, start: int, stop: int) -> None:
        """Take what is remembered of files that are what they were; of a range of rows none of which is hashed."""
        self._ask(start, stop)
        found, same = self._remembered().find(self.images.ids(start, stop), self._facts[start:stop])
        self._digests[start:stop][same] = found[same]
        self._hashed[start:stop][same] = True

    def _ask(self, start: int, stop: int) -> None:
        for first, last in _spans(range(start, stop), self._asked):
            self._facts[first:last] = self.images.facts(first, last)
            self._asked[first:last] = True


def same_images(images: Images, manifest: Manifest) -> bool:
    """Whether the rows that a feature set covers are these images, by content, in the order that the set has them in.

    Files whose size, times and inode are the recorded ones are not read again, as `git` does it. Raises OSError,
    DataNotFound, DataInvalid.
    """
    if images.rows < manifest.stop or images.split != manifest.split or images.classes != manifest.classes:
        return False
    images = images.in_order(manifest.provenance.order)
    for shard in manifest.shards:
        span = (shard.start, shard.stop)
        stat = images.stat(*span)
        if stat is not None and stat == shard.inputs_stat:
            continue
        if rows_digest(images, span) != shard.inputs:
            return False
    return True


def _like_no_other(row: int) -> bytes:
    return hashlib.sha256(b"row %d, whose content is not known" % row).digest()


def _spans(rows: Sequence[int], done: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Of rising rows those that are not done, as ranges, none too long."""
    numbers = np.asarray(rows, dtype=np.int64)
    numbers = numbers[~done[numbers]]
    if not len(numbers):
        return []
    breaks = (np.flatnonzero(np.diff(numbers) != 1) + 1).tolist()
    return [
        (at, min(at + _BLOCK, int(numbers[stop - 1]) + 1))
        for first, stop in itertools.pairwise([0, *breaks, len(numbers)])
        for at in range(int(numbers[first]), int(numbers[stop - 1]) + 1, _BLOCK)
    ]
