"""The runs as one comparison beside the published study: the tables as data, then as Markdown, CSV and JSON."""

import csv
import dataclasses
import io
from collections.abc import Mapping, Sequence
from typing import Any

from heads.predict import Photo
from heads.published import HARDWARE, TABLE_1, TABLE_2, TEST_ROWS, TRAIN_ROWS
from heads.runs import Run


@dataclasses.dataclass(frozen=True)
class Inference:
    """What `bench-inference` measured of a run: `images` labelled in `elapsed_s` seconds."""

    images: int
    elapsed_s: float


@dataclasses.dataclass(frozen=True)
class Row:
    """A line of Table 1. Times in seconds, accuracies as fractions of 1; None where it was not measured.

    `extraction_s` is the share of the training rows used, `training_s` the time of the `together` heads trained at once,
    `notes` what must stand beside the figures.
    """

    run: str
    model: str
    recipe: str
    head: str
    dataset: str
    weights: str
    device: str
    train_rows: int
    test_rows: int
    extraction_s: float | None
    training_s: float
    together: int
    inference: Inference | None
    accuracy: float
    interval: tuple[float, float]
    losses: tuple[float, ...]
    notes: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Report:
    """Everything that the report says; each rendering below says the same."""

    rows: tuple[Row, ...]
    photos: tuple[Photo, ...] = ()

    @property
    def title(self) -> str:
        """The heading, with what makes the figures less than they seem."""
        doubts = dict.fromkeys(note for row in self.rows for note in row.notes)
        return "Frozen backbones compared" + (f" ({'; '.join(doubts)})" if doubts else "")


def row(run: Run, bench: Mapping[str, Any] | None) -> Row:
    """A run's line of Table 1."""
    extraction = run.train
    used = run.train_rows + run.val_rows
    share = None if extraction.elapsed_s is None else extraction.elapsed_s * min(1.0, used / extraction.rows)
    return Row(
        run=run.name,
        model=run.model,
        recipe=run.config.recipe,
        head=run.config.head,
        dataset=run.key.dataset,
        weights=f"{run.key.weights} {run.key.weights_sha256[:8]}",
        device=run.device,
        train_rows=used,
        test_rows=run.evaluation.overall.total,
        extraction_s=share,
        training_s=run.elapsed_s,
        together=run.together,
        inference=Inference(int(bench["images"]), float(bench["elapsed_s"])) if bench else None,
        accuracy=run.evaluation.overall.accuracy,
        interval=run.evaluation.overall.interval,
        losses=run.losses,
        notes=run.notes,
    )


def to_json(report: Report) -> dict[str, Any]:
    """The report as JSON values, the published figures beside ours."""
    published = {
        "hardware": HARDWARE,
        "train_rows": TRAIN_ROWS,
        "test_rows": TEST_ROWS,
        "table_1": {model: dataclasses.asdict(figures) for model, figures in TABLE_1.items()},
        "table_2": {name: dict(zip(TABLE_1, labels, strict=True)) for name, labels in TABLE_2.items()},
    }
    return {"title": report.title, **dataclasses.asdict(report), "published": published}


def to_csv(report: Report) -> str:
    """Table 1, a line for each run; losses as one field with spaces between."""
    text = io.StringIO()
    names = [
        field.name for field in dataclasses.fields(Row) if field.name not in ("inference", "interval", "losses", "notes")
    ]
    extra = ["inference_images", "inference_s", "accuracy_low", "accuracy_high", "losses", "notes"]
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names + extra)
    for line in report.rows:
        inference = (line.inference.images, line.inference.elapsed_s) if line.inference else ("", "")
        losses = " ".join(f"{loss:.6g}" for loss in line.losses)
        writer.writerow(
            [getattr(line, name) for name in names] + [*inference, *line.interval, losses, "; ".join(line.notes)]
        )
    return text.getvalue()


def to_markdown(report: Report) -> str:
    """The report for a repository or a terminal."""
    parts = [f"# {report.title}", _table_1(report.rows), _published_table()]
    if any(line.losses for line in report.rows):
        parts.append("## Mean training loss of each epoch\n\n" + _losses(report.rows))
    if report.photos:
        parts.append("## Table 2: outside photographs\n\n" + _photos(report))
    return "\n\n".join(parts) + "\n"


