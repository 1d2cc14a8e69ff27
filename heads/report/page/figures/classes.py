"""Figures of classes: confusion matrices, and recall."""

import itertools
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from headstart.core.heads.report.page.figures import svg
from headstart.core.heads.report.page.figures.marks import said, style
from headstart.core.heads.report.page.html import count, share

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_CLASSES = 100
"""Classes of a confusion matrix that can be drawn so that a cell can still be seen."""
MOST_NUMBERS = 20
"""Classes of a confusion matrix whose cells have room for their counts."""
_TICKS = 44
"""Points below a confusion matrix for the names of the classes."""


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


def recall(
    key: str, recipe: str, shares: Mapping[str, Mapping[str, float | None]], classes: Sequence[str], order: Sequence[str]
) -> str:
    """The part of each of these classes that is found, a mark for each model; `recipe` in words. Empty without any."""
    of_classes = {
        model: {name: value for name in classes if (value := it.get(name)) is not None} for model, it in shares.items()
    }
    found = {model: values for model, values in of_classes.items() if values}
    if not found:
        return ""
    words = [f"Recall of each class, {recipe}"]
    for model, values in found.items():
        low, high = min(values, key=lambda n: values[n]), max(values, key=lambda n: values[n])
        words.append(f"{model}: lowest {low} {share(values[low])}, highest {high} {share(values[high])}")
    paint = partial(_paint_recall, recipe, found, list(classes), order)
    return svg.draw(key, said(words), 10 + 19 * len(classes), list(map(svg.label, found)), paint)


def _paint_recall(
    recipe: str,
    found: Mapping[str, Mapping[str, float]],
    classes: Sequence[str],
    order: Sequence[str],
    figure: "Figure",
) -> None:
    title = svg.label(f"Recall by class, {recipe}", 48)
    axes = svg.panel(figure, title, "share of the class that is found (%)", "", list(map(svg.label, found)), left=84)
    for model, it in found.items():
        colour, marker = style(order, model)
        places = [(100 * it[name], i) for i, name in enumerate(classes) if name in it]
        axes.plot(*zip(*places, strict=True), marker, color=colour, alpha=0.85, label=svg.label(model))
    every = [100 * value for it in found.values() for value in it.values()]
    axes.set_xlim(max(-2, min(every) - 5), min(102, max(every) + 5))
    axes.set_yticks(range(len(classes)), [svg.label(name, 12) for name in classes])
    axes.set_ylim(len(classes) - 0.5, -0.5)
    svg.legend(figure, axes.get_legend_handles_labels()[0])
