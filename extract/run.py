"""The extraction run: which rows are missing, their features, shard by shard into the store.

This module imports no torch, so that a run which finds everything already there never pays for it.
"""

import dataclasses
import datetime
import importlib.metadata
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from headstart.core.cache.errors import FeaturesInvalid, FeaturesStale, ImageUnreadable, OutOfMemory
from headstart.core.cache.execution import Execution
from headstart.core.cache.feature_set import FeatureSet
from headstart.core.cache.manifest import Provenance, ShardRecord
from headstart.core.cache.shard import Shard
from headstart.core.cache.shard_plan import Part
from headstart.core.cache.store import FeatureStore
from headstart.core.cache.writer import SetWriter
from headstart.core.extract.job import Job, Observer
from headstart.core.extract.network.interface import EngineConfig, Extractor
from headstart.core.extract.reading import Pace
from headstart.core.extract.reuse import REDO, Present, complete_set, look, retouched
from headstart.core.extract.shards import compute_shard
from headstart.core.extract.tuning.request import engine_request
from headstart.core.extract.tuning.trials import EngineRequest, tune


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a run did: the set, how many rows it computed and in how many seconds (0 where all was there): those of its
    shards, as the manifest has them, without what came before the first image and after the last."""

    features: FeatureSet
    computed: int
    elapsed_s: float


def extract(
    job: Job, load: Callable[[Job], Extractor], store: FeatureStore, observer: Observer, later: Sequence[Job] = ()
) -> Outcome:
    """Make the feature set complete for the job's rows; shards that are there and still right are kept.

    `load` builds the backbone and is called only when something is missing. `later` are the jobs that the same command does
    after this one: engine and batch size are chosen for all their rows together. Raises FeaturesStale where the images or
    the parameters are no longer those of the set, ImageUnreadable (also where all images were left out), FeaturesInvalid,
    OutOfMemory, OSError.
    """

    def on_wait() -> None:
        observer.note(f"another process is writing {store.folder(job.key, job.images.split)}; waiting for it")

    if not job.config.force and (there := complete_set(job, store, on_wait)) is not None:
        _refuse_empty(job, there.manifest.shards)
        return Outcome(there, 0, 0.0)
    # weights that are refused must leave no new folder behind, and the old set whole
    new = job.config.force or not store.folder(job.key, job.images.split).is_dir()
    extractor = load(job) if new else None
    with store.writing(job.key, job.images.split, on_wait) as writer:
        if job.config.force:
            writer.remove()
        present = look(job, writer)
        for name in dict.fromkeys(writer.damaged):
            observer.note(f"{writer.folder / name} is damaged and will be made anew")
        if present.before is not None and not present.missing and present.before.stop >= present.stop:
            return Outcome(retouched(writer, present.before, present.records), 0, 0.0)
        rows = (present.missing_rows, present.stop)
        request = engine_request(job, store, writer.execution(), rows, later, observer.note)
        return _Run(job, writer, observer).complete(extractor or load(job), present, request)


@dataclasses.dataclass(frozen=True)
class _Run:
    """One run that holds its set's lock."""

    job: Job
    writer: SetWriter
    observer: Observer
    pace: Pace = dataclasses.field(default_factory=Pace)

    def complete(self, extractor: Extractor, present: Present, request: EngineRequest) -> Outcome:
        """Compute what is missing and write the manifest."""
        job, before = self.job, present.before
        if before and before.provenance.parameters != extractor.parameters:
            raise FeaturesStale(
                f"{self.writer.folder}: made with other parameters than {job.weights.origin} gives now; {REDO}"
            )
        if present.missing:
            extractor = self._tune(extractor, request, present.stop)
        self.observer.begin(job.title, present.stop, present.stop - present.missing_rows)
        made, extractor = self._make_all(extractor, present.missing)
        try:
            extractor.check_frozen()
        except FeaturesInvalid:
            self.writer.discard(made)  # nobody can say which of them still came from the right network
            raise
        config = EngineConfig(extractor.engine, extractor.batch_size)
        if not made and (recorded := self.writer.execution()):  # a killed run made all, and only its manifest is missing
            config = EngineConfig(recorded.engine, recorded.batch_size)
        records = sorted([*present.kept.values(), *made], key=lambda record: record.start)
        if not any(record.rows for record in records):
            self.writer.remove()
        _refuse_empty(job, records)
        provenance = _provenance(job, extractor, config)
        features = self.writer.commit(records, job.backbone.feature_dim, job.dtype, provenance)
        self.observer.end()  # after the manifest: a first signal must not cut its writing
        if (remark := self.pace.remark(job.config.workers)) is not None:
            self.observer.note(f"{job.title}: {remark}")
        return Outcome(features, present.missing_rows, sum(record.elapsed_s or 0.0 for record in made))

    def _tune(self, extractor: Extractor, request: EngineRequest, rows: int) -> Extractor:
        """The extractor as requested, which is recorded on the disk before the first shard."""
        tuned = tune(extractor, request, self.observer.note)
        recorded = self.writer.execution()
        if recorded and (tuned.engine, tuned.batch_size) == (recorded.engine, recorded.batch_size):
            rows = max(rows, recorded.rows)  # a longer run that was killed goes on in the same way too
        self.writer.record_execution(Execution(tuned.engine, tuned.batch_size, rows, self.job.device.description))
        return tuned

    def _make_all(self, extractor: Extractor, parts: Sequence[Part]) -> tuple[list[ShardRecord], Extractor]:
        """Compute the shards, each written by a thread while the next one is computed."""
        writing: list[Future[ShardRecord]] = []
        with ThreadPoolExecutor(max_workers=1) as thread:
            for part in parts:
                shard, stat, elapsed_s, extractor = self._make(extractor, part)
                if writing:
                    writing[-1].result()  # a full disk ends the run here, and no more than two shards are in memory
                writing.append(thread.submit(self.writer.put, shard, part.index, stat, elapsed_s))
            return [future.result() for future in writing], extractor

    def _make(self, extractor: Extractor, part: Part) -> tuple[Shard, str | None, float, Extractor]:
        """One shard, its files' stat from before they were read, and the seconds it took.

        Where memory runs out it is computed in batches of half the size, by the extractor returned, which the next keep.
        """
        while True:
            started = time.perf_counter()
            stat = self.job.images.stat(part.start, part.stop)
            shard = self._try(extractor, part)
            if shard is not None:
                return shard, stat, round(time.perf_counter() - started, 3), extractor
            extractor = _smaller(extractor)
            self.observer.note(f"out of memory; going on with batches of {extractor.batch_size}")

    def _try(self, extractor: Extractor, part: Part) -> Shard | None:
        """The shard, or None where memory ran out and there is a smaller batch to try. Raises OutOfMemory for a batch of 1.

        Returning leaves the `except` block, whose traceback would keep the failed batch's memory alive during the retry.
        """
        done = 0

        def advance(rows: int) -> None:
            nonlocal done
            done += rows
            self.observer.advance(rows)

        try:
            return compute_shard(self.job, extractor, part, advance, self.pace)
        except OutOfMemory:
            if extractor.batch_size == 1:
                raise
        self.observer.advance(-done)
        return None


