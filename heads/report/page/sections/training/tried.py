"""What was tried before a head was trained, where its kind or its settings were chosen on training rows."""

from headstart.core.heads.report import tried
from headstart.core.heads.report.page.html import Html, below, count, esc, paragraph, section, share, table, time
from headstart.core.heads.report.page.view import Part, View
from headstart.core.heads.report.page.words import settings_words
from headstart.core.heads.report.row import Row
from headstart.core.heads.selection.record import Selection

MOST_TRIED = 30
"""Configurations shown for a head."""
MOST_TABLES = 12
"""Heads that have a table."""


def _tried(view: View) -> Html:
    found = [(row, row.selection) for row in view.section.rows if row.selection]
    if not found:
        return Html("")
    on = "training images alone" if not any(it.validation for _, it in found) else "training or validation images"
    rules = {tried.rule(it) for _, it in found}
    rule = rules.pop() if len(rules) == 1 else tried.RULE
    lead = f"Chosen was {rule}, on {on}: test images had no part in it."
    more = f"{count(len(found) - MOST_TABLES)} more heads have theirs in report.json." if len(found) > MOST_TABLES else ""
    tables = [below(view, _title(row), *_table(row, it)) for row, it in found[:MOST_TABLES]]
    return section(view, "tried", "What was tried", paragraph(lead), *tables, paragraph(more))


def _title(row: Row) -> str:
    return f"{row.model}, {settings_words(row.settings)}"


def _table(row: Row, it: Selection) -> list[Html]:
    shown = tried.lines(it, MOST_TRIED)
    body = [[_head(line), line.settings or "the recipe's", line.log_loss, share(line.accuracy)] for line in shown]
    caption = f"{_title(row)}: tried on {tried.on_rows(it)}, in {time(it.elapsed_s)}"
    rest = f"{count(len(it.tried) - len(shown))} more are in report.json." if len(it.tried) > len(shown) else ""
    return [table(caption, ["head", "settings", "log loss ± standard error", "accuracy"], body), paragraph(rest)]


def _head(line: tried.Line) -> Html:
    return Html(f"<strong>{esc(line.head)}</strong> ✓ chosen") if line.chosen else esc(line.head)


PART = Part("tried", "What was tried", _tried, study_place=95, own_place=85)
