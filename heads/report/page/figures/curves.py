"""Figures of curves: the loss of each epoch, and accuracy against epochs or training images."""

import statistics
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from headstart.core.heads.report.page.figures import svg
from headstart.core.heads.report.page.figures.marks import said, style
from headstart.core.heads.report.page.html import share
from headstart.core.heads.report.page.words import settings_words
from headstart.core.heads.report.row import Row
from headstart.core.heads.study.results import CurvePoint

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def losses(key: str, recipe: str, rows: Sequence[Row], order: Sequence[str]) -> str:
    """Mean training loss of each epoch, a line for each run of one recipe. Empty where none has any."""
    found = [row for row in rows if row.settings == recipe and row.losses]
    if not found:
        return ""
    words = said(
        [f"Mean training loss of each epoch, {settings_words(recipe)}"]
        + [f"{row.model}: {row.losses[0]:.4f} to {row.losses[-1]:.4f}" for row in found]
    )
    return svg.draw(key, words, 190, [svg.label(row.model) for row in found], partial(_paint_losses, recipe, found, order))


def _paint_losses(recipe: str, rows: Sequence[Row], order: Sequence[str], figure: "Figure") -> None:
    title = svg.label(f"Learning curves, {settings_words(recipe)}", 48)
    texts = [svg.label(row.model) for row in rows]
    axes = svg.panel(figure, title, "epoch (number)", "mean training loss (nats)", texts)
    seen: dict[str, int] = {}
    for row in rows:
        colour, marker = style(order, row.model)
        dash = svg.DASHES[seen.setdefault(row.model, 0) % len(svg.DASHES)]
        seen[row.model] += 1
        epochs = range(1, len(row.losses) + 1)
        axes.plot(epochs, row.losses, color=colour, marker=marker, markersize=4, linestyle=dash, label=svg.label(row.model))
    axes.locator_params(axis="x", integer=True)
    svg.legend(figure, axes.get_legend_handles_labels()[0])


def curve(key: str, title: str, x: str, entries: Mapping[str, Sequence[CurvePoint]], order: Sequence[str]) -> str:
    """Mean test accuracy against the place, with a band from the lowest seed to the highest. Empty without points."""
    found = {model: _points(it) for model, it in entries.items()}
    found = {model: it for model, it in found.items() if it}
    if not found:
        return ""
    words = said(
        [f"{title}: mean test accuracy against {x}, logarithmic"]
        + [
            f"{model}: {share(it[0][1])} at {it[0][0]:,} to {share(it[-1][1])} at {it[-1][0]:,}"
            for model, it in found.items()
        ]
    )
    return svg.draw(key, words, 200, list(map(svg.label, found)), partial(_paint_curve, title, x, found, order))


def _points(curve: Sequence[CurvePoint]) -> list[tuple[int, float, float, float]]:
    """(place, mean, lowest, highest) of the points, in order."""
    return sorted((it.at, statistics.fmean(it.accuracies), min(it.accuracies), max(it.accuracies)) for it in curve)


def _paint_curve(
    title: str,
    x: str,
    found: Mapping[str, Sequence[tuple[int, float, float, float]]],
    order: Sequence[str],
    figure: "Figure",
) -> None:
    axes = svg.panel(figure, svg.label(title, 48), x, "test accuracy (%)", list(map(svg.label, found)))
    for model, it in found.items():
        colour, marker = style(order, model)
        places = [point[0] for point in it]
        low, high = ([100 * point[i] for point in it] for i in (2, 3))
        axes.fill_between(places, low, high, color=colour, alpha=0.16, linewidth=0)
        marked = [i for i, place in enumerate(places) if len(it) <= 12 or str(place).rstrip("0") in ("1", "2", "5")]
        axes.plot(
            places, [100 * point[1] for point in it], color=colour, marker=marker, markersize=4.5, markevery=marked,
            label=svg.label(model),
        )  # fmt: skip
    every = [point[0] for it in found.values() for point in it]
    svg.log_x(axes, min(every), max(every))
    svg.legend(figure, axes.get_legend_handles_labels()[0])
