"""Rows and reports made from records of runs, and what reads their Markdown and CSV again."""

import csv
import dataclasses
import io
import re
from typing import Any

from heads_samples import make_evaluation, make_run, make_timing

from headstart.core.heads.config import RECIPES
from headstart.core.heads.predict import Photo
from headstart.core.heads.report.csv_file import to_csv
from headstart.core.heads.report.facts import Photograph, Report, Section
from headstart.core.heads.report.grouping import Group
from headstart.core.heads.report.published import STUDY
from headstart.core.heads.report.row import Row, row_of
from headstart.core.heads.runs import Run
from headstart.core.heads.settings import settings_label
from headstart.core.heads.timings import Timing

BENCH = make_timing(images=200, elapsed_s=12.345)


def line_of(*runs: Run, timing: Timing | None = None) -> Row:
    """The line of runs that differ in their seeds alone."""
    first = runs[0]
    return row_of(Group(first.model, settings_label(first.config), runs), timing)


def make_row(**changes: Any) -> Row:
    """A run's line, less `changes`."""
    return dataclasses.replace(line_of(make_run(), timing=BENCH), **changes)


def make_report(*rows: Row, photos: tuple[Photo, ...] = ()) -> Report:
    """A report of one set of test images."""
    return Report((make_section(*rows, photos=photos),))


def make_section(*rows: Row, title: str = "pets", photos: tuple[Photo, ...] = ()) -> Section:
    """A section of these lines; the published figures stand beside those that may."""
    study = STUDY if any(row.published for row in rows) else None
    return Section(title, "pets", "test", (), rows, tuple(map(Photograph, photos)), published=study)


def runs_of_two_models() -> tuple[Run, Run]:
    """The records of two heads; the second has no losses."""
    vgg = make_run(
        name="vgg16-standard-knn-20230901-120001",
        model="vgg16",
        config=dataclasses.replace(RECIPES["standard"], head="knn"),
        evaluation=make_evaluation(10, 20, 30),
        elapsed_s=100.6,
        losses=(),
        notes=("untrained backbone", "a stand-in test set"),
    )
    return make_run(), vgg


def two_rows() -> tuple[Row, Row]:
    """The lines of two models; the second one's inference was not timed."""
    resnet, vgg = runs_of_two_models()
    return line_of(resnet, timing=BENCH), line_of(vgg)


def seeds(*correct: int, **changes: Any) -> tuple[Run, ...]:
    """Runs that differ in their seeds, each with so many of each class's 100 test images right."""
    return tuple(
        make_run(
            name=f"seed-{seed}",
            config=dataclasses.replace(RECIPES["study"], seed=seed),
            evaluation=make_evaluation(right, right, right),
            **changes,
        )
        for seed, right in enumerate(correct)
    )


def labelled(name: str, *shares: tuple[str, float], run: str = "resnet50-study-mlp-20230901-120000") -> Photo:
    return Photo(name, {run: shares})


def cells(markdown: str, starting_with: str) -> list[list[str]]:
    """The cells of the table rows whose first cell is so."""
    lines = [re.split(r"(?<!\\)\|", line)[1:-1] for line in markdown.split("\n") if line.startswith("| ")]
    stripped = [[cell.strip() for cell in line] for line in lines]
    return [line for line in stripped if line[0] == starting_with]


def parsed_csv(report: Report, *runs: Run) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(to_csv(report, runs), newline=""), strict=True))
