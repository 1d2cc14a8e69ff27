"""Which rows go into which shard: what is there is kept, what is missing is planned."""

import dataclasses
import re
from collections.abc import Mapping

DEFAULT_SHARD_ROWS = 2048


@dataclasses.dataclass(frozen=True, order=True)
class Part:
    """Shard number `index` and the half-open range of rows it holds."""

    index: int
    start: int
    stop: int

    @property
    def file(self) -> str:
        """The shard's file name."""
        return f"shard-{self.index:05d}.h5"

    @property
    def rows(self) -> int:
        """How many rows of the split it covers, skipped ones included."""
        return self.stop - self.start


_NAME = re.compile(r"shard-([0-9]{5}|[1-9][0-9]{5,})\.h5")


def shard_number(file: str) -> int | None:
    """The number in a shard's file name, as `Part.file` spells it; None for any other name."""
    match = _NAME.fullmatch(file)
    return int(match[1]) if match else None


def plan(rows: int, present: Mapping[int, tuple[int, int]], shard_rows: int = DEFAULT_SHARD_ROWS) -> list[Part]:
    """Parts that cover rows 0 to `rows` at least, without a gap: those `present` (index to range) where they fit.

    A gap between two present shards is divided evenly over the missing numbers, which for equal shards gives back the
    very ranges of the run that was interrupted. A present shard that overlaps an earlier one is planned anew.
    Raises ValueError for `rows` or `shard_rows` below one.
    """
    if rows < 1 or shard_rows < 1:
        raise ValueError(f"{rows} rows in shards of {shard_rows}; both must be at least 1")
    parts: list[Part] = []
    for index, (start, stop) in sorted(present.items()):
        done = parts[-1].stop if parts else 0
        gap, missing = start - done, index - len(parts)
        fits = start < stop and gap >= missing and (gap == 0) == (missing == 0)
        if done >= rows or not fits:
            break
        parts += _divide(len(parts), done, start, missing)
        parts.append(Part(index, start, stop))
    while (done := parts[-1].stop if parts else 0) < rows:
        parts.append(Part(len(parts), done, min(done + shard_rows, rows)))
    return parts


def _divide(first: int, start: int, stop: int, pieces: int) -> list[Part]:
    edges = [start + (stop - start) * i // pieces for i in range(pieces + 1)] if pieces else []
    return [Part(first + i, edges[i], edges[i + 1]) for i in range(pieces)]
