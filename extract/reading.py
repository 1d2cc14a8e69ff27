"""Reading the images of a run: each batch while the one before it is computed, and how long the run waited for them."""

import dataclasses
import itertools
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

from headstart.core.extract.images import Batch, Readable
from headstart.core.extract.pictures.preprocess import Preprocessing

READING_SLOWS = 0.25
"""The part of the time waited for pictures from which it is worth saying."""

LEAST_S = 5.0
"""Seconds from which such a part means something."""


@dataclasses.dataclass
class Pace:
    """What a run waited for, in seconds: pictures to be read, of all its time."""

    reading_s: float = 0.0
    total_s: float = 0.0
    images: int = 0

    def remark(self, workers: int) -> str | None:
        """What to tell the user, if reading held up the run."""
        if self.total_s < LEAST_S or self.reading_s < READING_SLOWS * self.total_s:
            return None
        more = f"-j {cores()} reads with more" if workers < cores() else "a faster disk or smaller files would help"
        return (
            f"waited {self.reading_s / self.total_s:.0%} of the time for pictures, "
            f"{self.images / self.total_s:.1f} images/s with {workers} threads; {more}"
        )


def cores() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclasses.dataclass(frozen=True)
class Reader:
    """Images, and how they are read: files by `workers` threads, prepared by `transform`. `pace` adds up what is waited
    for, in seconds of `clock`."""

    images: Readable
    transform: Preprocessing
    workers: int
    pace: Pace = dataclasses.field(default_factory=Pace)
    clock: Callable[[], float] = time.perf_counter

    def read(self, start: int, stop: int) -> Batch:
        """The rows from `start` to `stop`."""
        return self.images.read(start, stop, self.transform, self.workers)

    def batches(self, span: tuple[int, int], batch_size: int) -> Iterator[Batch]:
        """The span's images in order, each batch read by a thread while the one before it is used."""
        edges = [*range(*span, batch_size), span[1]]
        begun = self.clock()
        with ThreadPoolExecutor(max_workers=1) as thread:
            reads = (thread.submit(self.read, start, stop) for start, stop in itertools.pairwise(edges))
            ahead = next(reads, None)
            while ahead is not None:
                waited = self.clock()
                batch = ahead.result()
                now = self.clock()
                self.pace.reading_s += now - waited
                self.pace.total_s, begun = self.pace.total_s + now - begun, now
                self.pace.images += len(batch.fingerprints)
                ahead = next(reads, None)
                yield batch
