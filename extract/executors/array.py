"""A job array: each command makes the shards of one task, wherever it runs, and the last of them writes the manifest.

The tasks share a features directory and nothing else. The first that comes plans for all; whoever comes later makes what
its share of that plan lacks, so a task that was killed is started again as it was.
"""

import dataclasses
import functools
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import numpy as np

from headstart.core.cache.assembly import Missing, assembled, missing
from headstart.core.cache.digests import SIZE, Digests, Wanted
from headstart.core.cache.errors import ArgumentInvalid, FeaturesDamaged, FeaturesInvalid, FeaturesStale
from headstart.core.cache.feature_set import FeatureSet
from headstart.core.cache.foreign import ForeignReader
from headstart.core.cache.known import Known, nobody
from headstart.core.cache.manifest import NAME as MANIFEST
from headstart.core.cache.places import names
from headstart.core.cache.shard_plan import Part
from headstart.core.cache.store import FeatureStore
from headstart.core.cache.task_plan import NAME as PLAN
from headstart.core.cache.task_plan import TaskPlan, read_task_plan, write_record, write_task_plan
from headstart.core.cache.text import set_words
from headstart.core.cache.writer import SetWriter, ShardWriter, vouched
from headstart.core.extract.config import ExecutorConfig
from headstart.core.extract.distributed.brief import images_digest
from headstart.core.extract.executors import Network, Work
from headstart.core.extract.images.contents import Contents
from headstart.core.extract.job import Job, Observer
from headstart.core.extract.network.interface import EngineConfig, Extractor
from headstart.core.extract.reuse import complete_set, known_contents, look, nothing, unchanged
from headstart.core.extract.rows.computing import Backbone, Load
from headstart.core.extract.rows.making import Maker
from headstart.core.extract.run import provenance_of, refuse_unusable
from headstart.core.extract.tuning.request import engine_request
from headstart.core.extract.tuning.trials import EngineRequest

OPTIONS = ("task",)


@dataclasses.dataclass(frozen=True)
class Share:
    """What one task has done of a set: the shards and rows that it made, in how many seconds, what is left for others, and
    the set where nothing is."""

    folder: Path
    made: int
    rows: int
    elapsed_s: float
    left: Missing
    features: FeatureSet | None


def crew(config: ExecutorConfig, job: Job, load: Load, observer: Observer) -> NoReturn:
    """No crew: a command makes one task's share. Raises ArgumentInvalid."""
    raise ArgumentInvalid(
        "--executor array: each command makes the share of one task; say which with --task I/N, as `headstart extract "
        "--executor array --task 1/16` does"
    )


def share(
    config: ExecutorConfig, job: Job, load: Load, store: FeatureStore, observer: Observer, later: Sequence[Job] = ()
) -> Share:
    """Make what the task's share of a job's set lacks, and the manifest where nothing is left after that.

    Pictures that are kept in other sets are computed all the same: to look for them every task would have to read them all.
    Raises ArgumentInvalid, FeaturesStale where a complete set is there whose pictures have changed, or one begun of others;
    and what `extract.run.extract` raises.
    """
    if config.task is None:
        crew(config, job, load, observer)
    if job.config.force:
        _refuse_force()
    contents = known_contents(job, store)
    on_wait = functools.partial(_tell_of_wait, job, observer)
    if (there := complete_set(job, store, contents, on_wait)) is not None:
        refuse_unusable(job, there.manifest.shards)
        return Share(there.folder, 0, 0, 0.0, Missing(there.folder, (), len(there.manifest.shards)), there)
    task = _Task(job, load, store, observer, contents, config.task)
    with store.writing(job.named, job.images.split, on_wait) as writer:
        agreed = task.agree(writer, later)
    if agreed is None:
        return share(config, job, load, store, observer, later)
    folder, plan = agreed
    made, rows, elapsed_s = task.make(folder, plan)
    features = None
    if not missing(store, folder.name).parts:
        with store.writing(job.named, job.images.split, on_wait) as writer:
            features = assembled(writer.at(folder), plan)
            store.remove_begun(job.named, job.images.split, but=folder)
        refuse_unusable(job, features.manifest.shards)
    return Share(folder, made, rows, elapsed_s, missing(store, folder.name, task.number[1]), features)


