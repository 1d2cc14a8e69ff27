"""What is wrong with the pictures of a data set that were opened: dark, bright, blank, blurred, tiny ones, odd shapes."""

from __future__ import annotations

import dataclasses

from headstart.auditing.pixels.opened import Opened, Places
from headstart.core.extract.likeness.quality import Fault, faults


@dataclasses.dataclass(frozen=True)
class PictureFaults:
    """What is wrong with `looked_at` pictures; `place` of a fault is that among all rows. `unopened` could not be opened,
    and `why` says of one why, or why none was looked at."""

    faults: tuple[Fault, ...] = ()
    looked_at: int = 0
    unopened: int = 0
    why: str | None = None


def picture_faults(opened: Opened, sample: Places) -> PictureFaults:
    """Judge the pictures of the `sample` by what was measured."""
    if not len(sample) or opened.why is not None:
        return PictureFaults(why=opened.why if len(sample) else None)
    there = [row for row in sample.tolist() if row in opened.measured]
    reasons = [opened.reasons[row] for row in sample.tolist() if row in opened.reasons]
    own = [
        dataclasses.replace(fault, place=there[fault.place]) for fault in faults([opened.measured[row] for row in there])
    ]
    return PictureFaults(tuple(own), len(there), len(reasons), reasons[-1] if reasons else None)
