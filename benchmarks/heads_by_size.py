"""The head that `auto` chooses against scikit-learn's logistic regression, at every number of training images.

    .venv/bin/python benchmarks/heads_by_size.py features/cifar10-train-resnet18-… --json resnet18.json
    .venv/bin/python benchmarks/heads_table.py docs/heads.md resnet18.json resnet50.json

Each FOLDER is a kept training set with its test set beside it. Training rows are drawn anew for each turn, each class in
the share that is asked for, and test rows in the same shares. Both sides get the same rows, number of folds (of many rows
the same part held out) and penalties: scikit-learn's StandardScaler + LogisticRegressionCV is what an expert would run.
Accuracies are means over the draws. Of fewer rows than features scikit-learn gets the rows' coordinates in the space that
they span, which changes no answer and saves time; it is timed on the features themselves, from 1,000 rows on, in the first
draw.
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
from sklearn.model_selection import StratifiedKFold, StratifiedShuffleSplit
from sklearn.preprocessing import StandardScaler

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from headstart.core.cache.feature_set import FeatureSet
from headstart.core.cache.store import FeatureStore
from headstart.core.heads.confidence import Confidence
from headstart.core.heads.config import RECIPES, TrainConfig
from headstart.core.heads.data import Labelled
from headstart.core.heads.kinds import kind
from headstart.core.heads.selection import search
from headstart.core.heads.selection.procedure import fit
from headstart.core.heads.sessions.cross_validation import outcomes
from headstart.core.heads.statistics.conformal import members, threshold
from headstart.core.heads.statistics.outcomes import Outcomes

SIZES = (20, 50, 100, 300, 1_000, 3_000, 10_000, 24_000)
DRAWS, DRAWS_OF_MANY, MANY = 10, 3, 1_000
"""Draws of so many rows, and of more. Of all rows there is one."""
RATIO = 10
"""How much larger the large classes are where classes are not alike."""
TIMED = 1_000
"""Rows from which scikit-learn is timed."""
COVERAGES = (0.9, 0.95)
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
    """One draw: accuracies in [0, 1], seconds of each side (of scikit-learn None where it was not timed), the expected
    calibration error of `auto`, how many of the `tested` images its sets of each coverage hold the truth of, and the head
    that it chose."""

    ours: float
    reference: float
    ours_s: float
    reference_s: float | None
    ece: float
    tested: int
    covered: dict[str, int]
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
    if count >= len(data.labels) and len(set(shares.tolist())) == 1 and len(wanted) == len(np.unique(data.labels)):
        counts = np.bincount(data.labels)  # all rows, whose classes are not quite alike
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
    said = outcomes(found.trained.head, found.confidence, test, "cpu")
    error = said.calibration.ece
    scaler = StandardScaler().fit(train.features)
    known, asked = (scaler.transform(part.features).astype(np.float64) for part in (train, test))
    started, reference_s = time.perf_counter(), None
    if known.shape[0] < known.shape[1]:
        if seed == 0 and len(known) >= TIMED:
            _reference(known, train.labels, seed)
            reference_s = time.perf_counter() - started
        basis, upper = np.linalg.qr(known.T)
        theirs = _reference(upper.T, train.labels, seed).predict(asked @ basis)
    else:
        model = _reference(known, train.labels, seed)
        reference_s = time.perf_counter() - started
        theirs = model.predict(asked)
    ours = float((said.predicted == test.labels).mean())
    right = float((theirs == test.labels).mean())
    covered = {f"{share:.0%}": _covered(said, found.confidence, share) for share in COVERAGES}
    chosen = _words(found.trained.head.config)
    return Turn(ours, right, ours_s, reference_s, error, len(said.labels), covered, chosen)


def _covered(said: Outcomes, sure: Confidence | None, coverage: float) -> int:
    """How many conformal sets hold their image's class."""
    least = threshold(sure, coverage) if sure else 0.0
    sets = members(said.probabilities.astype(np.float32), least)
    return int(sets[np.arange(len(said.labels)), said.labels].sum())


def _reference(features: np.ndarray, labels: np.ndarray, seed: int) -> Any:
    """LogisticRegressionCV with as many folds and the penalties of our own search."""
    config = TrainConfig("standard", head="logreg")
    penalties = [one.penalty for one in kind("logreg").grid(config, len(labels))]
    if len(labels) > search.CROSS_VALIDATED:
        folding: Any = StratifiedShuffleSplit(1, test_size=search.HELD_OUT, random_state=seed)
    else:
        folds = max(2, min(search.FOLDS, int(np.bincount(labels).min())))
        folding = StratifiedKFold(folds, shuffle=True, random_state=seed)
    inverse = sorted(1 / penalty for penalty in penalties if penalty)
    model = LogisticRegressionCV(Cs=inverse, cv=folding, max_iter=1000, scoring="neg_log_loss")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own future defaults, and where a path's weak end has not converged
        return model.fit(features, labels)


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
    draws = 1 if size >= len(rows.train.labels) else DRAWS if size <= MANY else DRAWS_OF_MANY
    for number in range(draws):
        rng = np.random.default_rng(number)
        train = drawn(rows.train, wanted, case.shares(), size, rng)
        test = next(filter(None, (drawn(rows.test, wanted, case.shares(), most, rng) for most in range(10_000, 400, -200))))
        if train is None:
            return None
        turns.append(turn(train, test, case.classes, number))
        click.echo(f"{rows.name} {case.title} {size}: {turns[-1]}", err=True)
    return {
        "backbone": rows.name, "case": case.title, "rows": size, "turns": [dataclasses.asdict(one) for one in turns],
        **{name: statistics.mean(getattr(one, name) for one in turns) for name in ("ours", "reference", "ece")},
        "share": _share([(one.ours_s, one.reference_s) for one in turns if one.reference_s is not None]),
    }  # fmt: skip


def _share(seconds: Sequence[tuple[float, float]]) -> float | None:
    """The median share of scikit-learn's time that `auto` takes."""
    return statistics.median(ours / theirs for ours, theirs in seconds) if seconds else None


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("folders", nargs=-1, required=True, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--size", "sizes", multiple=True, type=click.IntRange(min=4), help="Training rows; repeatable. [default: all]"
)
@click.option(
    "--case", "titles", multiple=True, type=click.Choice([case.title for case in CASES]), help="Repeatable. [default: all]"
)
@click.option("--json", "to", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The file to write.")
def main(folders: tuple[Path, ...], sizes: tuple[int, ...], titles: tuple[str, ...], to: Path) -> None:
    """Mean test accuracy of `--head auto` beside scikit-learn's, for every FOLDER, case and size."""
    cells = []
    for folder in folders:
        rows = rows_of(folder)
        for case in (case for case in CASES if not titles or case.title in titles):
            for size in sizes or SIZES:
                cell = measured(rows, case, size)
                cells += [cell] if cell else []
                to.write_text(json.dumps({"hardware": hardware(), "cells": cells}, indent=1) + "\n")


if __name__ == "__main__":
    main()
