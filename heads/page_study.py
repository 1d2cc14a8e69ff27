"""The page's parts that answer the published study's tables and figures: Table 1, Table 2, Figure 1, times and losses."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from heads import figures
from heads.page_findings import models_of
from heads.page_html import (
    Html,
    below,
    clean,
    count,
    esc,
    figure,
    grid,
    img,
    interval,
    items,
    join,
    known,
    name,
    number,
    paragraph,
    part,
    points,
    section,
    share,
    table,
    time,
)

Facts = Mapping[str, Any]
NONE = Html('<span aria-label="none">–</span>')


def title_of(row: Facts) -> str:
    """A run in few words: model, recipe, and the head where it is not the study's."""
    head = row.get("head")
    return f"{clean(row.get('model'))} {clean(row.get('recipe'))}" + (f", {head}" if head not in (None, "mlp") else "")


def recipe_of(row: Facts) -> str:
    """A run's recipe in words, and the head where it is not the study's."""
    head = row.get("head")
    return f"{clean(row.get('recipe'))} recipe" + (f", {head}" if head not in (None, "mlp") else "")


def hardware_of(facts: Facts) -> str:
    """What our figures were measured on."""
    devices = dict.fromkeys(str(row["device"]) for row in items(facts, "rows") if row.get("device"))
    return str(facts.get("hardware") or "; ".join(devices) or "hardware that was not recorded")


# ------------------------------------------------------------------------------------------------------------ Table 1


def cards(facts: Facts) -> Html:
    """The accuracies at a glance, a card for each model."""
    published, notes = part(facts, "published"), notes_of(facts)
    place = published.get("hardware") or "other hardware"
    found = []
    for model in models_of(facts):
        rows = [row for row in items(facts, "rows") if row.get("model") == model]
        entries = [_entry(row, notes) for row in rows]
        theirs = part(published, "table_1").get(model) or {}
        if rows and known(theirs.get("accuracy")):
            entries.append(f"<div><dt>published, {esc(place)}</dt><dd>{share(theirs['accuracy'])}</dd></div>")
        if entries:
            found.append(f'<div class="card"><h3>{name(model)}</h3><dl>{"".join(entries)}</dl></div>')
    return Html(f'<div class="cards">{"".join(found)}</div>') if found else Html("")


def _entry(row: Facts, notes: Sequence[str]) -> str:
    ends, marks = interval(row.get("interval")), _marks(row, notes)
    return (
        f"<div><dt>{esc(recipe_of(row))}</dt><dd><strong>{share(row.get('accuracy'))}</strong>"
        + (f"<small>95 %: {ends}</small>" if ends else "")
        + (f"<small>{marks}</small>" if marks else "")
        + "</dd></div>"
    )


def notes_of(facts: Facts) -> list[str]:
    """What must stand beside our figures, each once; its place is its number."""
    return list(dict.fromkeys(str(note) for row in items(facts, "rows") for note in items(row, "notes")))


def _marks(row: Facts, notes: Sequence[str]) -> Html:
    numbers = [notes.index(str(note)) + 1 for note in items(row, "notes")]
    return Html(", ".join(f'<a href="#note-{number}">note {number}</a>' for number in numbers))


def table_1(facts: Facts) -> Html:
    """Every run beside the published figures, each group of columns with its hardware."""
    rows, published = items(facts, "rows"), part(facts, "published")
    theirs = part(published, "table_1")
    if not rows and not theirs:
        return Html("")
    place = str(published.get("hardware") or "other hardware")
    notes = notes_of(facts)
    shown: set[str] = set()
    body: list[list[str]] = []
    for row in rows:
        model = str(row.get("model"))
        beside = model not in shown and (row.get("recipe") == "study" or not _has_study(rows, model))
        shown.update([model] if beside else [])
        body.append(
            [*_ours(row, notes), *(_published(theirs.get(model)) if theirs and beside else [NONE] * 3 if theirs else [])]
        )
    body += [
        [name(model), "not run here", *[NONE] * 6, *_published(theirs[model])] for model in theirs if model not in shown
    ]
    head = [
        "run",
        "notes",
        "extraction",
        "head training",
        "inference",
        "accuracy",
        "95 % interval",
        "trained on / tested on",
    ]
    head += ["training, backbone in every epoch", "inference", "accuracy"] if theirs else []
    groups = [("", 2), (f"ours, on {hardware_of(facts)}", 6)]
    groups += [(f"published, on {place}", 3)] if theirs else []
    caption = "Table 1: our runs, each with the 95 % interval of its accuracy over test images."
    if theirs:
        caption += (
            f" Beside them the published figures, on other hardware ({place}): compare times within a group of columns."
        )
    return section(
        "table-1", "Table 1: models compared", table(caption, head, body, groups), _footnotes(notes), *_time_figure(facts)
    )


