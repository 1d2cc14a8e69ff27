"""Pictures of a data set opened and measured: dark, bright, blank, blurred and tiny ones, and odd shapes."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from headstart.auditing.request import ALL, NONE
from headstart.auditing.rows import Rows
from headstart.core.cache.digests import to_hex
from headstart.core.cache.errors import HeadstartError
from headstart.core.extract.likeness.quality import DECODED, Fault, Measured, faults, measured
from headstart.core.extract.pictures.thumbnails import checked_picture
from headstart.observer import Observer, progress
from headstart.pictures.opened import Pictures, opened

Made = TypeVar("Made")


@dataclasses.dataclass(frozen=True)
class PictureFaults:
    """What is wrong with `looked_at` pictures; `place` of a fault is that among all rows. `unopened` could not be opened,
    and `why` says of one why, or why none was looked at."""

    faults: tuple[Fault, ...] = ()
    looked_at: int = 0
    unopened: int = 0
    why: str | None = None


def picture_faults(rows: Rows, pixels: str, seed: int, data_dir: Path, observer: Observer) -> PictureFaults:
    """Open as many pictures as `pixels` says, drawn at random, and measure them."""
    if pixels == NONE:
        return PictureFaults()
    count = len(rows) if pixels == ALL else min(int(pixels), len(rows))
    chosen = np.sort(np.random.default_rng(seed).choice(len(rows), count, replace=False))
    found = made_of(rows, chosen, measured, data_dir, "pictures looked at", observer)
    if isinstance(found, str):
        return PictureFaults(why=found)
    there = [(row, one) for row, one in zip(chosen.tolist(), found, strict=True) if isinstance(one, Measured)]
    reasons = [one for one in found if isinstance(one, str)]
    own = [dataclasses.replace(fault, place=there[fault.place][0]) for fault in faults([one for _, one in there])]
    return PictureFaults(tuple(own), len(there), len(reasons), reasons[-1] if reasons else None)


def made_of(
    rows: Rows,
    chosen: npt.NDArray[np.int64],
    make: Callable[[Image.Image], Made],
    data_dir: Path,
    title: str,
    observer: Observer,
) -> list[Made | str] | str:
    """What is made of the pictures of chosen rows, decoded by threads, or why one can't be opened, or why none can. What is
    another picture by now is not opened."""
    try:
        sources = [Pictures(opened(source, data_dir)) for source in rows.sets]
    except (HeadstartError, OSError) as error:
        return str(error)

    def one(row: int) -> Made | str:
        source, number = sources[int(rows.parts[row])], int(rows.numbers[row])
        (digest,) = to_hex(rows.digests[row : row + 1])
        try:
            at = source.row(number, bytes(rows.ids[row]))
            return make(checked_picture(source.images, at, DECODED, digest))
        except (HeadstartError, OSError) as error:
            return str(error)

    found = list[Made | str]()
    with (
        progress(observer, title, len(chosen)) as advance,
        ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads,
    ):
        for made in threads.map(one, chosen.tolist()):
            found.append(made)
            advance(1)
    return found
