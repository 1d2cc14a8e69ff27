"""What figures have in common: a model's colour and marker, entries of legends, the words for who can't see them."""

from collections.abc import Sequence
from typing import Any

from headstart.core.heads.report.page.figures import svg


def style(order: Sequence[str], model: str) -> tuple[str, str]:
    """A model's colour and marker, the same in every figure."""
    place = order.index(model) if model in order else len(order)
    return svg.SERIES[place % len(svg.SERIES)], svg.MARKERS[place % len(svg.MARKERS)]


def said(parts: Sequence[str]) -> str:
    """The words of a figure as one sentence."""
    return "; ".join(parts) + "."


def handle(marker: str, colour: str, text: str, *, hollow: bool = False, line: float = 0) -> Any:
    """An entry of a legend: a mark, or a line so wide."""
    from matplotlib.lines import Line2D

    return Line2D(
        [], [], color=colour, marker=marker, linestyle="-" if line else "", linewidth=line, label=text,
        markerfacecolor="none" if hollow else colour,
    )  # fmt: skip
