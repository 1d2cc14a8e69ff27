"""The extraction run: which rows are missing, which of them are kept elsewhere, and the others through the backbone.

This module imports no torch, so that a run which finds everything already there never pays for it.
"""

import contextlib
import dataclasses
import datetime
import functools
import importlib.metadata
from collections.abc import Iterable, Sequence
from pathlib import Path

from headstart.core.cache.change import Change, Difference
from headstart.core.cache.errors import FeaturesStale, ImageUnreadable
from headstart.core.cache.execution import Execution
from headstart.core.cache.feature_set import FeatureSet
from headstart.core.cache.known import Source
from headstart.core.cache.manifest import NAME as MANIFEST
from headstart.core.cache.manifest import Manifest, Provenance, ShardRecord
from headstart.core.cache.places import names
from headstart.core.cache.store import FeatureStore
from headstart.core.cache.writer import SetWriter
from headstart.core.extract.config import LOCAL, ExecutorConfig
from headstart.core.extract.executors import Crew, Made, Network, Work, named
from headstart.core.extract.images.contents import Contents
from headstart.core.extract.job import Job, Observer
from headstart.core.extract.network.interface import EngineConfig
from headstart.core.extract.reuse import (
    Present,
    complete_set,
    known_contents,
    last_complete,
    look,
    nothing,
    reaching,
    retouched,
    unchanged,
    whole_path,
)
from headstart.core.extract.rows.changes import changes, difference
from headstart.core.extract.rows.computing import Load
from headstart.core.extract.rows.lookup import Found, look_up
from headstart.core.extract.rows.making import to_compute
from headstart.core.extract.shards import refuse_left_out
from headstart.core.extract.tuning.request import engine_request
from headstart.core.extract.tuning.trials import EngineRequest
from headstart.core.extract.weights.licences import licence


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a run did: the set, how many rows it computed and in how many seconds (0 where all was there): those of the
    shards it made, as the manifest has them, without what came before the first image and after the last. `change` says
    what it changed of the data set's last snapshot, or took over from other sets; None where neither was."""

    features: FeatureSet
    computed: int
    elapsed_s: float
    change: Change | None = None


def extract(
    job: Job,
    load: Load,
    store: FeatureStore,
    observer: Observer,
    later: Sequence[Job] = (),
    executor: ExecutorConfig = LOCAL,
) -> Outcome:
    """Make the feature set complete for the job's rows, as they are now. Rows that are kept in a complete set of the same
    key are taken from there, whatever their data set, place or label; a set whose pictures have changed is replaced by
    another snapshot, of no fewer rows as far as that costs no more than the job's `limit` (`reuse.reaching`).

    `load` builds the backbone and is called only when a row is nowhere. `later` are the jobs that the same command does
    after this one: engine and batch size are chosen for all their rows together. `executor` says who computes. Raises
    FeaturesStale where the parameters are no longer those of the rows that are kept, and with `frozen` where pictures have
    changed; ImageUnreadable (also where all images were left out), FeaturesInvalid, OutOfMemory, WorkerLost, OSError.
    """
    contents = known_contents(job, store)
    on_wait = functools.partial(_tell_of_wait, job, store, observer)
    if not job.config.force and (there := complete_set(job, store, contents, on_wait)) is not None:
        refuse_unusable(job, there.manifest.shards)
        return Outcome(there, 0, 0.0)
    longer, remark = reaching(job, store, contents)
    if remark is not None:
        observer.note(remark)
    around = _Around(store, observer, later, contents)
    with contextlib.closing(named(executor.name).crew(executor, job, load, observer)) as crew:
        try:
            return _extract(longer, crew, around)
        except ImageUnreadable as error:
            if longer.rows == job.rows:
                raise
            observer.note(f"{job.title}: of the first {job.rows:,} rows alone: {error}")
            return _extract(job, crew, around)


def _tell_of_wait(job: Job, store: FeatureStore, observer: Observer) -> None:
    observer.note(f"another process is writing {store.folder(job.named, job.images.split)}; waiting for it")


@dataclasses.dataclass(frozen=True)
class _Around:
    """What a run has beside its job, as `extract` has it."""

    store: FeatureStore
    observer: Observer
    later: Sequence[Job]
    contents: Contents


