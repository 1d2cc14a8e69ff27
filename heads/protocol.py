"""On which rows a head was tested."""

import dataclasses
import statistics
from collections.abc import Mapping
from typing import Any

KINDS = ("test split", "held out", "cross-validation")


@dataclasses.dataclass(frozen=True)
class Protocol:
    """How the evaluation of a head was made.

    `test split`: on the rows of the data set's own test split. `held out`: on a part of a set without one, which was not
    trained on. `cross-validation`: on all rows, each predicted once by a head trained on the other `folds` less one; the
    head that is kept was trained on all of them. `accuracies`, fractions of 1, are those of the `repeats` with other
    divisions, the evaluation's own first; empty where there was one. Raises ValueError for anything else.
    """

    kind: str
    folds: int = 1
    repeats: int = 1
    accuracies: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"evaluated by {self.kind!r}, expected {', '.join(KINDS)}")
        if type(self.folds) is not int or (self.folds < 2 if self.kind == "cross-validation" else self.folds != 1):
            raise ValueError(f"{self.kind} with {self.folds!r} folds, expected 2 or more for cross-validation, 1 else")
        if type(self.repeats) is not int or self.repeats < 1:
            raise ValueError(f"{self.repeats!r} repeats, expected 1 or more")
        if not all(type(share) in (int, float) and 0 <= share <= 1 for share in self.accuracies):
            raise ValueError(f"accuracies of the repeats are {self.accuracies!r}, expected numbers from 0 to 1")
        if len(self.accuracies) != self.repeats and (self.accuracies or self.repeats > 1):
            raise ValueError(f"{len(self.accuracies)} accuracies of {self.repeats} repeats")

    @property
    def cross_validated(self) -> bool:
        """Whether the rows tested on are those that the kept head was trained on."""
        return self.kind == "cross-validation"

    @property
    def deviation(self) -> float | None:
        """The standard deviation of the accuracy over repeats, None for one."""
        return statistics.stdev(self.accuracies) if self.repeats > 1 else None

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "Protocol":
        """What `to_json` wrote. Raises ValueError, TypeError."""
        return cls(**{**found, "accuracies": tuple(found["accuracies"])})


TEST_SPLIT, HELD_OUT = Protocol("test split"), Protocol("held out")
