"""What is asked without options is the same on the command line and in a call."""

import dataclasses

import pytest

from headstart import requests
from headstart.auditing.request import AuditRequest, SimilarRequest
from headstart.core import cli
from headstart.core.extract.config import ExecutorConfig, ExtractConfig, ExtractionRequest
from headstart.core.heads.config import RECIPES, BenchConfig, TrainConfig


def defaults(command: str) -> dict[str, object]:
    """What a command is given where no option is, by the names of its parameters."""
    arguments = ["a.jpg"] if command in ("predict", "similar") else []
    return cli.cli.commands[command].make_context(command, arguments).params


@pytest.mark.parametrize(
    ("command", "given"),
    [
        ("extract", ExtractionRequest()),
        ("extract", ExtractConfig()),
        ("choose", requests.ChoosingRequest()),
        ("choose", ExtractConfig()),
        ("extract", ExecutorConfig()),
        ("train-head", requests.TrainingRequest()),
        ("bench-inference", requests.TimingRequest()),
        ("bench-inference", requests.InferenceOptions()),
        ("bench-inference", BenchConfig()),
        ("predict", requests.InferenceOptions()),
        ("audit", AuditRequest()),
        ("similar", SimilarRequest(("a.jpg",))),
        ("study", requests.StudyRequest()),
        ("study", requests.STUDY_EXTRACT),
    ],
)
def test_an_options_default_is_the_fields(command: str, given: object) -> None:
    fields = {field.name: getattr(given, field.name) for field in dataclasses.fields(given)}  # type: ignore[arg-type]
    named = {*fields} - {"models", "weights", "executor"}  # a command's own words for none; the name of a config
    found = {name: value for name, value in defaults(command).items() if name in named}
    assert found
    assert found == {name: fields[name] for name in found}


def test_a_studys_trainings_are_limited_where_that_leaves_rows_out() -> None:
    request = requests.StudyRequest(config=ExtractConfig(limit=100), seed=3)
    assert [config.train_limit for config in request.trainings(200, divided=False)] == [100, 100]
    assert [config.train_limit for config in request.trainings(100, divided=False)] == [None, None]
    assert [(config.recipe, config.seed) for config in request.trainings(100, divided=False)] == [
        (name, 3) for name in RECIPES
    ]
    assert {config.test_fraction for config in request.trainings(100, divided=True)} == {0.2}


@pytest.mark.parametrize(("longest", "lengths"), [(1, (1,)), (7, (1, 2, 5, 7)), (100, (1, 2, 5, 10, 20, 50, 100))])
def test_a_studys_curve_ends_where_it_is_asked_to(longest: int, lengths: tuple[int, ...]) -> None:
    assert requests.StudyRequest(curve_epochs=longest).budget.epochs == lengths


def test_a_studys_inference_is_timed_as_its_features_are_computed() -> None:
    config = ExtractConfig(batch_size=8, workers=2, engine="eager")
    request = requests.StudyRequest(config=config, bench_limit=5)
    assert request.timing.options == requests.InferenceOptions(batch_size=8, workers=2, engine="eager")
    assert request.timing.config == BenchConfig(limit=5)
    assert TrainConfig.seed == request.seed