def _refuse_force() -> NoReturn:
    raise ArgumentInvalid(
        "--force: tasks of an array would compute each other's shards anew; leave it out, with another --features-dir, or "
        "after `headstart cache rm NAME` of what is there"
    )


def _tell_of_wait(job: Job, observer: Observer) -> None:
    observer.note(f"{job.title}: another task is planning, or writes the manifest; waiting for it")


@dataclasses.dataclass
class _Task:
    """One task's work."""

    job: Job
    loader: Load
    store: FeatureStore
    observer: Observer
    contents: Contents
    number: tuple[int, int]
    backbone: Backbone | None = None

    def agree(self, writer: SetWriter, later: Sequence[Job]) -> tuple[Path, TaskPlan] | None:
        """The set's folder and the plan of all tasks: that which is there, else this task's; None where others completed
        the set while this one waited for the lock, which is held now. Raises FeaturesStale."""
        job, images = self.job, images_digest(self.job.images, self.job.rows)
        plan = read_task_plan(writer.folder)
        if plan is not None:
            if plan.stops[-1] != job.rows and plan.provenance.split_rows == job.images.rows:
                raise FeaturesStale(
                    f"{writer.folder}: its tasks make the first {plan.stops[-1]:,} rows, this one asks for {job.rows:,}; "
                    f"give --limit as the others do, or `headstart cache rm {set_words(writer.folder)}` and begin anew"
                )
            if (plan.images, plan.stops[-1]) != (images, job.rows):
                raise FeaturesStale(
                    f"{writer.folder}: tasks have begun it for {plan.stops[-1]:,} rows of other pictures than are there "
                    f"now ({job.rows:,} rows); go on with those, or `headstart cache rm {set_words(writer.folder)}` begins "
                    f"anew"
                )
            self._tell_of_size(plan)
            return writer.folder, plan
        present = look(job, writer, self.contents)
        if present is None and (writer.folder / MANIFEST).exists():
            self._refuse_changed(writer)
        if present is not None and present.before is not None and not present.missing:
            return None
        if present is None:
            writer, present = writer.next(), nothing(job)
        self._tell_of_others(writer)
        network = self._prepared(writer, present.stop, len(present.missing), later)
        provenance = provenance_of(job, network)
        stops = tuple(part.stop for part in present.parts)
        plan = TaskPlan(job.named, job.images.split, job.backbone.feature_dim, job.dtype, stops, images, provenance)
        write_task_plan(writer.folder, plan)
        return writer.folder, plan

    def make(self, folder: Path, plan: TaskPlan) -> tuple[int, int, float]:
        """Make what this task's share lacks: shards, rows and seconds."""
        own = plan.of_task(*self.number)
        with ForeignReader() as foreign:
            left = [part for part in own if not self._is_there(folder, part, foreign)]
        if not left:
            return 0, 0, 0.0
        backbone = self.backbone or self._loaded(folder, plan, sum(part.rows for part in left))
        number, count = self.number
        self.observer.begin(f"{self.job.title}, task {number} of {count}", sum(part.rows for part in left), 0)
        started = time.perf_counter()
        writer = ShardWriter(folder, shared=True)
        made = [self._make(part, backbone, writer) for part in left]
        try:
            backbone.loaded().check_frozen()
        except FeaturesInvalid:
            for part in left:
                (folder / part.file).unlink(missing_ok=True)
            raise
        self.observer.end()
        return len(made), sum(made), time.perf_counter() - started

    def _make(self, part: Part, backbone: Backbone, writer: ShardWriter) -> int:
        """One shard and its record; the rows that it has."""
        self.contents.stat(part.start, part.stop)
        wanted = dataclasses.replace(Wanted.of(_different(part.rows)), start=part.start)
        maker = Maker(self.job, Known(wanted, nobody), self.contents, backbone.compute)
        (record,) = maker.make([part], writer)
        write_record(writer.folder, record)
        return record.rows

    def _is_there(self, folder: Path, part: Part, foreign: ForeignReader) -> bool:
        return vouched(folder / part.file, part.index, self.job.key, foreign) is not None

    def _tell_of_size(self, plan: TaskPlan) -> None:
        """Say that the plan's shards stay as they are, where this task was told another size."""
        largest, asked = max(part.rows for part in plan.parts), min(self.job.config.shard_rows, self.job.rows)
        if largest != asked:
            self.observer.note(
                f"{self.job.title}: the first task planned shards of up to {largest:,} rows, and all tasks make those; "
                f"--shard-rows, here {self.job.config.shard_rows:,}, changes nothing"
            )

    def _tell_of_others(self, writer: SetWriter) -> None:
        """Say that tasks have begun another set of the same pictures, where this is the first of its own: with other
        weights or another precision each has its own set, and that may be a slip."""
        for name in sorted(names(writer.folder.parent)):
            folder = writer.folder.parent / name
            if folder == writer.folder or not name.startswith(self.store.prefix(self.job.images.name)):
                continue
            other = read_task_plan(folder) if PLAN in names(folder) else None
            own = (self.job.images.name, self.job.images.split)
            if other is not None and (other.key.dataset, other.split) == own:
                differs = "; ".join(self.job.key.differences(other.key.feature_key))
                self.observer.note(
                    f"{self.job.title}: this task begins a set of its own, beside that which tasks have begun as {name}: "
                    f"{differs}"
                )

    def _refuse_changed(self, writer: SetWriter) -> None:
        """Raise FeaturesStale: a change is computed by one command, which knows what is kept."""
        before = writer.manifest()
        if before is None:
            raise FeaturesDamaged(
                f"{writer.folder / MANIFEST}: damaged; the same command without --executor and --task mends it"
            )
        if unchanged(self.job, before, self.contents) is None:
            raise FeaturesStale(
                f"{writer.folder}: {self.job.images.source} is no longer what it was made from; the same command "
                f"without --executor and --task computes only what changed"
            )

    def _prepared(self, writer: SetWriter, rows: int, shards: int, later: Sequence[Job]) -> Network:
        """The network of the first task, as all tasks will run it; what was chosen is on the disk."""
        job, recorded = self.job, writer.execution()

        def request() -> EngineRequest:
            return engine_request(job, self.store, recorded, (rows, rows), later, self.observer.note)

        def begun(extractor: Extractor) -> None:
            work.begin(_network(job, extractor))

        before = writer.manifest()
        expected = before.provenance.parameters if before is not None else None
        known = Known(Wanted.of(_different(0)), nobody)
        work = Work(job, writer, self.observer, self.contents, known, rows, expected, lambda _: request())
        self.backbone = Backbone(job, self.loader, self.observer, None, request, begun)
        return _network(job, self.backbone.ready())

    def _loaded(self, folder: Path, plan: TaskPlan, rows: int) -> Backbone:
        """The network of a later task, which has `rows` to compute, as the first one runs it. Raises FeaturesStale."""
        origin = plan.provenance
        request = EngineRequest.like(EngineConfig(origin.engine, origin.batch_size), rows)
        backbone = Backbone(self.job, self.loader, self.observer, None, lambda: request)
        if backbone.ready().parameters != origin.parameters:
            raise FeaturesStale(
                f"{folder}: tasks have begun it with other parameters than {self.job.weights.origin} gives now; give this "
                f"task the same weights, or `headstart cache rm {set_words(folder)}` and begin anew"
            )
        if self.job.device.description != origin.device:
            self.observer.note(
                f"{self.job.title}: {self.job.device.description} computes this share, {origin.device} the first one; the "
                f"last digits of features may differ between them"
            )
        return backbone


def _different(rows: int) -> Digests:
    """Digests of rows of which none is known: each is like no other."""
    found = np.zeros((rows, SIZE), dtype=np.uint8)
    found[:, :8] = np.arange(rows, dtype=np.uint64)[:, None].view(np.uint8).reshape(rows, 8)
    return found


def _network(job: Job, extractor: Extractor) -> Network:
    return Network(extractor.parameters, job.device.description, EngineConfig(extractor.engine, extractor.batch_size))
