"""The report as CSV."""

import csv
import dataclasses
import io
from collections.abc import Sequence

from headstart.core.heads.audit.leaks import apart
from headstart.core.heads.report.facts import Report
from headstart.core.heads.report.row import Row
from headstart.core.heads.runs import Run
from headstart.core.heads.statistics.measures import NAMES

_NOT_IN_CSV = ("folder",
    "runs", "seeds", "accuracies", "deviation", "interval_over", "inference", "interval", "losses", "notes", "test_used",
    "sigmoid", "measures", "selection", "evaluated_by", "curve", "trained_by", "outdated",
    "without_twins",
)  # fmt: skip


def to_csv(report: Report, runs: Sequence[Run]) -> str:
    """A line for each run, with what its line of Table 1 says and each measure; losses as one field with spaces between."""
    text = io.StringIO()
    names = [field.name for field in dataclasses.fields(Row) if field.name not in _NOT_IN_CSV]
    extra = [
        "seed",
        "inference_images",
        "inference_s",
        "accuracy_low",
        "accuracy_high",
        "losses",
        "notes",
        "evaluated_by",
        *NAMES,
        "test_twins",
        "accuracy_without_twins",
        "accuracy_without_twins_low",
        "accuracy_without_twins_high",
    ]
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["recipe" if name == "settings" else name for name in names] + extra)
    lines = {name: line for section in report.sections for line in section.rows for name in line.runs}
    for run in runs:
        if (line := lines.get(run.name)) is None:  # a newer run of the same seed stands in its place
            continue
        score = run.evaluation.overall
        own = dataclasses.replace(line, run=run.name, accuracy=score.accuracy, training_s=run.elapsed_s)
        inference = (own.inference.images, own.inference.elapsed_s) if own.inference else ("", "")
        losses = " ".join(f"{loss:.6g}" for loss in run.losses)
        writer.writerow(
            [getattr(own, name) for name in names]
            + [run.config.seed, *inference, *score.interval, losses, "; ".join(run.notes), run.evaluated_by.kind]
            + [_measure(run, line, name) for name in NAMES]
            + _without_twins(run, line)
        )
    return text.getvalue()


def _without_twins(run: Run, line: Row) -> list[float | None]:
    """How many of its test pictures have a twin in training, and its accuracy without them with its interval; empty where
    none is known to have one. That of its line where it stands there alone: an audit may know more than the record."""
    found = apart([run.without_twins], run.evaluation.overall.total, chosen=run.val is not None)
    found = line.without_twins if line.runs == (run.name,) else found
    return [None] * 4 if found is None else [found.leaked, found.accuracy, *(found.interval or (None, None))]


def _measure(run: Run, line: Row, name: str) -> float | None:
    """A run's own; of one that has none recorded, that of its line where it stands there alone."""
    others = line.measures if line.runs == (run.name,) else {}
    return run.evaluation.measures.get(name, others.get(name))
