"""The features of some rows: batches through the backbone, several in flight, checked, and put together as a shard."""

import contextlib
import functools
from collections import deque
from collections.abc import Callable, Generator
from typing import Any

import numpy as np
import numpy.typing as npt

from headstart.core.cache.errors import FeaturesInvalid, ImageUnreadable
from headstart.core.cache.shard import Rows, Shard, Skipped, narrowed
from headstart.core.cache.shard_plan import Part
from headstart.core.extract.images import Batch, inputs_digest
from headstart.core.extract.job import Job
from headstart.core.extract.network.interface import Extractor, Features, Pending
from headstart.core.extract.reading import Pace, Reader


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
    span = (part.start, part.stop)
    reader = Reader(job.images, job.preprocessing.image_size, job.config.workers, pace or Pace())
    with contextlib.closing(computed(reader, extractor, span, functools.partial(_refuse, job))) as found:
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
    reader: Reader, extractor: Extractor, span: tuple[int, int], check: Callable[[Batch], None]
) -> Generator[tuple[Batch, Features | None], None, None]:
    """The batches of a span of rows with their features (n, D). The next ones are in flight before each is waited for: no
    device ever idles.

    Twice as many are in flight as are computed at once. `check` sees each batch before it is asked for, and may raise. None
    stands for a batch without a readable image. Closing it ends what is in flight. An empty span has no batches.
    """
    in_flight: deque[tuple[Batch, Pending | None]] = deque()
    try:
        for batch in reader.batches(span, extractor.batch_size):
            check(batch)
            in_flight.append((batch, extractor.submit(batch.pixels) if len(batch.rows) else None))
            if len(in_flight) == 2 * extractor.concurrent_batches:
                yield _oldest(in_flight)
        while in_flight:
            yield _oldest(in_flight)
    finally:
        for _, pending in in_flight:  # empty unless something failed: nothing may go on computing in the background
            if pending is not None:
                pending.cancel()


def _oldest(in_flight: deque[tuple[Batch, Pending | None]]) -> tuple[Batch, Features | None]:
    """The oldest batch, which leaves the queue once its features are there."""
    batch, pending = in_flight[0]
    features = None if pending is None else pending.result()
    in_flight.popleft()
    return batch, features


def _finite(job: Job, features: Features | None, batch: Batch) -> npt.NDArray[Any]:
    if features is None:
        return np.zeros((0, job.backbone.feature_dim), dtype=job.dtype)
    stored, bad = narrowed(features, job.dtype)
    if bad is not None:
        row = int(batch.rows[bad])
        name = job.images.ids(row, row + 1)[0].decode("utf-8", "replace")
        narrow = job.dtype == "float16" or job.device.precision == "fp16"  # bf16 and tf32 reach as far as fp32
        way_out = (
            "try --precision fp32" if narrow else "they are too large or undefined with these weights; try other --weights"
        )
        raise FeaturesInvalid(
            f"{job.images.source}: image {name} gives features that are not finite in {job.dtype}; {way_out}"
        )
    return stored
