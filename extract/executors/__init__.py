"""Who computes the shards that a set lacks: this process, or several on one machine or many.

Each module of this package is an executor, with `crew`; adding one is adding a file. All of them call the same functions of
`extract.rows` and give the same bytes.
"""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
from collections.abc import Callable, Sequence
from typing import Protocol, cast

from headstart.core.cache.errors import ArgumentInvalid
from headstart.core.cache.execution import Execution
from headstart.core.cache.known import Known
from headstart.core.cache.manifest import ShardRecord
from headstart.core.cache.shard_plan import Part
from headstart.core.cache.text import did_you_mean
from headstart.core.cache.writer import SetWriter
from headstart.core.extract.config import ExecutorConfig
from headstart.core.extract.images.contents import Contents
from headstart.core.extract.job import Job, Observer
from headstart.core.extract.network.interface import EngineConfig
from headstart.core.extract.reuse import whole_path
from headstart.core.extract.rows.computing import Load, refuse_other
from headstart.core.extract.tuning.trials import EngineRequest

OPTIONS = tuple(field.name for field in dataclasses.fields(ExecutorConfig) if field.name != "name")
"""What can be said of an executor."""


@dataclasses.dataclass(frozen=True)
class Network:
    """What computes rows: its parameters by their digest, the device in words, engine and batch size."""

    parameters: str
    device: str
    config: EngineConfig


@dataclasses.dataclass(frozen=True)
class Work:
    """What one run has to make of a job's set, which has `rows` rows in all. `known` are rows that are copied. `request`
    says how to compute so many rows. `expected` is the digest of the parameters that the rows which are kept came from, if
    any are."""

    job: Job
    writer: SetWriter
    observer: Observer
    contents: Contents
    known: Known
    rows: int
    expected: str | None
    request: Callable[[int], EngineRequest]

    def begin(self, network: Network) -> None:
        """Say on the disk, before the first shard, how they are computed. Raises FeaturesStale where rows that are kept
        came from other parameters, OSError."""
        job, config = self.job, network.config
        refuse_other(network.parameters, self.expected, job, self.writer.folder)
        recorded, rows = self.writer.execution(), self.rows
        if recorded and (config.engine, config.batch_size) == (recorded.engine, recorded.batch_size):
            rows = max(rows, recorded.rows)  # a longer run that was killed goes on in the same way too
        place = whole_path(job.images.source)
        self.writer.record_execution(Execution(config.engine, config.batch_size, rows, network.device, place))


@dataclasses.dataclass(frozen=True)
class Made:
    """What a crew made: the shards, how many rows it computed for them and in how many seconds by the clock, what computed
    (None where nothing needed a network), and what must be said."""

    records: Sequence[ShardRecord]
    computed: int
    elapsed_s: float
    network: Network | None
    remarks: tuple[str, ...] = ()


class Crew(Protocol):
    """Those who compute one job."""

    def load(self) -> None:
        """Load the network, so that weights which are refused are refused now. Raises WeightsMismatch."""
        ...

    def make(self, work: Work, parts: Sequence[Part], todo: int) -> Made:
        """Make these parts of a set, `todo` of whose rows have to be computed. The observer is told. Raises what
        `extract.run.extract` raises; no shard is left that can't be relied on."""
        ...

    def close(self) -> None:
        """End what was started; nothing computes after that."""
        ...


class Executor(Protocol):
    """What a module of this package offers. `OPTIONS` are the fields of `ExecutorConfig` that it takes."""

    OPTIONS: tuple[str, ...]

    def crew(self, config: ExecutorConfig, job: Job, load: Load, observer: Observer) -> Crew:
        """Those who compute a job. Raises ArgumentInvalid, DeviceUnavailable."""
        ...


def names() -> list[str]:
    """The executors that there are, the usual one first."""
    found = sorted(module.name for module in pkgutil.iter_modules(__path__))
    return sorted(found, key=lambda name: name != ExecutorConfig.name)


def check(config: ExecutorConfig) -> None:
    """Whether there is such an executor, and whether all that is said of it concerns it: before anything is looked for.
    Raises ArgumentInvalid."""
    taken = named(config.name).OPTIONS
    for field in OPTIONS:
        if field not in taken and getattr(config, field) is not None:
            others = [f"--executor {name}" for name in names() if field in named(name).OPTIONS]
            raise ArgumentInvalid(
                f"--{field} does nothing with --executor {config.name}; leave it out, or take {' or '.join(others)}"
            )


def named(name: str) -> Executor:
    """The executor of a name. Raises ArgumentInvalid."""
    if name not in names():
        hint = did_you_mean(name, names())
        raise ArgumentInvalid(f"--executor {name}: unknown{hint}, expected one of {', '.join(names())}")
    return cast(Executor, importlib.import_module(f"{__name__}.{name}"))
