"""What an extraction finds already there of its data set: whether the last snapshot is still right, and which shards.

A shard is kept while its images are still what they were. Files whose size, times and inode are the recorded ones are not
read again for that, as git does it.
"""

import dataclasses
import errno
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from headstart.core.cache.errors import FeaturesDamaged, FeaturesOfAnotherVersion, HeadstartError
from headstart.core.cache.feature_set import FeatureSet
from headstart.core.cache.known import Source
from headstart.core.cache.manifest import NAME as MANIFEST
from headstart.core.cache.manifest import Manifest, ShardRecord
from headstart.core.cache.places import exists, names
from headstart.core.cache.shard_plan import Part, plan
from headstart.core.cache.store import FeatureStore
from headstart.core.cache.task_plan import read_task_plan
from headstart.core.cache.writer import SetWriter
from headstart.core.extract.images.contents import Contents
from headstart.core.extract.job import Job
from headstart.core.extract.rows.changes import Changes, changes
from headstart.core.extract.rows.lookup import look_up


def known_contents(job: Job, store: FeatureStore) -> Contents:
    """What a job's rows are by content: files that are what the last snapshot remembers are not read, unless all is to be
    made anew."""
    if job.config.force:
        return Contents(job.images)
    return Contents(job.images, lambda: store.known_files(job.named, job.images.split))


def complete_set(job: Job, store: FeatureStore, contents: Contents, on_wait: Callable[[], None]) -> FeatureSet | None:
    """The last snapshot where it is complete, whole and still right: nothing is locked or written for that.

    Only where files were touched and found the same, or moved from where they no longer are, is it said in the manifest,
    if that can be written.
    """
    try:
        features = store.open(job.named, job.images.split)
        if features is None or features.manifest.stop < job.rows:
            return None
        features.check()
    except FeaturesOfAnotherVersion:
        raise
    except FeaturesDamaged:  # named and mended under the lock
        return None
    before = features.manifest
    records = unchanged(job, before, contents)
    if records is None:
        return None
    moved = _moved(job, before)
    if records == before.shards and moved == before:
        return features
    try:
        with store.writing(job.named, job.images.split, on_wait) as writer:
            return retouched(writer, moved, records, contents) if writer.manifest() == before else None
    except OSError as error:
        if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
            return features
        raise


def whole_path(source: str) -> str:
    """Where images came from, for readers in another folder; a source that is no path stays as it is."""
    path = Path(source)
    return str(path.absolute()) if path.exists() else source


def _moved(job: Job, before: Manifest) -> Manifest:
    """The manifest with the place where its pictures are now, if they are no longer where they were: when they change
    there, it is this data set that has changed."""
    here = whole_path(job.images.origin)
    if exists(before.provenance.data_from) or not exists(here):
        return before
    return dataclasses.replace(before, provenance=dataclasses.replace(before.provenance, data_from=here))


def unchanged(job: Job, before: Manifest, contents: Contents) -> tuple[ShardRecord, ...] | None:
    """The records of a snapshot whose pictures are those that are there now, as far as they are asked for; None where one
    has changed, went or has another label, or where the classes have other names."""
    if before.classes != job.images.classes or before.stop > job.images.rows:
        return None
    records = [_still_right(job, record, contents) for record in before.shards]
    known = tuple(record for record in records if record is not None)
    return known if len(known) == len(records) else None


def older_views(job: Job, store: FeatureStore) -> list[FeatureSet]:
    """The views kept beside a job's pictures that are not of all of them as they are now. Raises DataNotFound,
    DataInvalid."""
    contents = Contents(job.images, lambda: store.known_files(job.named, job.images.split))
    found = store.views(job.named, job.images.split)
    return [one for one in found if one.manifest.stop < job.rows or unchanged(job, one.manifest, contents) is None]


@dataclasses.dataclass(frozen=True)
class Outlook:
    """What a run would do: the rows of the set and in how many shards, the rows that need not be computed, the folder, and
    what has changed where the set that is there would be replaced by another snapshot."""

    rows: int
    shards: int
    rows_there: int
    folder: Path
    changes: Changes | None = None


