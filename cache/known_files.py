"""What the files of a data set are by content, remembered beside what the file system said of them, as git's index does it:
a file whose size, times and inode are the remembered ones is not read again.

    files.bin
    ├── SHA-256 of the rest, 32 bytes
    └── for each file 80 bytes: the first 16 of its id's SHA-256, four int64 facts, the SHA-256 of its content

It saves time and says nothing of features: where it is missing or damaged, files are read. Hence no manifest lists it.
"""

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from headstart.core.cache.digests import SIZE, Digests, first_bytes
from headstart.core.cache.files import read_regular

NAME = "files.bin"
MOST_BYTES = 2**33
"""The largest file that is looked at: a hundred million pictures."""
Facts = npt.NDArray[np.int64]
"""What the file system says of some files without reading them, (n, 4): size, modification and change time in nanoseconds,
inode."""
NO_FACTS = (0, 0, 0, 0)
"""Those of what is no file, or of one that is not there."""

_ID = 16
_ROW = _ID + 8 * len(NO_FACTS) + SIZE


@dataclasses.dataclass(frozen=True)
class KnownFiles:
    """The contents of n files: marks of their ids (n, 16), rising by their first eight bytes, facts (n, 4) and SHA-256s
    (n, 32)."""

    ids: npt.NDArray[np.uint8]
    facts: Facts
    digests: Digests

    @classmethod
    def of(cls, ids: Sequence[bytes], facts: Facts, digests: Digests) -> "KnownFiles":
        """Some files, in any order."""
        marks = _marks(ids)
        order = np.argsort(first_bytes(marks), kind="stable")
        return cls(marks[order], facts[order], digests[order])

    def find(self, ids: Sequence[bytes], facts: Facts) -> tuple[Digests, npt.NDArray[np.bool_]]:
        """The SHA-256s (m, 32) of files that are the same by id and facts, and for which of the m this is so."""
        place, same = self._places(ids)
        same[same] = (self.facts[place[same]] == facts[same]).all(axis=1) & facts[same].any(axis=1)
        return self._digests(place, same), same

    def contents(self, ids: Sequence[bytes]) -> tuple[Digests, npt.NDArray[np.bool_]]:
        """What files of these ids were (m, 32), whatever they are now, and for which of the m that is known."""
        place, same = self._places(ids)
        return self._digests(place, same), same

    def among(self, ids: Sequence[bytes]) -> npt.NDArray[np.bool_]:
        """Which of the n files have one of these ids."""
        place, same = self._places(ids)
        found = np.zeros(len(self.ids), dtype=np.bool_)
        found[place[same]] = True
        return found

    def _places(self, ids: Sequence[bytes]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """Where the ids are, and which of them are there."""
        if not len(self.ids):
            return np.zeros(len(ids), dtype=np.int64), np.zeros(len(ids), dtype=np.bool_)
        marks = _marks(ids)
        place = np.minimum(np.searchsorted(first_bytes(self.ids), first_bytes(marks)), len(self.ids) - 1)
        same: npt.NDArray[np.bool_] = (self.ids[place] == marks).all(axis=1)
        return place, same

    def _digests(self, place: npt.NDArray[np.int64], there: npt.NDArray[np.bool_]) -> Digests:
        found = np.zeros((len(place), SIZE), dtype=np.uint8)
        found[there] = self.digests[place[there]]
        return found

    def to_bytes(self) -> bytes:
        """The bytes of the file."""
        facts = np.ascontiguousarray(self.facts, dtype="<i8").view(np.uint8).reshape(len(self.ids), 8 * len(NO_FACTS))
        body = np.concatenate([self.ids, facts, self.digests], axis=1).tobytes()
        return hashlib.sha256(body).digest() + body


def nothing_known() -> KnownFiles:
    """No file."""
    return KnownFiles.of([], np.zeros((0, len(NO_FACTS)), dtype=np.int64), np.zeros((0, SIZE), dtype=np.uint8))


def read_known_files(folder: Path) -> KnownFiles | None:
    """What a set's folder remembers; None where it remembers nothing, or where that was altered."""
    try:
        content = read_regular(folder / NAME, MOST_BYTES)
    except (OSError, ValueError):
        return None
    mark, body = content[:SIZE], content[SIZE:]
    if len(body) % _ROW or hashlib.sha256(body).digest() != mark:
        return None
    rows = np.frombuffer(body, dtype=np.uint8).reshape(-1, _ROW)
    facts = np.ascontiguousarray(rows[:, _ID:-SIZE]).view("<i8").astype(np.int64)
    return KnownFiles(rows[:, :_ID], facts, rows[:, -SIZE:])


def _marks(ids: Sequence[bytes]) -> npt.NDArray[np.uint8]:
    joined = b"".join(hashlib.sha256(name).digest()[:_ID] for name in ids)
    return np.frombuffer(joined, dtype=np.uint8).reshape(len(ids), _ID)
