"""The study's analyses of one model and recipe on kept features: many seeds, epochs, training-set size, the sigmoid and
calibration.

Test rows are watched and counted, never used to choose. What was computed once is kept (`heads.study.analysis_store`).
To add an analysis: a function here, its field in `heads.study.results`, and a page section that shows it.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from headstart.core.heads.config import VALIDATION_FRACTION, TrainConfig
from headstart.core.heads.data import Labelled
from headstart.core.heads.data.sampling import sample
from headstart.core.heads.statistics.calibration import calibration, fit_temperature, softmax
from headstart.core.heads.statistics.compare import bootstrap_accuracy
from headstart.core.heads.study.results import (
    Analyses,
    CurvePoint,
    EqualStepsPoint,
    SeedResults,
    SigmoidResults,
    TemperatureResults,
)
from headstart.core.heads.training.train import Trained, carve, predict, scores, train_many


@dataclasses.dataclass(frozen=True)
class Budget:
    """How much is trained: `seeds` heads for the main figure, `curve_seeds` for each point of a curve.

    `epochs` are the lengths of training and `sizes` the numbers of training rows that are tried, as far as there are so
    many.
    """

    seeds: int = 30
    curve_seeds: int = 3
    epochs: tuple[int, ...] = (1, 2, 5, 10, 20, 50, 100)
    sizes: tuple[int, ...] = (100, 300, 1_000, 3_000, 10_000, 50_000)


@dataclasses.dataclass(frozen=True)
class Task:
    """The rows of one model: what heads learn from and are tested on, and the class names."""

    training: Labelled
    testing: Labelled
    classes: tuple[str, ...]
    device: str


Advance = Callable[[str], None]
"""Told what is trained next."""


def analyse(task: Task, config: TrainConfig, budget: Budget, advance: Advance) -> Analyses:
    """All analyses of one recipe. `advance` is told what is trained next."""
    advance(f"{budget.seeds} seeds")
    heads = _train(task, [dataclasses.replace(config, seed=config.seed + i) for i in range(budget.seeds)])
    right = [predict(found.head, task.testing.features, task.device) == task.testing.labels for found in heads]
    sizes = _sizes(task, config, budget, advance)
    accuracies = tuple(float(found.mean()) for found in right)
    return Analyses(
        seeds=SeedResults(accuracies, round(heads[0].elapsed_s, 3), heads[0].together),
        both=bootstrap_accuracy(np.stack(right), np.random.default_rng(0)),
        calibration=_calibrated(task, config, heads[0], advance),
        epochs=_epochs(task, config, budget, advance),
        sizes=sizes,
        sizes_equal_steps=_sizes_equal_steps(task, config, budget, sizes, advance),
        sigmoid=_sigmoid(task, config, budget, advance),
    )


def _train(task: Task, configs: Sequence[TrainConfig], watch: bool = False) -> list[Trained]:
    testing = task.testing if watch else None
    return train_many(task.training, len(task.classes), configs, task.device, lambda *_: None, testing)


def _accuracy(task: Task, trained: Trained) -> float:
    found = predict(trained.head, task.testing.features, task.device)
    return float((found == task.testing.labels).mean())


def _curve_configs(config: TrainConfig, budget: Budget, **changes: Any) -> list[TrainConfig]:
    return [dataclasses.replace(config, seed=config.seed + i, **changes) for i in range(budget.curve_seeds)]


def _accuracies(task: Task, heads: Sequence[Trained]) -> tuple[float, ...]:
    return tuple(_accuracy(task, trained) for trained in heads)


def _epochs(task: Task, config: TrainConfig, budget: Budget, advance: Advance) -> tuple[CurvePoint, ...]:
    """Test accuracy against epochs. Without a schedule one long training passes through all the shorter ones; under a
    cosine each length is a training of its own."""
    if not config.cosine and not config.val_fraction:
        most = max(budget.epochs)
        advance(f"up to {most} epochs")
        heads = _train(task, _curve_configs(config, budget, epochs=most), watch=True)
        watched = [trained.history.watched for trained in heads]
        return tuple(CurvePoint(epoch, tuple(one[epoch - 1] for one in watched)) for epoch in range(1, most + 1))
    found = []
    for epochs in budget.epochs:
        advance(f"{epochs} epochs")
        heads = _train(task, _curve_configs(config, budget, epochs=epochs))
        found.append(CurvePoint(epochs, _accuracies(task, heads)))
    return tuple(found)


def curve_sizes(budget: Budget, there: int, classes: int) -> list[int]:
    """The numbers of training rows that are tried, of so many that there are; none with less than two rows a class."""
    found = {min(size, there) for size in budget.sizes}
    return sorted(size for size in found if size >= min(2 * classes, there))


def equal_steps(config: TrainConfig, rows: int, there: int) -> TrainConfig:
    """The configuration whose training on so many rows takes the optimiser steps of one on all that are there: to the
    nearest epoch, and one at least."""
    epochs = round(config.steps(there) / dataclasses.replace(config, epochs=1).steps(rows))
    return dataclasses.replace(config, epochs=max(1, epochs))


def _part(task: Task, rows: int) -> Task:
    """The task with so many of its training rows: drawn with each class in its share, the same each time, each number
    among the next larger one; all of them in their own order."""
    chosen = sample(task.training.labels, rows, np.random.default_rng(0))
    part = Labelled(task.training.features[chosen], task.training.labels[chosen])
    return dataclasses.replace(task, training=part)


def _sizes(task: Task, config: TrainConfig, budget: Budget, advance: Advance) -> tuple[CurvePoint, ...]:
    """Test accuracy against the number of training rows. The epochs are the recipe's, so that fewer rows mean fewer
    optimiser steps too."""
    found = []
    for rows in curve_sizes(budget, len(task.training.labels), len(task.classes)):
        advance(f"{rows:,} training rows")
        heads = _train(_part(task, rows), _curve_configs(config, budget))
        found.append(CurvePoint(rows, _accuracies(task, heads)))
    return tuple(found)


def _sizes_equal_steps(
    task: Task, config: TrainConfig, budget: Budget, known: Sequence[CurvePoint], advance: Advance
) -> tuple[EqualStepsPoint, ...]:
    """Test accuracy against the number of training rows alone, the number of optimiser steps staying that of all rows.

    Where the epochs are the recipe's own, the point is the one of `known`, the curve of equal epochs.
    """
    there, found = len(task.training.labels), []
    for point in known:
        longer, accuracies = equal_steps(config, point.at, there), point.accuracies
        if longer != config:
            advance(f"{point.at:,} training rows, {longer.epochs:,} epochs")
            accuracies = _accuracies(task, _train(_part(task, point.at), _curve_configs(longer, budget)))
        found.append(EqualStepsPoint(point.at, accuracies, longer.epochs, longer.steps(point.at)))
    return tuple(found)


def _sigmoid(task: Task, config: TrainConfig, budget: Budget, advance: Advance) -> SigmoidResults:
    """Accuracies of the same training with the study's sigmoid before the loss, and without."""
    found = []
    for name, sigmoid in (("with", True), ("without", False)):
        advance(f"{name} the sigmoid")
        found.append(_accuracies(task, _train(task, _curve_configs(config, budget, sigmoid=sigmoid))))
    return SigmoidResults(*found)