def _table_1(rows: Sequence[Row]) -> str:
    head = (
        "model",
        "recipe",
        "extraction",
        "head training",
        "inference",
        "accuracy (95 % interval)",
        "trained on",
        "notes",
    )
    notes = list(dict.fromkeys(note for line in rows for note in line.notes))
    body = [
        (
            line.model,
            line.recipe if line.head == "mlp" else f"{line.recipe}, {line.head}",
            "not known" if line.extraction_s is None else seconds(line.extraction_s),
            seconds(line.training_s) + (f" for {line.together} heads at once" if line.together > 1 else ""),
            _inference(line.inference),
            f"{percent(line.accuracy)} ({percent(line.interval[0])} to {percent(line.interval[1])})",
            f"{line.train_rows:,} of {line.dataset}, tested on {line.test_rows:,}",
            ", ".join(f"[{notes.index(note) + 1}]" for note in line.notes) or "none",
        )
        for line in rows
    ]
    below = "".join(f"\n{number}. {note}" for number, note in enumerate(notes, 1))
    devices = "; ".join(dict.fromkeys(line.device for line in rows))
    return f"## Table 1: this tool, on {devices}\n\n" + table(head, body) + ("\n" + below if notes else "")


def _inference(found: Inference | None) -> str:
    return "not timed" if found is None else f"{seconds(found.elapsed_s)} for {found.images:,} images"


def _published_table() -> str:
    head = ("model", "training (backbone in each of 5 epochs)", "inference (10,000 images)", "accuracy")
    body = [
        (model, seconds(found.training_s), seconds(found.inference_s), percent(found.accuracy))
        for model, found in TABLE_1.items()
    ]
    return (
        f"## The published study, on {HARDWARE}\n\nOther hardware and other weights than above: "
        f"compare the columns with each other, not the times across the tables.\n\n" + table(head, body)
    )


def _losses(rows: Sequence[Row]) -> str:
    most = max(len(line.losses) for line in rows)
    shown = sorted({*range(1, min(most, 5) + 1), *range(10, most, 10), most})
    head = ("run", *(f"epoch {epoch}" for epoch in shown))
    body = [
        (f"{line.model} {line.recipe}", *(f"{line.losses[i - 1]:.4f}" if i <= len(line.losses) else "" for i in shown))
        for line in rows
        if line.losses
    ]
    return table(head, body)


def _photos(report: Report) -> str:
    shown = {line.run: f"{line.model} {line.recipe}" for line in report.rows}
    runs = [run for run in shown if any(run in photo.labels for photo in report.photos)] or list(shown)
    body = [(photo.name, *(_label(photo, run) for run in runs)) for photo in report.photos]
    note = "With the study recipe's sigmoid no probability can exceed e / (e + C - 1), 23 % for ten classes."
    return table(("photograph", *(shown[run] for run in runs)), body) + "\n\n" + note


def _label(photo: Photo, run: str) -> str:
    if run not in photo.labels:
        return photo.error or "not labelled"
    name, probability = photo.labels[run][0]
    return f"{name} {probability:.0%}"


def table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """A Markdown table; a bar within a cell is escaped, a line break becomes a space."""
    cells = [
        [str(cell).replace("|", "\\|").replace("\r", " ").replace("\n", " ") for cell in line] for line in (head, *body)
    ]
    widths = [max(len(line[i]) for line in cells) for i in range(len(head))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in cells
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])


def seconds(value: float) -> str:
    """Seconds as people say them: 0.42 s, 12.3 s, 12m 47s."""
    if value < 10:
        return f"{value:.2f} s"
    if value < 60:
        return f"{value:.1f} s"
    return f"{round(value) // 60}m {round(value) % 60:02d}s"


def percent(share: float) -> str:
    """A fraction of 1 as a percentage with two decimals, the study's precision."""
    return f"{100 * share:.2f} %"
