"""The answers are those of trainings that anyone can repeat, and no test row chooses anything."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from heads_samples import CLASSES, blobs, silent

from cache.files import canonical_json
from heads.config import RECIPES, TrainConfig
from heads.data import Labelled
from heads.questions import NAME, Budget, Task, answer, asked, keep, kept
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


def test_answers_are_kept_under_what_was_asked(tmp_path: Path) -> None:
    name = asked(RECIPES["study"], BUDGET, ["aa", "bb"])
    assert kept(tmp_path) is None
    keep(tmp_path, name, {"seeds": [0.5]})
    assert kept(tmp_path, name) == kept(tmp_path) == {"seeds": [0.5]}
    others = [
        asked(RECIPES["standard"], BUDGET, ["aa", "bb"]),
        asked(RECIPES["study"], Budget(), ["aa", "bb"]),
        asked(RECIPES["study"], BUDGET, ["aa", "cc"]),
    ]
    assert [kept(tmp_path, other) for other in others] == [None] * 3


@pytest.mark.parametrize("damage", [b"", b"{}", b"[]", b"null", b'{"answers": 1}'])
def test_damaged_answers_count_as_none(tmp_path: Path, damage: bytes) -> None:
    keep(tmp_path, "name", {"seeds": [0.5]})
    (tmp_path / NAME).write_bytes(damage)
    assert kept(tmp_path, "name") is None


def test_altered_answers_count_as_none(tmp_path: Path) -> None:
    keep(tmp_path, "name", {"seeds": [0.5]})
    path = tmp_path / NAME
    path.write_text(path.read_text().replace("0.5", "0.9"))
    assert kept(tmp_path, "name") is None
