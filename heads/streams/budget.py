"""What a training in blocks may hold in memory: how large blocks are, and how many rows are kept to choose by."""

import dataclasses
import math

from headstart.core.cache.errors import OutOfMemory
from headstart.core.cache.text import volume

LIBRARIES = 48 * 10**6
"""Bytes that come beside what is counted: parts of libraries that are loaded when they are first used, their buffers, and
what C's allocator keeps. 20 to 45 MB were seen with 2,048 features (`benchmarks/memory.py`)."""
OF_A_ROW = 48
"""Bytes of each row beside its features: label, number, place, the picture's content, and to which part it belongs."""
LEAST_JUDGES = 500
"""Rows that are kept to choose by, at least, where there are so many."""
_MOST_OF_A_PASS = 4096
"""Rows of a block of which all are used alike: larger ones gain nothing."""
_SHARE_OF_JUDGES = 0.2


@dataclasses.dataclass(frozen=True)
class Needs:
    """What a part of a training holds beside its blocks, in bytes: all the time, and what it takes once, without blocks.
    `least` is the fewest rows that a block of it has, `of_a_row` what each of them takes beside its features, and `most`
    how many are of use."""

    name: str
    state: int
    once: int = 0
    least: int = 0
    of_a_row: int = 0
    most: int = _MOST_OF_A_PASS


@dataclasses.dataclass(frozen=True)
class Budget:
    """`memory` bytes for N `rows` of D features `dim`, whose chunks have up to `chunk_rows` rows, and for the `judges`
    among them that are kept in memory, of `judge_bytes` each."""

    memory: int
    rows: int
    dim: int
    chunk_rows: int
    judges: int = 0
    judge_bytes: int = 0

    @property
    def fixed(self) -> int:
        """What is there all the time."""
        chunk = self.chunk_rows * self.dim * 12  # as stored, and as it is checked
        return LIBRARIES + self.rows * OF_A_ROW + chunk + self.judges * self.judge_bytes

    def block_rows(self, needs: Needs) -> int:
        """Rows of each block. Raises OutOfMemory where there is no room for the least."""
        room = self.memory - self.fixed - needs.state
        rows = min(room // self._of_a_row(needs), needs.most)
        if rows < self._least(needs) or self.memory < self.fixed + needs.once:
            raise OutOfMemory(self.refusal([needs]))
        return int(rows)

    def least(self, needs: Needs) -> int:
        """The memory with which these needs can be met, in bytes."""
        return self.fixed + max(needs.once, needs.state + self._of_a_row(needs) * self._least(needs))

    def refusal(self, several: list[Needs]) -> str:
        """Why the memory is not enough, and how much would be."""
        worst = max(several, key=self.least)
        least = math.ceil(self.least(worst) / 10**6)
        return (
            f"--memory of {volume(self.memory)} is too little for {worst.name} of {self.rows:,} rows of {self.dim:,} "
            f"features in blocks, expected {least:,}MB or more; use --memory {least}MB"
        )

    def with_judges(self, wanted: int, of_each: int, needs: list[Needs]) -> "Budget":
        """The budget in which as many of the `wanted` rows are kept to judge by as there is room for beside the needs, each
        of so many bytes, but they take no more than a fifth of the memory. Raises OutOfMemory where there is no room for
        the least."""
        room = min(self.memory - self.least(one) for one in needs)
        share = _SHARE_OF_JUDGES * self.memory
        count = min(wanted, int(min(room, share) // of_each))
        found = dataclasses.replace(self, judges=max(count, min(wanted, LEAST_JUDGES)), judge_bytes=of_each)
        if any(found.memory < found.least(one) for one in needs):
            raise OutOfMemory(found.refusal(needs))
        return found

    def _of_a_row(self, needs: Needs) -> int:
        return 2 * 4 * self.dim + 64 + needs.of_a_row  # blocks in flight, and what is known of their rows

    def _least(self, needs: Needs) -> int:
        return max(self.chunk_rows, needs.least)