def _has_study(rows: Sequence[Facts], model: str) -> bool:
    return any(row.get("model") == model and row.get("recipe") == "study" for row in rows)


def _ours(row: Facts, notes: Sequence[str]) -> list[str]:
    own = f"<small>{esc(recipe_of(row))}</small>"
    together = row.get("together")
    several = f"<small>{together} heads at once</small>" if known(together) and int(together or 1) > 1 else ""
    inference = row.get("inference") or {}
    images = f"<small>{count(inference['images'])} images</small>" if known(inference.get("images")) else ""
    return [
        Html(f"{name(row.get('model'))}{own}"),
        _marks(row, notes) or "none",
        time(row.get("extraction_s")),
        Html(f"{time(row.get('training_s'))}{several}"),
        Html(f"{time(inference['elapsed_s'])}{images}") if known(inference.get("elapsed_s")) else "not timed",
        share(row.get("accuracy")),
        interval(row.get("interval")) or "not known",
        Html(
            f"{count(row.get('train_rows'))} / {count(row.get('test_rows'))}"
            f"<small>{name(row.get('dataset'))}, {esc(row.get('device'))}</small><small>{esc(row.get('weights'))}</small>"
        ),
    ]


def _published(it: Facts | None) -> list[str]:
    found = it or {}
    return (
        [time(found.get("training_s")), time(found.get("inference_s")), share(found.get("accuracy"))] if it else [NONE] * 3
    )


def _footnotes(notes: Sequence[str]) -> Html:
    entries = "".join(f'<li id="note-{i}">{esc(note)}</li>' for i, note in enumerate(notes, 1))
    return Html(f'<ol class="notes" aria-label="Notes to Table 1">{entries}</ol>') if notes else Html("")


def _time_figure(facts: Facts) -> list[Html]:
    published = part(facts, "published")
    order = list(dict.fromkeys([*models_of(facts), *part(published, "table_1")]))  # published ones need colours too
    drawn = figures.time_accuracy("time", items(facts, "rows"), published, order)
    caption = (
        "Time from images to a trained head, and its test accuracy with the 95 % interval over test images. Filled marks: "
        f"{hardware_of(facts)}. Hollow marks: published, on other hardware, with the backbone in each of five epochs."
    )
    return [grid([figure(Html(drawn), caption)])] if drawn else []


# ------------------------------------------------------------------------------------------------- Table 2, Figure 1


def table_2(facts: Facts) -> Html:
    """Outside photographs with each head's labels, and the published labels of the study's own photographs."""
    photos, published = items(facts, "photos"), part(facts, "published")
    theirs = part(published, "table_2")
    if not photos and not theirs:
        return Html("")
    content = [_our_photos(facts, photos)] if photos else []
    if theirs:
        models = list(dict.fromkeys(model for labels in theirs.values() for model in labels or {}))
        body = [
            [name(photo), *(esc((labels or {}).get(model, NONE)) for model in models)] for photo, labels in theirs.items()
        ]
        caption = (
            f"Table 2 as published, on {published.get('hardware') or 'other hardware'}: the study's own photographs, which "
            "were not published. ✓ is a right label; a word is the wrong one that was given."
        )
        content.append(table(caption, ["photograph", *map(name, models)], body))
    return section("table-2", "Table 2: outside photographs", *content)


def _our_photos(facts: Facts, photos: Sequence[Facts]) -> Html:
    titles = {str(row.get("run")): title_of(row) for row in items(facts, "rows")}
    seen = dict.fromkeys(run for photo in photos for run in part(photo, "labels"))
    runs = [run for run in titles if run in seen] + [run for run in seen if run not in titles]
    body: list[list[str]] = []
    for i, photo in enumerate(photos):
        picture = (
            img(photo["image"], f"Photograph {photo.get('name')}", f"photos[{i}].image", "photo")
            if photo.get("image")
            else ""
        )
        body.append([Html(f"{picture}{name(photo.get('name'))}"), *(_labels(photo, run) for run in runs)])
        if not runs:
            body[-1].append(f"can't be read: {photo.get('error') or 'not labelled'}")
    caption = (
        f"Table 2: our photographs, the most probable labels of each head, with their probabilities; {hardware_of(facts)}."
    )
    head = ["photograph", *(name(titles.get(run, run)) for run in runs)] if runs else ["photograph", "labels"]
    return join([table(caption, head, body), paragraph(_ceiling(facts))])


def _labels(photo: Facts, run: str) -> Html:
    labels = items(part(photo, "labels"), run)
    if not labels:
        return esc(f"can't be read: {photo['error']}" if photo.get("error") else "not labelled")
    first, *rest = [f"{name(label)} {number(value, '{:.0%}'.format)}" for label, value in labels]
    return Html(f"<strong>{first}</strong>{''.join(f'<small>{other}</small>' for other in rest)}")