def _refuse_empty(job: Job, records: Sequence[ShardRecord]) -> None:
    """Raise ImageUnreadable where all images were left out: a set without rows is no success."""
    if any(record.rows for record in records):
        return
    left_out = [image for record in records for image in record.skipped]
    why = f": the first, {left_out[0].id}, {left_out[0].reason}" if left_out else ""
    raise ImageUnreadable(
        f"{job.images.source}: none of the {len(left_out):,} images asked for can be used{why}; no set without rows is kept"
    )


def _smaller(extractor: Extractor) -> Extractor:
    """The extractor in batches of half the size, or of less where even preparing that takes too much memory."""
    size = extractor.batch_size // 2
    while size > 1:
        try:
            return extractor.running(EngineConfig(extractor.engine, size))
        except OutOfMemory:
            size //= 2
    return extractor.running(EngineConfig(extractor.engine, 1))


def _provenance(job: Job, extractor: Extractor, config: EngineConfig) -> Provenance:
    packages = ("headstart", "torch", "torchvision", "h5py", "numpy", "pillow")
    return Provenance(
        split_rows=job.images.rows,
        weights_from=job.weights.origin,
        data_from=_whole_path(job.images.source),
        parameters=extractor.parameters,
        device=job.device.description,
        batch_size=config.batch_size,
        engine=config.engine,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        versions={name: importlib.metadata.version(name) for name in packages},
        notes=job.images.notes,
        order=job.images.order,
    )


def _whole_path(source: str) -> str:
    """Where images came from, for readers in another folder; a source that is no path stays as it is."""
    path = Path(source)
    return str(path.absolute()) if path.exists() else source
