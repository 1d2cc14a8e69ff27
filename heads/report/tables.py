"""The runs as one comparison beside the published study: the tables as data, then as Markdown, CSV and JSON."""

import csv
import dataclasses
import io
import re
import shlex
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from headstart.core.heads.predict import Photo
from headstart.core.heads.report.grouping import Group
from headstart.core.heads.report.published import HARDWARE, TABLE_1, TABLE_2, TEST_ROWS, TRAIN_ROWS
from headstart.core.heads.runs import Run
from headstart.core.heads.settings import is_published
from headstart.core.heads.statistics.accuracy import Score
from headstart.core.heads.timings import Timing


@dataclasses.dataclass(frozen=True)
class Inference:
    """What `bench-inference` measured of a run: `images` labelled in `elapsed_s` seconds."""

    images: int
    elapsed_s: float


@dataclasses.dataclass(frozen=True)
class Row:
    """A line of Table 1: heads that differ in their seed alone. Times in seconds, accuracies as fractions of 1; None where
    it was not measured.

    `run` is the one that stands for them, `accuracy` the mean over `seeds` and `deviation` the standard deviation (None for
    one seed). `interval` is at 95 %, over test images, or over seeds and images where there are several (`interval_over`).
    `extraction_s` is the share of the training rows used, `training_s` the time of the `together` heads trained at once.
    `test_used` names the images that it was tested on, empty where that was not recorded. `published` says whether the
    published figures may stand beside it, `notes` what must stand beside the figures, `folder` where
    the run is.
    """

    run: str
    runs: tuple[str, ...]
    seeds: tuple[int, ...]
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
    accuracies: tuple[float, ...]
    accuracy: float
    deviation: float | None
    interval: tuple[float, float]
    interval_over: str
    losses: tuple[float, ...]
    published: bool
    notes: tuple[str, ...]
    folder: str = ""
    test_used: str = ""


@dataclasses.dataclass(frozen=True)
class Part:
    """What the report says of one set of test images: a line for each kind of head, and outside photographs."""

    title: str
    rows: tuple[Row, ...]
    photos: tuple[Photo, ...] = ()

    @property
    def published(self) -> bool:
        """Whether the published study's figures stand beside it: only CIFAR-10 under the study's own recipe."""
        return any(row.published for row in self.rows)


@dataclasses.dataclass(frozen=True)
class Report:
    """Everything that the report says; each rendering below says the same."""

    parts: tuple[Part, ...]

    @property
    def title(self) -> str:
        """The heading, with what makes the figures of every part less than they seem; other notes stand at the rows."""
        notes = [dict.fromkeys(note for row in part.rows for note in row.notes) for part in self.parts]
        doubts = [note for note in (notes[0] if notes else ()) if all(note in other for other in notes)]
        return "Frozen backbones compared" + (f" ({'; '.join(doubts)})" if doubts else "")


def row(group: Group, timing: Timing | None, interval: tuple[float, float] | None = None) -> Row:
    """A group's line of Table 1. `interval` is that over seeds and images where the group's heads could be tested again;
    without it several seeds have the interval over images of a head that is right as often as they are on average."""
    run = group.first
    extraction = run.train
    used = run.train_rows + run.val_rows
    share = None if extraction.elapsed_s is None else extraction.elapsed_s * min(1.0, used / extraction.rows)
    total = run.evaluation.overall.total
    accuracies = tuple(one.evaluation.overall.accuracy for one in group.runs)
    mean = statistics.fmean(accuracies)
    several = len(accuracies) > 1
    return Row(
        run=run.name,
        runs=tuple(one.name for one in group.runs),
        seeds=tuple(one.config.seed for one in group.runs),
        model=group.model,
        recipe=group.settings,
        head=run.config.head,
        dataset=run.key.dataset,
        weights=f"{run.key.weights} {run.key.weights_sha256[:8]}",
        device=run.device,
        train_rows=used,
        test_rows=total,
        extraction_s=share,
        training_s=run.elapsed_s,
        together=run.together,
        inference=Inference(timing.images, timing.elapsed_s) if timing else None,
        accuracies=accuracies,
        accuracy=mean,
        deviation=statistics.stdev(accuracies) if several else None,
        interval=interval or Score(round(mean * total), total).interval,
        interval_over="seeds and images" if several and interval else "images",
        losses=run.losses,
        published=is_published(run.config, run.key),
        notes=tuple(dict.fromkeys(note for one in group.runs for note in one.notes)),
        test_used=run.test.used,
    )


def to_json(report: Report) -> dict[str, Any]:
    """The report as JSON values, the published figures beside ours where they may stand."""
    parts = [
        {**dataclasses.asdict(part), "published": published_figures() if part.published else None} for part in report.parts
    ]
    return {"title": report.title, "sections": parts}


def published_figures() -> dict[str, Any]:
    """The published tables as JSON values."""
    return {
        "hardware": HARDWARE,
        "train_rows": TRAIN_ROWS,
        "test_rows": TEST_ROWS,
        "table_1": {model: dataclasses.asdict(figures) for model, figures in TABLE_1.items()},
        "table_2": {name: dict(zip(TABLE_1, labels, strict=True)) for name, labels in TABLE_2.items()},
    }


_NOT_IN_CSV = ("folder",
    "runs", "seeds", "accuracies", "deviation", "interval_over", "inference", "interval", "losses", "notes", "test_used",
)  # fmt: skip


