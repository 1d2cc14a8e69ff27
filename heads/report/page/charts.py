"""The report's figures of time, training and chance, drawn by matplotlib as SVG for a page that may be light or dark.

Those of classes and features are in `page_classes`.

Each takes a part of the report's JSON document, and a `key` that no other figure on the page has. Models keep their
colour and marker from figure to figure: `order` is the list of all models.
"""

import statistics
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from headstart.core.heads.report.page import svg
from headstart.core.heads.report.page.html import interval, items, known, number, part, share, time
from headstart.core.heads.report.page.words import settings_words

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Facts = Mapping[str, Any]
STAGES = ("read", "transfer", "preprocess", "backbone", "head")


def style(order: Sequence[str], model: str) -> tuple[str, str]:
    """A model's colour and marker, the same in every figure."""
    place = order.index(model) if model in order else len(order)
    return svg.SERIES[place % len(svg.SERIES)], svg.MARKERS[place % len(svg.MARKERS)]


def said(parts: Sequence[str]) -> str:
    """The words of a figure as one sentence."""
    return "; ".join(parts) + "."


# ------------------------------------------------------------------------------------------------------ time and cost


def trained_in(row: Facts) -> float | None:
    """Seconds from images to a trained head: extraction, and its share of a training of several; None where either is not
    known."""
    first, second, heads = row.get("extraction_s"), row.get("training_s"), row.get("together")
    return first + second / (heads if known(heads) and heads > 0 else 1) if known(first) and known(second) else None


def time_accuracy(key: str, rows: Sequence[Facts], published: Facts, order: Sequence[str]) -> str:
    """Accuracy against the time to a trained head; published points apart, as of other hardware. Empty without points."""
    ours = [row for row in rows if trained_in(row) and known(row.get("accuracy"))]
    theirs = {model: part(published, "table_1").get(model) or {} for model in part(published, "table_1")}
    theirs = {model: it for model, it in theirs.items() if known(it.get("training_s")) and known(it.get("accuracy"))}
    if not ours:
        return ""
    place = f"published, {published.get('hardware') or 'other hardware'}"
    words = said(
        ["Accuracy against time to a trained head, logarithmic"]
        + [f"{row['model']} {row['recipe']}: {share(row['accuracy'])} after {time(trained_in(row))}" for row in ours]
        + [f"{place}: {model} {share(it['accuracy'])} after {time(it['training_s'])}" for model, it in theirs.items()]
    )
    return svg.draw(key, words, 210, *_time(ours, theirs, place, order))


def _time(
    ours: Sequence[Facts], theirs: Mapping[str, Facts], place: str, order: Sequence[str]
) -> tuple[list[str], Callable[["Figure"], None]]:
    """The labels of the legend, and what paints."""
    models = [svg.label(model) for model in dict.fromkeys([*(row["model"] for row in ours), *theirs])]
    recipes = list(dict.fromkeys(str(row["recipe"]) for row in ours))
    texts = [
        *models,
        *(svg.label(settings_words(recipe), 44) for recipe in recipes),
        *([svg.label(place, 44)] if theirs else []),
    ]
    return texts, partial(_paint_time, ours, theirs, texts, order)


def _paint_time(
    ours: Sequence[Facts], theirs: Mapping[str, Facts], texts: Sequence[str], order: Sequence[str], figure: "Figure"
) -> None:
    axes = svg.panel(
        figure, "Accuracy against time", "time to a trained head: extraction + training (s)", "test accuracy (%)", texts
    )
    recipes = list(dict.fromkeys(str(row["recipe"]) for row in ours))
    for row in ours:
        colour, _ = style(order, row["model"])
        at, ends = trained_in(row) or 0, [100 * end for end in row.get("interval") or () if known(end)]
        if len(ends) == 2:
            axes.plot([at] * 2, ends, color=colour, linewidth=1.2)
        axes.plot(at, 100 * row["accuracy"], svg.MARKERS[recipes.index(str(row["recipe"])) % 3], color=colour, markersize=7)
    for model, it in theirs.items():
        look: dict[str, Any] = {"color": style(order, model)[0], "markerfacecolor": "none", "markersize": 7}
        axes.plot(it["training_s"], 100 * it["accuracy"], "D", **look)
    times = [float(trained_in(row) or 0) for row in ours] + [it["training_s"] for it in theirs.values()]
    svg.log_x(axes, min(times), max(times))
    models = list(dict.fromkeys([*(row["model"] for row in ours), *theirs]))
    handles = [handle("", style(order, model)[0], text, line=5) for model, text in zip(models, texts, strict=False)]
    marks = [*(svg.MARKERS[i % 3] for i in range(len(recipes))), "D"]
    hollow = [False] * len(recipes) + [True]
    rest = zip(marks, hollow, texts[len(models) :], strict=False)
    svg.legend(figure, [*handles, *(handle(mark, svg.INK, text, hollow=empty) for mark, empty, text in rest)])


