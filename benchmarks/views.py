"""What views gain: test accuracy of heads trained with and without them, and of averages over them, by number of images.

    .venv/bin/python benchmarks/views.py features/cifar10-train-resnet50-… --json views.json --into docs/heads.md

Each FOLDER is a kept training set with its test set beside it, and views of both. Training rows are drawn anew for each
turn, each class in its share: all heads of a turn learn from the same pictures, without views, with those of one kind, and
with all where there are several kinds. They are tested on all test pictures as they are, and by probabilities averaged over
each of them and its views. `--into` replaces the table of a document.
"""

from __future__ import annotations

import dataclasses
import statistics
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
from hardware import hardware
from table import machine, markdown, replaced

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from headstart.core.cache.errors import HeadstartError
from headstart.core.cache.files import pretty_json, write_durably
from headstart.core.cache.store import FeatureStore, newest
from headstart.core.heads import data
from headstart.core.heads.config import RECIPES, TrainConfig
from headstart.core.heads.data import Labelled, Pair
from headstart.core.heads.data.sampling import sample
from headstart.core.heads.selection.procedure import fit
from headstart.core.heads.training.averaging import averaged
from headstart.core.heads.training.train import predict

SIZES = (300, 3_000, 24_000)
HEADS = ("auto", "mlp")
DRAWS = ((1_000, 10), (10_000, 3))
"""Up to so many rows so many draws; of more, and of all rows, one."""
NONE = "none"

Cell = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Rows:
    """Training and test rows of one backbone with their views, whose places are given by kind: the first word of a view."""

    name: str
    train: Labelled
    test: Labelled
    classes: int
    kinds: Mapping[str, tuple[int, ...]]


@dataclasses.dataclass(frozen=True)
class Turn:
    """One head of one draw: accuracies in [0, 1] on pictures as they are and, where it has views, by averages, the seconds
    that it took to choose and train it, and what was chosen."""

    accuracy: float
    averaged: float | None
    elapsed_s: float
    chosen: str


def rows_of(folder: Path) -> Rows:
    """The rows of a kept set and of its test set, with all views that are kept of both. Raises click.ClickException."""
    store = FeatureStore(folder.parent)
    try:
        training = store.get(folder.name)
        testing = store.open(training.manifest.named, "test")
        if testing is None:
            raise click.ClickException(f"{folder}: has no test set beside it; extract it without --split")
        pair = data.with_kept_views(Pair(training, testing), newest(store.sets()))
        config = data.with_views(pair, RECIPES["standard"])
        parts = data.load(pair, config)
    except HeadstartError as error:
        raise click.ClickException(str(error)) from error
    if parts.testing is None or parts.testing.views is None:
        raise click.ClickException(f"{folder}: {parts.notes[-1]}")
    return Rows(pair.key.backbone, parts.training, parts.testing, len(pair.key.classes), kinds_of(config.views))


