"""Measures beside the accuracy, each class, the few-shot curve and what was tried, as Markdown tables of the report's own
numbers."""

import dataclasses
from collections.abc import Sequence

from headstart.core.heads.curve.record import Curve
from headstart.core.heads.report import more_pictures, tried
from headstart.core.heads.report.facts import HeadResults, Section
from headstart.core.heads.report.markdown.text import one_line, table
from headstart.core.heads.report.row import Row
from headstart.core.heads.report.units import percent, seconds
from headstart.core.heads.selection.record import Selection
from headstart.core.heads.statistics.measures import measure

MOST_TRIED = 10
"""Configurations that have a line each."""


def measures(section: Section) -> str:
    """A line for each head, a column for each measure; empty where no record has any."""
    found = {name: measure(name) for name in section.measures()}
    rows = [row for row in section.rows if row.measures]
    head = ("head", *(f"{it.title} {'↑' if it.higher_is_better else '↓'}" for it in found.values()))
    body = [
        (_title(row), *(it.text(row.measures[name]) if name in row.measures else "not known" for name, it in found.items()))
        for row in rows
    ]
    return f"## Other measures\n\nAn arrow shows the better direction.\n\n{table(head, body)}" if rows else ""


def by_class(section: Section, shown: Sequence[str], note: str) -> str:
    """Precision, recall and F1 of these classes; `note` says which they are where they are not all."""
    head = ("class", *(f"{one.model} ({one.settings})" for one in section.heads))
    body = [(name, *(_class(one, name) for one in section.heads)) for name in shown]
    lead = " ".join(filter(None, ["Precision / recall / F1 on the test images; - where it is not defined.", note]))
    return f"## Classes\n\n{lead}\n\n{table(head, body)}" if section.heads and shown else ""


def _class(head: HeadResults, name: str) -> str:
    values = (of.get(name) for of in (head.precision, head.recall, head.f1))
    return " / ".join("-" if value is None else f"{100 * value:.1f}" for value in values) + " %"


def what_was_tried(section: Section) -> str:
    """A table for each head that was chosen among others."""
    found = [(row, row.selection) for row in section.rows if row.selection]
    tables = [_tried(row, it) for row, it in found]
    return "## What was tried\n\n" + "\n\n".join(tables) if tables else ""


def _tried(row: Row, found: Selection) -> str:
    shown = tried.lines(found, MOST_TRIED)
    body = [
        ("chosen" if it.chosen else "", it.head, it.settings or "the recipe's", it.log_loss, percent(it.accuracy))
        for it in shown
    ]
    more = len(found.tried) - len(shown)
    rest = f" {more} more are in report.json." if more else ""
    took = f"{len(found.tried)} tried on {tried.on_rows(found)}, in {seconds(found.elapsed_s)}"
    lead = f"{_title(row)}: {took}; chosen is {tried.rule(found)}.{rest}"
    return f"{lead}\n\n{table(('', 'head', 'settings', 'log loss', 'accuracy'), body)}"


def few_shot(section: Section) -> str:
    """A table for each head whose few-shot curve was measured, and what it says of more pictures."""
    tables = [_curve(row, row.curve) for row in section.rows if row.curve]
    return (
        f"## Few-shot curve\n\nAccuracy against training images: {more_pictures.RULE}.\n\n" + "\n\n".join(tables)
        if tables
        else ""
    )


def _curve(row: Row, found: Curve) -> str:
    head = ("training images", "mean accuracy", "standard error, points", "lowest draw", "highest draw", "draws")
    body = [dataclasses.astuple(it) for it in more_pictures.lines(found)]
    lead = f"{_title(row)}, tested on {found.test_rows:,} images that were not trained on."
    return f"{lead} {more_pictures.sentence(found)}\n\n{table(head, body)}"


def _title(row: Row) -> str:
    return one_line(f"{row.model} ({row.settings})")