def handle(marker: str, colour: str, text: str, *, hollow: bool = False, line: float = 0) -> Any:
    """An entry of a legend: a mark, or a line so wide."""
    from matplotlib.lines import Line2D

    return Line2D(
        [], [], color=colour, marker=marker, linestyle="-" if line else "", linewidth=line, label=text,
        markerfacecolor="none" if hollow else colour,
    )  # fmt: skip


def stage_bars(key: str, stages: Mapping[str, Facts]) -> str:
    """Where the time of an image goes: a bar for each model, milliseconds. Empty without stages."""
    found = {model: {name: 1000 * part(stages, model).get(name, 0) for name in STAGES} for model in stages if stages[model]}
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


# ------------------------------------------------------------------------------------------------------------- curves


def losses(key: str, recipe: str, rows: Sequence[Facts], order: Sequence[str]) -> str:
    """Mean training loss of each epoch, a line for each run of one recipe. Empty where none has any."""
    found = [row for row in rows if row.get("recipe") == recipe and items(row, "losses")]
    if not found:
        return ""
    words = said(
        [f"Mean training loss of each epoch, {settings_words(recipe)}"]
        + [f"{row['model']}: {row['losses'][0]:.4f} to {row['losses'][-1]:.4f}" for row in found]
    )
    return svg.draw(
        key, words, 190, [svg.label(row["model"]) for row in found], partial(_paint_losses, recipe, found, order)
    )


def _paint_losses(recipe: str, rows: Sequence[Facts], order: Sequence[str], figure: "Figure") -> None:
    title = svg.label(f"Learning curves, {settings_words(recipe)}", 48)
    texts = [svg.label(row["model"]) for row in rows]
    axes = svg.panel(figure, title, "epoch (number)", "mean training loss (nats)", texts)
    seen: dict[str, int] = {}
    for row in rows:
        colour, marker = style(order, row["model"])
        dash = svg.DASHES[seen.setdefault(row["model"], 0) % len(svg.DASHES)]
        seen[row["model"]] += 1
        epochs = range(1, len(row["losses"]) + 1)
        axes.plot(
            epochs, row["losses"], color=colour, marker=marker, markersize=4, linestyle=dash, label=svg.label(row["model"])
        )
    axes.locator_params(axis="x", integer=True)
    svg.legend(figure, axes.get_legend_handles_labels()[0])


def curve(key: str, title: str, x: str, field: str, entries: Mapping[str, Sequence[Facts]], order: Sequence[str]) -> str:
    """Mean test accuracy against `field`, with a band from the lowest seed to the highest. Empty without points."""
    found = {model: _points(it, field) for model, it in entries.items()}
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


def _points(entries: Sequence[Facts], field: str) -> list[tuple[int, float, float, float]]:
    """(place, mean, lowest, highest) of the entries with accuracies, in order."""
    seen = [(entry[field], [value for value in items(entry, "accuracies") if known(value)]) for entry in entries]
    return sorted((place, statistics.fmean(values), min(values), max(values)) for place, values in seen if values)


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


# -------------------------------------------------------------------------------------------------- trust and chance


_CURVES = ("perfect", "as trained", "with temperature")


