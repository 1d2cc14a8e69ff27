"""Maps of features: two dimensions, coloured by class, some points with their picture."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from headstart.core.heads.report.facts import named
from headstart.core.heads.report.page.figures import svg
from headstart.core.heads.report.page.figures.marks import handle
from headstart.core.heads.report.page.html import Html, clean, count, esc, picture
from headstart.core.heads.statistics.maps import Projection, Thumbnail

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_LABELS = svg.MOST_LABELS
"""Classes that the legend of a feature map has room for."""
MOST_POINTS = 1500
"""Points of a feature map that are drawn; of more, each second, third … is."""


def feature_map(key: str, model: str, found: Projection, classes: Sequence[str], place: str) -> str:
    """Features in two dimensions, coloured by class, some with their picture. Empty without points."""
    points = found.points
    if not points:
        return ""
    method = clean(found.method)
    parts = [f" ({value:.0%} of the variance)" for value in found.explained] if found.explained else [" (no unit)"] * 2
    names = [f"axis {i + 1} of {svg.label(method)}{text}" for i, text in enumerate(parts)]
    labels = {i: svg.label(classes[i], 13) if 0 <= i < len(classes) else "no label" for i in sorted({p[2] for p in points})}
    words = (
        f"Map of {count(len(points))} features of {model} by {method_of(found)}: {names[0]}, {names[1]}; "
        f"{_listed(classes)}."
    )
    shown = list(itertools.islice(labels.values(), MOST_LABELS))
    title = f"Features of {svg.label(model)}, {svg.label(method)}"
    paint = partial(_paint_map, title, points[:: -(-len(points) // MOST_POINTS)], names, labels, found.thumbnails, place)
    return svg.draw(key, words, 280, shown, paint)


def _listed(classes: Sequence[str]) -> str:
    if len(classes) > MOST_LABELS:
        return f"{count(len(classes))} classes"
    return f"classes {', '.join(classes)}"


def method_of(found: Projection) -> str:
    """How a map was made, in words: t-SNE's perplexity and the divergence it was left with too."""
    values = [f"perplexity {found.perplexity:.3g}"] if found.perplexity is not None else []
    values += [f"KL divergence {found.kl_divergence:.2f}"] if found.kl_divergence is not None else []
    return clean(found.method) + (f" ({', '.join(values)})" if values else "")


def _paint_map(
    title: str, points: Sequence[tuple[float, float, int]], names: Sequence[str], labels: Mapping[int, str],
    thumbnails: Sequence[Thumbnail], place: str, figure: "Figure",
) -> str:  # fmt: skip
    shown = list(itertools.islice(labels.values(), MOST_LABELS))
    axes = svg.panel(figure, title, names[0], names[1], shown)
    for i, label in labels.items():
        own = [(x, y) for x, y, k in points if k == i] or [(float("nan"),) * 2]
        look: dict[str, Any] = {"marker": svg.MARKERS[i % 7], "color": svg.SERIES[i % 6], "label": label, "markersize": 3.4}
        axes.plot(*zip(*own, strict=True), linestyle="", alpha=0.7, markeredgewidth=0, **look)
    lines = axes.lines[:MOST_LABELS]
    svg.legend(figure, [handle(str(it.get_marker()), str(it.get_color()), str(it.get_label())) for it in lines])
    axes.margins(0.08)
    if thumbnails:
        axes.update_datalim([(it.x, it.y) for it in thumbnails])
    axes.autoscale_view()
    return "".join(_thumbnails(figure, axes, thumbnails, place))


def _thumbnails(figure: "Figure", axes: "Axes", thumbnails: Sequence[Thumbnail], place: str) -> Iterator[str]:
    """Pictures at their places, less those that would lie on another."""
    height, side = 72 * figure.get_figheight(), 24
    placed: list[tuple[float, float]] = []
    for i, it in enumerate(thumbnails):
        if it.image is None:
            continue
        uri = picture(it.image, f"{place}.thumbnails[{i}].image")
        x, y = axes.transData.transform((it.x, it.y))
        if any(abs(x - other[0]) < side + 2 and abs(y - other[1]) < side + 2 for other in placed):
            continue
        placed.append((x, y))
        box = f'x="{x - side / 2:.2f}" y="{height - y - side / 2:.2f}" width="{side}" height="{side}"'
        yield Html(
            f'<image {box} href="{uri}" preserveAspectRatio="xMidYMid slice" style="image-rendering: pixelated">'
            f"<title>{esc(named(it.row, it.id))}</title></image>"
            f'<rect {box} style="fill: none; stroke: var(--paper, {svg.PAPER}); stroke-width: 1.5"/>'
        )
