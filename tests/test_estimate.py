"""The estimate counts the trainings that a study really does, and measures steps; how long they take no test says."""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from heads_samples import CLASSES, blobs, only_pair, write_set

from headstart.core.cache.store import FeatureStore
from headstart.core.heads.config import RECIPES, STUDY_STANDARD, TrainConfig
from headstart.core.heads.data import Labelled, load
from headstart.core.heads.study import analyses, estimate
from headstart.core.heads.study.analyses import Budget, Task
from headstart.core.heads.study.estimate import Plan, Training, divided, measured, seconds, trainings
from headstart.core.heads.training.adamw import Optimiser
from headstart.core.heads.training.train import Trained, train_many
from headstart.requests import StudyRequest

BUDGET = Budget(seeds=3, curve_seeds=2, epochs=(1, 2, 3), sizes=(40, 90, 10_000))
ROWS, WATCHED = 240, 90

STUDIED = {"study": RECIPES["study"], "standard": STUDY_STANDARD}


def recipe(name: str) -> TrainConfig:
    return dataclasses.replace(STUDIED[name], epochs=2, hidden=8, batch_size=32)


def recipe_of_a_study(divided: bool) -> TrainConfig:
    """What a study trains on a set without splits, or with them."""
    return StudyRequest().trainings(100, divided)[0]


def counted(monkeypatch: pytest.MonkeyPatch, config: TrainConfig) -> list[Training]:
    """The trainings that answering the questions does."""
    seen: list[Training] = []

    def count(
        data: Labelled, classes: int, configs: Sequence[TrainConfig], device: str, on_epoch: Any, watch: Labelled | None
    ) -> list[Trained]:
        seen.append(Training(configs[0], len(configs), len(data.labels), len(watch.labels) if watch else 0))
        return train_many(data, classes, configs, device, on_epoch, watch)

    monkeypatch.setattr(analyses, "train_many", count)
    task = Task(blobs(ROWS, seed=1), blobs(WATCHED, seed=2), CLASSES, "cpu")
    analyses.analyse(task, config, BUDGET, list[str]().append)
    return seen


@pytest.mark.parametrize("name", list(STUDIED))
def test_the_trainings_are_those_that_answer_the_questions(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    head, *others = trainings(recipe(name), BUDGET, ROWS, WATCHED)
    assert head == Training(recipe(name), 1, ROWS)
    assert others == counted(monkeypatch, recipe(name))


@pytest.mark.parametrize(
    ("rows", "val_fraction", "batch_size", "epochs", "steps"),
    [(24_000, 0.0, 64, 5, 1875), (24_000, 0.1, 256, 20, 1700), (65, 0.0, 64, 1, 2), (3, 0.1, 64, 4, 4)],
)
def test_steps_are_the_batches_of_all_epochs(
    rows: int, val_fraction: float, batch_size: int, epochs: int, steps: int
) -> None:
    config = TrainConfig("study", val_fraction=val_fraction, batch_size=batch_size, epochs=epochs)
    assert Training(config, 1, rows).steps == steps


def test_the_steps_of_a_training_are_those_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    config = recipe("standard")
    taken: list[int] = []

    step = Optimiser.step

    def counted(own: Optimiser) -> None:
        taken.append(1)
        step(own)

    monkeypatch.setattr(Optimiser, "step", counted)
    train_many(blobs(ROWS, seed=1), len(CLASSES), [config], "cpu", lambda *_: None)
    assert len(taken) == Training(config, 1, ROWS).steps


def test_seconds_are_steps_at_their_rate() -> None:
    found = [Training(TrainConfig("study"), 2, 640), Training(TrainConfig("study", epochs=1), 1, 64)]
    assert seconds(found, lambda training: 0.5 * training.heads) == 50 * 1.0 + 1 * 0.5
    assert seconds([], lambda training: 0.5 * training.heads) == 0


def test_each_kind_of_training_is_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds: list[Training] = []
    measure = estimate._measure

    def remember(kind: Training, dim: int, classes: int, device: str) -> float:
        kinds.append(kind)
        return measure(kind, dim, classes, device)

    monkeypatch.setattr(estimate, "_measure", remember)
    step_s = measured(6, len(CLASSES), "cpu")
    found = [one for name in STUDIED for one in trainings(recipe(name), BUDGET, ROWS, WATCHED)]
    assert all(0 < step_s(training) < math.inf for training in found)
    # the study's: one head, all seeds, one with rows set aside, few watched, few; of the standard one, one, all seeds, few
    assert len(kinds) == len(set(kinds)) == 5 + 3
    assert step_s(found[1]) == step_s(dataclasses.replace(found[1], rows=7_000))


@pytest.mark.parametrize("splits", [(24_000, 10_000), (120,), (1000,), (11,)], ids=str)
def test_a_set_without_splits_is_divided_as_it_is_loaded(splits: tuple[int, ...], tmp_path: Path) -> None:
    if len(splits) == 2:
        assert divided(splits) == splits
        return
    write_set(FeatureStore(tmp_path), blobs(splits[0]), "all")
    parts = load(only_pair(FeatureStore(tmp_path)), recipe_of_a_study(divided=True))
    assert parts.testing is not None
    assert divided(splits) == (len(parts.training.labels), len(parts.testing.labels))


def test_a_plan_adds_up() -> None:
    plan = Plan("resnet18", {"train": 100, "test": 20}, 40, 10.0, {"study": 3.0, "standard": 4.5})
    assert plan.to_json() == {
        "model": "resnet18", "missing": {"train": 100, "test": 20}, "timed": 40, "images_per_s": 10.0,
        "heads_s": {"study": 3.0, "standard": 4.5}, "extraction_s": 12.0, "inference_s": 4.0, "total_s": 23.5,
    }  # fmt: skip
    assert Plan("resnet18", {"train": 0}, 0, None, {}).total_s == 0
