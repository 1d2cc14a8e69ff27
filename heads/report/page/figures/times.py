"""Figures of time: accuracy against the time to a trained head, and where the time of an image goes."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from headstart.core.heads.report.page.figures import svg
from headstart.core.heads.report.page.figures.marks import handle, said, style
from headstart.core.heads.report.page.html import known, share, time
from headstart.core.heads.report.page.words import settings_words
from headstart.core.heads.report.published import Published, PublishedStudy
from headstart.core.heads.report.row import Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STAGES = ("read", "transfer", "preprocess", "backbone", "head")


def time_accuracy(key: str, rows: Sequence[Row], published: PublishedStudy | None, order: Sequence[str]) -> str:
    """Accuracy against the time to a trained head; published points apart, as of other hardware. Empty without points."""
    ours = [row for row in rows if row.trained_in_s and known(row.accuracy)]
    theirs = published.table_1 if published else {}
    if not ours:
        return ""
    place = f"published, {published.hardware}" if published else ""
    words = said(
        ["Accuracy against time to a trained head, logarithmic"]
        + [f"{row.model} {row.settings}: {share(row.accuracy)} after {time(row.trained_in_s)}" for row in ours]
        + [f"{place}: {model} {share(it.accuracy)} after {time(it.training_s)}" for model, it in theirs.items()]
    )
    models = [svg.label(model) for model in dict.fromkeys([*(row.model for row in ours), *theirs])]
    recipes = [svg.label(settings_words(recipe), 44) for recipe in dict.fromkeys(row.settings for row in ours)]
    texts = [*models, *recipes, *([svg.label(place, 44)] if theirs else [])]
    return svg.draw(key, words, 210, texts, partial(_paint_time, ours, theirs, texts, order))


def _paint_time(
    ours: Sequence[Row], theirs: Mapping[str, Published], texts: Sequence[str], order: Sequence[str], figure: "Figure"
) -> None:
    axes = svg.panel(
        figure, "Accuracy against time", "time to a trained head: extraction + training (s)", "test accuracy (%)", texts
    )
    recipes = list(dict.fromkeys(row.settings for row in ours))
    for row in ours:
        colour, _ = style(order, row.model)
        at = row.trained_in_s or 0
        axes.plot([at] * 2, [100 * end for end in row.interval], color=colour, linewidth=1.2)
        axes.plot(at, 100 * row.accuracy, svg.MARKERS[recipes.index(row.settings) % 3], color=colour, markersize=7)
    for model, it in theirs.items():
        look: dict[str, Any] = {"color": style(order, model)[0], "markerfacecolor": "none", "markersize": 7}
        axes.plot(it.training_s, 100 * it.accuracy, "D", **look)
    times = [row.trained_in_s or 0 for row in ours] + [it.training_s for it in theirs.values()]
    svg.log_x(axes, min(times), max(times))
    models = list(dict.fromkeys([*(row.model for row in ours), *theirs]))
    handles = [handle("", style(order, model)[0], text, line=5) for model, text in zip(models, texts, strict=False)]
    marks = [*(svg.MARKERS[i % 3] for i in range(len(recipes))), "D"]
    hollow = [False] * len(recipes) + [True]
    rest = zip(marks, hollow, texts[len(models) :], strict=False)
    svg.legend(figure, [*handles, *(handle(mark, svg.INK, text, hollow=empty) for mark, empty, text in rest)])


def stage_bars(key: str, stages: Mapping[str, Mapping[str, float]]) -> str:
    """Where the time of an image goes: a bar for each model, milliseconds. Empty without stages."""
    found = {model: {name: 1000 * it.get(name, 0) for name in STAGES} for model, it in stages.items() if it}
    if not found:
        return ""
    words = said(
        ["Milliseconds per image by stage"]
        + [f"{model}: " + ", ".join(f"{name} {value:.3g}" for name, value in it.items()) for model, it in found.items()]
    )
    return svg.draw(key, words, 10 + 28 * len(found), STAGES, partial(_paint_stages, found))


def _paint_stages(found: Mapping[str, Mapping[str, float]], figure: "Figure") -> None:
    axes = svg.panel(figure, "Where the time of an image goes", "time per image (ms)", "", STAGES, left=76, right=54)
    names = [svg.label(model, 12) for model in found]
    ends = [0.0] * len(found)
    for stage, colour in zip(STAGES, svg.SERIES, strict=False):
        widths = [it[stage] for it in found.values()]
        axes.barh(range(len(found)), widths, left=ends, color=colour, height=0.62, label=stage)
        ends = [end + width for end, width in zip(ends, widths, strict=True)]
    for place, end in enumerate(ends):
        axes.annotate(f"{end:.3g} ms", (end, place), (5, 0), textcoords="offset points", va="center", fontsize=9)
    axes.set_yticks(range(len(found)), names)
    axes.invert_yaxis()
    axes.grid(False, axis="y")
    svg.legend(figure, axes.get_legend_handles_labels()[0])
