"""What an extraction finds already there: which shards of a set can be kept, and which rows are missing.

A shard is kept while its images are still what they were. Files whose size, times and inode are the recorded ones are not
read again for that, as git does it.
"""

import dataclasses
import errno
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from headstart.core.cache.errors import FeaturesDamaged, FeaturesStale, HeadstartError
from headstart.core.cache.feature_set import FeatureSet
from headstart.core.cache.manifest import Manifest, ShardRecord
from headstart.core.cache.shard_plan import Part, plan
from headstart.core.cache.store import FeatureStore
from headstart.core.cache.writer import SetWriter
from headstart.core.extract.images import rows_digest
from headstart.core.extract.job import Job

REDO = "--force computes the set anew, another --features-dir keeps both"


def complete_set(job: Job, store: FeatureStore, on_wait: Callable[[], None]) -> FeatureSet | None:
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
            return retouched(writer, before, records) if writer.manifest() == before else None
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


def rows_to_compute(job: Job, store: FeatureStore) -> int:
    """The rows that a job will have to compute, as far as can be said without reading the set."""
    try:
        return sum(part.rows for part, there in survey(job, store) if not there)
    except HeadstartError:  # damaged, or of a newer headstart: that job will say so itself
        return job.rows


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
        """The parts to compute."""
        return [part for part in self.parts if part.index not in self.kept]

    @property
    def missing_rows(self) -> int:
        """How many rows they have."""
        return sum(part.rows for part in self.missing)

    @property
    def stop(self) -> int:
        """How many rows of the split the plan covers."""
        return self.parts[-1].stop


def look(job: Job, writer: SetWriter) -> Present:
    """What is there of the job's set. Raises FeaturesStale."""
    before = writer.manifest()
    present = writer.present()
    parts = _plan(job, before, present)
    covered = [(part, present[part.index]) for part in parts if _covers(present.get(part.index), part)]
    return Present(before, parts, {part.index: _still_right(job, writer.folder, record, part) for part, record in covered})


def retouched(writer: SetWriter, before: Manifest, shards: tuple[ShardRecord, ...]) -> FeatureSet:
    """The set that is there; where files were touched and found the same, the next run need not read them again.

    Raises OSError.
    """
    if shards == before.shards:
        return FeatureSet(writer.folder, before)
    return writer.commit(shards, before.feature_dim, before.dtype, before.provenance)


def _plan(job: Job, before: Manifest | None, present: Mapping[int, ShardRecord]) -> list[Part]:
    """A set never shrinks: mending one of its shards for a smaller `--limit` keeps all the others."""
    rows = max(job.rows, before.stop if before else 0)
    return plan(rows, {i: (record.start, record.stop) for i, record in present.items()}, job.config.shard_rows)


def _covers(record: ShardRecord | None, part: Part) -> bool:
    return record is not None and (record.start, record.stop) == (part.start, part.stop)


def _still_right(job: Job, folder: Path, record: ShardRecord, part: Part) -> ShardRecord:
    """The record, if its images are still what they were. Raises FeaturesStale."""
    if part.stop > job.images.rows:
        raise FeaturesStale(
            f"{folder}: made from {part.stop} images or more, {job.images.source} has {job.images.rows}; {REDO}"
        )
    if part.start >= job.rows:  # not asked for: left as it is, and not read
        return record
    span = (part.start, part.stop)
    stat = job.images.stat(*span)
    if stat is not None and stat == record.inputs_stat:
        return record
    found = rows_digest(job.images, span)
    if found != record.inputs:
        raise FeaturesStale(
            f"{folder}: rows {part.start} to {part.stop - 1} of {job.images.source} have changed since "
            f"(inputs {found[:12]}…, expected {record.inputs[:12]}…); {REDO}"
        )
    return dataclasses.replace(record, inputs_stat=stat)
