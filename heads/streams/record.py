"""What a run's record says of a training in blocks."""

import dataclasses
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass(frozen=True)
class InBlocks:
    """The head was trained and tested on blocks of rows from the disk, in `memory` bytes, which had no room for more than
    `judges` rows to choose by; None where it had. Raises ValueError for what are no such numbers."""

    memory: int
    judges: int | None

    def __post_init__(self) -> None:
        if type(self.memory) is not int or self.memory < 1 or not (self.judges is None or type(self.judges) is int):
            raise ValueError(f"in_blocks has memory {self.memory!r} and judges {self.judges!r}, expected numbers")

    @property
    def note(self) -> str:
        """What must be said beside the figures."""
        kept = "" if self.judges is None else f", which has room for {self.judges:,} rows to choose by"
        return f"trained in blocks read from the disk, in {self.memory / 1e6:,.0f} MB of memory{kept}"

    @classmethod
    def from_json(cls, found: Mapping[str, Any] | None) -> "InBlocks | None":
        """What stands in a record, None where nothing does. Raises ValueError, TypeError."""
        return None if found is None else cls(**found)
