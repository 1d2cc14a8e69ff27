"""The network of one run: loaded when a row is to be computed, as the rows that are kept were, in batches that fit."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

from headstart.core.cache.errors import FeaturesStale, OutOfMemory
from headstart.core.extract.job import Job, Observer
from headstart.core.extract.network.interface import EngineConfig, Extractor
from headstart.core.extract.reading import Pace
from headstart.core.extract.shards import Computed, compute_rows
from headstart.core.extract.tuning.trials import EngineRequest, tune

Load = Callable[[Job], Extractor]


def refuse_other(parameters: str, expected: str | None, job: Job, folder: Path) -> None:
    """Raise FeaturesStale where a network's parameters are not those that the rows which are kept came from."""
    if expected not in (None, parameters):
        raise FeaturesStale(
            f"{folder}: made with other parameters than {job.weights.origin} gives now; --force computes the set anew, "
            f"another --features-dir keeps both"
        )


@dataclasses.dataclass
class Backbone:
    """The network of a run, loaded when the first row is to be computed, and in batches that fit into memory. `request`
    says how to compute, `begun` is told what was chosen, before the first row."""

    job: Job
    load: Load
    observer: Observer
    extractor: Extractor | None = None
    request: Callable[[], EngineRequest] = lambda: EngineRequest(1)
    begun: Callable[[Extractor], None] = lambda _: None
    computed: int = 0
    pace: Pace = dataclasses.field(default_factory=Pace)
    _ready: bool = False

    def loaded(self) -> Extractor:
        """The network. Raises what loading raises."""
        if self.extractor is None:
            self.extractor = self.load(self.job)
        return self.extractor

    def ready(self) -> Extractor:
        """The network as requested."""
        if not self._ready:
            loaded = self.loaded()
            self.extractor = tune(loaded, self.request(), self.observer.note)
            self.begun(self.extractor)
            self._ready = True
        return self.loaded()

    def compute(self, numbers: Sequence[int]) -> Computed:
        """These rows. Where memory runs out they are computed in batches of half the size, which the next ones keep."""
        while True:
            extractor = self.ready()
            found = self._try(extractor, numbers)
            if found is not None:
                self.computed += len(found.numbers)
                return found
            self.extractor = _smaller(extractor)
            self.observer.note(f"out of memory; going on with batches of {self.extractor.batch_size}")

    def _try(self, extractor: Extractor, numbers: Sequence[int]) -> Computed | None:
        """The rows, or None where memory ran out and there is a smaller batch to try. Raises OutOfMemory for a batch of 1.

        Returning leaves the `except` block, whose traceback would keep the failed batch's memory alive during the retry.
        """
        done = 0

        def advance(rows: int) -> None:
            nonlocal done
            done += rows
            self.observer.advance(rows)

        try:
            return compute_rows(self.job, extractor, numbers, advance, self.pace)
        except OutOfMemory:
            if extractor.batch_size == 1:
                raise
        self.observer.advance(-done)
        return None


def _smaller(extractor: Extractor) -> Extractor:
    """The extractor in batches of half the size, or of less where even preparing that takes too much memory."""
    size = extractor.batch_size // 2
    while size > 1:
        try:
            return extractor.running(EngineConfig(extractor.engine, size))
        except OutOfMemory:
            size //= 2
    return extractor.running(EngineConfig(extractor.engine, 1))