def to_csv(report: Report, runs: Sequence[Run]) -> str:
    """A line for each run, with what its line of Table 1 says; losses as one field with spaces between."""
    text = io.StringIO()
    names = [field.name for field in dataclasses.fields(Row) if field.name not in _NOT_IN_CSV]
    extra = ["seed", "inference_images", "inference_s", "accuracy_low", "accuracy_high", "losses", "notes"]
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names + extra)
    lines = {name: line for part in report.parts for line in part.rows for name in line.runs}
    for run in runs:
        if (line := lines.get(run.name)) is None:  # a newer run of the same seed stands in its place
            continue
        score = run.evaluation.overall
        own = dataclasses.replace(line, run=run.name, accuracy=score.accuracy, training_s=run.elapsed_s)
        inference = (own.inference.images, own.inference.elapsed_s) if own.inference else ("", "")
        losses = " ".join(f"{loss:.6g}" for loss in run.losses)
        writer.writerow(
            [getattr(own, name) for name in names]
            + [run.config.seed, *inference, *score.interval, losses, "; ".join(run.notes)]
        )
    return text.getvalue()


def to_markdown(report: Report, answers: Mapping[str, str] | None = None) -> str:
    """The report for a repository or a terminal; `answers` is more Markdown for the parts by title, headed by `##`.

    Several parts have a heading each, and those within stand a level lower."""
    several = len(report.parts) > 1
    text = [f"# {one_line(report.title)}"]
    for part in report.parts:
        below = _part(part) + "\n" + (answers or {}).get(part.title, "")
        text += [f"## {one_line(part.title)}", _HEADING.sub("###", below)] if several else [below]
    return "\n\n".join(block.strip("\n") for block in text) + "\n"


_HEADING = re.compile("^##(?= )", re.MULTILINE)


def one_line(text: str) -> str:
    """A name or sentence from outside that must not begin a line of its own."""
    return " ".join(text.split())


def _part(part: Part) -> str:
    blocks = [_best(part.rows), _table_1(part.rows, part.published), *([_published_table()] if part.published else [])]
    if any(line.losses for line in part.rows):
        blocks.append("## Mean training loss of each epoch\n\n" + _losses(part.rows))
    if part.photos:
        blocks.append(f"## {'Table 2: o' if part.published else 'O'}utside photographs\n\n" + _photos(part))
    return "\n\n".join(block for block in blocks if block) + "\n"


def _best(rows: Sequence[Row]) -> str:
    """The best head of those on the same test images, and how to use it."""
    groups: dict[tuple[str, int], list[Row]] = {}
    for line in rows:
        groups.setdefault((line.test_used, line.test_rows), []).append(line)
    alike = max(groups.values(), key=len, default=[])
    if not alike:
        return ""
    best = max(alike, key=lambda line: line.accuracy)
    of = f", the highest of {len(alike)} heads on these {best.test_rows:,} images" if len(alike) > 1 else ""
    use = f"`headstart predict --head {shlex.quote(best.folder or f'runs/{best.run}')} PICTURES...`"
    return f"Best: {title(best)} with {_accuracy(best)}{of}. Use it: {use}"


def title(line: Row) -> str:
    """A head in few words."""
    return one_line(f"{line.model} ({line.recipe})")


def _table_1(rows: Sequence[Row], published: bool) -> str:
    head = ("head", "accuracy (95 % interval)", "extraction", "head training", "inference", "images", "notes")
    notes = list(dict.fromkeys(note for line in rows for note in line.notes))
    body = [
        (
            title(line),
            _accuracy(line),
            "not known" if line.extraction_s is None else seconds(line.extraction_s),
            seconds(line.training_s) + (f" for {line.together} heads" if line.together > 1 else ""),
            _inference(line.inference),
            f"{line.train_rows:,} / {line.test_rows:,}",
            ", ".join(f"[{notes.index(note) + 1}]" for note in line.notes) or "none",
        )
        for line in rows
    ]
    below = "".join(f"\n{number}. {one_line(note)}" for number, note in enumerate(notes, 1))
    devices = one_line("; ".join(dict.fromkeys(line.device for line in rows)))
    sets = one_line(", ".join(dict.fromkeys(line.dataset for line in rows)))
    heading = f"Table 1: this tool, on {devices}" if published else f"All heads, on {devices}"
    lead = f"Images: trained on / tested on, of {sets}."
    return f"## {heading}\n\n{lead}\n\n" + table(head, body) + ("\n" + below if notes else "")


def _accuracy(line: Row) -> str:
    found = f"{percent(line.accuracy)} ({percent(line.interval[0])} to {percent(line.interval[1])})"
    return f"{found}, mean of {len(line.seeds)} seeds" if len(line.seeds) > 1 else found


def _inference(found: Inference | None) -> str:
    return "not timed" if found is None else f"{seconds(found.elapsed_s)} for {found.images:,}"


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
    head = ("head", *(f"epoch {epoch}" for epoch in shown))
    body = [
        (title(line), *(f"{line.losses[i - 1]:.4f}" if i <= len(line.losses) else "" for i in shown))
        for line in rows
        if line.losses
    ]
    return table(head, body)


def _photos(part: Part) -> str:
    shown = {line.run: title(line) for line in part.rows}
    runs = [run for run in shown if any(run in photo.labels for photo in part.photos)] or list(shown)
    body = [(photo.name, *(_label(photo, run) for run in runs)) for photo in part.photos]
    most = "With the study recipe's sigmoid no probability can exceed e / (e + C - 1) for C classes, 23 % for ten."
    note = f"\n\n{most}" if any(squashed(line.recipe) for line in part.rows) else ""
    return table(("photograph", *(shown[run] for run in runs)), body) + note


def squashed(settings: str) -> bool:
    """Whether a head with these settings, as `heads.settings` words them, has the study's sigmoid before its loss."""
    recipe, *rest = settings.split(", ")
    if any(said.endswith("sigmoid off") for said in rest) or {"knn", "ridge"} & set(rest):
        return False
    return recipe == "study" or any(said.endswith("sigmoid on") for said in rest)


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