def reliability(key: str, title: str, facts: Facts) -> str:
    """Accuracy against confidence, before and after the temperature. Empty without bins."""
    before, after = ([it for it in items(facts, name) if it.get("count")] for name in ("bins", "bins_after"))
    if not before:
        return ""
    words = [f"Reliability, {title}: expected calibration error {number(facts.get('ece'), '{:.4f}'.format)}"]
    if known(facts.get("ece_after")):
        words.append(f"after a temperature of {number(facts.get('temperature'), '{:.3f}'.format)} {facts['ece_after']:.4f}")
    return svg.draw(key, said(words), 220, _CURVES, partial(_paint_reliability, title, before, after))


def _paint_reliability(title: str, before: Sequence[Facts], after: Sequence[Facts], figure: "Figure") -> None:
    axes = svg.panel(figure, svg.label(title, 40), "confidence (%)", "accuracy (%)", _CURVES)
    axes.plot([0, 100], [0, 100], color=svg.MUTED, linewidth=1, linestyle=svg.DASHES[2], label=_CURVES[0])
    for name, bins, i in ((_CURVES[1], before, 0), (_CURVES[2], after, 1)):
        if bins:
            at, right = ([100 * entry[key] for entry in bins] for key in ("confidence", "accuracy"))
            axes.plot(at, right, color=svg.SERIES[i], marker=svg.MARKERS[i], linestyle=svg.DASHES[i], label=name)
    axes.set(xlim=(0, 102), ylim=(0, 102))
    svg.legend(figure, axes.get_legend_handles_labels()[0])


_MARKS = ("one seed", "mean of the seeds", "95 % over seeds", "95 %, and images")


def seeds(key: str, models: Mapping[str, Mapping[str, Facts]], order: Sequence[str]) -> str:
    """Each seed's accuracy, the mean and its interval, by model and recipe. Empty without seeds."""
    found = [
        (model, recipe, it)
        for model, recipes in models.items()
        for recipe, it in (recipes or {}).items()
        if items(part(it, "seeds"), "accuracies")
    ]
    if not found:
        return ""
    words = ["Test accuracy of each seed"]
    for model, recipe, it in found:
        own = it["seeds"]
        low_high = interval((own.get("low"), own.get("high")))
        words.append(
            f"{model} {recipe}: mean {share(own.get('mean'))} of {len(own['accuracies'])} seeds"
            + (f", interval {low_high}" if low_high else "")
        )
    return svg.draw(key, said(words), 10 + 30 * len(found), _MARKS, partial(_paint_seeds, found, order))


def _paint_seeds(found: Sequence[tuple[str, str, Facts]], order: Sequence[str], figure: "Figure") -> None:
    axes = svg.panel(figure, "Accuracy over seeds", "test accuracy (%)", "", _MARKS, left=118)
    for place, (model, _, it) in enumerate(found):
        colour, _marker = style(order, model)
        values = [value for value in it["seeds"]["accuracies"] if known(value)]
        spread = [place + 0.22 * ((7 * i) % 5 - 2) / 2 for i in range(len(values))]  # no chance in it
        axes.plot([100 * value for value in values], spread, "o", color=colour, alpha=0.45, markersize=4, markeredgewidth=0)
        for ends, width in ((it.get("both_interval"), 1.2), ((it["seeds"].get("low"), it["seeds"].get("high")), 3.6)):
            if ends and all(map(known, ends)):
                axes.plot([100 * end for end in ends], [place] * 2, color=svg.INK, linewidth=width, solid_capstyle="butt")
        if known(it["seeds"].get("mean")):
            axes.plot(100 * it["seeds"]["mean"], place, "D", color=svg.PAPER, markeredgecolor=svg.INK, markersize=5.5)
    names = [f"{svg.label(model, 20)}\n{svg.label(recipe, 20)}" for model, recipe, _ in found]
    axes.set_yticks(range(len(found)), names, fontsize=8.5)
    axes.set_ylim(len(found) - 0.5, -0.5)
    axes.grid(False, axis="y")
    look = (("o", svg.MUTED, False, 0), ("D", svg.INK, True, 0), ("", svg.INK, False, 3.6), ("", svg.INK, False, 1.2))
    svg.legend(figure, [handle(*it[:2], text, hollow=it[2], line=it[3]) for text, it in zip(_MARKS, look, strict=True)])
