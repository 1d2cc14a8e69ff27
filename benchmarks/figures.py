"""The figures of docs/performance.md, from figures that `extraction.py` measured."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scaling import AXES


def save(figure: Any, path: Path) -> None:
    """As SVG, the same bytes for the same figures."""
    import matplotlib

    with matplotlib.rc_context({"svg.hashsalt": "headstart"}):
        figure.savefig(path, metadata={"Date": None})


def bars(models: Mapping[str, dict[str, Any]]) -> Any:
    """Images per second of each way, as bars."""
    from matplotlib.figure import Figure

    ways = list(dict.fromkeys(way for found in models.values() for way in found["rates"]))
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    axes = figure.subplots()
    width = 0.8 / len(ways)
    for i, way in enumerate(ways):
        places = [j + i * width for j, found in enumerate(models.values()) if way in found["rates"]]
        rates = [found["rates"][way] for found in models.values() if way in found["rates"]]
        axes.bar_label(axes.bar(places, rates, width, label=way), fmt="{:,.1f}", fontsize=7)
    axes.set_xticks([j + 0.4 - width / 2 for j in range(len(models))], list(models))
    axes.set_ylabel("images/s")
    axes.set_title("Extraction on this machine, by way")
    axes.legend(fontsize=7)
    return figure


def small_multiples(found: dict[str, Any]) -> Any:
    """Seconds by images, images per second by batch size and by image size; what is expected as a dashed line."""
    from matplotlib.figure import Figure

    axes = [axis for axis in AXES if axis in found]
    figure = Figure(figsize=(3 * len(axes), 2.8), layout="constrained")
    for panel, axis in zip(figure.subplots(1, len(axes), squeeze=False)[0], axes, strict=True):
        curve(panel, axis, found[axis])
    figure.suptitle(
        f"{found['model']}, {found['engine']}: measured, and dashed what the first point lets expect", fontsize=9
    )
    return figure


def curve(panel: Any, axis: str, points: Mapping[str, dict[str, Any]]) -> None:
    """One panel, both scales logarithmic so that what is proportional is straight; from 0 where nothing is."""
    from matplotlib.ticker import FuncFormatter

    values = [int(value) for value in points]
    what, power = ("seconds", AXES[axis].power) if axis == "rows" else ("rate", -AXES[axis].power)
    found = [point[what] for point in points.values()]
    panel.plot(values, found, marker="o", markersize=4)
    panel.plot(
        values, [found[0] * (value / values[0]) ** power for value in values], linestyle="--", color="grey", linewidth=1
    )
    panel.set_xscale("log", base=2)
    if power:
        panel.set_yscale("log")
        for ticks in (panel.yaxis.set_major_formatter, panel.yaxis.set_minor_formatter):
            ticks(FuncFormatter(lambda value, _: f"{value:g}" if f"{value:e}"[0] in "125" else ""))
    else:
        panel.set_ylim(0, 1.1 * max(found))
    panel.set_xticks(values, [str(value) for value in values], fontsize=7)
    panel.set_xticks([], minor=True)
    panel.tick_params(axis="y", which="both", labelsize=7)
    panel.set_xlabel(AXES[axis].title, fontsize=8)
    panel.set_ylabel("seconds" if what == "seconds" else "images/s", fontsize=8)
