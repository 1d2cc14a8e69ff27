"""The joins called from a program: typed requests in, dataclasses out, and nothing is printed."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from extract_samples import write_picture
from heads_samples import blobs, make_key, only_pair, write_set

from headstart import extraction, reporting, training
from headstart.core.cache.errors import ArgumentInvalid, RunNotFound, WeightsMismatch
from headstart.core.cache.store import FeatureStore
from headstart.core.extract.config import ExtractConfig, ExtractionRequest
from headstart.core.heads.config import RECIPES, BenchConfig, changed
from headstart.core.heads.predict import Wanted
from headstart.core.heads.runs import RunStore
from headstart.inference import prediction, timing, trained
from headstart.observer import SILENT, Observer
from headstart.requests import (
    HeadChoice,
    InferenceOptions,
    ReportRequest,
    StudyRequest,
    TimingRequest,
    TrainingRequest,
)
from headstart.study.plan import plan as plan_study
from headstart.workspace import Workspace

DIGITS = ExtractionRequest(
    ("resnet18",), "digits", weights=("random:0",), config=ExtractConfig(image_size=32, limit=60, precision="fp32")
)


class Events(Observer):
    """Writes down the names of the events, each once in a row."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("_") or name == "names":
            return object.__getattribute__(self, name)
        event: Callable[..., None] = getattr(SILENT, name)
        if self.names[-1:] != [name]:
            self.names.append(name)
        return event


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Features of 60 digits of each split."""
    root = tmp_path_factory.mktemp("work")
    found = Workspace(root / "features", root / "runs", root / "data", "cpu")
    extraction.extract(found, DIGITS, SILENT)
    return found


def test_the_whole_road_is_silent_and_told_step_by_step(
    workspace: Workspace, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    events = Events()
    outcomes = extraction.extract(workspace, DIGITS, events)
    assert [outcome.computed for outcome in outcomes] == [0, 0]
    (run,) = training.train(workspace, TrainingRequest(config=RECIPES["study"]), events)
    write_picture(tmp_path / "one.png", seed=1)
    found = prediction.predict(workspace, [str(tmp_path)], HeadChoice(), InferenceOptions(workers=1), Wanted(2), events)
    assert [len(photo.labels[run.name]) for photo in found.photos] == [2]
    assert (found.titles, found.unreadable) == ({run.name: "resnet18 study"}, ())
    assert "no probability can exceed" in found.caveats[0]
    (timed,) = timing.time_heads(workspace, HeadChoice(), TimingRequest(config=BenchConfig(limit=4)), events)
    assert (timed.head, timed.images, timed.asked) == (run.name, 4, ("auto", None))
    assert timing.is_timed(workspace, run, BenchConfig(limit=4), ("auto", None))
    assert not timing.is_timed(workspace, run, BenchConfig(limit=5), ("auto", None))
    assert not timing.is_timed(workspace, run, BenchConfig(limit=4), ("auto", 8))
    assert capfd.readouterr() == ("", "")
    assert [name for name in events.names if name != "note"] == [
        *["warn", "extraction_starts", "end", "extracted", "extraction_starts", "end", "extracted"],
        *["training_starts", "epoch_ends", "trained", "head_chosen", "warn"],
        *["head_chosen", "warn", "begin", "advance", "end", "timed"],
    ]


def test_a_curve_is_told_as_work_and_kept_with_the_run(workspace: Workspace, tmp_path: Path) -> None:
    class Told(Observer):
        def __init__(self) -> None:
            self.begun: list[tuple[str, int]] = []
            self.done = self.ended = 0

        def begin(self, title: str, rows: int, done: int) -> None:
            self.begun.append((title, rows))

        def advance(self, rows: int) -> None:
            self.done += rows

        def end(self) -> None:
            self.ended += 1

    elsewhere = dataclasses.replace(workspace, runs_dir=tmp_path)
    told, config = Told(), changed("standard", {"head": "ridge"})
    (run,) = training.train(elsewhere, TrainingRequest(config=config, curve=True), told)
    assert run.curve is not None
    assert told.begun == [("resnet18 on digits: few-shot curve", told.done)]
    assert (told.done, told.ended) == (60 + 10 * 30 + 10 * 15, 1)
    assert RunStore(tmp_path).runs() == [run]
    page = reporting.report(elsewhere, ReportRequest(), SILENT)
    assert page.sections[0].rows[0].curve == run.curve
    assert 'id="few-shot"' in (tmp_path / "report" / "report.html").read_text()


@pytest.mark.parametrize("more", [{"seeds": 2}, {"sweep": True}])
def test_a_curve_of_several_heads_is_refused_before_any_is_trained(
    more: dict[str, Any], workspace: Workspace, tmp_path: Path
) -> None:
    elsewhere = dataclasses.replace(workspace, runs_dir=tmp_path / "runs")
    with pytest.raises(ArgumentInvalid, match=r"--curve: it is measured of one head .*; leave one of the two out"):
        training.train(elsewhere, TrainingRequest(config=changed("standard", {"head": "mlp"}), curve=True, **more), SILENT)
    assert not (tmp_path / "runs").exists()


def test_a_survey_computes_nothing(workspace: Workspace, tmp_path: Path) -> None:
    elsewhere = Workspace(tmp_path / "features", tmp_path / "runs", tmp_path / "data", "cpu")
    there, missing = (extraction.prospect(place, DIGITS, SILENT).surveys[0] for place in (workspace, elsewhere))
    assert (there.rows, there.rows_there, there.nbytes) == (60, 60, 60 * 512 * 4)
    assert (missing.rows, missing.rows_there) == (60, 0)
    assert not (tmp_path / "features").exists()


def test_weights_of_a_model_that_is_not_asked_for_are_refused(workspace: Workspace) -> None:
    asked = ExtractionRequest(("resnet18",), "digits", weights=("vgg16=random:0",))
    with pytest.raises(WeightsMismatch, match="this command uses resnet18, not vgg16"):
        extraction.extract(workspace, asked, SILENT)
    with pytest.raises(WeightsMismatch, match="this command uses resnet18, not vgg16"):
        plan_study(workspace, StudyRequest(asked.models, "digits", asked.weights), SILENT)


def test_no_head_is_an_error_with_the_next_command(tmp_path: Path) -> None:
    empty = Workspace(tmp_path, tmp_path, tmp_path, "cpu")
    with pytest.raises(RunNotFound, match="no trained head; make one with `headstart train-head`"):
        trained.choose(empty, HeadChoice(every_model=True), InferenceOptions(), SILENT)
    with pytest.raises(RunNotFound, match="no trained head to report on; make one with `headstart train-head`"):
        reporting.report(empty, ReportRequest(), SILENT)


def test_a_reports_folder_is_among_the_runs_unless_another_is_asked_for(tmp_path: Path) -> None:
    assert ReportRequest().folder(tmp_path) == tmp_path / "report"
    assert ReportRequest(output=tmp_path / "out").folder(tmp_path) == tmp_path / "out"


@pytest.mark.parametrize(
    ("rows", "classes", "changes", "learned"),
    [
        (60, 3, {"test_fraction": None}, 60),
        (60, 3, {"test_fraction": 0.2}, 48),
        (60, 3, {"test_fraction": 0.99}, 3),
        (60, 3, {"test_fraction": 0.2, "train_limit": 10}, 10),
        (20, 150, {"test_fraction": 0.2}, 19),  # more names of classes than rows
    ],
)
def test_rows_to_learn_from_are_known_before_any_is_read(
    rows: int, classes: int, changes: dict[str, Any], learned: int, tmp_path: Path
) -> None:
    key = make_key(classes=tuple(f"class-{number:03}" for number in range(classes)))
    write_set(FeatureStore(tmp_path), blobs(rows), "all", key)
    config = dataclasses.replace(RECIPES["standard"], **changes)
    assert training.learned_rows(only_pair(FeatureStore(tmp_path), key), config) == learned
