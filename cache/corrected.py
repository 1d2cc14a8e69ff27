"""Labels as people corrected them: what a file of corrections makes of the labels of some rows."""

import dataclasses

import numpy as np
import numpy.typing as npt

from headstart.core.cache.corrections import LABEL, REMOVE, UNSURE, Corrections
from headstart.core.cache.digests import Digests, to_hex


@dataclasses.dataclass(frozen=True, eq=False)
class Corrected:
    """Of N rows the `labels` (N,), -1 where unknown, by `classes`, which may be more than before; those that stay, `kept`
    (N,); those whose label is another one than before, `changed` (N,); and those nobody could tell, `unsure` (N,).
    `elsewhere` is the number of pictures that were decided on, and are none of these."""

    labels: npt.NDArray[np.int64]
    classes: tuple[str, ...]
    kept: npt.NDArray[np.bool_]
    changed: npt.NDArray[np.bool_]
    unsure: npt.NDArray[np.bool_]
    elsewhere: int


def corrected(found: Corrections, digests: Digests, labels: npt.NDArray[np.int64], classes: tuple[str, ...]) -> Corrected:
    """Labels (N,) of pictures with these contents (N, 32), with the decisions that stand. Copies of a picture are decided
    on together. Classes that are new come behind those there are, in the order of their names, so that the labels of all
    other rows stay the numbers they were."""
    marks = to_hex(np.ascontiguousarray(digests))
    decided = [(row, found.stands[mark]) for row, mark in enumerate(marks) if mark in found.stands]
    new = {one.label for _, one in decided if one.action == LABEL} - set(classes)
    names = (*classes, *sorted(new))
    numbers = {name: number for number, name in enumerate(names)}
    own, kept, unsure = labels.copy(), np.ones(len(labels), dtype=np.bool_), np.zeros(len(labels), dtype=np.bool_)
    for row, one in decided:
        if one.action == LABEL:
            own[row] = numbers[one.label]
        kept[row] = one.action != REMOVE
        unsure[row] = one.action == UNSURE
    elsewhere = len(found.stands) - len({one.picture for _, one in decided})
    return Corrected(own, names, kept, own != labels, unsure, elsewhere)
