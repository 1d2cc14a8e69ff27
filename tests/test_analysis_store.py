"""Answers are found again by all that they depend on, wherever the run that asked for them is."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from heads_samples import make_run
from headstart.core.heads.config import RECIPES
from headstart.core.heads.study.answer_store import AnswerStore, BatchNormQuestion, Question, digest

RUN = make_run()
BUDGET = {"seeds": 3, "epochs": (1, 2)}
ANSWERS = {"seeds": {"accuracies": [0.5]}}


def question(**changes: object) -> Question:
    return dataclasses.replace(Question(RUN.config, RUN.train.digest, RUN.test.digest, BUDGET), **changes)


def batch_norm(**changes: str) -> BatchNormQuestion:
    base = BatchNormQuestion("aa" * 32, "bb" * 32, "cc" * 32, "1a" * 32, "a plan", "a computer")
    return dataclasses.replace(base, **changes)


CHANGES: dict[str, Callable[[Question], Question]] = {
    "recipe": lambda found: dataclasses.replace(found, config=RECIPES["standard"]),
    "seed": lambda found: dataclasses.replace(found, config=dataclasses.replace(found.config, seed=1)),
    "epochs": lambda found: dataclasses.replace(found, config=dataclasses.replace(found.config, epochs=60)),
    "training features": lambda found: dataclasses.replace(found, train="ff" * 32),
    "test features": lambda found: dataclasses.replace(found, test="ff" * 32),
    "budget": lambda found: dataclasses.replace(found, budget={**BUDGET, "seeds": 30}),
    "version of the training": lambda found: dataclasses.replace(found, training_version=99),
}


def test_answers_are_kept_under_what_was_asked(tmp_path: Path) -> None:
    store = AnswerStore(tmp_path)
    assert store.get(question()) is None
    store.put(question(), ANSWERS)
    assert store.get(question()) == ANSWERS
    store.put(question(), {"seeds": 5})
    assert store.get(question()) == {"seeds": 5}


@pytest.mark.parametrize("change", CHANGES)
def test_another_question_has_other_answers_and_both_are_kept(change: str, tmp_path: Path) -> None:
    store, other = AnswerStore(tmp_path), CHANGES[change](question())
    assert digest(other) != digest(question())
    store.put(question(), ANSWERS)
    assert store.get(other) is None
    store.put(other, {"other": True})
    assert (store.get(question()), store.get(other)) == (ANSWERS, {"other": True})


def test_the_answers_about_a_run_are_those_of_its_settings_whatever_its_seed(tmp_path: Path) -> None:
    store = AnswerStore(tmp_path)
    store.put(question(), ANSWERS)
    store.put(question(config=dataclasses.replace(RUN.config, epochs=60)), {"other": True})
    assert store.about(RUN) == ANSWERS
    assert store.about(dataclasses.replace(RUN, config=dataclasses.replace(RUN.config, seed=4))) == ANSWERS
    assert store.about(dataclasses.replace(RUN, config=RECIPES["standard"])) is None
    assert store.about(dataclasses.replace(RUN, training_version=1)) is None
    assert store.about(dataclasses.replace(RUN, test=dataclasses.replace(RUN.test, digest="ff" * 32))) is None


def test_of_two_budgets_the_one_of_most_seeds_is_told_and_neither_is_lost(tmp_path: Path) -> None:
    store, more = AnswerStore(tmp_path), question(budget={**BUDGET, "seeds": 30})
    store.put(more, {"many": True})
    store.put(question(), ANSWERS)
    assert store.about(RUN) == {"many": True}
    assert store.get(question()) == ANSWERS


BATCH_NORM = {"key": "ff" * 32, "train_rows": "ff" * 32, "test_rows": "ff" * 32, "plan": "another", "device": "another"}


@pytest.mark.parametrize("field", BATCH_NORM)
def test_batch_norm_is_measured_again_for_other_pictures_plans_and_devices(field: str, tmp_path: Path) -> None:
    store = AnswerStore(tmp_path)
    store.put(batch_norm(), {"eval": [0.5]})
    assert store.get(batch_norm()) == {"eval": [0.5]}
    assert store.get(batch_norm(**{field: BATCH_NORM[field]})) is None


def test_batch_norm_stands_in_the_report_of_its_own_images_alone(tmp_path: Path) -> None:
    store = AnswerStore(tmp_path)
    store.put(batch_norm(), {"eval": [0.5]})
    store.put(batch_norm(images=""), {"eval": [0.9]})
    assert store.batch_norm("1a" * 32) == {"eval": [0.5]}
    assert (store.batch_norm("2b" * 32), store.batch_norm("")) == (None, None)


DAMAGED: dict[str, Callable[[str], str]] = {
    "empty": lambda _: "",
    "no object": lambda _: "[]",
    "null": lambda _: "null",
    "cut off": lambda text: text[:-9],
    "altered": lambda text: text.replace("0.5", "0.9"),
    "another version": lambda text: text.replace('"version": 2', '"version": 1'),
    "no question": lambda text: text.replace('"question"', '"questions"'),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_damaged_answers_count_as_none(damage: str, tmp_path: Path) -> None:
    store = AnswerStore(tmp_path)
    store.put(question(), ANSWERS)
    (path,) = (tmp_path / "answers").iterdir()
    before = path.read_text()
    path.write_text(DAMAGED[damage](before))
    assert path.read_text() != before
    assert (store.get(question()), store.about(RUN)) == (None, None)


def test_a_file_of_another_question_under_our_name_is_not_taken_for_ours(tmp_path: Path) -> None:
    store, other = AnswerStore(tmp_path), question(train="ff" * 32)
    store.put(question(), ANSWERS)
    store.put(other, {"other": True})
    ours, theirs = (tmp_path / "answers" / f"{digest(it)[:16]}.json" for it in (question(), other))
    ours.write_bytes(theirs.read_bytes())
    assert json.loads(ours.read_text())["answers"] == {"other": True}
    assert store.get(question()) is None
