"""The features of some rows: images read ahead, in batches through the backbone, checked, and put together as a shard."""

import contextlib
import itertools
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

from cache.errors import FeaturesInvalid, ImageUnreadable
from cache.plan import Part
from cache.shard import Rows, Shard, Skipped
from extract.images import Batch, inputs_digest
from extract.job import Extractor, Job
from extract.tune import Pending


def compute_shard(job: Job, extractor: Extractor, part: Part, advance: Callable[[int], None]) -> Shard:
    """One shard of the plan. It depends on its arguments alone, so any process may compute any shard.

    Raises ImageUnreadable with `--on-error fail`, FeaturesInvalid for features that are not finite in the set's dtype.
    """
    features, labels = [], []
    ids: list[bytes] = []
    marks: list[str] = []
    skipped: list[Skipped] = []
    with contextlib.closing(_computed(job, extractor, part)) as found:
        for batch, computed in found:
            start = batch.start
            features.append(_finite(job, computed, batch))
            labels.append(job.images.labels(start, start + len(batch.fingerprints))[batch.rows - start])
            ids += [job.images.ids(int(row), int(row) + 1)[0] for row in batch.rows]
            marks += batch.fingerprints
            skipped += batch.skipped
            advance(len(batch.fingerprints))
    span = (part.start, part.stop)
    return Shard(
        key=job.key.digest,
        inputs=inputs_digest(job.images.ids(*span), job.images.labels(*span), marks),
        start=part.start,
        stop=part.stop,
        rows=Rows(np.concatenate(features), np.concatenate(labels), np.array(ids, dtype="S")),
        skipped=tuple(skipped),
    )


def _computed(
    job: Job, extractor: Extractor, part: Part
) -> Generator[tuple[Batch, npt.NDArray[np.float32] | None], None, None]:
    """The part's batches with their features, the next ones asked for before each is waited for: no device ever idles.

    As many wait as are computed. None stands for a batch without a readable image.
    """
    asked: deque[tuple[Batch, Pending | None]] = deque()
    try:
        for batch in _batches(job, part, extractor.batch_size):
            if batch.skipped and job.config.on_error == "fail":
                image = batch.skipped[0]
                raise ImageUnreadable(
                    f"{job.images.source}/{image.id}: {image.reason}; --on-error skip leaves such images out"
                )
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


def _batches(job: Job, part: Part, batch_size: int) -> Iterator[Batch]:
    """The part's images in order, each batch read while the one before it is computed."""
    edges = [*range(part.start, part.stop, batch_size), part.stop]
    size, workers = job.preprocessing.image_size, job.config.workers
    with ThreadPoolExecutor(max_workers=1) as reader:
        reads = (reader.submit(job.images.read, a, b, size, workers) for a, b in itertools.pairwise(edges))
        ahead = next(reads)
        for following in reads:
            yield ahead.result()
            ahead = following
        yield ahead.result()


def _finite(job: Job, features: npt.NDArray[np.float32] | None, batch: Batch) -> npt.NDArray[Any]:
    if features is None:
        return np.zeros((0, job.backbone.feature_dim), dtype=job.dtype)
    with np.errstate(over="ignore"):  # what does not fit float16 becomes infinite and is refused below
        stored = features.astype(job.dtype)
    bad = ~np.isfinite(stored).all(axis=1)
    if bad.any():
        row = int(batch.rows[bad.argmax()])
        name = job.images.ids(row, row + 1)[0].decode("utf-8", "replace")
        raise FeaturesInvalid(
            f"{job.images.source}: image {name} gives features that are not finite in {job.dtype}; try --precision fp32"
        )
    return stored
