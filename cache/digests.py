"""SHA-256s of contents as arrays, (N, 32) uint8, and which of many of them are among many others."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from headstart.core.cache.files import sha256

Digests = npt.NDArray[np.uint8]
SIZE = 32
"""The bytes of a SHA-256."""
_BLOCK = 2**16
"""Rows that are compared at a time: no second copy of all digests is made."""


def from_hex(marks: Sequence[str]) -> Digests:
    """Digests (N, 32) from their hexadecimal digits. Raises ValueError for what is none."""
    return np.frombuffer(bytes.fromhex("".join(marks)), dtype=np.uint8).reshape(len(marks), SIZE)


def to_hex(digests: Digests) -> list[str]:
    """The hexadecimal digits of each."""
    digits = digests.tobytes().hex()
    return [digits[at : at + 2 * SIZE] for at in range(0, len(digits), 2 * SIZE)]


def inputs_digest(ids: Sequence[bytes], labels: npt.NDArray[np.int64], fingerprints: Sequence[str]) -> str:
    """The SHA-256 over ids, labels and fingerprints of some rows: what a shard as a whole is reused by."""
    rows = zip(ids, labels, fingerprints, strict=True)
    return sha256(*(b"%s\0%d\0%s\n" % (name, label, mark.encode()) for name, label, mark in rows))


def first_bytes(digests: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint64]:
    """The first eight bytes of each as a number (N,): sorted and searched in a fraction of the time."""
    return np.ascontiguousarray(digests[:, :8]).view(">u8").reshape(-1).astype(np.uint64)


@dataclasses.dataclass(frozen=True)
class Wanted:
    """N digests (N, 32) that are looked for, each content once, and where it was found.

    `contents` (N,) numbers the content of each row; `first` (U,) is the first row of each content. `source` and `row` (U,)
    say in which source it was found, -1 where in none, and in which row of it. With `heads` (U,), their first bytes in
    rising order, these are 24 bytes a row beside the digests. What is looked through comes in parts, none of which is kept.
    `start` is the number that the first of the N has in its split.
    """

    digests: Digests
    contents: npt.NDArray[np.int32]
    first: npt.NDArray[np.int32]
    heads: npt.NDArray[np.uint64]
    source: npt.NDArray[np.int32]
    row: npt.NDArray[np.int32]
    start: int = 0

    @classmethod
    def of(cls, digests: Digests) -> "Wanted":
        """None of them found yet."""
        heads = first_bytes(digests)
        order = np.argsort(heads, kind="stable").astype(np.int32)
        new = heads[order[1:]] != heads[order[:-1]]
        same_head = np.flatnonzero(~new)
        new[same_head] = ~_equal(digests, order[same_head + 1], order[same_head])
        if new[same_head].any():  # two contents with one head: those with a third between them would not be neighbours
            order = np.lexsort(tuple(digests.T[::-1])).astype(np.int32)
            new = ~_equal(digests, order[1:], order[:-1])
        starts = np.concatenate([np.ones(min(1, len(order)), dtype=np.bool_), new])
        contents = np.empty(len(order), dtype=np.int32)
        contents[order] = np.cumsum(starts, dtype=np.int32) - 1
        first = order[starts]
        nowhere = np.full(len(first), -1, dtype=np.int32)
        return cls(digests, contents, first, heads[first], nowhere, nowhere.copy())

    def look_in(self, digests: Digests, source: int) -> int:
        """Look through the digests (M, 32) of a source; how many contents are found that were in none before."""
        found = self.matching(digests)
        rows = np.flatnonzero(found >= 0)
        rows = rows[self.source[found[rows]] < 0][::-1]  # the last assignment stands: that of the first row
        there = found[rows]
        self.source[there], self.row[there] = source, rows
        return int(np.count_nonzero(self.row[there] == rows))

    def matching(self, digests: Digests) -> npt.NDArray[np.int64]:
        """For each of some digests (M, 32) the number of its content, -1 where it is not wanted."""
        heads = first_bytes(digests)
        found = np.full(len(digests), -1, dtype=np.int64)
        place = np.searchsorted(self.heads, heads)
        left = np.flatnonzero(place < len(self.heads))
        while len(left):  # once, but for different contents with one head
            left = left[self.heads[place[left]] == heads[left]]
            right = (self.digests[self.first[place[left]]] == digests[left]).all(axis=1)
            found[left[right]] = place[left[right]]
            left = left[~right]
            place[left] += 1
            left = left[place[left] < len(self.heads)]
        return found

    def part(self, start: int, stop: int) -> "Wanted":
        """Those of the rows `start` to `stop` of the split alone, with what was found of them."""
        own = slice(start - self.start, stop - self.start)
        kept, first, contents = np.unique(self.contents[own], return_index=True, return_inverse=True)
        found = self.source[kept], self.row[kept]
        numbers = contents.astype(np.int32), first.astype(np.int32)
        return Wanted(self.digests[own], *numbers, self.heads[kept], *found, start)

    def content(self, numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
        """The numbers of the contents of some rows (n,) of the split."""
        return self.contents[numbers - self.start]

    def digest(self, numbers: npt.NDArray[np.int64]) -> Digests:
        """The digests (n, 32) of some rows (n,) of the split."""
        return self.digests[numbers - self.start]

    def missing(self, numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Those of some rows (n,) of the split whose content was not found."""
        return numbers[self.source[self.content(numbers)] < 0]

    @property
    def found(self) -> npt.NDArray[np.bool_]:
        """Of each row (N,) whether its content was found."""
        there: npt.NDArray[np.bool_] = self.source[self.contents] >= 0
        return there


def _equal(digests: Digests, one: npt.NDArray[np.int32], other: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
    """Whether the digests of two rows are equal, for rows (n,) and rows (n,)."""
    blocks = [
        (digests[one[at : at + _BLOCK]] == digests[other[at : at + _BLOCK]]).all(axis=1)
        for at in range(0, len(one), _BLOCK)
    ]
    return np.concatenate([np.zeros(0, dtype=np.bool_), *blocks])
