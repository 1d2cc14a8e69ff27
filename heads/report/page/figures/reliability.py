"""The reliability diagram: accuracy against confidence, as trained and with a temperature."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from headstart.core.heads.report.page.figures import svg
from headstart.core.heads.report.page.figures.marks import said
from headstart.core.heads.statistics.calibration import Calibration
from headstart.core.heads.study.results import TemperatureResults

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_CURVES = ("perfect", "as trained", "with temperature")


def reliability(key: str, title: str, found: TemperatureResults) -> str:
    """Accuracy against confidence, before and after the temperature. Empty without test rows."""
    before, after = (_filled(it) for it in (found.before, found.after))
    if not before:
        return ""
    words = [f"Reliability, {title}: expected calibration error {found.before.ece:.4f}"]
    if found.after and found.temperature.value is not None:
        words.append(f"after a temperature of {found.temperature.value:.3f} {found.after.ece:.4f}")
    return svg.draw(key, said(words), 220, _CURVES, partial(_paint_reliability, title, before, after))


def _filled(found: Calibration | None) -> list[tuple[float, float]]:
    """(confidence, accuracy) of the bins that hold rows."""
    bins = found.bins if found else ()
    return [(it.confidence, it.accuracy) for it in bins if it.confidence is not None and it.accuracy is not None]


def _paint_reliability(
    title: str, before: Sequence[tuple[float, float]], after: Sequence[tuple[float, float]], figure: "Figure"
) -> None:
    axes = svg.panel(figure, svg.label(title, 40), "confidence (%)", "accuracy (%)", _CURVES)
    axes.plot([0, 100], [0, 100], color=svg.MUTED, linewidth=1, linestyle=svg.DASHES[2], label=_CURVES[0])
    for name, bins, i in ((_CURVES[1], before, 0), (_CURVES[2], after, 1)):
        if bins:
            at, right = ([100 * value for value in values] for values in zip(*bins, strict=True))
            axes.plot(at, right, color=svg.SERIES[i], marker=svg.MARKERS[i], linestyle=svg.DASHES[i], label=name)
    axes.set(xlim=(0, 102), ylim=(0, 102))
    svg.legend(figure, axes.get_legend_handles_labels()[0])
