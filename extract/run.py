"""The extraction run: which rows are missing, their features, shard by shard into the store.

This module imports no torch, so that a run which finds everything already there never pays for it.
"""

import dataclasses
import datetime
import importlib.metadata
import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt

from cache.errors import FeaturesInvalid, FeaturesStale, ImageUnreadable, OutOfMemory
from cache.key import FeatureKey
from cache.manifest import Manifest, Provenance, ShardRecord
from cache.plan import Part, plan
from cache.shard import Rows, Shard, Skipped
from cache.store import FeatureSet, FeatureStore, SetWriter
from extract.backbones import POOLING, Backbone
from extract.config import ExtractConfig
from extract.devices import Device
from extract.images import Batch, Images, inputs_digest
from extract.preprocess import Preprocessing
from extract.weights import Weights


class Observer(Protocol):
    """Told how the run goes; what it prints, and where, is its own affair."""

    def note(self, text: str) -> None:
        """Something the user should know."""

    def begin(self, title: str, rows: int, done: int) -> None:
        """Work on `rows` rows starts, `done` of which are there already."""

    def advance(self, rows: int) -> None:
        """`rows` more are computed."""

    def end(self) -> None:
        """The work announced by `begin` is over."""


class Extractor(Protocol):
    """What turns pixels into features; `extract.pooled.FeatureExtractor` is the one we ship."""

    @property
    def batch_size(self) -> int: ...
    @property
    def parameters(self) -> str: ...

    def __call__(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """uint8 (n, H, W, 3) to float32 (n, D). Raises OutOfMemory."""
        ...

    def with_batch_size(self, batch_size: int) -> Self:
        """The same network for batches of another size."""
        ...

    def check_frozen(self) -> None:
        """Raises FeaturesInvalid where the network is no longer what it was when it was built."""
        ...


@dataclasses.dataclass(frozen=True)
class Job:
    """One split of one data set through one backbone: everything decided, nothing computed."""

    images: Images
    backbone: Backbone
    weights: Weights
    preprocessing: Preprocessing
    device: Device
    config: ExtractConfig

    @property
    def key(self) -> FeatureKey:
        """The key of the feature set that this job makes."""
        return FeatureKey(
            backbone=self.backbone.name,
            pooling=POOLING,
            weights=self.weights.label,
            weights_sha256=self.weights.sha256,
            image_size=self.preprocessing.image_size,
            interpolation=self.preprocessing.interpolation,
            mean=self.preprocessing.mean,
            std=self.preprocessing.std,
            precision=self.device.precision,
            dataset=self.images.name,
            classes=self.images.classes,
        )

    @property
    def rows(self) -> int:
        """How many rows of the split are asked for; a limit beyond the split's end asks for all."""
        return min(self.images.rows, self.config.limit or self.images.rows)

    @property
    def dtype(self) -> str:
        """Features of the low precisions are kept as float16: eleven significant bits hold bfloat16's eight.

        Untrained networks are the exception: an untrained ResNet152 gives values of 10^8, far beyond float16's range.
        """
        return "float32" if self.device.precision in ("fp32", "tf32") or self.key.untrained else "float16"

    @property
    def row_bytes(self) -> int:
        """What one row of features takes on disk, in bytes."""
        return self.backbone.feature_dim * np.dtype(self.dtype).itemsize

    @property
    def title(self) -> str:
        """The job in a few words."""
        return f"{self.backbone.name} {self.images.name} {self.images.split}"


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a run did: the set, how many rows it computed and in how many seconds (0 where all was there)."""

    features: FeatureSet
    computed: int
    elapsed_s: float


def extract(job: Job, load: Callable[[Job], Extractor], store: FeatureStore, observer: Observer) -> Outcome:
    """Make the feature set complete for the job's rows; shards that are there and still right are kept.

    `load` builds the backbone and is called only when something is missing. Raises FeaturesStale where the images or the
    parameters are no longer those of the set, ImageUnreadable, FeaturesInvalid, OutOfMemory, OSError.
    """

    def on_wait() -> None:
        observer.note(f"another process is writing {store.folder(job.key, job.images.split)}; waiting for it")

    with store.writing(job.key, job.images.split, on_wait) as writer:
        if job.config.force:
            writer.remove()
        state = _look(job, writer)
        for name in dict.fromkeys(writer.damaged):
            observer.note(f"{writer.folder / name} is damaged and will be made anew")
        if state.before is not None and not state.missing and state.before.stop >= state.parts[-1].stop:
            return Outcome(FeatureSet(writer.folder, state.before), 0, 0.0)
        return _complete(job, load(job), writer, state, observer)


def survey(job: Job, store: FeatureStore) -> list[tuple[Part, bool]]:
    """The plan without computing: every part, and whether it is there. Nothing is locked, written or mended."""
    features = None if job.config.force else store.open(job.key, job.images.split)
    records = [r for r in features.manifest.shards if (features.folder / r.file).is_file()] if features else []
    present = {record.part.index: record for record in records}
    return [(part, _covers(present.get(part.index), part)) for part in _plan(job, None, present)]


@dataclasses.dataclass(frozen=True)
class _State:
    """What is there when a run starts: the manifest, the plan, and the records that can be kept, by shard number."""

    before: Manifest | None
    parts: Sequence[Part]
    kept: Mapping[int, ShardRecord]

    @property
    def missing(self) -> list[Part]:
        return [part for part in self.parts if part.index not in self.kept]


def _look(job: Job, writer: SetWriter) -> _State:
    before = writer.manifest()
    present = writer.present()
    parts = _plan(job, before, present)
    covered = [(part, present[part.index]) for part in parts if _covers(present.get(part.index), part)]
    return _State(before, parts, {part.index: _still_right(job, writer, record, part) for part, record in covered})


def _plan(job: Job, before: Manifest | None, present: Mapping[int, ShardRecord]) -> list[Part]:
    """A set never shrinks: mending one of its shards for a smaller `--limit` keeps all the others."""
    rows = max(job.rows, before.stop if before else 0)
    return plan(rows, {i: (record.start, record.stop) for i, record in present.items()}, job.config.shard_rows)


def _covers(record: ShardRecord | None, part: Part) -> bool:
    return record is not None and (record.start, record.stop) == (part.start, part.stop)


_REDO = "--force computes the set anew, another --features-dir keeps both"


def _still_right(job: Job, writer: SetWriter, record: ShardRecord, part: Part) -> ShardRecord:
    """The record, if its images are still what they were. Raises FeaturesStale."""
    if part.stop > job.images.rows:
        raise FeaturesStale(
            f"{writer.folder}: made from {part.stop} images or more, {job.images.source} has {job.images.rows}; {_REDO}"
        )
    if part.start >= job.rows:  # not asked for: left as it is, and not read
        return record
    span = (part.start, part.stop)
    stat = job.images.stat(*span)
    if stat is not None and stat == record.inputs_stat:
        return record
    found = inputs_digest(job.images.ids(*span), job.images.labels(*span), job.images.fingerprints(*span))
    if found != record.inputs:
        raise FeaturesStale(
            f"{writer.folder}: rows {part.start} to {part.stop - 1} of {job.images.source} have changed since "
            f"(inputs {found[:12]}…, expected {record.inputs[:12]}…); {_REDO}"
        )
    return dataclasses.replace(record, inputs_stat=stat)


def _complete(job: Job, extractor: Extractor, writer: SetWriter, state: _State, observer: Observer) -> Outcome:
    if state.before and state.before.provenance.parameters != extractor.parameters:
        raise FeaturesStale(f"{writer.folder}: made with other parameters than {job.weights.origin} gives now; {_REDO}")
    rows, total = sum(part.rows for part in state.missing), state.parts[-1].stop
    observer.begin(job.title, total, total - rows)
    started = time.perf_counter()
    made = []
    for part in state.missing:
        record, extractor = _make(job, extractor, writer, part, observer)
        made.append(record)
    try:
        extractor.check_frozen()
    except FeaturesInvalid:
        writer.discard(made)  # nobody can say which of them still came from the right network
        raise
    records = sorted([*state.kept.values(), *made], key=lambda record: record.start)
    features = writer.commit(records, job.backbone.feature_dim, job.dtype, _provenance(job, extractor))
    observer.end()  # after the manifest: a first signal must not cut its writing
    return Outcome(features, rows, time.perf_counter() - started)


def _make(
    job: Job, extractor: Extractor, writer: SetWriter, part: Part, observer: Observer
) -> tuple[ShardRecord, Extractor]:
    """Compute and write one shard; where memory runs out, in batches of half the size, which the next shards then keep."""
    while True:
        started = time.perf_counter()
        stat = job.images.stat(part.start, part.stop)
        shard = _try(job, extractor, part, observer)
        if shard is not None:
            return writer.put(shard, part.index, stat, round(time.perf_counter() - started, 3)), extractor
        extractor = extractor.with_batch_size(extractor.batch_size // 2)
        observer.note(f"out of memory; going on with batches of {extractor.batch_size}")


def _try(job: Job, extractor: Extractor, part: Part, observer: Observer) -> Shard | None:
    """The shard, or None where memory ran out and there is a smaller batch to try. Raises OutOfMemory for a batch of 1.

    Returning leaves the `except` block, whose traceback would keep the failed batch's memory alive during the retry.
    """
    done = 0

    def advance(rows: int) -> None:
        nonlocal done
        done += rows
        observer.advance(rows)

    try:
        return compute_shard(job, extractor, part, advance)
    except OutOfMemory:
        if extractor.batch_size == 1:
            raise
    observer.advance(-done)
    return None


def compute_shard(job: Job, extractor: Extractor, part: Part, advance: Callable[[int], None]) -> Shard:
    """One shard of the plan. It depends on its arguments alone, so any process may compute any shard.

    Raises ImageUnreadable with `--on-error fail`, FeaturesInvalid for features that are not finite in the set's dtype.
    """
    features, labels = [], []
    ids: list[bytes] = []
    marks: list[str] = []
    skipped: list[Skipped] = []
    for batch in _batches(job, part, extractor.batch_size):
        if batch.skipped and job.config.on_error == "fail":
            image = batch.skipped[0]
            raise ImageUnreadable(f"{job.images.source}/{image.id}: {image.reason}; --on-error skip leaves such images out")
        start = batch.start
        kept = batch.rows - start
        features.append(_finite(job, extractor(batch.pixels) if len(kept) else None, batch))
        labels.append(job.images.labels(start, start + len(batch.fingerprints))[kept])
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


def _provenance(job: Job, extractor: Extractor) -> Provenance:
    packages = ("headstart", "torch", "torchvision", "h5py", "numpy", "pillow")
    return Provenance(
        split_rows=job.images.rows,
        weights_from=job.weights.origin,
        data_from=job.images.source,
        parameters=extractor.parameters,
        device=job.device.description,
        batch_size=extractor.batch_size,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        versions={name: importlib.metadata.version(name) for name in packages},
        notes=job.images.notes,
    )