def survey(job: Job, store: FeatureStore) -> Outlook:
    """The plan without computing. Pictures are read where the file system says that they have changed; nothing is locked,
    written or mended. Raises FeaturesDamaged, DataNotFound, DataInvalid."""
    contents = known_contents(job, store)
    job, _ = reaching(job, store, contents)
    features = None if job.config.force else store.open(job.named, job.images.split)
    kept = unchanged(job, features.manifest, contents) if features else None
    changed = changes(job, features, contents) if features is not None and kept is None else None
    files = names(features.folder) if features else ()
    there = [record for record in kept or () if record.file in files]
    parts = _plan(job, None, there, job.config.shard_rows)
    missing = [part for part in parts if not any(_covers(record, part) for record in there)]
    rows = parts[-1].stop
    computed = sum(part.rows for part in missing)
    begun = store.begun(job.named, job.images.split, but=None) if missing and not job.config.force else []
    if missing:
        found = look_up(job, store, contents, rows, begun).known.wanted
        there_too = found.found
        nowhere = {
            int(found.contents[row]) for part in missing for row in range(part.start, part.stop) if not there_too[row]
        }
        computed = len(nowhere)
    folder = features.folder if features and kept else _next(job, store, contents, begun)
    return Outlook(rows, len(parts), rows - computed, folder, changed)


def _next(job: Job, store: FeatureStore, contents: Contents, begun: Sequence[Source]) -> Path:
    """The folder of the snapshot that was begun last, where that is not complete and all its shards are right, else of a
    new one."""
    for folder in store.folders(job.named, job.images.split)[:1]:
        own = [source.record for source in begun if source.path.parent == folder]
        near = all(record.stop <= job.images.rows for record in own)
        if not (folder / MANIFEST).exists() and near and all(_still_right(job, record, contents) for record in own):
            return folder
    return store.free(job.named, job.images.split)


def rows_to_compute(job: Job, store: FeatureStore) -> int:
    """The rows that a job will have to compute, as far as can be said without reading anything."""
    try:
        features = None if job.config.force else store.open(job.named, job.images.split)
    except HeadstartError:  # damaged, or of a newer headstart: that job will say so itself
        return job.rows
    files = names(features.folder) if features else ()
    there = [one for one in features.manifest.shards if one.file in files] if features else []
    parts = _plan(job, None, there, job.config.shard_rows)
    return sum(part.rows for part in parts if not any(_covers(record, part) for record in there))


@dataclasses.dataclass(frozen=True)
class Present:
    """What is there when a run starts: the manifest, the plan, and the records that can be kept, by shard number."""

    before: Manifest | None
    parts: Sequence[Part]
    kept: Mapping[int, ShardRecord]

    @property
    def records(self) -> tuple[ShardRecord, ...]:
        """The records of all parts, where none is missing."""
        return tuple(self.kept[part.index] for part in self.parts)

    @property
    def missing(self) -> list[Part]:
        """The parts to make."""
        return [part for part in self.parts if part.index not in self.kept]

    @property
    def stop(self) -> int:
        """How many rows of the split the plan covers."""
        return self.parts[-1].stop


def look(job: Job, writer: SetWriter, contents: Contents) -> Present | None:
    """What is there of the job's set; None where a complete set is there that is no longer right, or shards of a killed run
    that are not: their rows may be those of other places, and another snapshot can take them."""
    before = writer.manifest()
    if before is not None and unchanged(job, before, contents) is None:
        return None
    found = writer.present()
    near = {i: record for i, record in found.items() if record.stop <= job.images.rows}
    right = {i: same for i, record in near.items() if (same := _still_right(job, record, contents)) is not None}
    if len(right) < len(found) and (before is None or not job.config.frozen):
        return None
    spans = {**_planned(job, writer.folder), **{i: (record.start, record.stop) for i, record in right.items()}}
    parts = plan(_rows(job, before), spans, job.config.shard_rows)
    kept = {part.index: right[part.index] for part in parts if _covers(right.get(part.index), part)}
    return Present(before, parts, kept)


def nothing(job: Job) -> Present:
    """The plan of a set of which nothing is there."""
    return Present(None, _plan(job, None, (), job.config.shard_rows), {})


