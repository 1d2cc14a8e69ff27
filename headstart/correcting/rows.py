"""The labels of pictures that are read anew, as a file of corrections has them."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from headstart.core.cache.corrected import corrected
from headstart.core.cache.corrected_sets import Numbers, numbers_of
from headstart.core.cache.digests import from_hex

if TYPE_CHECKING:
    from headstart.core.cache.corrections import Corrections
    from headstart.core.extract.images import Images


@dataclasses.dataclass(frozen=True, eq=False)
class CorrectedRows:
    """Of N rows the labels (N,) by `classes`, and which of them stay (N,): those with a label that were not removed."""

    labels: npt.NDArray[np.int64]
    classes: tuple[str, ...]
    stays: npt.NDArray[np.bool_]
    numbers: Numbers


def corrected_rows(images: Images, rows: int, found: Corrections, classes: tuple[str, ...]) -> CorrectedRows:
    """The first rows of some pictures, all of which can be read. Their classes are the head's `classes` where these are
    those of the pictures and, behind them, others that corrections may have made. Raises DataNotFound, DataInvalid."""
    known = classes if classes[: len(images.classes)] == images.classes else images.classes
    labels = np.asarray(images.labels(0, rows), dtype=np.int64)
    made = corrected(found, from_hex(images.fingerprints(0, rows)), labels, known)
    return CorrectedRows(made.labels, made.classes, made.kept & (made.labels >= 0), numbers_of(made, labels))
