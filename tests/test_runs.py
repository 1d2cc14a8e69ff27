"""The runs directory: records come back whole, are found by model and age, and damage is named."""

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from heads_samples import make_curve, make_key, make_run
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.core.cache.errors import RunDamaged, RunNotFound
from headstart.core.cache.files import parse_json
from headstart.core.heads.config import RECIPES
from headstart.core.heads.curve.record import Curve, CurvePoint
from headstart.core.heads.protocol import HELD_OUT, TEST_SPLIT, Protocol
from headstart.core.heads.runs import Extraction, Run, RunStore, parse, read, versions
from headstart.core.heads.selection.record import Selection, Tried
from headstart.core.heads.statistics.accuracy import ClassScore, Evaluation, Score

finite = st.floats(allow_nan=False, allow_infinity=False)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
TRIED = (Tried(RECIPES["standard"], 0.5, 0.0, 0.75, 1.5), Tried(RECIPES["study"], 1.5, 0.25, 0.5, 1.0))
POINT = Curve((CurvePoint(9, (1.0,), 0.25),), 3, None, 2)
runs_of_all_kinds = st.builds(
    make_run,
    key=st.builds(make_key, backbone=texts, mean=st.tuples(finite, finite, finite)),
    config=st.sampled_from(list(RECIPES.values())),
    train=st.builds(Extraction, texts, texts, st.integers(0, 10**6), st.none() | finite, texts, texts, texts),
    losses=st.lists(finite, max_size=4).map(tuple),
    val_accuracies=st.lists(finite, max_size=4).map(tuple),
    best_epoch=st.none() | st.integers(1, 100),
    evaluation=st.builds(
        Evaluation,
        st.just(Score(3, 4)),
        st.dictionaries(texts, st.builds(Score, st.just(1), st.just(2)), min_size=2, max_size=2),
        measures=st.dictionaries(texts, st.none() | finite, max_size=3),
        confusion=st.none() | st.just(((2, 0), (1, 3))),
        confusion_left_out=st.none() | texts,
    ),
    selection=st.none() | st.builds(Selection, st.integers(1, 9), st.just(9), st.just(TRIED), st.integers(0, 1), finite),
    evaluated_by=st.sampled_from([TEST_SPLIT, HELD_OUT, Protocol("cross-validation", 5, 2, (0.5, 1.0))]),
    curve=st.none() | st.sampled_from([make_curve(), POINT]),
    notes=st.lists(texts, max_size=3).map(tuple),
    versions=st.dictionaries(texts, texts, max_size=3),
    together=st.integers(1, 100),
    training_version=st.integers(1, 9),
)


def dated(model: str, day: int, **changes: Any) -> Run:
    """A run of that day in September."""
    stamp = f"2023-09-{day:02d}T12:00:00.000000+00:00"
    return make_run(name=f"{model}-of-the-{day}", model=model, created=stamp, **changes)


