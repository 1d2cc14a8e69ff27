"""Which processes `extraction.py` runs, in which turns, and what each compares. Runs none and imports no torch."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
from scaling import AXES
from ways import BATCH, RANDOM

WAYS = ("study", "plain", "timm", "thingsvision", "headstart")
WHY = {
    "study": "an epoch of the published loop: what everything else is divided by",
    "plain": "features cached by hand with the same loader, in eager fp32",
    "timm": "as timm's documentation says",
    "thingsvision": "as thingsvision's documentation says",
    "headstart": "the whole extract: every hash, check, file and fsync",
    "whole": "every image there is, both splits, as headstart",
    "matmul": "the device's own matmul and copy rates, which shares are of",
}
"""What each way stands for in a comparison."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """What to run. `engines` concern this tool alone; `whole` is a number of images, 0 for none."""

    models: tuple[str, ...]
    only: tuple[str, ...]
    ways: bool
    engines: tuple[str, ...]
    rows: int
    peer_rows: int
    repeats: int
    weights: str
    dataset: str
    data_dir: Path
    device: str
    precision: str
    batch_size: int | None
    image_size: int
    timm: Path | None
    thingsvision: Path | None
    scaling: bool
    scale_rows: tuple[int, ...]
    scale_batches: tuple[int, ...]
    scale_sizes: tuple[int, ...]
    scale_images: int
    whole: int

    @property
    def main_model(self) -> str:
        """The one model of `--scaling` and `--whole`."""
        return "resnet50" if "resnet50" in self.models else self.models[0]


@dataclasses.dataclass(frozen=True)
class Process:
    """One process of a turn: the row of the table it fills, and what `ways.py` is asked for."""

    row: str
    request: dict[str, Any]
    python: str = sys.executable


@dataclasses.dataclass(frozen=True)
class Group:
    """Processes that take turns; `part` is where their figures stand in the JSON."""

    part: str
    model: str
    processes: tuple[Process, ...]


def all_groups(settings: Settings) -> Iterator[Group]:
    """Everything that is asked for, in the order in which it runs."""
    if settings.ways:
        for model in settings.models:
            yield Group("models", model, tuple(rows_of(model, settings)))
    model = settings.main_model
    if settings.whole:
        yield Group("whole", model, tuple(ours(model, settings, way="whole", rows=settings.whole)))
    if settings.scaling:
        for axis, changes in scale_points(settings).items():
            found = (next(ours(model, settings, **change)) for change in changes)
            named = (dataclasses.replace(process, row=process.request[axis]) for process in found)
            yield Group(axis, model, tuple(named))


def rows_of(model: str, settings: Settings) -> Iterator[Process]:
    """One turn of a model: the ways, then what the device can do at most."""
    pythons = {"timm": settings.timm, "thingsvision": settings.thingsvision}
    for way in settings.only:
        if way == "headstart":
            yield from ours(model, settings)
        elif pythons.get(way, sys.executable) is None:
            click.echo(f"{way}: skipped, no --{way} PYTHON", err=True)
        else:
            peer = request(model, settings, way=way, rows=settings.peer_rows, batch_size=BATCH, engine="eager")
            yield Process(way, peer | {"precision": "fp32"}, str(pythons.get(way) or sys.executable))
    yield Process("matmul", request(model, settings, way="matmul", rows=0, engine="eager"))


def ours(model: str, settings: Settings, **changes: Any) -> Iterator[Process]:
    """This tool, by each engine."""
    for engine in settings.engines:
        row = "headstart" if engine == "auto" else f"headstart {engine}"
        yield Process(row, request(model, settings, **{"way": "headstart", "engine": engine, **changes}))


def scale_points(settings: Settings) -> dict[str, list[dict[str, Any]]]:
    """What is changed at each point of each axis. The engine is the same at all: `auto` would change within a curve."""
    engine = "eager" if settings.engines[0] == "auto" else settings.engines[0]
    fixed = {"rows": settings.scale_images, "engine": engine}
    values = {"rows": settings.scale_rows, "batch_size": settings.scale_batches, "image_size": settings.scale_sizes}
    return {axis: [{**fixed, axis: value} for value in found] for axis, found in values.items()}


def request(model: str, settings: Settings, **changes: Any) -> dict[str, str]:
    """What `ways.py` is asked for, all as text."""
    names = ("rows", "weights", "dataset", "data_dir", "device", "precision", "image_size")
    asked = {name: getattr(settings, name) for name in names}
    asked["data_dir"] = settings.data_dir.absolute()  # a process runs in the repository's root
    asked |= {"model": model, "batch_size": settings.batch_size or "auto", **changes}
    return {name: str(value) for name, value in asked.items()}


def title(group: Group, settings: Settings) -> str:
    """A group in a few words."""
    if group.part in AXES:
        return f"{group.model} by {AXES[group.part].title}, {group.processes[0].request['engine']}"
    if group.part == "whole":
        return f"{group.model}, {settings.whole:,} images at {settings.image_size} px"
    pixels = "random 32 x 32 pixels" if settings.dataset == RANDOM else settings.dataset
    return f"{group.model}, {pixels} at {settings.image_size} px"


def show_plan(groups: Sequence[Group], settings: Settings) -> None:
    """Every process that would run."""
    count = settings.repeats * sum(len(group.processes) for group in groups)
    click.echo(f"{count} processes, {settings.repeats} turns of each; nothing was run")
    for group in groups:
        click.echo(f"\n{title(group, settings)}")
        for process in group.processes:
            purpose = AXES[group.part].ratio if group.part in AXES else WHY[process.request["way"]]
            click.echo(f"  {described(process)}: {purpose}")


def described(process: Process) -> str:
    """A process in one line: model, row, device, precision, engine, images, size, batch."""
    asked = process.request
    row = asked["way"] if process.row.isdecimal() else process.row
    facts = f"{asked['model']:10s} {row:18s} {asked['device']:6s} {asked['precision']:5s}"
    if asked["way"] == "matmul":
        return facts
    sizes = f"{asked['rows']:>6s} images at {asked['image_size']:>3s} px, batch {asked['batch_size']:4s}"
    return f"{facts} {asked['engine']:9s} {sizes}"
