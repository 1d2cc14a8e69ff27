"""The figure of seeds: each one's accuracy, their mean, and the intervals."""

import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from headstart.core.heads.report.page.figures import svg
from headstart.core.heads.report.page.figures.marks import handle, said, style
from headstart.core.heads.report.page.html import interval, share
from headstart.core.heads.statistics.compare import Spread

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MARKS = ("one seed", "mean of the seeds", "95 % over seeds", "95 %, and images")


@dataclasses.dataclass(frozen=True)
class SeedDots:
    """A head's seeds as they are drawn: each accuracy, the mean with its interval, and the interval over images too."""

    model: str
    settings: str
    accuracies: Sequence[float]
    spread: Spread
    both: tuple[float, float]


def seeds(key: str, found: Sequence[SeedDots], order: Sequence[str]) -> str:
    """Each seed's accuracy, the mean and its interval, by model and settings. Empty without heads."""
    if not found:
        return ""
    words = ["Test accuracy of each seed"]
    for it in found:
        ends = interval(it.spread.interval)
        words.append(
            f"{it.model} {it.settings}: mean {share(it.spread.mean)} of {len(it.accuracies)} seeds"
            + (f", interval {ends}" if ends else "")
        )
    return svg.draw(key, said(words), 10 + 30 * len(found), _MARKS, partial(_paint_seeds, found, order))


def _paint_seeds(found: Sequence[SeedDots], order: Sequence[str], figure: "Figure") -> None:
    axes = svg.panel(figure, "Accuracy over seeds", "test accuracy (%)", "", _MARKS, left=118)
    for place, it in enumerate(found):
        colour, _marker = style(order, it.model)
        values = it.accuracies
        apart = [place + 0.22 * ((7 * i) % 5 - 2) / 2 for i in range(len(values))]  # no chance in it
        axes.plot([100 * value for value in values], apart, "o", color=colour, alpha=0.45, markersize=4, markeredgewidth=0)
        for ends, width in ((it.both, 1.2), (it.spread.interval, 3.6)):
            if ends:
                axes.plot([100 * end for end in ends], [place] * 2, color=svg.INK, linewidth=width, solid_capstyle="butt")
        axes.plot(100 * it.spread.mean, place, "D", color=svg.PAPER, markeredgecolor=svg.INK, markersize=5.5)
    names = [f"{svg.label(it.model, 20)}\n{svg.label(it.settings, 20)}" for it in found]
    axes.set_yticks(range(len(found)), names, fontsize=8.5)
    axes.set_ylim(len(found) - 0.5, -0.5)
    axes.grid(False, axis="y")
    look = (("o", svg.MUTED, False, 0), ("D", svg.INK, True, 0), ("", svg.INK, False, 3.6), ("", svg.INK, False, 1.2))
    svg.legend(figure, [handle(*it[:2], text, hollow=it[2], line=it[3]) for text, it in zip(_MARKS, look, strict=True)])
