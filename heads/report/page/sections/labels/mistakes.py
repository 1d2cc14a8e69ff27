"""The most confident mistakes, a contact sheet for each head; the best head's is open."""

from headstart.core.heads.report.facts import HeadResults, Mistake, named
from headstart.core.heads.report.page.html import Html, count, esc, img, join, name, paragraph, section
from headstart.core.heads.report.page.view import Part, View
from headstart.core.heads.report.page.words import settings_words

MOST_SHEETS = 12
"""Heads whose mistakes are shown."""


def _mistakes(view: View) -> Html:
    best = view.best()
    shown = (best.model, best.settings) if best else None
    sheets = []
    for head in view.heads():
        if head.mistakes:
            title = f"{name(head.model)}, {esc(settings_words(head.settings))} ({count(len(head.mistakes))} images)"
            opened = " open" if (head.model, head.settings) == shown else ""
            cells = contact_sheet(view, head, len(head.mistakes))
            sheets.append(Html(f"<details{opened}><summary>{title}</summary>{cells}</details>"))
    if not sheets:
        return Html("")
    lead = "Wrong labels with the highest probabilities. Some are hard for people too, some labels are doubtful."
    rest = f"{count(len(sheets) - MOST_SHEETS)} more heads have theirs in report.json." if len(sheets) > MOST_SHEETS else ""
    content = [paragraph(lead), *sheets[:MOST_SHEETS], paragraph(rest)]
    return section(view, "mistakes", "The most confident mistakes", *content)


def contact_sheet(view: View, head: HeadResults, most: int) -> Html:
    """So many of a head's mistakes: the images, their true labels and those that they got."""
    place = f"{view.place}.models.{head.model}.{head.settings}.mistakes"
    cells = join(_mistake(it, f"{place}[{i}].image") for i, it in enumerate(head.mistakes[:most]))
    return Html(f'<ul class="sheet">{cells}</ul>')


def _mistake(it: Mistake, place: str) -> Html:
    sure = f"{it.probability:.1%}"
    which = named(it.row, it.id)
    art = img(it.image, f"{which}: {it.label}, labelled {it.predicted} with {sure}", place) if it.image else ""
    said = f"{name(it.label)}, labelled <strong>{name(it.predicted)}</strong> {sure}"
    return Html(f'<li title="{esc(which)}">{art}<p>{said}<small>{name(which)}</small></p></li>')


PART = Part("mistakes", "Mistakes", _mistakes, study_place=140, own_place=50)
