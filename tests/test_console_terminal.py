"""The terminal's observer: results to one function, the rest to the other, and no batch is cut."""

import dataclasses
import io
from pathlib import Path

import pytest
from heads_samples import make_key, make_run

from headstart.console.progress import Progress, clock
from headstart.console.signals import Signals
from headstart.console.terminal import Terminal
from headstart.core.heads.config import RECIPES
from headstart.core.heads.study.estimate import Plan
from headstart.observer import Answers, ModelPlan, Observer, TrainingStart, progress


class Screen:
    """What a terminal shows: results, and lines about the run."""

    def __init__(self, verbose: bool = False) -> None:
        self.results: list[str] = []
        self.said: list[str] = []
        self.signals = Signals(lambda said: len(said))
        self.terminal = Terminal(self.results.append, self.said.append, io.StringIO, self.signals, verbose)


def test_what_is_said_of_the_run_is_no_result() -> None:
    screen = Screen()
    screen.terminal.note("a note")
    screen.terminal.remark("half of the images")
    screen.terminal.warn("untrained")
    assert screen.said == ["a note", "note: half of the images", "WARNING: untrained"]
    assert screen.results == []


def test_a_trained_head_is_a_result_with_its_folder(tmp_path: Path) -> None:
    screen = Screen()
    screen.terminal.training_starts(TrainingStart(make_key(), RECIPES["study"], 90, 1, sweep=False))
    screen.terminal.trained(make_run(), tmp_path)
    screen.terminal.study_trained(make_run(name="a run"))
    assert screen.results[0].endswith("mlp, study recipe, 90 rows, seed 0")
    assert screen.results[2:] == [f"  saved in {tmp_path}", f"{make_run().title}: already trained, a run"]
    assert screen.said == []


def test_signals_are_deferred_while_work_is_under_way_however_it_ends() -> None:
    screen = Screen()

    def fail() -> None:
        with progress(screen.terminal, "resnet18", 10) as advance:
            advance(5)
            assert screen.signals.deferred
            raise ValueError("in the middle")

    with pytest.raises(ValueError, match="in the middle"):
        fail()
    assert not screen.signals.deferred
    assert screen.said == ["resnet18: 10 images to do"]


@pytest.mark.parametrize(
    ("rows", "done", "said"), [(10, 4, "6 of 10 images"), (1, 0, "1 image"), (2000, 0, "2,000 images")]
)
def test_what_is_to_do_is_said_and_of_how_many_where_some_are_there(rows: int, done: int, said: str) -> None:
    notes = list[str]()
    Progress(notes.append, io.StringIO).begin("resnet18", rows, done)
    assert notes == [f"resnet18: {said} to do"]


def test_a_models_plan_says_what_is_done_already() -> None:
    screen = Screen()
    plan = Plan("resnet18", {"resnet18 digits train": 0, "resnet18 digits test": 60}, 0, 2.0, {"standard": 61.0})
    screen.terminal.study_planned(ModelPlan(plan, ("study", "standard"), 30, "test"))
    assert screen.results[0].splitlines() == [
        "resnet18 digits train: 0 images to extract",
        "resnet18 digits test: 60 images to extract, about 0:00:30 at 2.0 images/s",
        "resnet18: study recipe, questions already answered",
        "resnet18: standard recipe, 30 seeds and curves to train, about 0:01:01",
        "resnet18: inference already timed",
    ]


@pytest.mark.parametrize(("seconds", "words"), [(None, "already answered"), (3725.4, "answered in 1:02:05")])
def test_a_studys_answers_are_told_from_those_that_were_there(seconds: float | None, words: str) -> None:
    screen = Screen()
    screen.terminal.study_answered(Answers(make_run(), seconds))
    assert screen.results == [f"{make_run().title}: questions {words}"]


def test_a_clock_carries_minutes_and_hours() -> None:
    assert [clock(seconds) for seconds in (0, 59.6, 86_400)] == ["0:00:00", "0:01:00", "24:00:00"]


def test_the_terminal_shows_every_event() -> None:
    """An event that is added to the observer must not stay unseen by the command line."""
    events = {name for name in vars(Observer) if not name.startswith("_")}
    assert events <= {*vars(Terminal)}


def test_several_seeds_have_a_line_each_and_their_notes_once(tmp_path: Path) -> None:
    screen = Screen()
    configs = [dataclasses.replace(RECIPES["study"], seed=seed) for seed in (0, 1, 2)]
    runs = [make_run(config=one, together=3, notes=("untrained", *(["odd"] * (one.seed == 1)))) for one in configs]
    screen.terminal.training_starts(TrainingStart(make_key(), configs[0], 90, 3, sweep=False))
    for run in runs:
        screen.terminal.trained(run, tmp_path / str(run.config.seed))
    screen.terminal.seeds_trained(runs)
    assert [line.split(";")[-1] for line in screen.results[1:4]] == [f" saved in {tmp_path / str(i)}" for i in range(3)]
    text = "\n".join(screen.results)
    assert text.count("note: untrained") == text.count("trained in ") == 1
    assert "note: seeds 1: odd" in text
