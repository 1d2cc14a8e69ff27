"""The page's figures of classes and features: confusion matrices, recall, maps. They follow the rules of `figures`."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from heads import page_svg as svg
from heads.figures import handle, said, style
from heads.page_html import Html, count, items, known, picture, share

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Facts = Mapping[str, Any]
MOST_CLASSES = 100
"""Classes of a confusion matrix that can be drawn so that a cell can still be seen."""
MOST_NUMBERS = 20
"""Classes of a confusion matrix whose cells have room for their counts."""
MOST_POINTS = 1500
"""Points of a feature map that are drawn; of more, each second, third … is."""


def mix_ups(matrix: Sequence[Sequence[int]], classes: Sequence[str]) -> list[tuple[int, str, str]]:
    """(images, true class, predicted class) of each kind of mistake, the most frequent first."""
    cells = itertools.product(range(len(classes)), repeat=2)
    return sorted(
        ((matrix[i][j], classes[i], classes[j]) for i, j in cells if i != j and matrix[i][j]), key=lambda it: -it[0]
    )


def confusion(key: str, title: str, matrix: Sequence[Sequence[int]], classes: Sequence[str]) -> str:
    """Rows are true classes, shaded by their share; counts stand in the cells of up to 20 classes. Empty where too many.

    Raises ValueError where the matrix is not (C, C).
    """
    if len(matrix) != len(classes) or any(len(row) != len(classes) for row in matrix):
        raise ValueError(f"confusion matrix of {title}: expected {len(classes)} rows and columns, one for each class")
    if len(classes) > MOST_CLASSES or not classes:
        return ""
    right = sum(matrix[i][i] for i in range(len(classes)))
    often = [f"{true} taken for {found} {count(images)} times" for images, true, found in mix_ups(matrix, classes)[:5]]
    words = said([f"Confusion matrix, {title}: {count(right)} of {count(sum(map(sum, matrix)))} right", *often])
    side = 400 if len(classes) <= 12 else 520
    return svg.draw(key, words, (side, side + 8), partial(_paint_confusion, title, matrix, classes))


def _paint_confusion(title: str, matrix: Sequence[Sequence[int]], classes: Sequence[str], figure: "Figure") -> None:
    axes = svg.panel(figure, svg.label(title, 44), "predicted class", "true class", margins=(86, 8, 84, 28))
    shares = [[cell / max(sum(row), 1) for cell in row] for row in matrix]
    _shade(axes, shares)
    if len(classes) <= MOST_NUMBERS:
        for i, j in itertools.product(range(len(classes)), repeat=2):
            colour = svg.PAPER if shares[i][j] > 0.55 else svg.INK
            size = 8.5 if len(classes) <= 12 else 6.5
            if matrix[i][j]:
                axes.text(j, i, str(matrix[i][j]), color=colour, fontsize=size, ha="center", va="center")
    size = 9.0 if len(classes) <= 12 else 7.5 if len(classes) <= 30 else 4.0
    names = [svg.label(name, 11) for name in classes]
    axes.set_xticks(range(len(names)), names, rotation=90, fontsize=size)
    axes.set_yticks(range(len(names)), names, fontsize=size)
    axes.set(xlim=(-0.5, len(names) - 0.5), ylim=(len(names) - 0.5, -0.5))
    axes.grid(False)
    axes.tick_params(length=0)


def _shade(axes: "Axes", shares: Sequence[Sequence[float]]) -> None:
    """One path for all cells of the same shade, of 25: small, however many classes there are."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    shades: dict[int, list[tuple[int, int]]] = {}
    for i, j in itertools.product(range(len(shares)), repeat=2):
        if shares[i][j]:
            shades.setdefault(max(1, round(25 * shares[i][j])), []).append((j, i))
    for shade, cells in sorted(shades.items()):
        corners = [
            (x + dx, y + dy)
            for x, y in cells
            for dx, dy in ((-0.48, -0.48), (0.48, -0.48), (0.48, 0.48), (-0.48, 0.48), (0, 0))
        ]
        codes = [Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY] * len(cells)
        axes.add_patch(PathPatch(Path(corners, codes), facecolor=svg.CELL, alpha=shade / 25, linewidth=0))


def recall(key: str, recipe: str, shares: Mapping[str, Facts], classes: Sequence[str], order: Sequence[str]) -> str:
    """The part of each class that is found, a mark for each model. Empty without any."""
    found = {model: it for model, it in shares.items() if any(known(value) for value in it.values())}
    if not found or not classes:
        return ""
    words = [f"Recall of each class, {recipe} recipe"]
    for model, it in found.items():
        values = {name: it[name] for name in classes if known(it.get(name))}
        low, high = min(values, key=lambda n: values[n]), max(values, key=lambda n: values[n])
        words.append(f"{model}: lowest {low} {share(values[low])}, highest {high} {share(values[high])}")
    shown = list(classes)[:60]
    return svg.draw(key, said(words), (430, 106 + 19 * len(shown)), partial(_paint_recall, recipe, found, shown, order))