def rewritten(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """The record at `path` after `change`."""
    facts = json.loads(path.read_text())
    path.write_text(json.dumps(change(facts)))


# ------------------------------------------------------------------------------------------------------------ records


@given(runs_of_all_kinds)
@settings(max_examples=50)
def test_a_record_read_back_is_the_same(run: Run) -> None:
    assert parse(parse_json(run.to_bytes())) == run


def test_a_record_written_to_disk_is_found_again(tmp_path: Path) -> None:
    store, run = RunStore(tmp_path / "runs"), make_run()
    path = store.write(run)
    assert path == tmp_path / "runs" / run.name / "run.json"
    assert (read(path), store.runs()) == (run, [run])


def test_a_run_is_titled_by_model_recipe_and_head() -> None:
    run = make_run(model="vgg16", config=dataclasses.replace(RECIPES["standard"], head="knn"))
    assert (run.model, run.title) == ("vgg16", "vgg16 standard, knn")


def test_the_versions_name_what_makes_a_head() -> None:
    assert set(versions()) == {"headstart", "torch", "numpy", "scikit-learn"}


FIELDS = sorted(
    {field.name for field in dataclasses.fields(Run)}
    - {"together", "curve", "averaged", "val", "kept_views", "in_blocks", "without_twins"}
)


@pytest.mark.parametrize("field", [*FIELDS, "format", "version"])
def test_a_record_without_one_of_its_fields_is_damaged(field: str, tmp_path: Path) -> None:
    path = RunStore(tmp_path).write(make_run())
    rewritten(path, lambda facts: {name: value for name, value in facts.items() if name != field})
    with pytest.raises(RunDamaged, match=r"run\.json: not a run record of ours .*; remove its folder"):
        read(path)


def test_a_record_of_version_1_is_of_the_first_version_of_the_training(tmp_path: Path) -> None:
    path = RunStore(tmp_path).write(make_run())

    def earlier(facts: dict[str, Any]) -> dict[str, Any]:
        return {**{name: value for name, value in facts.items() if name != "training_version"}, "version": 1}

    rewritten(path, earlier)
    assert read(path) == make_run(training_version=1)


UNKNOWN_BEFORE = {"selection", "evaluated_by"}


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(("digest", "protocol"), [("bb" * 32, TEST_SPLIT), ("aa" * 32, HELD_OUT)], ids=["split", "divided"])
def test_an_earlier_record_has_accuracies_alone_and_was_tested_on_its_test_set(
    version: int, digest: str, protocol: Protocol, tmp_path: Path
) -> None:
    test = dataclasses.replace(make_run().test, digest=digest)  # a set without a test split stands in both places
    path = RunStore(tmp_path).write(make_run(test=test))

    def earlier(facts: dict[str, Any]) -> dict[str, Any]:
        kept = {name: value for name, value in facts.items() if name not in UNKNOWN_BEFORE}
        scores = {name: facts["evaluation"][name] for name in ("overall", "per_class")}
        return {**kept, "evaluation": scores, "version": version}

    rewritten(path, earlier)
    found = read(path)
    assert (found.selection, found.evaluated_by) == (None, protocol)
    assert found.evaluation == make_run().evaluation
    assert (found.evaluation.measures, found.evaluation.confusion) == ({}, None)


def test_a_record_of_before_heads_were_trained_together_is_of_one_head(tmp_path: Path) -> None:
    path = RunStore(tmp_path).write(make_run(together=5))
    rewritten(path, lambda facts: {name: value for name, value in facts.items() if name != "together"})
    assert read(path) == make_run(together=1)


@pytest.mark.parametrize("value", [0, -1, 2.0, "2", True, None, [2]], ids=repr)
def test_a_number_of_heads_that_is_none_is_damage(value: object, tmp_path: Path) -> None:
    path = RunStore(tmp_path).write(make_run())
    rewritten(path, lambda facts: {**facts, "together": value})
    message = rf"together is {re.escape(repr(value))}, expected a number of heads\); remove its folder"
    with pytest.raises(RunDamaged, match=message):
        read(path)


def test_a_record_that_says_nothing_of_a_curve_has_none(tmp_path: Path) -> None:
    path = RunStore(tmp_path).write(make_run())
    rewritten(path, lambda facts: {name: value for name, value in facts.items() if name != "curve"})
    assert read(path) == make_run()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"test_rows": "30"}, "the curve was tested on '30' rows"),
        ({"gain": None}, "a curve of 2 points has the gain None"),
        ({"points": []}, "points of the curve are at "),
        ({"points": [{"rows": 9, "accuracies": [2], "error": 0.1}]}, "accuracies of the curve are "),
        ({"colour": 1}, "colour"),
    ],
)
def test_a_curve_that_is_none_is_damage(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = RunStore(tmp_path).write(make_run(curve=make_curve()))
    rewritten(path, lambda facts: {**facts, "curve": {**facts["curve"], **change}})
    with pytest.raises(RunDamaged, match=rf"{message}.*; remove its folder"):
        read(path)


@dataclasses.dataclass(frozen=True)
class Alteration:
    """What was done to a record."""

    name: str
    change: Callable[[str], str]

    def __str__(self) -> str:
        return self.name


ALTERATIONS = [
    Alteration("cut off", lambda text: text[: len(text) // 2]),
    Alteration("empty", lambda _: ""),
    Alteration("a list", lambda _: "[]"),
    Alteration("a list of pairs", lambda _: '[["format", "headstart run"], ["version", 1]]'),
    Alteration("a number", lambda _: "5"),
    Alteration("null", lambda _: "null"),
    Alteration("another format", lambda text: text.replace("headstart run", "footstart run")),
    Alteration("a later version", lambda text: text.replace('"version": 3', '"version": 4')),
    Alteration("not a number", lambda text: text.replace('"elapsed_s": 0.42', '"elapsed_s": NaN')),
    Alteration("a field twice", lambda text: text.replace('"train_rows": 90', '"train_rows": 90, "train_rows": 9')),
    Alteration("an unknown field", lambda text: text.replace('"train_rows": 90', '"train_rows": 90, "colour": 9')),
    Alteration("an unknown setting", lambda text: text.replace('"hidden": 128', '"hidden": 128, "colour": 9')),
    Alteration("no scores", lambda text: text.replace('"overall"', '"over"')),
    Alteration("no losses", lambda text: text.replace('"losses": [', '"losses": 0, "more": [')),
]


@pytest.mark.parametrize("case", ALTERATIONS, ids=str)
def test_an_altered_record_is_named_and_not_used(case: Alteration, tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    path = store.write(make_run())
    before = path.read_text()
    path.write_text(case.change(before))
    assert path.read_text() != before
    with pytest.raises(RunDamaged, match=rf"^{path}: not a run record of ours"):
        store.runs()


SELECTION = dataclasses.asdict(Selection(5, 9, TRIED, 1, 0.5))
EVALUATION = dataclasses.asdict(Evaluation(Score(1, 2), {"a": Score(1, 2)}, {"ece": 0.5}, {"a": 2}, ((2,),)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"measures": {"ece": "low"}}, "the measure ece is 'low', expected a number or null"),
        ({"predicted": {"a": 2.5}}, r"predicted is {'a': 2.5}, expected how many rows got each label"),
        ({"predicted": {"b": 2}}, r"predicted is {'b': 2}, expected how many rows got each label"),
        ({"confusion": [[2, 1]]}, "confusion is no matrix of counts of 1 classes"),
        ({"confusion": [[True]]}, "confusion is no matrix of counts of 1 classes"),
        ({"colour": 5}, "evaluation has the fields .*, colour"),
    ],
)
def test_an_evaluation_that_is_none_is_damage(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = RunStore(tmp_path).write(make_run())
    rewritten(path, lambda facts: {**facts, "evaluation": EVALUATION})
    assert read(path).evaluation.of_class("a") == ClassScore(0.5, 0.5, 0.5)
    rewritten(path, lambda facts: {**facts, "evaluation": {**EVALUATION, **changes}})
    with pytest.raises(RunDamaged, match=message):
        read(path)


@dataclasses.dataclass(frozen=True)
class Mistyped:
    """A field of another type, which would fail later and far from here."""

    field: str
    value: object


@pytest.mark.parametrize(
    "case",
    [
        Mistyped("name", 5),
        Mistyped("created", 5),
        Mistyped("elapsed_s", "0.42"),
        Mistyped("train_rows", "90"),
        Mistyped("selection", {**SELECTION, "chosen": 2}),
        Mistyped("selection", {**SELECTION, "folds": 0}),
        Mistyped("selection", {**SELECTION, "rows": "9"}),
        Mistyped("selection", {**SELECTION, "elapsed_s": None}),
        Mistyped("selection", {**SELECTION, "tried": [{**SELECTION["tried"][0], "log_loss": "low"}]}),
    ],
    ids=lambda case: case.field,
)
def test_a_mistyped_field_is_refused(case: Mistyped, tmp_path: Path) -> None:
    path = RunStore(tmp_path).write(make_run())
    rewritten(path, lambda facts: {**facts, case.field: case.value})
    with pytest.raises(RunDamaged, match=case.field):
        read(path)


def test_bytes_that_are_no_text_are_named(tmp_path: Path) -> None:
    path = RunStore(tmp_path).write(make_run())
    path.write_bytes(b"\xff\xfe" + path.read_bytes())
    with pytest.raises(RunDamaged, match="not a run record of ours"):
        read(path)


def test_a_missing_record_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(RunNotFound, match=r"run\.json: not there; expected a run's folder"):
        read(tmp_path / "run.json")


# ------------------------------------------------------------------------------------------------------------- finding


def test_runs_come_oldest_first(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    runs = [dated("vgg16", 9), dated("resnet50", 3), dated("alexnet", 6)]
    for run in runs:
        store.write(run)
    assert store.runs() == [runs[1], runs[2], runs[0]]


def test_folders_without_a_record_are_no_runs(tmp_path: Path) -> None:
    # a training under way, or killed: the record is written last
    store = RunStore(tmp_path)
    (store.new_folder("resnet50 study mlp") / "head.safetensors").write_bytes(b"half")
    (tmp_path / "report").mkdir()
    (tmp_path / "notes.txt").write_text("mine")
    assert store.runs() == []


def test_the_newest_run_of_each_model_is_found(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    for model, day in (("vgg16", 5), ("resnet50", 4), ("vgg16", 2), ("resnet50", 7)):
        store.write(dated(model, day))
    assert {run.name for run in store.newest()} == {"vgg16-of-the-5", "resnet50-of-the-7"}


def test_the_newest_runs_come_in_the_order_asked(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    for model, day in (("vgg16", 1), ("resnet50", 2), ("vgg19", 3)):
        store.write(dated(model, day))
    for models in (("vgg19", "vgg16"), ("vgg16", "vgg19"), ("resnet50",)):
        assert tuple(run.model for run in store.newest(models)) == models


def test_models_without_a_run_are_named_beside_those_that_have_one(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    store.write(dated("vgg16", 1))
    with pytest.raises(RunNotFound, match=r"no trained head of vgg19, resnet50 \(there are: vgg16\); .*train-head`"):
        store.newest(["vgg19", "vgg16", "resnet50"])


@pytest.mark.parametrize("models", [(), ("vgg16",)], ids=str)
def test_an_empty_runs_directory_is_an_error_that_names_the_command(models: tuple[str, ...], tmp_path: Path) -> None:
    with pytest.raises(RunNotFound, match=r"no trained head.*make one with `headstart train-head`"):
        RunStore(tmp_path / "nothing").newest(models)


# ------------------------------------------------------------------------------------------------------------- folders


def test_heads_trained_within_a_second_get_folders_of_their_own(tmp_path: Path) -> None:
    store = RunStore(tmp_path / "runs")
    folders = [store.new_folder("resnet50 study mlp") for _ in range(12)]
    assert len(set(folders)) == 12
    assert all(folder.is_dir() for folder in folders)
    assert all(folder.name.startswith("resnet50-study-mlp-2") for folder in folders)
    assert all(folder.parent == tmp_path / "runs" for folder in folders)


def test_a_folder_that_is_there_is_never_given_again(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    first = store.new_folder("resnet50 study mlp")
    (first / "head.safetensors").write_bytes(b"precious")
    store.new_folder("resnet50 study mlp")
    assert (first / "head.safetensors").read_bytes() == b"precious"
