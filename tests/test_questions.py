"""The answers are those of trainings that anyone can repeat, and no test row chooses anything."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from heads_samples import CLASSES, blobs, silent

from cache.files import canonical_json
from heads.config import RECIPES, TrainConfig
from heads.data import Labelled
from heads.questions import Budget, Task, answer
from heads.train import predict, train_many

BUDGET = Budget(seeds=3, curve_seeds=2, epochs=(1, 2, 3), sizes=(40, 90, 10_000))
TASK = Task(blobs(240, seed=1), blobs(90, seed=2), CLASSES, "cpu")


def recipe(name: str) -> TrainConfig:
    return dataclasses.replace(RECIPES[name], epochs=2, hidden=8, batch_size=32)


def answers(name: str, task: Task = TASK) -> dict[str, Any]:
    return answer(task, recipe(name), BUDGET, list[str]().append)


def accuracies(config: TrainConfig, task: Task = TASK) -> list[float]:
    """Of heads trained here, two seeds from the configuration's on."""
    configs = [dataclasses.replace(config, seed=config.seed + i) for i in range(2)]
    heads = train_many(task.training, len(CLASSES), configs, "cpu", silent)
    return [float((predict(one.head, task.testing.features, "cpu") == task.testing.labels).mean()) for one in heads]


@pytest.mark.parametrize("name", list(RECIPES))
def test_every_answer_is_a_training_of_its_own(name: str) -> None:
    found, config = answers(name), recipe(name)
    assert found["seeds"]["accuracies"][:2] == accuracies(config)
    assert len(found["seeds"]["accuracies"]) == 3
    low, high = found["both"]
    assert low <= np.mean(found["seeds"]["accuracies"]) <= high
    assert [point["epoch"] for point in found["epochs"]] == [1, 2, 3]
    for point in found["epochs"]:
        assert point["accuracies"] == accuracies(dataclasses.replace(config, epochs=point["epoch"]))
    assert [point["rows"] for point in found["sizes"]] == [40, 90, 240]
    first = Labelled(TASK.training.features[:40], TASK.training.labels[:40])
    assert found["sizes"][0]["accuracies"] == accuracies(config, dataclasses.replace(TASK, training=first))
    for key, sigmoid in (("with", True), ("without", False)):
        assert found["sigmoid"][key] == accuracies(dataclasses.replace(config, sigmoid=sigmoid))
    canonical_json(found)


@pytest.mark.parametrize("name", list(RECIPES))
def test_the_temperature_comes_from_rows_set_aside_from_training(name: str) -> None:
    spoiled = Labelled(TASK.testing.features[::-1].copy(), TASK.testing.labels)
    one, other = answers(name)["calibration"], answers(name, dataclasses.replace(TASK, testing=spoiled))["calibration"]
    assert one["temperature"] == other["temperature"]
    assert one["before"] != other["before"]
    assert one["rows"] == round(0.1 * 240)
