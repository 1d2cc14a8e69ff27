"""This process computes, one shard after the other."""

import dataclasses
from collections.abc import Sequence

from headstart.core.cache.errors import FeaturesInvalid
from headstart.core.cache.shard_plan import Part
from headstart.core.extract.config import ExecutorConfig
from headstart.core.extract.executors import Made, Network, Work
from headstart.core.extract.job import Job, Observer
from headstart.core.extract.network.interface import EngineConfig, Extractor
from headstart.core.extract.rows.computing import Backbone, Load, refuse_other
from headstart.core.extract.rows.making import Maker

OPTIONS: tuple[str, ...] = ()


def crew(config: ExecutorConfig, job: Job, load: Load, observer: Observer) -> "Alone":
    """This process."""
    return Alone(job, load)


@dataclasses.dataclass
class Alone:
    """One network in this process, loaded by `loader` when it is needed."""

    job: Job
    loader: Load
    extractor: Extractor | None = None

    def load(self) -> None:
        self.extractor = self.loader(self.job)

    def make(self, work: Work, parts: Sequence[Part], todo: int) -> Made:
        job, folder = work.job, work.writer.folder

        def begun(extractor: Extractor) -> None:
            work.begin(_network(job, extractor))

        backbone = Backbone(job, self.loader, work.observer, self.extractor, lambda: work.request(todo), begun)
        if backbone.extractor is not None:
            refuse_other(backbone.extractor.parameters, work.expected, job, folder)
        if todo:
            backbone.ready()
        elif work.expected is None:  # a killed run made all, and only its manifest is missing
            backbone.loaded()
        work.observer.begin(job.title, work.rows, work.rows - todo)
        records = Maker(job, work.known, work.contents, backbone.compute).make(parts, work.writer)
        extractor = backbone.extractor
        try:
            if extractor is not None:
                extractor.check_frozen()
        except FeaturesInvalid:
            work.writer.discard(records)  # nobody can say which of them still came from the right network
            raise
        remark = backbone.pace.remark(job.config.workers)
        elapsed_s = sum(record.elapsed_s or 0.0 for record in records)
        network = None if extractor is None else _network(job, extractor)
        return Made(records, backbone.computed, elapsed_s, network, () if remark is None else (remark,))

    def close(self) -> None:
        """Nothing was started."""


def _network(job: Job, extractor: Extractor) -> Network:
    return Network(extractor.parameters, job.device.description, EngineConfig(extractor.engine, extractor.batch_size))
