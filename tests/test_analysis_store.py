"""Analyses are found again by all that they depend on, wherever the run that they were made for is."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import page_samples
import pytest
from heads_samples import make_run

from headstart.core.cache.files import canonical_json, sha256
from headstart.core.heads.config import RECIPES
from headstart.core.heads.study.analyses import Budget
from headstart.core.heads.study.analysis_store import AnalysisKey, AnalysisStore, BatchNormKey, digest
from headstart.core.heads.study.results import Analyses, BatchNormResults, EqualStepsPoint

RUN = make_run()
BUDGET = Budget(seeds=3, epochs=(1, 2))
SECTION = page_samples.section(page_samples.MODELS[:1], points=4)


def analyses(**changes: Any) -> Analyses:
    """Analyses with something in every field."""
    found = SECTION.heads[0].analyses
    assert found is not None
    return dataclasses.replace(found, sizes_equal_steps=(EqualStepsPoint(100, (0.5, 0.7), 12, 96),), **changes)


ANALYSES, OTHER = analyses(), analyses(both=(0.0, 1.0))


def key(**changes: Any) -> AnalysisKey:
    return dataclasses.replace(AnalysisKey(RUN.config, RUN.train.digest, RUN.test.digest, BUDGET), **changes)


def results(accuracy: float = 0.5) -> BatchNormResults:
    assert SECTION.batch_norm is not None
    return dataclasses.replace(SECTION.batch_norm, accuracy_eval=(accuracy,))


def batch_norm(**changes: str) -> BatchNormKey:
    base = BatchNormKey("aa" * 32, "bb" * 32, "cc" * 32, "1a" * 32, "a plan", "a computer")
    return dataclasses.replace(base, **changes)


CHANGES: dict[str, Callable[[AnalysisKey], AnalysisKey]] = {
    "recipe": lambda found: dataclasses.replace(found, config=RECIPES["standard"]),
    "seed": lambda found: dataclasses.replace(found, config=dataclasses.replace(found.config, seed=1)),
    "epochs": lambda found: dataclasses.replace(found, config=dataclasses.replace(found.config, epochs=60)),
    "training features": lambda found: dataclasses.replace(found, train="ff" * 32),
    "test features": lambda found: dataclasses.replace(found, test="ff" * 32),
    "budget": lambda found: dataclasses.replace(found, budget=dataclasses.replace(BUDGET, seeds=30)),
    "version of the training": lambda found: dataclasses.replace(found, training_version=99),
}


def test_analyses_are_kept_under_all_they_depend_on(tmp_path: Path) -> None:
    store = AnalysisStore(tmp_path)
    assert store.get(key()) is None
    store.put(key(), ANALYSES)
    assert store.get(key()) == ANALYSES
    store.put(key(), OTHER)
    assert store.get(key()) == OTHER


@pytest.mark.parametrize("change", CHANGES)
def test_another_key_has_other_analyses_and_both_are_kept(change: str, tmp_path: Path) -> None:
    store, other = AnalysisStore(tmp_path), CHANGES[change](key())
    assert digest(other) != digest(key())
    store.put(key(), ANALYSES)
    assert store.get(other) is None
    store.put(other, OTHER)
    assert (store.get(key()), store.get(other)) == (ANALYSES, OTHER)


def test_the_analyses_about_a_run_are_those_of_its_settings_whatever_its_seed(tmp_path: Path) -> None:
    store = AnalysisStore(tmp_path)
    store.put(key(), ANALYSES)
    store.put(key(config=dataclasses.replace(RUN.config, epochs=60)), OTHER)
    assert store.about(RUN) == ANALYSES
    assert store.about(dataclasses.replace(RUN, config=dataclasses.replace(RUN.config, seed=4))) == ANALYSES
    assert store.about(dataclasses.replace(RUN, config=RECIPES["standard"])) is None
    assert store.about(dataclasses.replace(RUN, training_version=1)) is None
    assert store.about(dataclasses.replace(RUN, test=dataclasses.replace(RUN.test, digest="ff" * 32))) is None


def test_of_two_budgets_the_one_of_most_seeds_is_told_and_neither_is_lost(tmp_path: Path) -> None:
    store, more = AnalysisStore(tmp_path), key(budget=dataclasses.replace(BUDGET, seeds=30))
    store.put(more, OTHER)
    store.put(key(), ANALYSES)
    assert store.about(RUN) == OTHER
    assert store.get(key()) == ANALYSES


BATCH_NORM = {"key": "ff" * 32, "train_rows": "ff" * 32, "test_rows": "ff" * 32, "plan": "another", "device": "another"}


@pytest.mark.parametrize("field", BATCH_NORM)
def test_batch_norm_is_measured_again_for_other_pictures_plans_and_devices(field: str, tmp_path: Path) -> None:
    store = AnalysisStore(tmp_path)
    store.put(batch_norm(), results())
    assert store.get(batch_norm()) == results()
    assert store.get(batch_norm(**{field: BATCH_NORM[field]})) is None


def test_batch_norm_stands_in_the_report_of_its_own_images_alone(tmp_path: Path) -> None:
    store = AnalysisStore(tmp_path)
    store.put(batch_norm(), results())
    store.put(batch_norm(images=""), results(0.9))
    assert store.batch_norm("1a" * 32) == results()
    assert (store.batch_norm("2b" * 32), store.batch_norm("")) == (None, None)


def resigned(text: str, change: Callable[[dict[str, Any]], object]) -> str:
    """A file that was changed, with the digest of its new content."""
    found = json.loads(text)
    del found["sha256"]
    change(found)
    return json.dumps({**found, "sha256": sha256(canonical_json(found))})


DAMAGED: dict[str, Callable[[str], str]] = {
    "empty": lambda _: "",
    "no object": lambda _: "[]",
    "null": lambda _: "null",
    "cut off": lambda text: text[:-9],
    "altered": lambda text: text.replace("0.5", "0.9"),
    "another version": lambda text: text.replace('"version": 2', '"version": 1'),
    "no question": lambda text: text.replace('"question"', '"questions"'),
    "an analysis missing": lambda text: resigned(text, lambda found: found["answers"].pop("sizes")),
    "another kind of budget": lambda text: resigned(text, lambda found: found["question"]["budget"].update(more=1)),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_damaged_analyses_count_as_none(damage: str, tmp_path: Path) -> None:
    store = AnalysisStore(tmp_path)
    store.put(key(), ANALYSES)
    (path,) = (tmp_path / "answers").iterdir()
    before = path.read_text()
    path.write_text(DAMAGED[damage](before))
    assert path.read_text() != before
    assert (store.get(key()), store.about(RUN)) == (None, None)


def test_a_file_of_another_key_under_our_name_is_not_taken_for_ours(tmp_path: Path) -> None:
    store, other = AnalysisStore(tmp_path), key(train="ff" * 32)
    store.put(key(), ANALYSES)
    store.put(other, OTHER)
    ours, theirs = (tmp_path / "answers" / f"{digest(it)[:16]}.json" for it in (key(), other))
    ours.write_bytes(theirs.read_bytes())
    assert json.loads(ours.read_text())["answers"]["both"] == [0.0, 1.0]
    assert store.get(key()) is None


def test_what_this_version_of_the_training_kept_is_found() -> None:
    """The digests name files that lie in users' folders."""
    assert digest(key())[:16] == "7043d9ee8961c40b"
    assert digest(batch_norm())[:16] == "d7ad8885d2509f3e"