def last_complete(job: Job, store: FeatureStore) -> FeatureSet | None:
    """The last complete snapshot of the job's data set; None where there is none, or one whose manifest is damaged. Raises
    FeaturesOfAnotherVersion, unless all is to be computed anew: that is done beside it then."""
    try:
        return store.open(job.named, job.images.split)
    except FeaturesOfAnotherVersion:
        if job.config.force:
            return None
        raise
    except FeaturesDamaged:
        return None


def reaching(job: Job, store: FeatureStore, contents: Contents) -> tuple[Job, str | None]:
    """The job for as many rows as the last snapshot has, which it is to replace with a `limit`: all, where that had all. It
    goes as far as no more pictures are computed than the limit allows. And what must be said of that.

    Raises FeaturesOfAnotherVersion, DataNotFound, DataInvalid, OSError.
    """
    last = None if job.config.limit is None or job.config.frozen else last_complete(job, store)
    if last is None:
        return job, None
    before, rows = last.manifest, job.images.rows
    rows = rows if before.stop >= before.provenance.split_rows else min(before.stop, rows)
    if rows <= job.rows or (not job.config.force and unchanged(job, before, contents) is not None):
        return job, None
    stop = job.rows if job.config.force else _affordable(job, store, contents, rows)
    longer = dataclasses.replace(job, config=dataclasses.replace(job.config, limit=stop))
    if stop == rows:
        had = f"the features before have {before.stop:,}"
        return longer, f"{job.title}: the first {stop:,} rows are brought up to date, more than {job.rows:,}: {had}"
    had = f"{stop:,} rows only, where the features before have {before.stop:,}"
    return longer, f"{job.title}: {had}; the same `headstart extract` without --limit makes the others"


def _affordable(job: Job, store: FeatureStore, contents: Contents, rows: int) -> int:
    """How many of the first `rows` rows can be made while no more pictures are computed than the job asks for."""
    begun = store.begun(job.named, job.images.split, but=None)
    wanted = look_up(job, store, contents, rows, begun).known.wanted
    nowhere = np.flatnonzero(~wanted.found)
    new = np.zeros(rows, dtype=np.int64)
    new[nowhere[np.unique(wanted.contents[nowhere], return_index=True)[1]]] = 1
    return int(np.searchsorted(np.cumsum(new), job.rows, side="right"))


def retouched(writer: SetWriter, before: Manifest, shards: tuple[ShardRecord, ...], contents: Contents) -> FeatureSet:
    """The set that is there; where files were touched and found the same, the next run need not read them again.

    Raises OSError.
    """
    if shards == before.shards and before == writer.manifest():
        return FeatureSet(writer.folder, before)
    writer.remember(contents.known_files(before.stop))
    return writer.commit(shards, before.feature_dim, before.dtype, before.provenance, before.change)


def _plan(job: Job, before: Manifest | None, present: Sequence[ShardRecord], shard_rows: int) -> list[Part]:
    return plan(_rows(job, before), {record.part.index: (record.start, record.stop) for record in present}, shard_rows)


def _rows(job: Job, before: Manifest | None) -> int:
    """A set never shrinks: mending one of its shards for a smaller `--limit` keeps all the others."""
    return max(job.rows, before.stop if before else 0)


def _planned(job: Job, folder: Path) -> dict[int, tuple[int, int]]:
    """The ranges that tasks of an array have agreed on and may be making right now: under a shard's name there must not be
    two of them."""
    try:
        found = read_task_plan(folder)
    except FeaturesDamaged:  # tasks can't go on with it either
        return {}
    if found is None or found.stops[-1] > job.images.rows:
        return {}
    return {part.index: (part.start, part.stop) for part in found.parts}


def _covers(record: ShardRecord | None, part: Part) -> bool:
    return record is not None and record.part == part


def _still_right(job: Job, record: ShardRecord, contents: Contents) -> ShardRecord | None:
    """The record, if its images are still what they were; one that is not asked for is left as it is, and not read."""
    if record.start >= job.rows:
        return record
    stat = contents.stat(record.start, record.stop)
    if stat is not None and stat == record.inputs_stat:
        return record
    if contents.inputs(record.start, record.stop) != record.inputs:
        return None
    return dataclasses.replace(record, inputs_stat=stat)
