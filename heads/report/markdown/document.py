"""The whole report as Markdown, for a repository or a terminal."""

import re
import shlex
from collections.abc import Sequence

from headstart.core.heads.report.facts import Photograph, Report, Section
from headstart.core.heads.report.markdown.analyses import analyses
from headstart.core.heads.report.markdown.audited import audit
from headstart.core.heads.report.markdown.measures import measures
from headstart.core.heads.report.markdown.pictures import pictures
from headstart.core.heads.report.markdown.text import one_line, table
from headstart.core.heads.report.published import PublishedStudy
from headstart.core.heads.report.row import Inference, Row, best_of, comparable, tie
from headstart.core.heads.report.units import percent, seconds


def to_markdown(report: Report) -> str:
    """The report as Markdown. Several sections have a heading each, and those within stand a level lower."""
    several = len(report.sections) > 1
    text = [f"# {report.title}", *([f"Of all figures: {one_line('; '.join(report.doubts))}."] if report.doubts else [])]
    for section in report.sections:
        below = _section(section) + "\n" + analyses(section)
        text += [f"## {one_line(section.title)}", _HEADING.sub("###", below)] if several else [below]
    return "\n\n".join(block.strip("\n") for block in text) + "\n"


_HEADING = re.compile("^##(?= )", re.MULTILINE)


def _section(section: Section) -> str:
    published = section.published
    first = one_line(section.instead) if section.replaced else _best(section.rows)
    blocks = [first, _table_1(section.rows, published is not None)]
    blocks += [_published_table(published)] if published else []
    blocks += [measures(section), pictures(section, best_of(section.rows)), audit(section)]
    if any(line.losses for line in section.rows):
        blocks.append("## Mean training loss of each epoch\n\n" + _losses(section.rows))
    if section.photos:
        heading = f"## {'Table 2: o' if published else 'O'}utside photographs\n\n"
        blocks.append(heading + _photos(section.photos, section.rows))
    return "\n\n".join(block for block in blocks if block) + "\n"


def _best(rows: Sequence[Row]) -> str:
    """The best head of those on the same test images, and how to use it."""
    alike, best = comparable(rows), best_of(rows)
    if best is None:
        return ""
    of = f", the highest of {len(alike)} heads on these {best.test_rows:,} images" if len(alike) > 1 else ""
    of += f" ({tied})" if (tied := tie(best, rows)) else ""
    of += f"; {best.without_twins.sentence(percent)}" if best.without_twins else ""
    use = f"`headstart predict --head {shlex.quote(best.folder or f'runs/{best.run}')} PICTURES...`"
    return f"Best: {title(best)} with {_accuracy(best)}{of}. Use it: {use}"


def title(line: Row) -> str:
    """A head in few words."""
    return one_line(f"{line.model} ({line.settings})")


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


def _published_table(study: PublishedStudy) -> str:
    head = ("model", "training (backbone in each of 5 epochs)", "inference (10,000 images)", "accuracy")
    body = [
        (model, seconds(found.training_s), seconds(found.inference_s), percent(found.accuracy))
        for model, found in study.table_1.items()
    ]
    return (
        f"## The published study, on {study.hardware}\n\nOther hardware and other weights than above: "
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


def _photos(photos: Sequence[Photograph], rows: Sequence[Row]) -> str:
    shown = {line.run: title(line) for line in rows}
    runs = [run for run in shown if any(run in found.photo.labels for found in photos)] or list(shown)
    body = [(found.photo.name, *(_label(found, run) for run in runs)) for found in photos]
    most = "With the study recipe's sigmoid no probability can exceed e / (e + C - 1) for C classes, 23 % for ten."
    note = f"\n\n{most}" if any(line.sigmoid for line in rows) else ""
    return table(("photograph", *(shown[run] for run in runs)), body) + note


def _label(found: Photograph, run: str) -> str:
    if run not in found.photo.labels:
        return found.photo.error or "not labelled"
    name, probability = found.photo.labels[run][0]
    return f"{name} {probability:.0%}"
