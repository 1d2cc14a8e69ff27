"""The features of some rows: batches through the backbone, several in flight, checked, and put together as a shard."""

import contextlib
import dataclasses
import functools
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from headstart.core.cache.digests import from_hex, inputs_digest
from headstart.core.cache.errors import FeaturesInvalid, ImageUnreadable
from headstart.core.cache.shard import Rows, Shard, Skipped, narrowed
from headstart.core.cache.shard_plan import Part
from headstart.core.extract.images import Batch, Picked, Readable
from headstart.core.extract.job import Job
from headstart.core.extract.network.interface import Extractor, Features, Pending
from headstart.core.extract.reading import Pace, Reader


@dataclasses.dataclass(frozen=True)
class Computed:
    """Rows that went through the backbone: features (m, D) in the set's dtype of the rows `numbers` (m,), and what each row
    that was asked for was read from, those in `skipped` too."""

    features: npt.NDArray[Any]
    numbers: npt.NDArray[np.int64]
    fingerprints: Mapping[int, str]
    skipped: tuple[Skipped, ...]


def compute_rows(
    job: Job, extractor: Extractor, numbers: Sequence[int], advance: Callable[[int], None], pace: Pace | None = None
) -> Computed:
    """The features of some rows of the job, in batches of them alone. They depend on the arguments alone, so any process
    may compute any of them. `pace` is added to.

    Raises ImageUnreadable with `--on-error fail`, FeaturesInvalid for features that are not finite in the set's dtype.
    """
    features: list[npt.NDArray[Any]] = [np.zeros((0, job.backbone.feature_dim), dtype=job.dtype)]
    places: list[npt.NDArray[np.int64]] = [np.zeros(0, dtype=np.int64)]
    marks: list[str] = []
    skipped: list[Skipped] = []
    rows, first = np.asarray(numbers, dtype=np.int64), numbers[0]
    images: Readable = job.images
    if together := int(rows[-1]) - first == len(rows) - 1:
        span = (first, first + len(rows))
    else:
        images, span, first = Picked(job.images, numbers), (0, len(rows)), 0
    reader = Reader(images, job.preprocessing, job.config.workers, pace or Pace())
    with contextlib.closing(computed(reader, extractor, span, functools.partial(_refuse, job))) as found:
        for batch, values in found:
            own = batch if together else dataclasses.replace(batch, rows=rows[batch.rows])
            features.append(_finite(job, values, own))
            places.append(own.rows)
            marks += batch.fingerprints
            skipped += [dataclasses.replace(image, row=int(rows[image.row - first])) for image in batch.skipped]
            advance(len(batch.fingerprints))
    known = dict(zip(rows.tolist(), marks, strict=True))
    return Computed(np.concatenate(features), np.concatenate(places), known, tuple(skipped))


def compute_shard(
    job: Job, extractor: Extractor, part: Part, advance: Callable[[int], None], pace: Pace | None = None
) -> Shard:
    """One shard of the plan, all of whose rows go through the backbone. Raises as `compute_rows`."""
    found = compute_rows(job, extractor, range(part.start, part.stop), advance, pace)
    return assembled(job, part, found.features, list(found.fingerprints.values()), found.skipped)


def assembled(job: Job, part: Part, features: npt.NDArray[Any], marks: Sequence[str], skipped: Sequence[Skipped]) -> Shard:
    """The shard of a part from the features (n, D) of the rows that are there, which are all but those skipped, and what
    each of all its rows is of."""
    span, images = (part.start, part.stop), job.images
    ids, labels = images.ids(*span), images.labels(*span)
    left_out = {image.row - part.start for image in skipped}
    there = [place for place in range(part.rows) if place not in left_out]
    names = np.array([ids[place] for place in there], dtype="S")
    rows = Rows(features, labels[there], names, from_hex([marks[place] for place in there]))
    inputs = inputs_digest(ids, labels, marks)
    ordered = tuple(sorted(skipped, key=lambda image: image.row))
    return Shard(job.key.digest, inputs, part.start, part.stop, rows, ordered)


def refuse_left_out(job: Job, skipped: Sequence[Skipped]) -> None:
    """Raise ImageUnreadable with `--on-error fail`, where an image was left out: of the first of them."""
    if skipped and job.config.on_error == "fail":
        image = min(skipped, key=lambda image: image.row)
        raise ImageUnreadable(f"{job.images.source}/{image.id}: {image.reason}; --on-error skip leaves such images out")


def _refuse(job: Job, batch: Batch) -> None:
    refuse_left_out(job, batch.skipped)


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
