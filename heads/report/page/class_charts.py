"""The page's figures of classes and features: confusion matrices, recall, maps. They follow the rules of `figures`."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from headstart.core.heads.report.page import svg
from headstart.core.heads.report.page.charts import handle, said, style
from headstart.core.heads.report.page.html import Html, clean, count, items, known, picture, share

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Facts = Mapping[str, Any]
MOST_CLASSES = 100
"""Classes of a confusion matrix that can be drawn so that a cell can still be seen."""
MOST_NUMBERS = 20
"""Classes of a confusion matrix whose cells have room for their counts."""
_TICKS = 44
"""Points below a confusion matrix for the names of the classes."""
MOST_LABELS = svg.MOST_LABELS
"""Classes that the legend of a feature map has room for."""
MOST_POINTS = 1500
"""Points of a feature map that are drawn; of more, each second, third … is."""


def mix_ups(matrix: Sequence[Sequence[int]], classes: Sequence[str]) -> list[tuple[int, str, str]]:
    """(images, true class, predicted class) of each kind of mistake, the most frequent first."""
    cells = itertools.product(range(len(classes)), repeat=2)
    return sorted(
        ((matrix[i][j], classes[i], classes[j]) for i, j in cells if i != j and matrix[i][j]), key=lambda it: -it[0]
    )


def fits(matrix: Sequence[Sequence[int]], classes: Sequence[str]) -> bool:
    """Whether the matrix is (C, C)."""
    return len(matrix) == len(classes) and all(len(row) == len(classes) for row in matrix)


def confusion(key: str, title: str, matrix: Sequence[Sequence[int]], classes: Sequence[str]) -> str:
    """Rows are true classes, shaded by the root of the share; cells of up to 20 classes hold counts. Empty where too many.

    Raises ValueError where the matrix is not (C, C).
    """
    if not fits(matrix, classes):
        raise ValueError(f"confusion matrix of {title}: expected {len(classes)} rows and columns, one for each class")
    if len(classes) > MOST_CLASSES or not classes:
        return ""
    right = sum(matrix[i][i] for i in range(len(classes)))
    often = [f"{true} taken for {found} {count(images)} times" for images, true, found in mix_ups(matrix, classes)[:5]]
    words = said([f"Confusion matrix, {title}: {count(right)} of {count(sum(map(sum, matrix)))} right", *often])
    return svg.draw(key, words, 290, (), partial(_paint_confusion, title, matrix, classes), below=_TICKS)


def _paint_confusion(title: str, matrix: Sequence[Sequence[int]], classes: Sequence[str], figure: "Figure") -> None:
    axes = svg.panel(figure, svg.label(title, 44), "predicted class", "true class", (), left=84, right=6, below=_TICKS)
    shades = [[(cell / max(sum(row), 1)) ** 0.5 for cell in row] for row in matrix]  # the root: rare mistakes show as well
    _shade(axes, shades)
    if len(classes) <= MOST_NUMBERS:
        for i, j in itertools.product(range(len(classes)), repeat=2):
            colour = svg.PAPER if shades[i][j] > 0.55 else svg.INK
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


def _shade(axes: "Axes", shades: Sequence[Sequence[float]]) -> None:
    """One path for all cells of the same shade, of 25: small, however many classes there are."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    groups: dict[int, list[tuple[int, int]]] = {}
    for i, j in itertools.product(range(len(shades)), repeat=2):
        if shades[i][j]:
            groups.setdefault(max(1, round(25 * shades[i][j])), []).append((j, i))
    for shade, cells in sorted(groups.items()):
        corners = [
            (x + dx, y + dy)
            for x, y in cells
            for dx, dy in ((-0.48, -0.48), (0.48, -0.48), (0.48, 0.48), (-0.48, 0.48), (0, 0))
        ]
        codes = [Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY] * len(cells)
        axes.add_patch(PathPatch(Path(corners, codes), facecolor=svg.CELL, alpha=shade / 25, linewidth=0))


