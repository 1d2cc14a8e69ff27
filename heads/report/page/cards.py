"""The accuracies at a glance: a card for each model, in it a figure for each kind of head."""

from headstart.core.heads.report.page.html import Html, count, esc, name, share
from headstart.core.heads.report.page.view import View
from headstart.core.heads.report.page.words import interval_of, marks, seeds_of, settings_words, spread_of
from headstart.core.heads.report.row import Row

MOST_CARDS = 12
"""Models whose accuracies are shown at a glance; those of more stand in the table."""


def cards(view: View) -> Html:
    """The cards; empty without heads."""
    notes, models, study = view.notes(), view.models(), view.section.published
    found = []
    for model in models[:MOST_CARDS]:
        rows = [row for row in view.section.rows if row.model == model]
        entries = [_entry(row, marks(view, row, notes)) for row in rows]
        theirs = next(filter(None, map(view.published_of, rows)), None)
        if theirs and study:
            figure = f'<dd class="theirs">{share(theirs.accuracy)}</dd>'
            entries.append(f"<div><dt>published, {esc(study.hardware)}</dt>{figure}</div>")
        if entries:
            tag = f"h{view.level + 1}"
            found.append(f'<div class="card"><{tag}>{name(model)}</{tag}><dl>{"".join(entries)}</dl></div>')
    rest = f"<p>{count(len(models) - MOST_CARDS)} more models stand in the table.</p>" if len(models) > MOST_CARDS else ""
    return Html(f'<div class="cards">{"".join(found)}</div>{rest}') if found else Html("")


def _entry(row: Row, links: Html) -> str:
    title = ", ".join(filter(None, (settings_words(row.settings), seeds_of(row))))
    small = "".join(f"<small>{esc(text)}</small>" for text in (interval_of(row), spread_of(row)) if text)
    return f"<div><dt>{esc(title)}</dt><dd><strong>{share(row.accuracy)}</strong>{links}{small}</dd></div>"
