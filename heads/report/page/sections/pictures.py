"""The page's parts with test images: confident mistakes, disagreements, and maps of the features."""

from collections.abc import Sequence
from typing import Any

from headstart.core.heads.report.page import class_charts as page_classes
from headstart.core.heads.report.page.html import (
    Facts,
    Html,
    View,
    count,
    esc,
    figure,
    grid,
    img,
    items,
    join,
    name,
    number,
    paragraph,
    part,
    section,
    table,
)
from headstart.core.heads.report.page.words import best_of, each, settings_words

MOST_SHEETS = 12
"""Heads whose mistakes are shown."""


def mistakes(view: View) -> Html:
    """The most confident mistakes, a contact sheet for each head; the best head's is open."""
    sheets, best = [], best_of(view.facts) or {}
    shown = str(best.get("model")), str(best.get("recipe"))
    for recipe, model, entries in each(view.facts, "mistakes"):
        place = f"{view.place}.models.{model}.{recipe}.mistakes"
        cells = join(mistake(it, f"{place}[{j}].image") for j, it in enumerate(entries))
        title = f"<summary>{name(model)}, {esc(settings_words(recipe))} ({count(len(entries))} images)</summary>"
        sheets.append(
            Html(f'<details{" open" if (model, recipe) == shown else ""}>{title}<ul class="sheet">{cells}</ul></details>')
        )
    lead = "Wrong labels with the highest probabilities. Some are hard for people too, some labels are doubtful."
    rest = f"{count(len(sheets) - MOST_SHEETS)} more heads have theirs in report.json." if len(sheets) > MOST_SHEETS else ""
    return (
        section(view, "mistakes", "The most confident mistakes", paragraph(lead), *sheets[:MOST_SHEETS], paragraph(rest))
        if sheets
        else Html("")
    )


def mistake(it: Facts, place: str) -> Html:
    """An entry of a contact sheet: the image, its true label and the one that it got."""
    sure = number(it.get("probability"), "{:.1%}".format)
    alt = f"Test image {it.get('row')}: {it.get('label')}, labelled {it.get('predicted')} with {sure}"
    words = f"{name(it.get('label'))}, labelled <strong>{name(it.get('predicted'))}</strong> {sure}"
    art = img(it["image"], alt, place) if it.get("image") else f"<small>test image {esc(it.get('row'))}</small>"
    return Html(f"<li>{art}<p>{words}</p></li>")


def disagreements(view: View) -> Html:
    """Test images on which the models disagree."""
    found = items(view.facts, "disagreements")
    models = list(dict.fromkeys(model for it in found for model in part(it, "predicted")))
    body = []
    for i, it in enumerate(found):
        alt = f"Test image {it.get('row')}: {it.get('label')}"
        art = img(it["image"], alt, f"{view.place}.disagreements[{i}].image", "tiny") if it.get("image") else Html("")
        first = Html(f"{art}{name(it.get('label'))}<small>test image {esc(it.get('row'))}</small>")
        body.append([first, *(_verdict(part(it, "predicted").get(model), it.get("label")) for model in models)])
    caption = "Test images on which the models disagree: the true class, and what each model says"
    shown = table(caption, ["image", *map(name, models)], body) if body else Html("")
    return section(view, "disagreements", "Where the models disagree", shown) if body else Html("")


def _verdict(predicted: Any, label: Any) -> Html:
    return Html("not labelled") if predicted is None else Html(f"{name(predicted)}{' ✓' if predicted == label else ''}")


# --------------------------------------------------------------------------------------------------------------- maps


def maps(view: View) -> Html:
    """The features in two dimensions, a figure for each model."""
    names = [str(entry) for entry in items(view.facts, "classes")]
    found = part(view.facts, "maps")
    drawn = [_maps_of(view, i, model, it, names) for i, (model, it) in enumerate(found.items()) if it]
    both = any(len(figures_of) > 1 for figures_of in drawn)
    # where there are pairs, each has a row of its own
    grids = map(grid, drawn) if both else [grid([one for figures_of in drawn for one in figures_of])]
    lead = "No head is involved: where classes lie apart already, a small head has little left to do."
    content = [paragraph(lead), paragraph(_NO_DISTANCES if both else ""), *grids]
    return section(view, "maps", "What the backbones see alike", *content) if any(drawn) else Html("")


_NO_DISTANCES = (
    "t-SNE keeps neighbours together and little else: distances between its groups, and how large or dense they are, mean "
    "nothing (Wattenberg et al., How to Use t-SNE Effectively, Distill 2016, doi:10.23915/distill.00002)."
)


def _maps_of(view: View, i: int, model: str, facts: Facts, classes: Sequence[str]) -> list[Html]:
    """One model's maps: PCA, and t-SNE where the report has it."""
    found = []
    for key, place, it in (
        (f"map-{i}", f"{view.place}.maps.{model}", facts),
        (f"map-{i}-tsne", f"{view.place}.maps.{model}.tsne", part(facts, "tsne")),
    ):
        art = page_classes.feature_map(view.key(key), model, it, classes, place) if it else ""
        if art:
            text = f"{model}: {page_classes.method_of(it)} of the backbone's features, coloured by true class."
            found.append(figure(Html(art), text + _thinned(len(items(it, "points"))) + _unnamed(it, classes)))
    return found


def _thinned(total: int) -> str:
    step = -(-total // page_classes.MOST_POINTS)
    return f" Of {count(total)} points {count(-(-total // step))} are drawn." if step > 1 else ""


def _unnamed(it: Facts, classes: Sequence[str]) -> str:
    many = len({point[2] for point in items(it, "points") if len(point) == 3})
    most = page_classes.MOST_LABELS
    return f" The legend names {most} of {count(many)} classes; colours repeat." if many > most else ""
