"""The extraction run: which rows are missing, their features, shard by shard into the store.

This module imports no torch, so that a run which finds everything already there never pays for it.
"""

import dataclasses
import datetime
import errno
import importlib.metadata
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from headstart.core.cache.errors import FeaturesDamaged, FeaturesInvalid, FeaturesStale, HeadstartError, OutOfMemory
from headstart.core.cache.execution import Execution
from headstart.core.cache.feature_set import FeatureSet
from headstart.core.cache.manifest import Manifest, Provenance, ShardRecord
from headstart.core.cache.shard import Shard
from headstart.core.cache.shard_plan import Part, plan
from headstart.core.cache.store import FeatureStore
from headstart.core.cache.writer import SetWriter
from headstart.core.extract.images import inputs_digest
from headstart.core.extract.job import Extractor, Job, Observer
from headstart.core.extract.network.tuning import Way, settle
from headstart.core.extract.shards import Pace, compute_shard
from headstart.core.extract.way import Wish, wish


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a run did: the set, how many rows it computed and in how many seconds (0 where all was there)."""

    features: FeatureSet
    computed: int
    elapsed_s: float


def extract(
    job: Job, load: Callable[[Job], Extractor], store: FeatureStore, observer: Observer, later: Sequence[Job] = ()
) -> Outcome:
    """Make the feature set complete for the job's rows; shards that are there and still right are kept.

    `load` builds the backbone and is called only when something is missing. `later` are the jobs that the same command does
    after this one: the way of computing is chosen for all their rows together. Raises FeaturesStale where the images or the
    parameters are no longer those of the set, ImageUnreadable, FeaturesInvalid, OutOfMemory, OSError.
    """

    def on_wait() -> None:
        observer.note(f"another process is writing {store.folder(job.key, job.images.split)}; waiting for it")

    if not job.config.force and (there := _there(job, store, on_wait)) is not None:
        return Outcome(there, 0, 0.0)
    # weights that are refused must leave no new folder behind, and the old set whole
    new = job.config.force or not store.folder(job.key, job.images.split).is_dir()
    extractor = load(job) if new else None
    with store.writing(job.key, job.images.split, on_wait) as writer:
        if job.config.force:
            writer.remove()
        state = _look(job, writer)
        for name in dict.fromkeys(writer.damaged):
            observer.note(f"{writer.folder / name} is damaged and will be made anew")
        if state.before is not None and not state.missing and state.before.stop >= state.parts[-1].stop:
            return Outcome(_touched(writer, state.before, state.records), 0, 0.0)
        missing = sum(part.rows for part in state.missing)
        wished = wish(job, store, writer.execution(), (missing, state.parts[-1].stop), later, _missing, observer.note)
        return _complete(job, extractor or load(job), writer, state, wished, observer)


def _there(job: Job, store: FeatureStore, on_wait: Callable[[], None]) -> FeatureSet | None:
    """The set where it is complete, whole and still right: nothing is locked or written for that. Raises FeaturesStale.

    Only where files were touched and found the same is it said in the manifest, if that can be written.
    """
    try:
        features = store.open(job.key, job.images.split)
        if features is None or features.manifest.stop < job.rows:
            return None
        features.check()
    except FeaturesDamaged:  # named and mended under the lock
        return None
    before = features.manifest
    records = tuple(_still_right(job, features.folder, record, record.part) for record in before.shards)
    if records == before.shards:
        return features
    try:
        with store.writing(job.key, job.images.split, on_wait) as writer:
            return _touched(writer, before, records) if writer.manifest() == before else None
    except OSError as error:
        if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
            return features
        raise


def survey(job: Job, store: FeatureStore) -> list[tuple[Part, bool]]:
    """The plan without computing: every part, and whether it is there. Nothing is locked, written or mended."""
    features = None if job.config.force else store.open(job.key, job.images.split)
    records = [r for r in features.manifest.shards if (features.folder / r.file).is_file()] if features else []
    present = {record.part.index: record for record in records}
    return [(part, _covers(present.get(part.index), part)) for part in _plan(job, None, present)]


def _missing(job: Job, store: FeatureStore) -> int:
    """The rows that a job will have to compute, as far as can be said without reading the set."""
    try:
        return sum(part.rows for part, there in survey(job, store) if not there)
    except HeadstartError:  # damaged, or of a newer headstart: that job will say so itself
        return job.rows


@dataclasses.dataclass(frozen=True)
class _State:
    """What is there when a run starts: the manifest, the plan, and the records that can be kept, by shard number."""

    before: Manifest | None
    parts: Sequence[Part]
    kept: Mapping[int, ShardRecord]

    @property
    def records(self) -> tuple[ShardRecord, ...]:
        return tuple(self.kept[part.index] for part in self.parts)

    @property
    def missing(self) -> list[Part]:
        return [part for part in self.parts if part.index not in self.kept]


def _look(job: Job, writer: SetWriter) -> _State:
    before = writer.manifest()
    present = writer.present()
    parts = _plan(job, before, present)
    covered = [(part, present[part.index]) for part in parts if _covers(present.get(part.index), part)]
    return _State(before, parts, {part.index: _still_right(job, writer.folder, record, part) for part, record in covered})


def _touched(writer: SetWriter, before: Manifest, shards: tuple[ShardRecord, ...]) -> FeatureSet:
    """The set that is there; where files were touched and found the same, the next run need not read them again."""
    if shards == before.shards:
        return FeatureSet(writer.folder, before)
    return writer.commit(shards, before.feature_dim, before.dtype, before.provenance)


def _plan(job: Job, before: Manifest | None, present: Mapping[int, ShardRecord]) -> list[Part]:
    """A set never shrinks: mending one of its shards for a smaller `--limit` keeps all the others."""
    rows = max(job.rows, before.stop if before else 0)
    return plan(rows, {i: (record.start, record.stop) for i, record in present.items()}, job.config.shard_rows)


def _covers(record: ShardRecord | None, part: Part) -> bool:
    return record is not None and (record.start, record.stop) == (part.start, part.stop)


_REDO = "--force computes the set anew, another --features-dir keeps both"


def _still_right(job: Job, folder: Path, record: ShardRecord, part: Part) -> ShardRecord:
    """The record, if its images are still what they were. Raises FeaturesStale."""
    if part.stop > job.images.rows:
        raise FeaturesStale(
            f"{folder}: made from {part.stop} images or more, {job.images.source} has {job.images.rows}; {_REDO}"
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
            f"{folder}: rows {part.start} to {part.stop - 1} of {job.images.source} have changed since "
            f"(inputs {found[:12]}…, expected {record.inputs[:12]}…); {_REDO}"
        )
    return dataclasses.replace(record, inputs_stat=stat)


def _complete(job: Job, extractor: Extractor, writer: SetWriter, state: _State, wish: Wish, observer: Observer) -> Outcome:
    if state.before and state.before.provenance.parameters != extractor.parameters:
        raise FeaturesStale(f"{writer.folder}: made with other parameters than {job.weights.origin} gives now; {_REDO}")
    rows, total = sum(part.rows for part in state.missing), state.parts[-1].stop
    if state.missing:
        extractor = _settle(job, extractor, writer, wish, total, observer)
    observer.begin(job.title, total, total - rows)
    started, pace = time.perf_counter(), Pace()
    made, extractor = _make_all(job, extractor, writer, state.missing, observer, pace)
    try:
        extractor.check_frozen()
    except FeaturesInvalid:
        writer.discard(made)  # nobody can say which of them still came from the right network
        raise
    way = Way(extractor.engine, extractor.batch_size)
    if not made and (recorded := writer.execution()):  # a killed run made them all, and only its manifest is missing
        way = Way(recorded.engine, recorded.batch_size)
    records = sorted([*state.kept.values(), *made], key=lambda record: record.start)
    features = writer.commit(records, job.backbone.feature_dim, job.dtype, _provenance(job, extractor, way))
    observer.end()  # after the manifest: a first signal must not cut its writing
    if (remark := pace.remark(job.config.workers)) is not None:
        observer.note(f"{job.title}: {remark}")
    return Outcome(features, rows, time.perf_counter() - started)


def _settle(job: Job, extractor: Extractor, writer: SetWriter, wish: Wish, total: int, observer: Observer) -> Extractor:
    """The extractor running as wished, which is on the disk before the first shard."""
    size, asked = job.preprocessing.image_size, (wish.engine, wish.batch_size)
    settled = settle(extractor, job.device, size, wish.rows, asked, observer.note, wish.most)
    recorded = writer.execution()
    if recorded and (settled.engine, settled.batch_size) == (recorded.engine, recorded.batch_size):
        total = max(total, recorded.rows)  # a longer run that was killed goes on in this way too
    writer.record_execution(Execution(settled.engine, settled.batch_size, total, job.device.description))
    return settled


def _make_all(
    job: Job, extractor: Extractor, writer: SetWriter, parts: Sequence[Part], observer: Observer, pace: Pace
) -> tuple[list[ShardRecord], Extractor]:
    """Compute the shards, each written by a thread while the next one is computed."""
    writing: list[Future[ShardRecord]] = []
    with ThreadPoolExecutor(max_workers=1) as thread:
        for part in parts:
            shard, stat, elapsed_s, extractor = _make(job, extractor, part, observer, pace)
            if writing:
                writing[-1].result()  # a full disk ends the run here, and no more than two shards are in memory
            writing.append(thread.submit(writer.put, shard, part.index, stat, elapsed_s))
        return [future.result() for future in writing], extractor


def _make(
    job: Job, extractor: Extractor, part: Part, observer: Observer, pace: Pace
) -> tuple[Shard, str | None, float, Extractor]:
    """One shard, its files' stat from before they were read, and the seconds it took.

    Where memory runs out it is computed in batches of half the size, by the extractor returned, which the next keep.
    """
    while True:
        started = time.perf_counter()
        stat = job.images.stat(part.start, part.stop)
        shard = _try(job, extractor, part, observer, pace)
        if shard is not None:
            return shard, stat, round(time.perf_counter() - started, 3), extractor
        extractor = _smaller(extractor)
        observer.note(f"out of memory; going on with batches of {extractor.batch_size}")


def _smaller(extractor: Extractor) -> Extractor:
    """The extractor in batches of half the size, or of less where even preparing that takes too much memory."""
    size = extractor.batch_size // 2
    while size > 1:
        try:
            return extractor.running(Way(extractor.engine, size))
        except OutOfMemory:
            size //= 2
    return extractor.running(Way(extractor.engine, 1))


def _try(job: Job, extractor: Extractor, part: Part, observer: Observer, pace: Pace) -> Shard | None:
    """The shard, or None where memory ran out and there is a smaller batch to try. Raises OutOfMemory for a batch of 1.

    Returning leaves the `except` block, whose traceback would keep the failed batch's memory alive during the retry.
    """
    done = 0

    def advance(rows: int) -> None:
        nonlocal done
        done += rows
        observer.advance(rows)

    try:
        return compute_shard(job, extractor, part, advance, pace)
    except OutOfMemory:
        if extractor.batch_size == 1:
            raise
    observer.advance(-done)
    return None


def _provenance(job: Job, extractor: Extractor, way: Way) -> Provenance:
    packages = ("headstart", "torch", "torchvision", "h5py", "numpy", "pillow")
    return Provenance(
        split_rows=job.images.rows,
        weights_from=job.weights.origin,
        data_from=_whole_path(job.images.source),
        parameters=extractor.parameters,
        device=job.device.description,
        batch_size=way.batch_size,
        engine=way.engine,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        versions={name: importlib.metadata.version(name) for name in packages},
        notes=job.images.notes,
        order=job.images.order,
    )


def _whole_path(source: str) -> str:
    """Where images came from, for readers in another folder; a source that is no path stays as it is."""
    path = Path(source)
    return str(path.absolute()) if path.exists() else source
