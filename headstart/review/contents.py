"""The pictures of a data set by what is in them: copies are one picture, which is decided on once."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import numpy.typing as npt

from headstart.auditing.rows import Rows
from headstart.core.cache.digests import to_hex
from headstart.core.extract.pictures.files import printable
from headstart.core.heads.audit import duplicates

Places = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True, eq=False)
class Contents:
    """M contents of N rows. `first` (M,) are the first rows of each, `of` (N,) which content each row has, `marks` (M,) the
    contents' SHA-256 in hexadecimal digits."""

    rows: Rows
    first: Places
    of: Places
    marks: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.first)

    @functools.cached_property
    def same(self) -> Places:
        """The first row (N,) with the content of each."""
        return self.first[self.of]

    @functools.cached_property
    def items(self) -> dict[str, int]:
        """The number of each content by its SHA-256."""
        return {mark: item for item, mark in enumerate(self.marks)}

    @functools.cached_property
    def _grouped(self) -> list[Places]:
        order = np.argsort(self.of, kind="stable")
        return np.split(order, np.cumsum(np.bincount(self.of))[:-1])

    def members(self, item: int) -> list[int]:
        """The rows with a content."""
        rows: list[int] = self._grouped[item].tolist()
        return rows

    def name(self, item: int) -> str:
        """The id of its first row, as text that JSON can hold."""
        return printable(bytes(self.rows.ids[self.first[item]]).decode("utf-8", "surrogateescape"))

    def split(self, item: int) -> str:
        """The split of its first row."""
        return self.rows.sets[int(self.rows.parts[self.first[item]])].manifest.split

    def given(self, item: int) -> list[str]:
        """The labels that it has in the data set: none, one, or several where copies have different ones."""
        classes, labels = self.rows.classes, self.rows.labels
        return list(dict.fromkeys(classes[labels[row]] for row in self.members(item) if labels[row] >= 0))


def contents_of(rows: Rows) -> Contents:
    """The contents of some rows, in the order of their first rows."""
    same = duplicates.same_content(np.ascontiguousarray(rows.digests))
    first, of = np.unique(same, return_inverse=True)
    return Contents(rows, first, of.astype(np.int64), tuple(to_hex(np.ascontiguousarray(rows.digests[first]))))
