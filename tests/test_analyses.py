"""The analyses are those of trainings that anyone can repeat, and no test row chooses anything."""

import dataclasses
import time

import numpy as np
import pytest
from heads_samples import CLASSES, blobs, silent

from headstart.core.cache.files import canonical_json, parse_json
from headstart.core.heads.config import RECIPES, STUDY_STANDARD, TrainConfig
from headstart.core.heads.data import Labelled
from headstart.core.heads.data.sampling import sample
from headstart.core.heads.statistics.calibration import calibration
from headstart.core.heads.study.analyses import Budget, Task, analyse, curve_sizes
from headstart.core.heads.study.results import Analyses, CurvePoint, from_json, to_json
from headstart.core.heads.training.train import predict, probabilities, train_many

BUDGET = Budget(seeds=3, curve_seeds=2, epochs=(1, 2, 3), sizes=(40, 90, 10_000))
TASK = Task(blobs(240, seed=1), blobs(90, seed=2), CLASSES, "cpu")

STUDIED = {"study": RECIPES["study"], "standard": STUDY_STANDARD}


def recipe(name: str) -> TrainConfig:
    return dataclasses.replace(STUDIED[name], epochs=2, hidden=8, batch_size=32)


def analysed(name: str, task: Task = TASK) -> Analyses:
    return analyse(task, recipe(name), BUDGET, list[str]().append)


def accuracies(config: TrainConfig, task: Task = TASK) -> tuple[float, ...]:
    """Of heads trained here, two seeds from the configuration's on."""
    configs = [dataclasses.replace(config, seed=config.seed + i) for i in range(2)]
    heads = train_many(task.training, len(CLASSES), configs, "cpu", silent)
    right = [predict(one.head, task.testing.features, "cpu") == task.testing.labels for one in heads]
    return tuple(float(one.mean()) for one in right)


def part(rows: int) -> Task:
    """The task with some of its training rows."""
    chosen = sample(TASK.training.labels, rows, np.random.default_rng(0))
    return dataclasses.replace(TASK, training=Labelled(TASK.training.features[chosen], TASK.training.labels[chosen]))


@pytest.mark.parametrize("name", list(STUDIED))
def test_every_answer_is_a_training_of_its_own(name: str) -> None:
    found, config = analysed(name), recipe(name)
    assert found.seeds.accuracies[:2] == accuracies(config)
    assert len(found.seeds.accuracies) == 3
    low, high = found.both
    assert low <= np.mean(found.seeds.accuracies) <= high
    assert found.epochs == tuple(CurvePoint(n, accuracies(dataclasses.replace(config, epochs=n))) for n in (1, 2, 3))
    assert [point.at for point in found.sizes] == [40, 90, 240]
    assert found.sizes[0].accuracies == accuracies(config, part(40))
    assert found.sizes[-1].accuracies == accuracies(config)
    assert [point.at for point in found.sizes_equal_steps] == [40, 90, 240]
    longer = dataclasses.replace(config, epochs=found.sizes_equal_steps[0].epochs)
    assert longer.epochs > config.epochs
    assert found.sizes_equal_steps[0].accuracies == accuracies(longer, part(40))
    last = found.sizes_equal_steps[-1]
    assert (last.accuracies, last.epochs, last.steps) == (found.sizes[-1].accuracies, 2, config.steps(240))
    for point in found.sizes_equal_steps:  # to the nearest epoch
        assert abs(point.steps - config.steps(240)) <= point.steps / point.epochs / 2
    assert found.sigmoid.with_sigmoid == accuracies(dataclasses.replace(config, sigmoid=True))
    assert found.sigmoid.without == accuracies(dataclasses.replace(config, sigmoid=False))
    assert from_json(parse_json(canonical_json(to_json(found)))) == found


