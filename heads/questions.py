"""The study's open questions for one model and recipe, answered on kept features: seeds, epochs, training-set size, the
sigmoid, calibration, and what is mistaken for what.

Test rows are watched and counted, never used to choose. What was answered once is kept (`heads.answer_store`).
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from heads.config import HELD_OUT, TrainConfig
from heads.data import Labelled
from heads.train import Trained, carve, predict, train_many


@dataclasses.dataclass(frozen=True)
class Budget:
    """How much is trained: `seeds` heads for the main figure, `curve_seeds` for each point of a curve.

    `epochs` are the lengths of training and `sizes` the numbers of training rows that are tried; sizes beyond what there
    is are left out.
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


def answer(task: Task, config: TrainConfig, budget: Budget, advance: Advance) -> dict[str, Any]:
    """All answers for one recipe as JSON values."""
    advance(f"{budget.seeds} seeds")
    heads = _train(task, [dataclasses.replace(config, seed=config.seed + i) for i in range(budget.seeds)])
    right = [predict(found.head, task.testing.features, task.device) == task.testing.labels for found in heads]
    return {
        "seeds": {
            "accuracies": [float(found.mean()) for found in right],
            "elapsed_s": _elapsed(heads),
            "together": heads[0].together,
        },
        "both": _both(np.stack(right)),
        "calibration": _calibrated(task, config, advance),
        "epochs": _epochs(task, config, budget, advance),
        "sizes": _sizes(task, config, budget, advance),
        "sigmoid": _sigmoid(task, config, budget, advance),
    }


def _train(task: Task, configs: Sequence[TrainConfig], watch: bool = False) -> list[Trained]:
    testing = task.testing if watch else None
    return train_many(task.training, len(task.classes), configs, task.device, lambda *_: None, testing)


def _elapsed(heads: Sequence[Trained]) -> float:
    """Seconds of all the groups in which the heads were trained: each group's heads carry the group's time."""
    return round(sum(trained.elapsed_s / trained.together for trained in heads), 3)


def _both(right: npt.NDArray[np.bool_]) -> list[float]:
    """A 95 % interval over seeds and images at once, (seeds, images) right or wrong."""
    from heads.compare import bootstrap_accuracy

    low, high = bootstrap_accuracy(right, np.random.default_rng(0))
    return [float(low), float(high)]


def _accuracy(task: Task, trained: Trained) -> float:
    found = predict(trained.head, task.testing.features, task.device)
    return float((found == task.testing.labels).mean())


def _curve_configs(config: TrainConfig, budget: Budget, **changes: Any) -> list[TrainConfig]:
    return [dataclasses.replace(config, seed=config.seed + i, **changes) for i in range(budget.curve_seeds)]


def _epochs(task: Task, config: TrainConfig, budget: Budget, advance: Advance) -> list[dict[str, Any]]:
    """Test accuracy against epochs. Without a schedule one long training passes through all the shorter ones; under a
    cosine each length is a training of its own."""
    if not config.cosine and not config.val_fraction:
        advance(f"up to {max(budget.epochs)} epochs")
        heads = _train(task, _curve_configs(config, budget, epochs=max(budget.epochs)), watch=True)
        return [
            {"epoch": epoch, "accuracies": [trained.history.watched[epoch - 1] for trained in heads]}
            for epoch in range(1, max(budget.epochs) + 1)
        ]
    found = []
    for epochs in budget.epochs:
        advance(f"{epochs} epochs")
        heads = _train(task, _curve_configs(config, budget, epochs=epochs))
        found.append({"epoch": epochs, "accuracies": [_accuracy(task, trained) for trained in heads]})
    return found


def _sizes(task: Task, config: TrainConfig, budget: Budget, advance: Advance) -> list[dict[str, Any]]:
    """Test accuracy against the number of training rows, the first ones in the data set's order."""
    there = len(task.training.labels)
    found = []
    for rows in sorted({min(size, there) for size in budget.sizes}):
        advance(f"{rows:,} training rows")
        part = Labelled(task.training.features[:rows], task.training.labels[:rows])
        heads = _train(dataclasses.replace(task, training=part), _curve_configs(config, budget))
        found.append({"rows": rows, "accuracies": [_accuracy(task, trained) for trained in heads]})
    return found


def _sigmoid(task: Task, config: TrainConfig, budget: Budget, advance: Advance) -> dict[str, list[float]]:
    """Accuracies of the same training with the study's sigmoid before the loss, and without."""
    found = {}
    for name, sigmoid in (("with", True), ("without", False)):
        advance(f"{name} the sigmoid")
        heads = _train(task, _curve_configs(config, budget, sigmoid=sigmoid))
        found[name] = [_accuracy(task, trained) for trained in heads]
    return found


def _calibrated(task: Task, config: TrainConfig, advance: Advance) -> dict[str, Any]:
    """Calibration on the test rows before and after a temperature that was fitted on rows set aside from training."""
    from heads.calibration import calibration, fit_temperature, softmax

    advance("calibration")
    held = dataclasses.replace(config, val_fraction=config.val_fraction or HELD_OUT)
    (trained,) = _train(task, [held])
    aside = carve(len(task.training.labels), held, "cpu").val.numpy()
    temperature = fit_temperature(_scores(trained, task.training.features[aside]), task.training.labels[aside])
    scores, labels = _scores(trained, task.testing.features), task.testing.labels
    before, after = (calibration(softmax(scores, t), labels) for t in (1.0, temperature))
    return {
        "temperature": temperature,
        "rows": len(aside),
        "before": _plain(before),
        "after": _plain(after),
    }


def _plain(value: Any) -> dict[str, Any]:
    found: dict[str, Any] = dataclasses.asdict(value)
    return found


def _scores(trained: Trained, features: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    device = trained.head.mean.device
    with torch.inference_mode():
        chunks = torch.from_numpy(np.ascontiguousarray(features)).split(8192)
        scores = torch.cat([trained.head(part.to(device)).cpu() for part in chunks])
    found: npt.NDArray[np.float64] = scores.double().numpy()
    return found
