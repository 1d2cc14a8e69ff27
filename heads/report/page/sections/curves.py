"""The page's parts with curves: seeds, epochs, training images, losses, and where the time goes."""

from collections.abc import Mapping, Sequence
from typing import Any

from headstart.core.heads.report.page import charts as figures
from headstart.core.heads.report.page.html import (
    MOST_COLUMNS,
    Facts,
    Html,
    View,
    count,
    figure,
    grid,
    interval,
    items,
    known,
    mean_of,
    name,
    number,
    paragraph,
    part,
    section,
    share,
    table,
    time,
)
from headstart.core.heads.report.page.words import each, hardware_of, models_of, named, settings_words

SHOWN_PLACES = (1, 2, 5, 10, 20, 50, 100)


def seeds(view: View) -> Html:
    """How much of an accuracy is chance."""
    models = part(view.facts, "models")
    found = [(model, recipe, it) for recipe, model, it in each(view.facts, "seeds") if items(it, "accuracies")]
    if not found:
        return Html("")
    body = [[named(model, recipe), *_spread(it, part(models, model)[recipe])] for model, recipe, it in found]
    head = ["head", "mean", "95 %, mean over seeds", "standard deviation", "lowest to highest",
            "95 %, one head over images", "95 %, seeds and images", "time for all"]  # fmt: skip
    drawn = figures.seeds(view.key("seeds-figure"), models, models_of(view.facts))
    caption = (
        "Each dot is a head trained from another seed; a diamond is their mean. The thick line is the 95 % interval of "
        "the mean over seeds, the thin one allows for the choice of test images as well."
    )
    return section(
        view, "seeds", "How much is chance: seeds", grid([figure(Html(drawn), caption)]),
        table("Test accuracy over seeds", head, body),
    )  # fmt: skip


def _spread(it: Facts, whole: Facts) -> list[str]:
    values = [value for value in items(it, "accuracies") if known(value)]
    together = it.get("together")
    several = f"<small>{count(together)} heads at once</small>" if known(together) else ""
    many = f"<small>{count(len(values))} seeds</small>" if len(values) > 1 else "<small>one seed</small>"
    return [
        Html(f"{share(it.get('mean'))}{many}"),
        interval((it.get("low"), it.get("high"))) or "not known",
        number(it.get("deviation"), lambda value: f"{100 * value:.2f} points"),
        interval((min(values), max(values))) if values else "not known",
        interval(whole.get("test_interval")) or "not known",
        interval(whole.get("both_interval")) or "not known",
        Html(f"{time(it.get('elapsed_s'))}{several}"),
    ]


def epochs(view: View) -> Html:
    """Test accuracy against the number of epochs."""
    asked = "The study asked whether more epochs would tell the models apart. " if view.published else ""
    lead = f"{asked}Test rows are watched here, never used to choose."
    drawn = _curves(view, "epochs", "epoch", "More epochs", "epochs of training (number)")
    return section(view, "epochs", "More epochs", paragraph(lead), *drawn) if drawn else Html("")


def sizes(view: View) -> Html:
    """Test accuracy against the number of training images, with equal epochs and with equal steps."""
    x, heading = "training images (number)", "More training images"
    drawn = [
        *_curves(view, "sizes", "rows", f"{heading}, equal epochs", x),
        *_curves(view, "sizes_equal_steps", "rows", f"{heading}, equal steps", x),
    ]
    asked = "The study took the first 24,000 images to save time. " if view.published else ""
    lead = (
        f"{asked}With equal epochs, fewer images also mean fewer optimiser steps. With equal steps only the number of "
        "images differs."
    )
    return section(view, "sizes", heading, paragraph(lead), *drawn) if drawn else Html("")


def _curves(view: View, key: str, field: str, heading: str, x: str) -> list[Html]:
    """The figures side by side, then a table for each."""
    found: dict[str, dict[str, Any]] = {}
    for recipe, model, it in each(view.facts, key):
        found.setdefault(recipe, {})[model] = it
    drawn, tables = [], []
    for i, (recipe, models) in enumerate(found.items()):
        title = f"{heading}, {settings_words(recipe)}"
        if len({entry[field] for it in models.values() for entry in it}) < 2:  # one point is no curve
            continue
        short = title.removeprefix("More training images, ")  # a figure is no wider than a phone
        short = short[:1].upper() + short[1:]
        art = figures.curve(view.key(f"{key}-{i}"), short, x, field, models, models_of(view.facts))
        if art:
            caption = f"{title}: mean test accuracy; the band reaches from the lowest seed to the highest."
            drawn.append(figure(Html(art), caption))
            tables.append(_curve_table(f"{title}: mean test accuracy (lowest to highest seed)", field, models))
    return [grid(drawn), *tables] if drawn else []


def _curve_table(caption: str, field: str, models: Mapping[str, Sequence[Facts]]) -> Html:
    places = sorted({entry[field] for it in models.values() for entry in it})
    places = (
        places
        if len(places) <= MOST_COLUMNS
        else [place for place in places if place in SHOWN_PLACES or place == places[-1]]
    )
    cells = {model: {entry[field]: items(entry, "accuracies") for entry in it} for model, it in models.items()}
    body = [[name(model), *(mean_of(cells[model].get(place)) for place in places)] for model in models]
    return table(caption, ["model", *(f"{place:,}" for place in places)], body)


# --------------------------------------------------------------------------------------------------- losses and times


def losses(view: View) -> Html:
    """Mean loss of each epoch, a figure for each kind of settings."""
    rows, order = items(view.facts, "rows"), models_of(view.facts)
    with_losses = [row for row in rows if items(row, "losses")]
    if not with_losses:
        return Html("")
    recipes = dict.fromkeys(str(row.get("recipe")) for row in with_losses)
    drawn = [figures.losses(view.key(f"loss-{i}"), recipe, rows, order) for i, recipe in enumerate(recipes)]
    caption = "Mean training loss of each epoch. Recipes with and without the sigmoid have different scales."
    body = [
        [named(row.get("model"), row.get("recipe")), count(len(row["losses"])), *_first_last(row["losses"])]
        for row in with_losses
    ]
    numbers = table("Mean training loss", ["head", "epochs", "first epoch", "last epoch"], body)
    return section(view, "losses", "Learning curves", grid([figure(Html(it), caption) for it in drawn if it]), numbers)


def _first_last(values: Sequence[Any]) -> list[str]:
    return [number(values[i], "{:.4f}".format) for i in (0, -1)]


def stages(view: View) -> Html:
    """Where the time of an image goes, from raw image to label."""
    found = {model: it for model, it in part(view.facts, "stages").items() if it}
    drawn = figures.stage_bars(view.key("stages-figure"), found)
    if not drawn:
        return Html("")
    body = [[name(model), *(number(it.get(key), _milliseconds) for key in figures.STAGES)] for model, it in found.items()]
    caption = f"Milliseconds per image, on {hardware_of(view.facts)}"
    shown = figure(Html(drawn), f"{caption}. Measured by headstart bench-inference, apart from training.")
    return section(view, "stages", "Where the time goes", grid([shown]), table(caption, ["model", *figures.STAGES], body))


def _milliseconds(value: float) -> str:
    return f"{1000 * value:.3f}"
