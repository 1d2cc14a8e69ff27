"""The head that `auto` chooses against scikit-learn's logistic regression, at every number of training images.

    .venv/bin/python benchmarks/heads_by_size.py features/cifar10-train-resnet18-… --json sizes.json

Each FOLDER is a kept training set with its test set beside it. Training rows are drawn anew for each turn, each class in
the share that is asked for, and test rows in the same shares. Both sides get the same rows, folds and penalties:
scikit-learn's StandardScaler + LogisticRegressionCV is what an expert would run. Accuracies are means over the draws.
"""

from __future__ import annotations

import dataclasses
import json
import statistics
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
from hardware import hardware
from sklearn.linear_model import LogisticRegressionCV
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from headstart.core.cache.feature_set import FeatureSet
from headstart.core.cache.store import FeatureStore
from headstart.core.heads.config import RECIPES, TrainConfig
from headstart.core.heads.data import Labelled
from headstart.core.heads.kinds import kind
from headstart.core.heads.selection import search
from headstart.core.heads.selection.procedure import fit
from headstart.core.heads.training.train import predict

SIZES = (20, 50, 100, 300, 1_000, 3_000, 10_000, 24_000)
DRAWS, DRAWS_OF_MANY, MANY = 10, 3, 1_000
"""Draws of so many rows, and of more."""
RATIO = 10
"""How much larger the large classes are where classes are not alike."""
TWO = ("cat", "dog")
"""The two classes of the harder problem with two."""