def _extract(job: Job, crew: Crew, around: _Around) -> Outcome:
    """What `extract` does where the last snapshot is not complete or no longer right."""
    store, observer, contents, found = around.store, around.observer, around.contents, None
    if not store.folders(job.named, job.images.split):  # weights that are refused must leave no new folder behind
        found = look_up(job, store, contents, job.rows)
        if not found.known.complete:
            crew.load()
    last_complete(job, store)  # where a newer headstart made it, nothing is made beside it either
    on_wait = functools.partial(_tell_of_wait, job, store, observer)
    with store.writing(job.named, job.images.split, on_wait) as writer:
        last = last_complete(job, store)
        writer, present, begun = _opened(job, store, writer, last, contents)
        if job.config.frozen and MANIFEST in writer.damaged:
            raise FeaturesStale(_unsure(writer.folder))
        _refuse_kept(job, present.kept.values())
        for name in dict.fromkeys(writer.damaged):
            what = "damaged" if name in names(writer.folder) else "missing"
            observer.note(f"{writer.folder / name} is {what} and will be made anew")
        if present.before is not None and not present.missing and present.before.stop >= present.stop:
            return Outcome(retouched(writer, present.before, present.records, contents), 0, 0.0)
        if found is None or present.stop != job.rows:
            found = look_up(job, store, contents, present.stop, begun)
        if found.left_out:
            observer.note(f"{job.title}: {found.left_out} sets of other data sets are too large to look for rows in")
        outcome = _Run(job, writer, around, found, crew).complete(present, last)
        store.remove_begun(job.named, job.images.split, but=outcome.features.folder)
        return outcome


def _opened(
    job: Job, store: FeatureStore, writer: SetWriter, last: FeatureSet | None, contents: Contents
) -> tuple[SetWriter, Present, Sequence[Source]]:
    """The snapshot to complete, what is there of it, and the shards of killed runs that may give rows to it.

    It is the last complete one where that is still right, else the one that was begun where all its shards are, else a new
    one. Raises FeaturesStale with `frozen` where pictures have changed.
    """
    split, name = job.images.split, job.named
    if job.config.force:  # nobody was promised what killed runs have left, and it is to be forgotten
        store.remove_begun(name, split, but=None)
        return writer.next(), nothing(job), ()
    if last is not None and last.folder != writer.folder:  # another one was begun since
        if unchanged(job, last.manifest, contents) is not None:
            writer = writer.at(last.folder)
        elif job.config.frozen:
            raise FeaturesStale(_frozen(job, last, contents))
    if (present := look(job, writer, contents)) is not None:
        return writer, present, store.begun(name, split, but=writer.folder)
    if job.config.frozen and last is not None:
        raise FeaturesStale(_frozen(job, last, contents))
    begun = store.begun(name, split, but=None)
    following, present = writer.next(), nothing(job)
    if begun and (execution := writer.execution()) is not None:
        now = dataclasses.replace(
            execution, rows=max(execution.rows, present.stop), data_from=whole_path(job.images.source)
        )
        following.record_execution(now)
    return following, present, begun


def _frozen(job: Job, last: FeatureSet, contents: Contents) -> str:
    """What has changed, for whoever wants no change."""
    return (
        f"{last.folder}: {job.images.source} is no longer what it was made from: "
        f"{changes(job, last, contents).words}; leave out --frozen to bring the "
        f"features up to date"
    )


def _unsure(folder: Path) -> str:
    return (
        f"{folder / MANIFEST}: damaged, so that nobody can say whether the pictures are still the same; leave out --frozen "
        f"to make it anew"
    )


