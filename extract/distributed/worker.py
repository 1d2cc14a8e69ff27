"""One job in a process that makes shards as it is told: the pure function of (plan, index), and the network it needs."""

from __future__ import annotations

import dataclasses
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from headstart.core.cache.errors import FeaturesNotFound, HeadstartError
from headstart.core.cache.known import Known
from headstart.core.cache.manifest import ShardRecord
from headstart.core.cache.shard_plan import Part
from headstart.core.cache.writer import ShardWriter, execution_of
from headstart.core.extract import plan
from headstart.core.extract.distributed.brief import Brief, job_of
from headstart.core.extract.executors import Network
from headstart.core.extract.images.contents import Contents, KnownRows
from headstart.core.extract.job import Job, ShardsDone
from headstart.core.extract.network.interface import EngineConfig
from headstart.core.extract.reading import Pace
from headstart.core.extract.rows.computing import Backbone
from headstart.core.extract.rows.making import Maker
from headstart.core.extract.tuning.trials import EngineRequest


@dataclasses.dataclass(frozen=True)
class Task:
    """One shard to make: where it goes, how it is computed, what of its rows is copied and what is known of them."""

    part: Part
    folder: Path
    config: EngineConfig
    known: Known
    contents: KnownRows


@dataclasses.dataclass(frozen=True)
class Finished:
    """What came of it: the shard as the manifest has it, the rows that were computed, what is known of its rows by now,
    what was waited for, what is to be remarked, and the batch size by the end, which gets smaller where memory runs out."""

    record: ShardRecord
    computed: int
    contents: KnownRows
    pace: Pace
    notes: tuple[str, ...]
    batch_size: int


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a worker answers: a value, or the error that a user is to be told of."""

    value: Any = None
    error: HeadstartError | OSError | None = None

    def get(self) -> Any:
        """The value. Raises the error."""
        if self.error is not None:
            raise self.error
        return self.value


@dataclasses.dataclass
class _Told:
    """What the network says while it works goes to the driver: rows that are done, and remarks."""

    advanced: Callable[[int], None]
    notes: list[str] = dataclasses.field(default_factory=list)

    def note(self, text: str) -> None:
        self.notes.append(text)

    def taken(self) -> list[str]:
        """The remarks since the last time."""
        found, self.notes = self.notes, []
        return found

    def begin(self, title: str, rows: int, done: int) -> None:
        """The driver knows."""

    def advance(self, rows: int) -> None:
        self.advanced(rows)

    def end(self) -> None:
        """The driver knows."""

    def shards(self, done: ShardsDone) -> None:
        """The driver knows."""


class Worker:
    """Makes shards of one job. The methods are called one at a time, by `answer`."""

    def __init__(self, brief: Brief, device: str | None = None, advanced: Callable[[int], None] = lambda _: None) -> None:
        self._brief, self._device, self._told = brief, device, _Told(advanced)
        self._job: Job | None = None
        self._backbone: Backbone | None = None
        self._contents: Contents | None = None

    def answer(self, what: str, *given: Any) -> Answer:
        """Do `what` and say what came of it."""
        try:
            return Answer(getattr(self, what)(*given))
        except (HeadstartError, OSError) as error:
            return Answer(error=error)

    def where(self) -> str:
        """The machine that this is."""
        return socket.gethostname()

    def load(self) -> None:
        """Load the network. Raises what planning and loading raise."""
        self._ready().loaded()

    def prepare(self, request: EngineRequest) -> tuple[Network, list[str]]:
        """Make the network ready to run as requested, and say what it is, and what there is to remark. Raises what loading
        raises, DeviceUnavailable, OutOfMemory."""
        backbone = self._ready()
        backbone.request = lambda: request
        extractor = backbone.ready()
        config = EngineConfig(extractor.engine, extractor.batch_size)
        return Network(extractor.parameters, backbone.job.device.description, config), self._told.taken()

    def make(self, task: Task) -> Finished:
        """Make one shard, and put it where it belongs. Raises what computing rows raises; FeaturesNotFound where the
        features' folder is not the driver's."""
        begun = execution_of(task.folder)
        if begun is None or begun.engine != task.config.engine:
            raise FeaturesNotFound(
                f"{task.folder}: not what the driver has begun, as {socket.gethostname()} sees it; --features-dir must be "
                f"on storage that all workers share"
            )
        backbone = self._ready()
        backbone.request = lambda: EngineRequest.like(task.config, task.part.rows)
        backbone.pace = Pace()
        contents, before = self._contents or Contents(backbone.job.images), backbone.computed
        contents.take(task.contents)
        self._contents = contents
        (record,) = Maker(backbone.job, task.known, contents, backbone.compute).make([task.part], ShardWriter(task.folder))
        known = contents.known(task.part.start, task.part.stop)
        size = task.config.batch_size if backbone.extractor is None else backbone.extractor.batch_size
        notes = tuple(self._told.taken())
        return Finished(record, backbone.computed - before, known, backbone.pace, notes, size)

    def check(self) -> None:
        """Raises FeaturesInvalid where the network did not stay what it was."""
        if self._backbone is not None and self._backbone.extractor is not None:
            self._backbone.extractor.check_frozen()

    def _ready(self) -> Backbone:
        if self._backbone is None:
            job = job_of(self._brief, self._device)
            self._backbone = Backbone(job, lambda job: plan.load(job, self._told.note), self._told)
        return self._backbone
