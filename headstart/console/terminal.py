"""The observer of a terminal: results go to one function, what is said about the run to another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from headstart.console import words
from headstart.console.progress import Progress
from headstart.console.signals import Signals
from headstart.observer import Answers, ModelPlan, Observer, TrainingStart

if TYPE_CHECKING:
    from headstart.core.extract.job import Job, ShardsDone
    from headstart.core.extract.run import Outcome
    from headstart.core.heads.runs import Run
    from headstart.core.heads.timings import Timing
    from headstart.core.heads.training.epoch import Epoch
    from headstart.inference.trained import TrainedHead


class Terminal(Observer):
    """Gives `out` lines of results and `note` lines about the run; `stream` is where a progress bar goes. `event` takes
    what several workers have done, as JSON values, where a program wants to follow them.

    While work is under way signals are deferred to the end of a batch.
    """

    def __init__(
        self,
        out: Callable[[str], None],
        note: Callable[[str], None],
        stream: Callable[[], TextIO],
        signals: Signals,
        verbose: bool = False,
        event: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        self._out, self._note, self._signals, self._verbose = out, note, signals, verbose
        self._progress, self._event = Progress(note, stream), event
        self._several = False

    def note(self, text: str) -> None:
        self._note(text)

    def remark(self, text: str) -> None:
        self._note(f"note: {text}")

    def warn(self, text: str) -> None:
        self._note(f"WARNING: {text}")

    def begin(self, title: str, rows: int, done: int) -> None:
        self._signals.deferred = True
        self._progress.begin(title, rows, done)

    def advance(self, rows: int) -> None:
        self._signals.check()
        self._progress.advance(rows)

    def end(self) -> None:
        self._signals.deferred = False
        self._progress.end()

    def shards(self, done: ShardsDone) -> None:
        self._progress.more(words.extraction.shards(done))
        if self._event is not None:
            self._event(words.extraction.shards_json(done))

    def extraction_starts(self, job: Job) -> None:
        if self._verbose:
            device = job.device
            self._note(f"{device.name} ({device.description}), {device.precision}, weights from {job.weights.origin}")

    def extracted(self, job: Job, outcome: Outcome) -> None:
        self._out(words.extraction.outcome(job, outcome))

    def training_starts(self, start: TrainingStart) -> None:
        self._several = start.heads > 1
        self._out(words.training.start(start))

    def epoch_ends(self, epoch: Epoch) -> None:
        if words.training.is_told(epoch):
            self._out(words.training.epoch(epoch))

    def trained(self, run: Run, folder: Path) -> None:
        if self._several:
            self._out(words.training.one_of_several(run, folder))
        else:
            self._out(words.training.trained(run))
            self._out(f"  saved in {folder}")

    def seeds_trained(self, runs: Sequence[Run]) -> None:
        if self._several:
            self._out(words.training.shared(runs))
        self._out(words.training.spread(runs))

    def head_chosen(self, head: TrainedHead) -> None:
        self._note(f"head: {head.name}")

    def timed(self, head: TrainedHead, timing: Timing) -> None:
        run = head.run
        own = run is not None and timing.images_digest != "" and timing.images_digest == run.test.images
        leaks = run.apart.sentence() if run is not None and own and run.apart is not None else None
        self._out(words.timing.timing(head.title, timing, run.notes if run else (), leaks))

    def study_planned(self, found: ModelPlan) -> None:
        self._out(words.study.model_plan(found))

    def study_trained(self, run: Run) -> None:
        self._out(f"{run.title}: already trained, {run.name}")

    def study_answered(self, answers: Answers) -> None:
        self._out(words.study.answered(answers))