def _calibrated(task: Task, config: TrainConfig, own: Trained, advance: Advance) -> TemperatureResults:
    """Calibration of the recipe's own head on the test rows, before and after a temperature.

    The temperature is fitted to the own head's scores where the recipe sets validation rows aside, else to those of a head
    trained in the same way on the rows that remain. The own head's validation rows chose its epoch before the temperature
    was fitted to them.
    """
    fitted, words = own, "the head itself, on its validation rows"
    if not config.val_fraction:
        advance("calibration")
        held = dataclasses.replace(config, val_fraction=VALIDATION_FRACTION)
        (fitted,) = _train(task, [held])
        words = f"a head trained on {fitted.rows:,} of the {fitted.rows + fitted.val_rows:,} rows, on the others"
    aside = carve(task.training.labels, fitted.head.config, "cpu").val.numpy()
    found = fit_temperature(_scores(fitted, task.training.features[aside], task.device), task.training.labels[aside])
    scored, labels = _scores(own, task.testing.features, task.device), task.testing.labels
    after = None if found.value is None else calibration(softmax(scored, found.value), labels)
    return TemperatureResults(found, words, calibration(softmax(scored), labels), after)


def _scores(trained: Trained, features: npt.NDArray[np.float32], device: str) -> npt.NDArray[np.float64]:
    found: npt.NDArray[np.float64] = scores(trained.head, features, device).double().numpy()
    return found
