"""The heads by every measure but accuracy, which has a table of its own."""

from headstart.core.heads.report.page.html import NOT_KNOWN, Html, paragraph, section, table
from headstart.core.heads.report.page.view import Part, View
from headstart.core.heads.report.page.words import named
from headstart.core.heads.report.row import Row
from headstart.core.heads.statistics.measures import measure
from headstart.core.heads.statistics.measures.base import Measure


def _measures(view: View) -> Html:
    rows = [row for row in view.section.rows if row.measures]
    shown = view.section.measures()
    if not shown:
        return Html("")
    head = ["head", *(_heading(measure(name)) for name in shown)]
    body = [[named(row.model, row.settings), *(_value(row, name) for name in shown)] for row in rows]
    lead = (
        "Balanced accuracy and macro F1 let every class count alike, however many images it has. Log loss and the Brier "
        "score judge the probabilities too, not the labels alone. Of several seeds these are means."
    )
    caption = "Measures on the test images; an arrow shows the better direction"
    return section(view, "measures", "By other measures", paragraph(lead), table(caption, head, body))


def _heading(found: Measure) -> Html:
    arrow, better = ("↑", "higher is better") if found.higher_is_better else ("↓", "lower is better")
    return Html(f'{found.title} <span role="img" aria-label="{better}">{arrow}</span>')


def _value(row: Row, name: str) -> str:
    return measure(name).text(row.measures[name]) if name in row.measures else NOT_KNOWN


PART = Part("measures", "Measures", _measures, study_place=55, own_place=35)
