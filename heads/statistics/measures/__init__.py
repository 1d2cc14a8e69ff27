"""The measures by name. Each is one module of this package whose `MEASURE` says what it is; adding a measure is adding a
file. So the names are known without importing any of them.

Accuracy is none of these: it has an interval, and is a `Score`.
"""

from __future__ import annotations

import importlib
import math
import pkgutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headstart.core.heads.statistics.measures.base import Measure
    from headstart.core.heads.statistics.outcomes import Outcomes

NAMES = tuple(sorted(found.name for found in pkgutil.iter_modules(__path__) if found.name != "base"))
"""The measures in the order in which they are shown."""


def measure(name: str) -> Measure:
    """The measure of this name. Raises ValueError where there is none."""
    if name not in NAMES:
        raise ValueError(f"{name!r} is no measure; expected {', '.join(NAMES)}")
    found: Measure = importlib.import_module(f"{__name__}.{name}").MEASURE
    return found


def measured(outcomes: Outcomes) -> dict[str, float | None]:
    """Every measure by name, None where it is not defined. Raises ValueError for a measure that gives no finite number."""
    return {name: _checked(name, measure(name).of(outcomes)) for name in NAMES}


def _checked(name: str, value: float | None) -> float | None:
    if value is not None and not math.isfinite(value):
        raise ValueError(f"{name} is {value}, expected a finite number, or None where it is not defined")
    return None if value is None else float(value)