def _paint_recall(
    recipe: str, found: Mapping[str, Facts], classes: Sequence[str], order: Sequence[str], figure: "Figure"
) -> None:
    title = f"Recall by class, {svg.label(recipe)} recipe"
    axes = svg.panel(figure, title, "share of the class that is found (%)", "", margins=(86, 14, 78, 28))
    for model, it in found.items():
        colour, marker = style(order, model)
        places = [(100 * it[name], i) for i, name in enumerate(classes) if known(it.get(name))]
        axes.plot(*zip(*places, strict=True), marker, color=colour, alpha=0.85, label=svg.label(model))
    axes.set_yticks(range(len(classes)), [svg.label(name, 12) for name in classes])
    axes.set_ylim(len(classes) - 0.5, -0.5)
    svg.legend(figure, axes, 3)


# --------------------------------------------------------------------------------------------------------------- maps


def feature_map(key: str, model: str, facts: Facts, classes: Sequence[str], place: str) -> str:
    """Features in two dimensions, coloured by class, some with their picture. Empty without points."""
    points = [point for point in items(facts, "points") if len(point) == 3]
    if not points:
        return ""
    explained = [value for value in facts.get("explained") or () if known(value)]
    parts = f", {explained[0]:.0%} and {explained[1]:.0%} of the variance" if len(explained) == 2 else ""
    words = f"Map of {count(len(points))} features of {model} by {facts.get('method', 'projection')}{parts}."
    return svg.draw(key, words, (430, 410), partial(_paint_map, model, facts, points, explained, classes, place))


def _paint_map(
    model: str, facts: Facts, points: Sequence[Sequence[float]], explained: Sequence[float], classes: Sequence[str],
    place: str, figure: "Figure",
) -> str:  # fmt: skip
    names = [
        f"axis {i + 1} of {svg.label(facts.get('method') or 'the projection')}"
        + (f" ({explained[i]:.0%} of the variance)" if len(explained) == 2 else " (no unit)")
        for i in range(2)
    ]
    axes = svg.panel(figure, f"Features of {svg.label(model)}", *names, margins=(52, 14, 96, 30))
    step = -(-len(points) // MOST_POINTS)
    for i in sorted({int(point[2]) for point in points}):
        own = [(x, y) for x, y, k in points[::step] if k == i]
        name = svg.label(classes[i], 13) if 0 <= i < len(classes) else "no label"
        look: dict[str, Any] = {"marker": svg.MARKERS[i % 7], "color": svg.SERIES[i % 6], "label": name}
        axes.plot(
            *(zip(*own, strict=True) if own else ((), ())),
            linestyle="",
            markersize=3.4,
            alpha=0.7,
            markeredgewidth=0,
            **look,
        )
    handles = [handle(str(line.get_marker()), str(line.get_color()), str(line.get_label())) for line in axes.lines[:24]]
    svg.legend(figure, axes, 4, handles)
    thumbnails = items(facts, "thumbnails")
    axes.margins(0.08)
    axes.update_datalim([(it["x"], it["y"]) for it in thumbnails] or [(0, 0)])
    axes.autoscale_view()
    return "".join(_thumbnails(figure, axes, thumbnails, place))


def _thumbnails(figure: "Figure", axes: "Axes", facts: Sequence[Facts], place: str) -> Iterator[str]:
    """Pictures at their places, less those that would lie on another."""
    height, side = 72 * figure.get_figheight(), 24
    placed: list[tuple[float, float]] = []
    for i, it in enumerate(facts):
        uri = picture(it.get("image"), f"{place}.thumbnails[{i}].image")
        x, y = axes.transData.transform((it["x"], it["y"]))
        if any(abs(x - other[0]) < side + 2 and abs(y - other[1]) < side + 2 for other in placed):
            continue
        placed.append((x, y))
        box = f'x="{x - side / 2:.2f}" y="{height - y - side / 2:.2f}" width="{side}" height="{side}"'
        yield Html(
            f'<image {box} href="{uri}" preserveAspectRatio="xMidYMid slice" style="image-rendering: pixelated"/>'
            f'<rect {box} style="fill: none; stroke: var(--paper, {svg.PAPER}); stroke-width: 1.5"/>'
        )
