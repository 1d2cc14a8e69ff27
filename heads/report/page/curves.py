"""A curve on the page: figures side by side, one for each kind of settings, and below each its numbers."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

from headstart.core.heads.report.page.figures import curves as figures
from headstart.core.heads.report.page.html import MOST_COLUMNS, NOT_KNOWN, Html, figure, grid, mean_of, name, table
from headstart.core.heads.report.page.view import View
from headstart.core.heads.report.page.words import settings_words
from headstart.core.heads.study.results import Analyses, CurvePoint

SHOWN_PLACES = (1, 2, 5, 10, 20, 50, 100)
"""Places that a table shows where it has no room for all."""


@dataclasses.dataclass(frozen=True)
class Curve:
    """Accuracies against `x`: `key` begins the figures' identifiers, `points` are those of one head's analyses."""

    key: str
    heading: str
    x: str
    points: Callable[[Analyses], Sequence[CurvePoint]]


def curves(view: View, curve: Curve) -> list[Html]:
    """The figures, then a table for each; nothing where every head has one point at most."""
    found: dict[str, dict[str, Sequence[CurvePoint]]] = {}
    for head, analyses in view.analysed():
        if points := curve.points(analyses):
            found.setdefault(head.settings, {})[head.model] = points
    drawn, tables = [], []
    for i, (settings, models) in enumerate(found.items()):
        if len({point.at for points in models.values() for point in points}) < 2:  # one point is no curve
            continue
        title = f"{curve.heading}, {settings_words(settings)}"
        short = title.removeprefix("More training images, ")  # a figure is no wider than a phone
        short = short[:1].upper() + short[1:]
        art = figures.curve(view.key(f"{curve.key}-{i}"), short, curve.x, models, view.models())
        caption = f"{title}: mean test accuracy; the band reaches from the lowest seed to the highest."
        drawn.append(figure(Html(art), caption))
        tables.append(_numbers(f"{title}: mean test accuracy (lowest to highest seed)", models))
    return [grid(drawn), *tables] if drawn else []


def _numbers(caption: str, models: Mapping[str, Sequence[CurvePoint]]) -> Html:
    places = sorted({point.at for points in models.values() for point in points})
    if len(places) > MOST_COLUMNS:
        places = [place for place in places if place in SHOWN_PLACES or place == places[-1]]
    cells = {model: {point.at: mean_of(point.accuracies) for point in points} for model, points in models.items()}
    body = [[name(model), *(cells[model].get(place, NOT_KNOWN) for place in places)] for model in models]
    return table(caption, ["model", *(f"{place:,}" for place in places)], body)
