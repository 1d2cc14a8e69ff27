"""What happens while the tool works, told to whoever wants to know: a terminal, a notebook, or nobody.

The joins print nothing. They call an `Observer`, whose methods do nothing here: a subclass shows what it cares for.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headstart.core.cache.key import NamedKey
    from headstart.core.extract.job import Job, ShardsDone
    from headstart.core.extract.run import Outcome
    from headstart.core.heads.config import TrainConfig
    from headstart.core.heads.runs import Run
    from headstart.core.heads.study.estimate import Plan
    from headstart.core.heads.timings import Timing
    from headstart.core.heads.training.epoch import Epoch
    from headstart.inference.trained import TrainedHead


@dataclasses.dataclass(frozen=True)
class TrainingStart:
    """Heads that are trained next, at once: `heads` that differ in their seeds, or those of a `sweep`. `rows` are the
    training rows."""

    key: NamedKey
    config: TrainConfig
    rows: int
    heads: int
    sweep: bool


@dataclasses.dataclass(frozen=True)
class Answers:
    """A study's questions of one run's settings are answered: in so many seconds, None where they were already."""

    run: Run
    elapsed_s: float | None


@dataclasses.dataclass(frozen=True)
class ModelPlan:
    """What a study has still to do for one model, by which recipes, with how many seeds. `split` is the one that inference
    is timed on."""

    plan: Plan
    recipes: tuple[str, ...]
    seeds: int
    split: str


class Observer:
    """Told how the work goes. This one is silent, and the base of those that are not.

    It is an `extract.job.Observer` too. All methods are called from the thread that called the join.
    """

    def note(self, text: str) -> None:
        """Something the user should know, in one line."""

    def remark(self, text: str) -> None:
        """What must be said beside the results: of the images, or of the device."""

    def warn(self, text: str) -> None:
        """What makes the results unfit for most purposes."""

    def begin(self, title: str, rows: int, done: int) -> None:
        """Work on `rows` rows starts, `done` of which are there already."""

    def advance(self, rows: int) -> None:
        """`rows` more are done; below 0 where rows are done anew."""

    def end(self) -> None:
        """The work announced by `begin` is over, or failed."""

    def shards(self, done: ShardsDone) -> None:
        """Several workers have made so many shards."""

    def extraction_starts(self, job: Job) -> None:
        """A split is extracted next."""

    def extracted(self, job: Job, outcome: Outcome) -> None:
        """A split's features are there."""

    def training_starts(self, start: TrainingStart) -> None:
        """Heads are trained next."""

    def epoch_ends(self, epoch: Epoch) -> None:
        """An epoch of the training announced last is over."""

    def trained(self, run: Run, folder: Path) -> None:
        """A head is trained, tested and kept in `folder`."""

    def seeds_trained(self, runs: Sequence[Run]) -> None:
        """Two or more heads that differ in their seeds are trained."""

    def head_chosen(self, head: TrainedHead) -> None:
        """A trained head is used."""

    def timed(self, head: TrainedHead, timing: Timing) -> None:
        """A head's inference is timed."""

    def study_planned(self, found: ModelPlan) -> None:
        """What one model's part of a study takes is known."""

    def study_trained(self, run: Run) -> None:
        """A study's head was trained already."""

    def study_answered(self, answers: Answers) -> None:
        """A study's questions of one head are answered."""


SILENT = Observer()


@contextlib.contextmanager
def progress(observer: Observer, title: str, rows: int) -> Iterator[Callable[[int], None]]:
    """`begin`, what `advance` is called by, and `end`, however the work ends."""
    observer.begin(title, rows, 0)
    try:
        yield observer.advance
    finally:
        observer.end()