def _ceiling(facts: Facts) -> str:
    classes = len(items(facts, "classes"))
    if classes < 2 or not any(row.get("recipe") == "study" for row in items(facts, "rows")):
        return ""
    most = math.e / (math.e + classes - 1)
    return f"With the study recipe's sigmoid no probability can exceed e / (e + C − 1), {most:.0%} for {classes} classes."


def figure_1(facts: Facts) -> Html:
    """An image before and after preprocessing."""
    it = part(facts, "figure_1")
    images = [_preprocessed(one, f"figure_1.images[{i}].image") for i, one in enumerate(items(it, "images"))]
    if not images:
        return Html("")
    art = Html(f'<div class="pair">{"".join(images)}</div>')
    return section(
        "figure-1", "Figure 1: what the backbone sees", figure(art, it.get("caption") or "Before and after preprocessing.")
    )


def _preprocessed(one: Facts, place: str) -> Html:
    title = str(one.get("title") or "image")
    return Html(f"<div>{img(one.get('image'), title, place)}<p>{esc(title)}</p></div>")


# --------------------------------------------------------------------------------------------------- losses and times


def losses(facts: Facts) -> Html:
    """Mean loss of each epoch, a figure for each recipe."""
    rows, order = items(facts, "rows"), models_of(facts)
    recipes = dict.fromkeys(str(row.get("recipe")) for row in rows)
    drawn = [figures.losses(f"loss-{i}", recipe, rows, order) for i, recipe in enumerate(recipes)]
    with_losses = [row for row in rows if items(row, "losses")]
    if not with_losses:
        return Html("")
    caption = "Mean training loss of each epoch. Recipes with and without the sigmoid have different scales."
    body = [
        [Html(f"{name(row.get('model'))} {esc(row.get('recipe'))}"), count(len(row["losses"])), *_first_last(row["losses"])]
        for row in with_losses
    ]
    numbers = table("Mean training loss", ["run", "epochs", "first epoch", "last epoch"], body)
    return section("losses", "Learning curves", grid([figure(Html(it), caption) for it in drawn if it]), numbers)


def _first_last(values: Sequence[Any]) -> list[str]:
    return [number(values[i], "{:.4f}".format) for i in (0, -1)]


def stages(facts: Facts) -> Html:
    """Where the time of an image goes, from raw image to label."""
    found = {model: it for model, it in part(facts, "stages").items() if it}
    drawn = figures.stage_bars("stages", found)
    if not drawn:
        return Html("")
    body = [[name(model), *(number(it.get(key), _milliseconds) for key in figures.STAGES)] for model, it in found.items()]
    caption = f"Milliseconds per image, on {hardware_of(facts)}"
    shown = figure(Html(drawn), f"{caption}. Measured by headstart bench-inference, apart from training.")
    return section("stages", "Where the time goes", grid([shown]), table(caption, ["model", *figures.STAGES], body))


def _milliseconds(value: float) -> str:
    return f"{1000 * value:.3f}"


# -------------------------------------------------------------------------------------------------------- comparisons


def comparisons(facts: Facts) -> Html:
    """McNemar's test for every pair of models, Holm's correction over them."""
    found = items(facts, "comparisons")
    if not found:
        return Html("")
    content = []
    for recipe in dict.fromkeys(str(it.get("recipe")) for it in found):
        pairs = [it for it in found if str(it.get("recipe")) == recipe]
        methods = ", ".join(dict.fromkeys(str(it["method"]) for it in pairs if it.get("method"))) or "McNemar"
        caption = f"{recipe} recipe: difference of accuracies, first less second, in percentage points; {methods}."
        head = ["pair", "only first right", "only second right", "difference", "95 % interval", "p", "p, Holm", "differ?"]
        content.append(below(f"{recipe} recipe", table(caption, head, [_pair(it) for it in pairs])))
    lead = (
        "Two models are tested on the same images, so only the images that one labels rightly and the other wrongly tell "
        "them apart (McNemar's test). Holm's correction allows for the number of pairs: without it, one test in twenty "
        "would find a difference where there is none."
    )
    return section("comparisons", "Are the differences real?", paragraph(lead), *content)


def _pair(it: Facts) -> list[str]:
    verdict = ("yes" if it["p_holm"] < 0.05 else "not shown") if known(it.get("p_holm")) else "not known"
    return [
        Html(f"{name(it.get('first'))} and {name(it.get('second'))}"),
        count(it.get("only_first")),
        count(it.get("only_second")),
        points(it.get("difference")),
        interval((it.get("low"), it.get("high")), points) or "not known",
        number(it.get("p"), probability),
        number(it.get("p_holm"), probability),
        verdict,
    ]


def probability(value: float) -> str:
    """A p value: three digits, or that it is smaller than one can care about."""
    return "< 0.0001" if value < 0.0001 else f"{value:.3g}" if value < 0.001 else f"{value:.4f}"