def kinds_of(views: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """The places of the views of each kind, none first, and all where there are several kinds."""
    words = [view.partition(" ")[0] for view in views]
    found = {kind: tuple(i for i, one in enumerate(words) if one == kind) for kind in dict.fromkeys(words)}
    every = {"all": tuple(range(len(views)))} if len(found) > 1 else {}
    return {NONE: (), **found, **every}


def seen(rows: Labelled, places: Sequence[int]) -> Labelled:
    """The rows with some of their views alone."""
    if not places or rows.views is None:
        return dataclasses.replace(rows, views=None)
    return dataclasses.replace(rows, views=rows.views[list(places)])


def turn(train: Labelled, test: Labelled, classes: int, config: TrainConfig) -> Turn:
    """One head, trained on the rows and whatever views they have."""
    started = time.perf_counter()
    (found,) = fit(train, classes, [config], "cpu", lambda *_: None)
    elapsed_s, head = time.perf_counter() - started, found.trained.head
    right = float((predict(head, test.features, "cpu") == test.labels).mean())
    by_views = None
    if test.views is not None:
        temperature = found.confidence.temperature if found.confidence else 1.0
        shares = averaged(head, [test.features, *test.views], "cpu", temperature)
        by_views = float((shares.argmax(axis=1) == test.labels).mean())
    return Turn(right, by_views, elapsed_s, head.config.head)


def draws_of(size: int, rows: int) -> int:
    """How many draws of so many of the rows are measured."""
    return 1 if size >= rows else next((count for most, count in DRAWS if size <= most), 1)


def measured(rows: Rows, size: int, heads: Sequence[str]) -> Iterator[Cell]:
    """The figures of one number of training pictures, a cell for each head and kind of views; none where there are fewer
    pictures."""
    count = len(rows.train.labels)
    if size > count:
        return
    turns: dict[tuple[str, str], list[Turn]] = {(head, kind): [] for head in heads for kind in rows.kinds}
    for number in range(draws_of(size, count)):
        drawn = rows.train.at(sample(rows.train.labels, size, np.random.default_rng(number)))
        for kind, places in rows.kinds.items():
            train, test = (seen(part, places) for part in (drawn, rows.test))
            for head in heads:
                config = dataclasses.replace(RECIPES["standard"], head=head, seed=number)
                turns[head, kind].append(turn(train, test, rows.classes, config))
                click.echo(f"{rows.name} {size} {head} {kind}: {turns[head, kind][-1]}", err=True)
    for (head, kind), own in turns.items():
        facts = {"backbone": rows.name, "rows": size, "head": head, "kind": kind, "views": len(rows.kinds[kind])}
        yield {**facts, "tested": len(rows.test.labels), "turns": [dataclasses.asdict(one) for one in own]}


def table(cells: Sequence[Cell]) -> str:
    """A line for each backbone, number of rows, head and kind of views, beside the same heads without any."""
    columns = ["backbone", "rows", "draws", "head", "views", "without", "with", "gain", "averaged too", "gain", "time"]
    without = {_address(cell): cell for cell in cells if cell["kind"] == NONE}
    lines = [_line(cell, without[_address(cell)]) for cell in cells if cell["kind"] != NONE]
    return markdown(columns, lines)


def _address(cell: Cell) -> tuple[object, ...]:
    return cell["backbone"], cell["rows"], cell["head"]


def _line(cell: Cell, plain: Cell) -> list[str]:
    before, after, means = (
        [one[name] for one in own["turns"]] for own, name in ((plain, "accuracy"), (cell, "accuracy"), (cell, "averaged"))
    )
    seconds = [statistics.median(one["elapsed_s"] for one in own["turns"]) for own in (cell, plain)]
    return [
        cell["backbone"],
        f"{cell['rows']:,}",
        str(len(after)),
        cell["head"],
        f"{cell['views']} {cell['kind']}",
        f"{statistics.mean(before):.2%}",
        f"{statistics.mean(after):.2%}",
        gain(before, after),
        f"{statistics.mean(means):.2%}",
        gain(before, means),
        f"{seconds[0] / max(seconds[1], 1e-9):.1f} x",
    ]


def gain(before: Sequence[float], after: Sequence[float]) -> str:
    """The mean difference in points over the draws, and its standard error where there are several."""
    found = [100 * (one - other) for one, other in zip(after, before, strict=True)]
    error = f" ± {statistics.stdev(found) / len(found) ** 0.5:.2f}" if len(found) > 1 else ""
    return f"{statistics.mean(found):+.2f}{error}"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("folders", nargs=-1, required=True, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--size", "sizes", multiple=True, type=click.IntRange(min=4), help="Repeatable. [default: 300, 3000, 24000]")
@click.option("--head", "heads", multiple=True, help="Repeatable. [default: auto, mlp]")
@click.option("--json", "to", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The file to write.")
@click.option("--into", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="A document with the table.")
def main(folders: tuple[Path, ...], sizes: tuple[int, ...], heads: tuple[str, ...], to: Path, into: Path | None) -> None:
    """Mean test accuracy with and without views, for every FOLDER and size."""
    cells: list[Cell] = []
    content = {"hardware": hardware(), "cells": cells}
    for folder in folders:
        rows = rows_of(folder)
        for size in sizes or SIZES:
            cells += measured(rows, size, heads or HEADS)
            write_durably(to, pretty_json(content))
    if not cells:
        raise click.ClickException(f"no set has {min(sizes or SIZES):,} training rows")
    text = f"{table(cells)}\n\n{cells[0]['tested']:,} test images. {machine(content)}."
    click.echo(text)
    if into is not None:
        into.write_text(replaced(into.read_text(encoding="utf-8"), "views", text, into), encoding="utf-8")


if __name__ == "__main__":
    main()
