"""The report as CSV."""

import csv
import dataclasses
import io
from collections.abc import Sequence

from headstart.core.heads.report.facts import Report
from headstart.core.heads.report.row import Row
from headstart.core.heads.runs import Run
from headstart.core.heads.statistics.measures import NAMES

_NOT_IN_CSV = ("folder",
    "runs", "seeds", "accuracies", "deviation", "interval_over", "inference", "interval", "losses", "notes", "test_used",
    "sigmoid", "measures", "selection", "evaluated_by", "curve", "trained_by", "outdated",
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
        )
    return text.getvalue()


def _measure(run: Run, line: Row, name: str) -> float | None:
    """A run's own; of one that has none recorded, that of its line where it stands there alone."""
    others = line.measures if line.runs == (run.name,) else {}
    return run.evaluation.measures.get(name, others.get(name))