@dataclasses.dataclass(frozen=True)
class _Run:
    """One run that holds its set's lock."""

    job: Job
    writer: SetWriter
    around: _Around
    found: Found
    crew: Crew

    def complete(self, present: Present, last: FeatureSet | None) -> Outcome:
        """Make what is missing and write the manifest."""
        job, origin, contents = self.job, present.before or self.found.origin, self.around.contents
        expected = origin.provenance.parameters if origin else None
        request = functools.partial(self._request, present.stop, last)
        known = self.found.known
        work = Work(job, self.writer, self.around.observer, contents, known, present.stop, expected, request)
        todo = to_compute(known, present.missing)
        made = self.crew.make(work, present.missing, todo)
        records = sorted([*present.kept.values(), *made.records], key=lambda record: record.start)
        if not any(record.rows for record in records):
            self.writer.remove()
        _refuse_empty(job, records)
        change = self._change(present, last, made.computed, sum(len(record.skipped) for record in records))
        provenance = provenance_of(job, self._origin(origin, made))
        recorded = change or (present.before.change if present.before else None)
        self.writer.remember(contents.known_files(present.stop))
        features = self.writer.commit(records, job.backbone.feature_dim, job.dtype, provenance, recorded)
        self.around.observer.end()  # after the manifest: a first signal must not cut its writing
        for remark in made.remarks:
            self.around.observer.note(f"{job.title}: {remark}")
        return Outcome(features, made.computed, made.elapsed_s, change)

    def _request(self, rows: int, last: FeatureSet | None, todo: int) -> EngineRequest:
        """How to compute: as the run that began this set, else as the rows that are kept were computed."""
        recorded, around = self.writer.execution(), self.around
        kept = last.manifest if last is not None else self.found.origin
        if recorded is None and kept is not None and not self.job.config.force:
            recorded = dataclasses.replace(Execution.of(kept), rows=max(kept.stop, rows))
        return engine_request(self.job, around.store, recorded, (todo, rows), around.later, around.observer.note)

    def _origin(self, kept: Manifest | None, made: Made) -> Network:
        """By what the features were computed: this run's network, else that of the rows which are kept."""
        network, recorded = made.network, self.writer.execution()
        if kept is not None and (network is None or not made.computed):
            origin = kept.provenance
            return Network(origin.parameters, origin.device, EngineConfig(origin.engine, origin.batch_size))
        if network is None:
            raise AssertionError("neither a network nor rows that are kept")
        if not made.records and recorded:
            return dataclasses.replace(network, config=EngineConfig(recorded.engine, recorded.batch_size))
        return network

    def _change(self, present: Present, last: FeatureSet | None, computed: int, unreadable: int) -> Change | None:
        """What the new snapshot changed of the last one; None for one that is extended or mended, and for a first one of
        which no row was kept elsewhere."""
        if self.job.config.force or (last is not None and last.folder == self.writer.folder):
            return None
        rows = present.stop
        if last is None and not self.found.known.wanted.found.any():
            return None
        found = Difference() if last is None else difference(self.job, last, self.around.contents, rows)
        digest, kept = last.manifest.digest if last else "", max(0, rows - computed - unreadable)
        return Change(digest, rows, kept, computed, unreadable=unreadable, **vars(found))


def refuse_unusable(job: Job, records: Sequence[ShardRecord]) -> None:
    """Raise ImageUnreadable for a complete set that lacks what is asked for now, or that has no rows."""
    _refuse_kept(job, records)
    _refuse_empty(job, records)


def _refuse_kept(job: Job, records: Iterable[ShardRecord]) -> None:
    """Raise ImageUnreadable, as a run into an empty directory does, where an earlier one left out what is asked for now."""
    refuse_left_out(job, [image for record in records for image in record.skipped if image.row < job.rows])


def _refuse_empty(job: Job, records: Sequence[ShardRecord]) -> None:
    """Raise ImageUnreadable where all images were left out: a set without rows is no success."""
    if any(record.rows for record in records):
        return
    left_out = [image for record in records for image in record.skipped]
    why = f": the first, {left_out[0].id}, {left_out[0].reason}" if left_out else ""
    raise ImageUnreadable(
        f"{job.images.source}: none of the {len(left_out):,} images asked for can be used{why}; no set without rows is kept"
    )


def provenance_of(job: Job, origin: Network) -> Provenance:
    """Where the features of a job come from, that `origin` computes."""
    packages = dict.fromkeys(("headstart", "torch", "torchvision", "h5py", "numpy", "pillow", *job.backbone.packages))
    return Provenance(
        split_rows=job.images.rows,
        weights_from=job.weights.origin,
        data_from=whole_path(job.images.origin),
        parameters=origin.parameters,
        device=origin.device,
        batch_size=origin.config.batch_size,
        engine=origin.config.engine,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds"),
        versions={name: importlib.metadata.version(name) for name in packages},
        notes=job.images.notes,
        order=job.images.order,
        licence=licence(job.backbone, job.weights.label),
    )
