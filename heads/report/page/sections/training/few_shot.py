"""Accuracy against the number of one's own training images, each head chosen and trained anew on fewer of them."""

from collections.abc import Mapping

from headstart.core.heads.curve.record import Curve
from headstart.core.heads.report import more_pictures
from headstart.core.heads.report.page.figures import curves as figures
from headstart.core.heads.report.page.html import Html, count, figure, grid, join, paragraph, section, table
from headstart.core.heads.report.page.view import Part, View
from headstart.core.heads.report.page.words import settings_words, title_of
from headstart.core.heads.study.results import CurvePoint

X = "training images (number)"


def _few_shot(view: View) -> Html:
    found = [(row, row.curve) for row in view.section.rows if row.curve]
    if not found:
        return Html("")
    by_settings: dict[str, dict[str, Curve]] = {}
    for row, curve in found:
        by_settings.setdefault(row.settings, {})[row.model] = curve
    drawn = [_figure(view, i, settings, models) for i, (settings, models) in enumerate(by_settings.items())]
    tables = join(
        join([paragraph(f"{title_of(row)}: {more_pictures.sentence(it)}"), _table(title_of(row), it)]) for row, it in found
    )
    lead = f"Here {more_pictures.RULE}."
    return section(view, "few-shot", "Few-shot curve", paragraph(lead), grid([it for it in drawn if it]), tables)


def _figure(view: View, place: int, settings: str, models: Mapping[str, Curve]) -> Html:
    """The curves of one kind of settings; nothing where each is a single point."""
    entries = {
        model: [CurvePoint(it.rows, it.accuracies) for it in curve.points]
        for model, curve in models.items()
        if len(curve.points) > 1
    }
    if not entries:
        return Html("")
    title = f"Few-shot curve, {settings_words(settings)}"
    art = figures.curve(view.key(f"few-shot-{place}"), title, X, entries, view.models())
    caption = (
        f"{title}: mean accuracy on images that were not trained on; the band reaches from the lowest draw to the highest."
    )
    return figure(Html(art), caption)


def _table(title: str, curve: Curve) -> Html:
    head = ["training images", "mean accuracy", "standard error, points", "lowest draw", "highest draw", "draws"]
    body = [[it.images, it.accuracy, it.error, it.lowest, it.highest, it.draws] for it in more_pictures.lines(curve)]
    return table(f"{title}: accuracy on {count(curve.test_rows)} images that were not trained on", head, body)


PART = Part("few-shot", "Few-shot curve", _few_shot, study_place=92, own_place=75)
