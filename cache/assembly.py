"""A set whose shards several commands made: which are missing, and the manifest once none is."""

import dataclasses
import datetime
import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from headstart.core.cache.errors import FeaturesDamaged, FeaturesInvalid, FeaturesNotFound
from headstart.core.cache.feature_set import FeatureSet, checked_bytes
from headstart.core.cache.foreign import ForeignReader
from headstart.core.cache.manifest import ShardRecord, read_manifest
from headstart.core.cache.places import names
from headstart.core.cache.shard_plan import Part
from headstart.core.cache.store import FeatureStore
from headstart.core.cache.task_plan import TaskPlan, read_record, read_task_plan
from headstart.core.cache.text import set_words
from headstart.core.cache.writer import SetWriter, vouched


@dataclasses.dataclass(frozen=True)
class Missing:
    """The shards of a set that are not there yet, of how many, and the array of tasks that was asked about: None counts a
    task for each shard."""

    folder: Path
    parts: Sequence[Part]
    shards: int
    array_size: int | None = None

    @property
    def tasks(self) -> list[int]:
        """The numbers, from 1, of the tasks that have something left to do."""
        count = self.array_size or self.shards
        return sorted({part.index % count + 1 for part in self.parts})

    @property
    def array(self) -> str:
        """The same as Slurm takes them: `3,17-19`."""
        return spelled(self.tasks)


def missing(store: FeatureStore, name: str, array_size: int | None = None) -> Missing:
    """What is left of a set that tasks of an array make; their files are looked for, not read. Raises FeaturesNotFound,
    FeaturesDamaged."""
    folder = store.root / store.called(name)
    if not folder.is_dir():
        raise store.no_such(name)
    plan = read_task_plan(folder)
    parts = [record.part for record in store.get(name).manifest.shards] if plan is None else plan.parts
    there = names(folder)
    return Missing(folder, [part for part in parts if part.file not in there], len(parts), array_size)


def assemble(store: FeatureStore, name: str, on_wait: Callable[[], None]) -> FeatureSet:
    """Check every shard and write the manifest; a set that is complete is only checked. Raises FeaturesNotFound where
    shards are missing or damaged, with the array expression of the tasks that make them; FeaturesDamaged, OSError."""
    folder = store.root / store.called(name)
    if not folder.is_dir():
        raise store.no_such(name)
    plan = read_task_plan(folder)
    if plan is None:
        complete = store.get(name)
        complete.check()
        return complete
    with store.writing(plan.key, plan.split, on_wait) as writer:
        return assembled(writer.at(folder), plan)


def assembled(writer: SetWriter, plan: TaskPlan) -> FeatureSet:
    """The same for whoever holds the set's lock."""
    folder = writer.folder
    if read_task_plan(folder) is None:  # another task was first
        return FeatureSet(folder, read_manifest(folder))
    before = writer.manifest()
    listed = {} if before is None else {record.part: record for record in before.shards}
    with ForeignReader() as foreign:
        found = [_record(folder, part, plan, listed, foreign) for part in plan.parts]
    records = [record for record in found if record is not None]
    if len(records) < len(found):
        lacking = [part for part, record in zip(plan.parts, found, strict=True) if record is None]
        raise FeaturesNotFound(_lacking(folder, lacking, len(found)))
    if not any(record.rows for record in records):
        raise FeaturesInvalid(f"{folder}: none of its {plan.stops[-1]:,} images could be used; no set without rows is kept")
    created = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
    provenance = dataclasses.replace(plan.provenance, created=created)
    features = writer.commit(records, plan.feature_dim, plan.dtype, provenance)
    writer.remove_shared()
    return features


def _lacking(folder: Path, lacking: Sequence[Part], shards: int) -> str:
    """What must be said where shards are missing or damaged; those that are damaged are removed, so that they are missing
    to whoever asks for what is left."""
    damaged = [part for part in lacking if (folder / part.file).exists()]
    for part in damaged:
        (folder / part.file).unlink(missing_ok=True)
    removed = f" ({len(damaged):,} of them damaged, and removed now)" if damaged else ""
    one, tasks = len(lacking) == 1, spelled([part.index + 1 for part in lacking])
    makes = f"{'task' if one else 'tasks'} {tasks} of {shards} {'makes' if one else 'make'} what is missing"
    return (
        f"{folder}: of {shards:,} shards {len(lacking):,} {'is' if one else 'are'} missing{removed}; {makes}; "
        f"`headstart cache missing {set_words(folder)} --array` lists them, with --array-size N those of an array of N"
    )


def _record(
    folder: Path, part: Part, plan: TaskPlan, listed: Mapping[Part, ShardRecord], foreign: ForeignReader
) -> ShardRecord | None:
    """What the manifest will say of a shard; None where it is missing, or not what it should be."""
    for known in (listed.get(part), read_record(folder, part)):
        if known is not None:
            try:
                checked_bytes(folder / part.file, known)
                return known
            except (FeaturesDamaged, OSError):
                continue
    record = vouched(folder / part.file, part.index, plan.key.feature_key, foreign)
    return record if record is not None and record.part == part else None


def spelled(numbers: Sequence[int]) -> str:
    """Rising numbers as an array expression: `3,17-19`."""
    runs = [
        [number for _, number in run] for _, run in itertools.groupby(enumerate(numbers), lambda pair: pair[1] - pair[0])
    ]
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