def test_a_curve_of_images_is_none_of_classes() -> None:
    # sorted by class: the first 40 rows of 150 are all of one
    order = np.argsort(TASK.training.labels, kind="stable")
    data = Labelled(TASK.training.features[order], TASK.training.labels[order])
    config = dataclasses.replace(recipe("study"), lr=3e-2)
    point = analyse(dataclasses.replace(TASK, training=data), config, BUDGET, list[str]().append).sizes_equal_steps[0]
    assert point.at == 40
    assert np.mean(point.accuracies) > 0.8


def test_sizes_leave_two_rows_a_class_and_no_more_than_there_are() -> None:
    budget = Budget(sizes=(100, 300, 1_000, 50_000))
    assert curve_sizes(budget, 5_000, 10) == [100, 300, 1_000, 5_000]
    assert curve_sizes(budget, 5_000, 102) == [300, 1_000, 5_000]
    assert curve_sizes(budget, 240, 150) == [240]
    assert curve_sizes(budget, 20, 2) == [20]


def test_more_classes_than_rows_for_them_leave_the_answers_whole() -> None:
    data = blobs(40, classes=20, dim=30)
    task = Task(data, blobs(60, seed=2, classes=20, dim=30), tuple(f"class {i}" for i in range(20)), "cpu")
    found = analysed("standard", task)
    assert [point.at for point in found.sizes] == [40]


def test_the_time_of_all_seeds_is_by_the_clock() -> None:
    started = time.perf_counter()
    found = analysed("study").seeds
    assert 0 < found.elapsed_s < time.perf_counter() - started
    assert found.together == 3


def noisy(data: Labelled) -> Labelled:
    """The same with a quarter of its labels wrong, so that no head is right everywhere."""
    wrong = np.random.default_rng(0).random(len(data.labels)) < 0.25
    return dataclasses.replace(data, labels=np.where(wrong, (data.labels + 1) % len(CLASSES), data.labels))


@pytest.mark.parametrize("name", list(STUDIED))
def test_the_temperature_comes_from_rows_set_aside_from_training(name: str) -> None:
    task = dataclasses.replace(TASK, training=noisy(TASK.training))
    spoiled = Labelled(TASK.testing.features[::-1].copy(), TASK.testing.labels)
    one, other = (analysed(name, dataclasses.replace(task, testing=rows)).calibration for rows in (TASK.testing, spoiled))
    assert one.temperature == other.temperature
    assert one.temperature.value is not None
    assert one.not_fitted is None
    assert one.before != other.before
    assert one.temperature.rows == round(0.1 * 240)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("study", "a head trained on 216 of the 240 rows, on the others"),
        ("standard", "the head itself, on its validation rows"),
    ],
)
def test_calibration_is_that_of_the_recipes_own_head(name: str, words: str) -> None:
    task = dataclasses.replace(TASK, training=noisy(TASK.training))
    found = analysed(name, task).calibration
    (own,) = train_many(task.training, len(CLASSES), [recipe(name)], "cpu", silent)
    shares = probabilities(own.head, TASK.testing.features, "cpu")
    expected = calibration(shares, TASK.testing.labels)
    assert found.before.ece == pytest.approx(expected.ece, abs=1e-6)
    assert found.after is not None
    assert found.after.nll != found.before.nll
    assert found.fitted_with == words


def test_a_temperature_that_nothing_speaks_for_is_none_with_the_reason() -> None:
    config = dataclasses.replace(recipe("standard"), lr=3e-2, epochs=10)
    found = analyse(TASK, config, BUDGET, list[str]().append).calibration
    assert (found.temperature.value, found.after) == (None, None)
    assert found.not_fitted == "all 24 validation rows are right"
    assert found.before.rows == 90


def test_test_rows_of_a_class_without_a_training_row_count_as_wrong() -> None:
    task = dataclasses.replace(TASK, training=blobs(240, seed=1, classes=2))
    found = analysed("study", task)
    assert max(found.seeds.accuracies) <= 2 / 3
    assert found.calibration.before.nll > 20
    canonical_json(to_json(found))
