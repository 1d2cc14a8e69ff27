"""What a measure is."""

import dataclasses
from collections.abc import Callable

from headstart.core.heads.statistics.outcomes import Outcomes


@dataclasses.dataclass(frozen=True)
class Measure:
    """One number for how well a head did, from `low` to `high`.

    `of` gives it, or None where it is not defined: the function's docstring says where, and why. A `share` is a fraction of
    1 and is shown as a percentage. `short` measures stand beside the accuracy in the terminal; the others only in records
    and reports.
    """

    title: str
    of: Callable[[Outcomes], float | None]
    low: float
    high: float
    higher_is_better: bool
    share: bool = False
    short: bool = False

    def text(self, value: float | None) -> str:
        """A value in words: a percentage of two digits, else a number of four."""
        if value is None:
            return "not defined"
        return f"{100 * value:.2f} %" if self.share else f"{value:.4f}"
