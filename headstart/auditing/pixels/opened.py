"""The pictures that an audit opens, each once, and what it keeps of them: a small grey version, and what is measured."""

from __future__ import annotations

import dataclasses
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from headstart.auditing.request import ALL, NONE
from headstart.auditing.rows import Rows
from headstart.core.cache.digests import to_hex
from headstart.core.cache.errors import HeadstartError
from headstart.core.extract.likeness.pixels import SIZE, Grey, flat, grey
from headstart.core.extract.likeness.quality import DECODED, Measured, measured
from headstart.core.extract.pictures.thumbnails import checked_picture
from headstart.observer import Observer, progress
from headstart.pictures.opened import Pictures, opened

Places = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True, eq=False)
class Opened:
    """The `rows` (n,), rising, whose pictures were to be opened, which of them were (`there`, (n,) bool), and these in
    grey, uint8 (n, 32, 32). `measured` and `reasons`, why one could not be opened, are by row; `why` says why none was."""

    rows: Places
    there: npt.NDArray[np.bool_]
    greys: Grey
    measured: dict[int, Measured]
    reasons: dict[int, str]
    why: str | None = None

    def places(self, rows: Places) -> Places:
        """The places among `rows` of some rows (any shape), -1 where no picture of one is there."""
        if not len(self.rows):
            return np.full(rows.shape, -1, dtype=np.int64)
        at = np.minimum(np.searchsorted(self.rows, rows), len(self.rows) - 1)
        found: Places = np.where((self.rows[at] == rows) & self.there[at], at, -1)
        return found

    def blank(self, rows: Places) -> npt.NDArray[np.bool_]:
        """Which of some rows (any shape) have a picture that was opened and has no pattern."""
        at = self.places(rows)
        found: npt.NDArray[np.bool_] = (at >= 0) & np.append(flat(self.greys), False)[at]
        return found


def sampled(count: int, pixels: str, seed: int) -> Places:
    """Which of `count` rows are to be measured, rising: as many as `pixels` says, drawn at random."""
    if pixels == NONE:
        return np.zeros(0, dtype=np.int64)
    most = count if pixels == ALL else min(int(pixels), count)
    return np.sort(np.random.default_rng(seed).choice(count, most, replace=False))


def open_pictures(rows: Rows, wanted: Places, sample: Places, data_dir: Path, observer: Observer) -> Opened:
    """Open the pictures of the rows `wanted` and of those of the `sample`, which are measured too, by threads. A JPEG is
    decoded no larger than is needed. What is another picture by now counts as one that can't be opened."""
    chosen = np.union1d(wanted, sample)
    there, greys = np.zeros(len(chosen), dtype=np.bool_), np.zeros((len(chosen), SIZE, SIZE), dtype=np.uint8)
    values, reasons, own = dict[int, Measured](), dict[int, str](), set(sample.tolist())
    try:
        sources = [Pictures(opened(source, data_dir)) for source in rows.sets]
    except (HeadstartError, OSError) as error:
        return Opened(chosen, there, greys, values, reasons, str(error))

    def one(place: int) -> None:
        row = int(chosen[place])
        try:
            picture = _picture(rows, sources[int(rows.parts[row])], row)
            greys[place], there[place] = grey(picture), True
            if row in own:
                values[row] = measured(picture)
        except (HeadstartError, OSError) as error:
            reasons[row] = str(error)

    if not len(chosen):
        return Opened(chosen, there, greys, values, reasons)
    threads = len(os.sched_getaffinity(0))
    with progress(observer, "pictures looked at", len(chosen)) as advance, ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(one, range(len(chosen))):
            advance(1)
    return Opened(chosen, there, greys, values, reasons)


def _picture(rows: Rows, source: Pictures, row: int) -> Image.Image:
    (digest,) = to_hex(rows.digests[row : row + 1])
    at = source.row(int(rows.numbers[row]), bytes(rows.ids[row]))
    return checked_picture(source.images, at, DECODED, digest)
