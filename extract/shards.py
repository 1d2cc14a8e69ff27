"""The features of some rows: images read ahead, in batches through the backbone, checked, and put together as a shard."""

import contextlib
import functools
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
from extract.images import Batch, Images, inputs_digest
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
    span, size = (part.start, part.stop), job.preprocessing.image_size
    found = computed(job.images, extractor, span, size, job.config.workers, functools.partial(_refuse, job))
    with contextlib.closing(found):
        for batch, values in found:
            start = batch.start
            features.append(_finite(job, values, batch))
            labels.append(job.images.labels(start, start + len(batch.fingerprints))[batch.rows - start])
            ids += [job.images.ids(int(row), int(row) + 1)[0] for row in batch.rows]
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
    images: Images, extractor: Extractor, span: tuple[int, int], size: int, workers: int, check: Callable[[Batch], None]
) -> Generator[tuple[Batch, npt.NDArray[np.float32] | None], None, None]:
    """The batches of a span of rows with their features, the next ones asked for before each is waited for: no device ever
    idles. Pictures are read as at most `size` px need them.

    As many wait as are computed. `check` sees each batch before it is asked for, and may raise. None stands for a batch
    without a readable image. Closing it ends what is under way.
    """
    asked: deque[tuple[Batch, Pending | None]] = deque()
    try:
        for batch in _batches(images, span, extractor.batch_size, size, workers):
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


def _batches(images: Images, span: tuple[int, int], batch_size: int, size: int, workers: int) -> Iterator[Batch]:
    """The span's images in order, each batch read while the one before it is computed."""
    edges = [*range(*span, batch_size), span[1]]
    with ThreadPoolExecutor(max_workers=1) as reader:
        reads = (reader.submit(images.read, a, b, size, workers) for a, b in itertools.pairwise(edges))
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
        narrow = job.dtype == "float16" or job.device.precision == "fp16"  # bf16 and tf32 reach as far as fp32
        way_out = (
            "try --precision fp32" if narrow else "they are too large or undefined with these weights; try other --weights"
        )
        raise FeaturesInvalid(
            f"{job.images.source}: image {name} gives features that are not finite in {job.dtype}; {way_out}"
        )
    return stored
