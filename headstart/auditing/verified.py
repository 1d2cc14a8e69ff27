"""Pairs of pictures that features hold to be alike, looked at: by their pixels, where they can be opened."""

from __future__ import annotations

import dataclasses
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt

from headstart.auditing.rows import Rows
from headstart.core.cache.digests import to_hex
from headstart.core.cache.errors import HeadstartError
from headstart.core.extract.likeness.pixels import DECODED, SIZE, Grey, grey, likeness
from headstart.core.extract.pictures.thumbnails import checked_picture
from headstart.observer import Observer, progress
from headstart.pictures.opened import Pictures, opened

SAME = 0.9
"""The likeness from which two pictures are the same. Chosen on 4,000 CIFAR-10 pictures and 500 of them kept otherwise, with
parameters drawn at random (benchmarks/duplicates.py --first 20000 --rows 4000 --varied)."""
MOST = 20_000
"""Pairs that are looked at, the nearest first."""


@dataclasses.dataclass(frozen=True, eq=False)
class Verified:
    """For pairs (P, 2) the correlation (P,) of their pixels, not a number where they could not be compared, and why."""

    scores: npt.NDArray[np.float64]
    why: str | None


def verified(rows: Rows, pairs: npt.NDArray[np.int64], data_dir: Path, observer: Observer) -> Verified:
    """Look at pairs of rows. What can't be opened any more, or is another picture by now, is not compared."""
    scores = np.full(len(pairs), np.nan)
    if not len(pairs):
        return Verified(scores, None)
    try:
        sources = [Pictures(opened(source, data_dir)) for source in rows.sets]
    except (HeadstartError, OSError) as error:
        return Verified(scores, str(error))
    why = None if len(pairs) <= MOST else f"of {len(pairs):,} pairs that look alike the nearest {MOST:,} were compared"
    meant, place = np.unique(pairs[:MOST], return_inverse=True)
    seen, there = np.zeros((len(meant), SIZE, SIZE), dtype=np.uint8), np.zeros(len(meant), dtype=np.bool_)
    with (
        progress(observer, "pictures looked at, to be compared", len(meant)) as advance,
        ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads,
    ):
        for i, found in enumerate(threads.map(lambda row: _grey(rows, sources, row), meant.tolist())):
            if isinstance(found, str):
                why = found
            else:
                seen[i], there[i] = found, True
            advance(1)
    one, other = place.reshape(-1, 2).T
    both = np.flatnonzero(there[one] & there[other])
    scores[both] = likeness(seen[one[both]], seen[other[both]])
    return Verified(scores, why)


def _grey(rows: Rows, sources: list[Pictures], row: int) -> Grey | str:
    """How a picture looks, or why it can't be opened."""
    source, number = sources[int(rows.parts[row])], int(rows.numbers[row])
    (digest,) = to_hex(rows.digests[row : row + 1])
    try:
        at = source.row(number, bytes(rows.ids[row]))
        return grey(checked_picture(source.images, at, DECODED, digest))
    except (HeadstartError, OSError) as error:
        return str(error)