def recall(key: str, recipe: str, shares: Mapping[str, Facts], classes: Sequence[str], order: Sequence[str]) -> str:
    """The part of each of these classes that is found, a mark for each model; `recipe` in words. Empty without any."""
    found = {model: it for model, it in shares.items() if any(known(it.get(name)) for name in classes)}
    if not found:
        return ""
    words = [f"Recall of each class, {recipe}"]
    for model, it in found.items():
        values = {name: it[name] for name in classes if known(it.get(name))}
        low, high = min(values, key=lambda n: values[n]), max(values, key=lambda n: values[n])
        words.append(f"{model}: lowest {low} {share(values[low])}, highest {high} {share(values[high])}")
    paint = partial(_paint_recall, recipe, found, list(classes), order)
    return svg.draw(key, said(words), 10 + 19 * len(classes), list(map(svg.label, found)), paint)


def _paint_recall(
    recipe: str, found: Mapping[str, Facts], classes: Sequence[str], order: Sequence[str], figure: "Figure"
) -> None:
    title = svg.label(f"Recall by class, {recipe}", 48)
    axes = svg.panel(figure, title, "share of the class that is found (%)", "", list(map(svg.label, found)), left=84)
    for model, it in found.items():
        colour, marker = style(order, model)
        places = [(100 * it[name], i) for i, name in enumerate(classes) if known(it.get(name))]
        axes.plot(*zip(*places, strict=True), marker, color=colour, alpha=0.85, label=svg.label(model))
    every = [100 * it[name] for it in found.values() for name in classes if known(it.get(name))]
    axes.set_xlim(max(-2, min(every) - 5), min(102, max(every) + 5))
    axes.set_yticks(range(len(classes)), [svg.label(name, 12) for name in classes])
    axes.set_ylim(len(classes) - 0.5, -0.5)
    svg.legend(figure, axes.get_legend_handles_labels()[0])


# --------------------------------------------------------------------------------------------------------------- maps


def feature_map(key: str, model: str, facts: Facts, classes: Sequence[str], place: str) -> str:
    """Features in two dimensions, coloured by class, some with their picture. Empty without points."""
    points = [point for point in items(facts, "points") if len(point) == 3 and all(map(known, point))]
    if not points:
        return ""
    explained = [value for value in facts.get("explained") or () if known(value)]
    method = clean(facts.get("method") or "projection")
    parts = [f" ({value:.0%} of the variance)" for value in explained] if len(explained) == 2 else [" (no unit)"] * 2
    names = [f"axis {i + 1} of {svg.label(method)}{text}" for i, text in enumerate(parts)]
    labels = {
        i: svg.label(classes[i], 13) if 0 <= i < len(classes) else "no label" for i in sorted({int(p[2]) for p in points})
    }
    words = (
        f"Map of {count(len(points))} features of {model} by {method_of(facts)}: {names[0]}, {names[1]}; "
        f"{_listed(classes)}."
    )
    shown = list(itertools.islice(labels.values(), MOST_LABELS))
    title = f"Features of {svg.label(model)}, {svg.label(method)}"
    paint = partial(
        _paint_map, title, points[:: -(-len(points) // MOST_POINTS)], names, labels, items(facts, "thumbnails"), place
    )
    return svg.draw(key, words, 280, shown, paint)


def _listed(classes: Sequence[str]) -> str:
    if len(classes) > MOST_LABELS:
        return f"{count(len(classes))} classes"
    return f"classes {', '.join(classes)}"


def method_of(facts: Facts) -> str:
    """How a map was made, in words: t-SNE's perplexity and the divergence it was left with too."""
    values = [
        f"{words} {facts[key]:{form}}"
        for key, words, form in (("perplexity", "perplexity", ".3g"), ("kl_divergence", "KL divergence", ".2f"))
        if known(facts.get(key))
    ]
    return clean(facts.get("method") or "projection") + (f" ({', '.join(values)})" if values else "")


def _paint_map(
    title: str, points: Sequence[Sequence[float]], names: Sequence[str], labels: Mapping[int, str],
    thumbnails: Sequence[Facts], place: str, figure: "Figure",
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
        axes.update_datalim([(it["x"], it["y"]) for it in thumbnails])
    axes.autoscale_view()
    return "".join(_thumbnails(figure, axes, thumbnails, place))


def _thumbnails(figure: "Figure", axes: "Axes", facts: Sequence[Facts], place: str) -> Iterator[str]:
    """Pictures at their places, less those that would lie on another."""
    height, side = 72 * figure.get_figheight(), 24
    placed: list[tuple[float, float]] = []
    for i, it in enumerate(facts):
        if it.get("image") is None:
            continue
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