@dataclasses.dataclass(frozen=True)
class Case:
    """One column of the table: `classes` many, all alike or half of them ten times as large."""

    classes: int
    balanced: bool

    @property
    def title(self) -> str:
        return f"{self.classes} classes, {'balanced' if self.balanced else f'1:{RATIO}'}"

    def shares(self) -> np.ndarray:
        """Each class's share of the rows; the second half of the classes is the large one."""
        sizes = np.ones(self.classes)
        if not self.balanced:
            sizes[self.classes // 2 :] = RATIO
        return sizes / sizes.sum()


CASES = [Case(classes, balanced) for classes in (2, 10) for balanced in (True, False)]


@dataclasses.dataclass(frozen=True)
class Rows:
    """Training and test rows of one backbone, all classes."""

    name: str
    train: Labelled
    test: Labelled
    classes: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Turn:
    """One draw: accuracies in [0, 1], seconds of each side, and the head that `auto` chose."""

    ours: float
    reference: float
    ours_s: float
    reference_s: float
    chosen: str


def rows_of(folder: Path) -> Rows:
    """The rows of a kept set and of its test set."""
    store = FeatureStore(folder.parent)
    training = store.get(folder.name)
    testing = store.open(training.manifest.named, "test")
    if testing is None:
        raise click.ClickException(f"{folder}: has no test set beside it; extract it without --split")
    return Rows(training.manifest.key.backbone, _labelled(training), _labelled(testing), training.manifest.classes)


def _labelled(features: FeatureSet) -> Labelled:
    found = features.load()
    return Labelled(found.features.astype(np.float32), found.labels)


def drawn(
    data: Labelled, wanted: Sequence[int], shares: np.ndarray, count: int, rng: np.random.Generator
) -> Labelled | None:
    """`count` rows of the wanted classes in their shares, at least two of each, with labels from 0; None where there are
    not so many."""
    counts = np.maximum(2, np.round(shares * count).astype(int))
    places = []
    for label, own in zip(wanted, counts, strict=True):
        there = np.flatnonzero(data.labels == label)
        if own > len(there):
            return None
        places.append(rng.choice(there, own, replace=False))
    chosen = rng.permutation(np.concatenate(places))
    numbers = {label: i for i, label in enumerate(wanted)}
    return Labelled(data.features[chosen], np.array([numbers[label] for label in data.labels[chosen].tolist()]))


def turn(train: Labelled, test: Labelled, classes: int, seed: int) -> Turn:
    """Both sides on the same rows."""
    started = time.perf_counter()
    (found,) = fit(train, classes, [dataclasses.replace(RECIPES["standard"], seed=seed)], "cpu", lambda *_: None)
    ours_s = time.perf_counter() - started
    started = time.perf_counter()
    reference = _reference(train, seed)
    reference_s = time.perf_counter() - started
    right = predict(found.trained.head, test.features, "cpu") == test.labels
    theirs = reference.predict(test.features) == test.labels
    config = found.trained.head.config
    return Turn(float(right.mean()), float(theirs.mean()), ours_s, reference_s, _words(config))


def _reference(train: Labelled, seed: int) -> Any:
    """StandardScaler + LogisticRegressionCV with the folds and penalties of our own search."""
    penalties = [
        config.penalty for config in kind("logreg").grid(TrainConfig("standard", head="logreg"), len(train.labels))
    ]
    least = int(np.bincount(train.labels).min())
    folds = max(2, min(search.FOLDS, least))
    folding = StratifiedKFold(folds, shuffle=True, random_state=seed)
    inverse = sorted(1 / penalty for penalty in penalties if penalty)
    model = LogisticRegressionCV(Cs=inverse, cv=folding, max_iter=1000, scoring="neg_log_loss")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own future defaults, and where a path's weak end has not converged
        return make_pipeline(StandardScaler(), model).fit(train.features.astype(np.float64), train.labels)


def _words(config: TrainConfig) -> str:
    if config.penalty is not None:
        return f"{config.head} {config.penalty:g}"
    return f"{config.head} {config.neighbours}" if config.neighbours is not None else config.head


def measured(rows: Rows, case: Case, size: int) -> dict[str, Any] | None:
    """The figures of one cell of the table; None where there are too few rows."""
    wanted = [rows.classes.index(name) for name in TWO] if case.classes == 2 else list(range(case.classes))
    least = 4 * case.classes if case.balanced else 2 * RATIO
    if size < least:
        return None
    turns = []
    for number in range(DRAWS if size <= MANY else DRAWS_OF_MANY):
        rng = np.random.default_rng(number)
        train = drawn(rows.train, wanted, case.shares(), size, rng)
        test = next(filter(None, (drawn(rows.test, wanted, case.shares(), most, rng) for most in range(10_000, 400, -200))))
        if train is None:
            return None
        turns.append(turn(train, test, case.classes, number))
        click.echo(f"{rows.name} {case.title} {size}: {turns[-1]}", err=True)
    return {
        "backbone": rows.name, "case": case.title, "rows": size, "turns": [dataclasses.asdict(one) for one in turns],
        **{name: statistics.mean(getattr(one, name) for one in turns) for name in ("ours", "reference")},
        **{name: statistics.median(getattr(one, name) for one in turns) for name in ("ours_s", "reference_s")},
    }  # fmt: skip


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("folders", nargs=-1, required=True, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--size", "sizes", multiple=True, type=click.IntRange(min=4), help="Training rows; repeatable. [default: all]"
)
@click.option("--json", "to", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The file to write.")
def main(folders: tuple[Path, ...], sizes: tuple[int, ...], to: Path) -> None:
    """Mean test accuracy of `--head auto` beside scikit-learn's, for every FOLDER, case and size."""
    cells = []
    for folder in folders:
        rows = rows_of(folder)
        for case in CASES:
            for size in sizes or SIZES:
                cell = measured(rows, case, size)
                cells += [cell] if cell else []
                to.write_text(json.dumps({"hardware": hardware(), "cells": cells}, indent=1) + "\n")
    click.echo(table(cells))


def table(cells: Sequence[dict[str, Any]]) -> str:
    """The figures as a Markdown table."""
    lines = [
        "| backbone | case | rows | auto | scikit-learn | difference | time, share of scikit-learn's |",
        "|" + "---|" * 7,
    ]
    for cell in cells:
        difference = 100 * (cell["ours"] - cell["reference"])
        lines.append(
            f"| {cell['backbone']} | {cell['case']} | {cell['rows']:,} | {cell['ours']:.2%} | {cell['reference']:.2%} | "
            f"{difference:+.2f} | {cell['ours_s'] / cell['reference_s']:.2f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
