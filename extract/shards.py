"""The features of some rows: images read ahead, in batches through the backbone, checked, and put together as a shard."""

import contextlib
import dataclasses
import functools
import itertools
import os
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
from headstart.core.cache.errors import FeaturesInvalid, ImageUnreadable
from headstart.core.cache.plan import Part
from headstart.core.cache.shard import Rows, Shard, Skipped
from headstart.core.extract.datasets.images import Batch, Readable, inputs_digest
from headstart.core.extract.job import Extractor, Job
from headstart.core.extract.network.tuning import Pending

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


def compute_shard(
    job: Job, extractor: Extractor, part: Part, advance: Callable[[int], None], pace: Pace | None = None
) -> Shard:
    """One shard of the plan. It depends on its arguments alone, so any process may compute any shard. `pace` is added to.

    Raises ImageUnreadable with `--on-error fail`, FeaturesInvalid for features that are not finite in the set's dtype.
    """
    features, labels = [], []
    ids: list[bytes] = []
    marks: list[str] = []
    skipped: list[Skipped] = []
    span, size = (part.start, part.stop), job.preprocessing.image_size
    check = functools.partial(_refuse, job)
    found = computed(job.images, extractor, span, size, job.config.workers, check, pace)
    with contextlib.closing(found):
        for batch, values in found:
            start, stop = batch.start, batch.start + len(batch.fingerprints)
            features.append(_finite(job, values, batch))
            labels.append(job.images.labels(start, stop)[batch.rows - start])
            names = job.images.ids(start, stop)
            ids += [names[row] for row in batch.rows - start]
            marks += batch.fingerprints
            skipped += batch.skipped
            advance(len(batch.fingerprints))
    return Shard(
        key=job.key.digest,
        inputs=inputs_digest(job.images.ids(*span), job.images.labels(*span), marks),
        start=part.start,
        stop=part.stop,
        rows=Rows(np.concatenate(features), np.concatenate(labels), np.array(ids, dtype="S")),
        skipped=tuple(skipped),
    )


def _refuse(job: Job, batch: Batch) -> None:
    if batch.skipped and job.config.on_error == "fail":
        image = batch.skipped[0]
        raise ImageUnreadable(f"{job.images.source}/{image.id}: {image.reason}; --on-error skip leaves such images out")


def computed(
    images: Readable,
    extractor: Extractor,
    span: tuple[int, int],
    size: int,
    workers: int,
    check: Callable[[Batch], None],
    pace: Pace | None = None,
) -> Generator[tuple[Batch, npt.NDArray[np.float32] | None], None, None]:
    """The batches of a span of rows with their features, the next ones asked for before each is waited for: no device ever
    idles. Pictures are read as at most `size` px need them.

    As many wait as are computed. `check` sees each batch before it is asked for, and may raise. None stands for a batch
    without a readable image. Closing it ends what is under way. An empty span has no batches.
    """
    asked: deque[tuple[Batch, Pending | None]] = deque()
    try:
        for batch in _batches(images, span, extractor.batch_size, size, workers, pace or Pace()):
            check(batch)
            asked.append((batch, extractor.submit(batch.pixels) if len(batch.rows) else None))
            if len(asked) == 2 * extractor.lanes:
                yield _answered(asked)
        while asked:
            yield _answered(asked)
    finally:
        for _, pending in asked:  # empty unless something failed: nothing may go on computing in the background
            if pending is not None:
                pending.cancel()


def _answered(asked: deque[tuple[Batch, Pending | None]]) -> tuple[Batch, npt.NDArray[np.float32] | None]:
    """The oldest batch, which leaves the queue once its features are there."""
    batch, pending = asked[0]
    features = None if pending is None else pending.result()
    asked.popleft()
    return batch, features


def _batches(
    images: Readable, span: tuple[int, int], batch_size: int, size: int, workers: int, pace: Pace
) -> Iterator[Batch]:
    """The span's images in order, each batch read while the one before it is computed."""
    edges = [*range(*span, batch_size), span[1]]
    begun = time.perf_counter()
    with ThreadPoolExecutor(max_workers=1) as reader:
        reads = (reader.submit(images.read, a, b, size, workers) for a, b in itertools.pairwise(edges))
        ahead = next(reads, None)
        while ahead is not None:
            waited = time.perf_counter()
            batch = ahead.result()
            now = time.perf_counter()
            pace.reading_s += now - waited
            pace.total_s, begun = pace.total_s + now - begun, now
            pace.images += len(batch.fingerprints)
            ahead = next(reads, None)
            yield batch


def _finite(job: Job, features: npt.NDArray[np.float32] | None, batch: Batch) -> npt.NDArray[Any]:
    if features is None:
        return np.zeros((0, job.backbone.feature_dim), dtype=job.dtype)
    with np.errstate(over="ignore"):  # what does not fit float16 becomes infinite and is refused below
        stored = features.astype(job.dtype)
    bad = ~np.isfinite(stored).all(axis=1)
    if bad.any():
        row = int(batch.rows[bad.argmax()])
        name = job.images.ids(row, row + 1)[0].decode("utf-8", "replace")
        narrow = job.dtype == "float16" or job.device.precision == "fp16"  # bf16 and tf32 reach as far as fp32
        way_out = (
            "try --precision fp32" if narrow else "they are too large or undefined with these weights; try other --weights"
        )
        raise FeaturesInvalid(
            f"{job.images.source}: image {name} gives features that are not finite in {job.dtype}; {way_out}"
        )
    return stored
