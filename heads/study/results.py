"""What a study found out about one head's settings, and what BatchNorm in training mode costs; and both as JSON.

Accuracies are fractions of 1 on the test rows, times are in seconds.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from headstart.core.heads.statistics.calibration import Bin, Calibration, Temperature

Accuracies = tuple[float, ...]
"""One for each seed."""


@dataclasses.dataclass(frozen=True)
class SeedResults:
    """Heads that differ in their seed alone; `elapsed_s` is the time of all `together` heads trained at once."""

    accuracies: Accuracies
    elapsed_s: float
    together: int


@dataclasses.dataclass(frozen=True)
class CurvePoint:
    """Accuracies `at` so many epochs, or training rows."""

    at: int
    accuracies: Accuracies


@dataclasses.dataclass(frozen=True)
class EqualStepsPoint(CurvePoint):
    """Accuracies at so many training rows, after `epochs` epochs that take `steps` optimiser steps."""

    epochs: int
    steps: int


@dataclasses.dataclass(frozen=True)
class SigmoidResults:
    """Accuracies of the same training with the study's sigmoid before the loss, and without."""

    with_sigmoid: Accuracies
    without: Accuracies


@dataclasses.dataclass(frozen=True)
class TemperatureResults:
    """Calibration on the test rows `before` and `after` a temperature is applied; `after` is None where none was fitted.

    `fitted_with` says in words which head's scores the temperature was fitted to.
    """

    temperature: Temperature
    fitted_with: str
    before: Calibration
    after: Calibration | None

    @property
    def not_fitted(self) -> str | None:
        """Why there is no temperature; None where there is one."""
        return (self.temperature.reason or "").removeprefix("not fitted: ") or None


@dataclasses.dataclass(frozen=True)
class Analyses:
    """All analyses of one head's settings. `both` is the 95 % interval of the accuracy over seeds and images.

    `sizes` are trained for as many epochs as the recipe has, `sizes_equal_steps` for as many optimiser steps as all rows
    take.
    """

    seeds: SeedResults
    both: tuple[float, float]
    calibration: TemperatureResults
    epochs: tuple[CurvePoint, ...]
    sizes: tuple[CurvePoint, ...]
    sizes_equal_steps: tuple[EqualStepsPoint, ...]
    sigmoid: SigmoidResults


@dataclasses.dataclass(frozen=True)
class Drift:
    """How far the running means and variances moved, relative to where they were, as a mean over layers."""

    mean: float
    var: float


@dataclasses.dataclass(frozen=True)
class BatchNormResults:
    """Accuracies of heads on a backbone in `eval()` and on one left in `train()`, one for each seed, and the drift of the
    running statistics in the latter. `note` says how it was measured."""

    model: str
    weights: str
    train_images: int
    test_images: int
    image_size: int
    epochs: int
    seeds: tuple[int, ...]
    accuracy_eval: Accuracies
    accuracy_train: Accuracies
    drift: tuple[Drift, ...]
    precision: str
    device: str
    elapsed_s: float
    note: str


# --------------------------------------------------------------------------------------------------------------- JSON


def epochs_to_json(points: Sequence[CurvePoint]) -> list[dict[str, Any]]:
    """A curve over epochs as JSON values."""
    return [{"epoch": point.at, "accuracies": list(point.accuracies)} for point in points]


def sizes_to_json(points: Sequence[CurvePoint]) -> list[dict[str, Any]]:
    """A curve over training rows as JSON values."""
    return [
        {"rows": point.at}
        | ({"epochs": point.epochs, "steps": point.steps} if isinstance(point, EqualStepsPoint) else {})
        | {"accuracies": list(point.accuracies)}
        for point in points
    ]


def to_json(found: Analyses) -> dict[str, Any]:
    """The analyses as JSON values."""
    calibrated = found.calibration
    return {
        "seeds": dataclasses.asdict(found.seeds),
        "both": list(found.both),
        "calibration": {
            "temperature": calibrated.temperature.value,
            "reason": calibrated.temperature.reason,
            "rows": calibrated.temperature.rows,
            "fitted_with": calibrated.fitted_with,
            "before": dataclasses.asdict(calibrated.before),
            "after": dataclasses.asdict(calibrated.after) if calibrated.after else None,
        },
        "epochs": epochs_to_json(found.epochs),
        "sizes": sizes_to_json(found.sizes),
        "sizes_equal_steps": sizes_to_json(found.sizes_equal_steps),
        "sigmoid": {"with": list(found.sigmoid.with_sigmoid), "without": list(found.sigmoid.without)},
    }


def from_json(found: Mapping[str, Any]) -> Analyses:
    """What `to_json` wrote. Raises KeyError, TypeError, ValueError for anything else."""
    seeds, fitted = found["seeds"], found["calibration"]
    low, high = found["both"]
    return Analyses(
        seeds=SeedResults(tuple(seeds["accuracies"]), seeds["elapsed_s"], seeds["together"]),
        both=(low, high),
        calibration=TemperatureResults(
            Temperature(fitted["temperature"], fitted["rows"], fitted["reason"]),
            fitted["fitted_with"],
            _calibration(fitted["before"]),
            _calibration(fitted["after"]) if fitted["after"] else None,
        ),
        epochs=tuple(CurvePoint(point["epoch"], tuple(point["accuracies"])) for point in found["epochs"]),
        sizes=tuple(CurvePoint(point["rows"], tuple(point["accuracies"])) for point in found["sizes"]),
        sizes_equal_steps=tuple(
            EqualStepsPoint(point["rows"], tuple(point["accuracies"]), point["epochs"], point["steps"])
            for point in found["sizes_equal_steps"]
        ),
        sigmoid=SigmoidResults(tuple(found["sigmoid"]["with"]), tuple(found["sigmoid"]["without"])),
    )


def _calibration(found: Mapping[str, Any]) -> Calibration:
    return Calibration(**{**found, "bins": tuple(Bin(**one) for one in found["bins"])})


def batch_norm_to_json(found: BatchNormResults) -> dict[str, Any]:
    """The BatchNorm experiment's results as JSON values; the accuracies stand under `eval` and `train` too."""
    return {"eval": list(found.accuracy_eval), "train": list(found.accuracy_train), **dataclasses.asdict(found)}


def batch_norm_from_json(found: Mapping[str, Any]) -> BatchNormResults:
    """What `batch_norm_to_json` wrote. Raises KeyError, TypeError for anything else."""
    named = {field.name: found[field.name] for field in dataclasses.fields(BatchNormResults)}
    lists = {name: tuple(found[name]) for name in ("seeds", "accuracy_eval", "accuracy_train")}
    return BatchNormResults(**{**named, **lists, "drift": tuple(Drift(**one) for one in found["drift"])})
