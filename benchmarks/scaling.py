"""How the time of a pass should grow with the number of images, the batch size and the image size, and how it grew."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import click


@dataclasses.dataclass(frozen=True)
class Axis:
    """What is changed: its name in tables, and the power of it that the seconds of a pass should follow."""

    title: str
    power: int
    ratio: str


AXES = {
    "rows": Axis("images", 1, "x proportional to images"),
    "batch_size": Axis("batch size", 0, "x the first's seconds"),
    "image_size": Axis("image size, px", 2, "x proportional to pixels"),
}
"""The parts of a JSON's `scaling`. A convolution's work follows the pixels, that is the square of the size."""


def points(turns: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, dict[str, Any]]:
    """Each value's images, median seconds and images/s, the rate's range, and all its turns."""
    found = {}
    for value, passes in turns.items():
        rates = [turn["images"] / turn["pass_s"] for turn in passes]
        found[value] = {
            "images": passes[0]["images"],
            "seconds": statistics.median(turn["pass_s"] for turn in passes),
            "rate": statistics.median(rates),
            "range": [min(rates), max(rates)],
            "turns": list(passes),
        }
    return found


def ratios(values: Sequence[float], seconds: Sequence[float], power: int) -> list[float]:
    """Seconds over what they would be if they grew from the first value's by that power; 1 is as expected."""
    first = zip(values, seconds, strict=True)
    return [found / (seconds[0] * (value / values[0]) ** power) for value, found in first]


def axis_ratios(axis: str, found: Mapping[str, Mapping[str, Any]]) -> list[float]:
    """The ratios along one axis. A data set may have fewer images than were asked for: those that there were count."""
    values = [point["images"] if axis == "rows" else float(value) for value, point in found.items()]
    return ratios(values, [point["seconds"] for point in found.values()], AXES[axis].power)


class Numbers(click.ParamType[tuple[int, ...]]):
    """Positive whole numbers with commas between them."""

    name = "N,N,…"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        words = str(value).split(",")
        if not all(word.strip().isdecimal() and int(word) > 0 for word in words):
            self.fail(f"{value!r}: expected positive whole numbers with commas, such as 64,128", param, ctx)
        return tuple(int(word) for word in words)
