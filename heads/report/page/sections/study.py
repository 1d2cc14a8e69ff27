"""The page's parts that answer the published study's tables and figures: Table 1, Table 2, Figure 1, sigmoid, BatchNorm."""

import math
from collections.abc import Sequence
from pathlib import PurePath

from headstart.core.heads.report.page import charts as figures
from headstart.core.heads.report.page.html import (
    Facts,
    Html,
    View,
    clean,
    count,
    esc,
    figure,
    grid,
    img,
    items,
    join,
    known,
    mean_of,
    name,
    number,
    paragraph,
    part,
    points,
    section,
    share,
    table,
    time,
    with_interval,
)
from headstart.core.heads.report.page.words import (
    accuracy_of,
    footnotes,
    hardware_of,
    marks,
    models_of,
    notes_of,
    published_of,
    settings_words,
    title_of,
)
from headstart.core.heads.report.tables import squashed

NONE = Html('<span aria-label="none">–</span>')

# ------------------------------------------------------------------------------------------------------------ Table 1


def table_1(view: View) -> Html:
    """Every head with its accuracy and times; the published figures in a column of their own, with their hardware."""
    rows, theirs = items(view.facts, "rows"), part(view.published, "table_1")
    if not rows and not theirs:
        return Html("")
    place, notes = str(view.published.get("hardware") or "other hardware"), notes_of(view.facts)
    body = [_line(view, row, notes) for row in rows]
    shown = {str(row.get("model")).partition(",")[0] for row in rows if row.get("published")}
    others = [model for model in theirs if model not in shown]
    body += [[name(model), "not run here", _published(theirs[model]), *[NONE] * 4] for model in others]
    head = ["head", "accuracy", *([f"published, {place}"] if theirs else []), "extraction", "head training", "inference",
            "trained on / tested on"]  # fmt: skip
    caption = f"Heads on {hardware_of(view.facts)}, each with the 95 % interval of its accuracy."
    if theirs:
        caption = (
            f"Table 1: our h{caption[1:]} Published times are of other hardware ({place}): compare accuracies, not times."
        )
    heading = "Table 1: models compared" if theirs else "All heads"
    return section(view, "table-1", heading, table(caption, head, body), footnotes(view, notes), *_time_figure(view))


def _line(view: View, row: Facts, notes: Sequence[str]) -> list[str]:
    together, inference = row.get("together"), part(row, "inference")
    several = f"<small>{count(together)} heads at once</small>" if known(together) and together > 1 else ""
    images = f"<small>{count(inference['images'])} images</small>" if known(inference.get("images")) else ""
    own = f"<small>{esc(settings_words(row.get('recipe')))}</small>"
    made = f"{name(row.get('dataset'))}, {esc(row.get('device'))}"
    return [
        Html(f"{name(row.get('model'))}{marks(view, row, notes)}{own}"),
        accuracy_of(row),
        *([_published(published_of(row, view.published))] if part(view.published, "table_1") else []),
        time(row.get("extraction_s")),
        Html(f"{time(row.get('training_s'))}{several}"),
        Html(f"{time(inference['elapsed_s'])}{images}") if known(inference.get("elapsed_s")) else "not timed",
        Html(f"{count(row.get('train_rows'))} / {count(row.get('test_rows'))}<small>{made}</small>"),
    ]


def _published(it: Facts) -> Html:
    if not it:
        return NONE
    times = (("training", it.get("training_s")), ("inference", it.get("inference_s")))
    small = "".join(f"<small>{words} {time(value)}</small>" for words, value in times)
    return Html(f"{share(it.get('accuracy'))}{small}")


def _time_figure(view: View) -> list[Html]:
    order = list(dict.fromkeys([*models_of(view.facts), *part(view.published, "table_1")]))  # published: colours too
    timed = [row for row in items(view.facts, "rows") if figures.trained_in(row)]
    if len(timed) + len(part(view.published, "table_1")) < 2:  # one point says no more than its line
        return []
    drawn = figures.time_accuracy(view.key("time"), items(view.facts, "rows"), view.published, order)
    caption = (
        "Time from images to a trained head, and its test accuracy with its 95 % interval. Filled marks: "
        f"{hardware_of(view.facts)}."
    )
    if view.published:
        caption += " Hollow marks: published, on other hardware, with the backbone in each of five epochs."
    return [grid([figure(Html(drawn), caption)])] if drawn else []


# ------------------------------------------------------------------------------------------------- Table 2, Figure 1


def table_2(view: View) -> Html:
    """Outside photographs with each head's labels, and the published labels of the study's own photographs."""
    photos, theirs = items(view.facts, "photos"), part(view.published, "table_2")
    if not photos and not theirs:
        return Html("")
    content = [_our_photos(view, photos)] if photos else []
    if theirs:
        models = list(dict.fromkeys(model for labels in theirs.values() for model in labels or {}))
        body = [
            [name(photo), *(esc((labels or {}).get(model, NONE)) for model in models)] for photo, labels in theirs.items()
        ]
        caption = (
            f"Table 2 as published, on {view.published.get('hardware') or 'other hardware'}: the study's own photographs, "
            "which were not published. ✓ is a right label; a word is the wrong one that was given."
        )
        content.append(table(caption, ["photograph", *map(name, models)], body))
    heading = "Table 2: outside photographs" if theirs else "Outside photographs"
    return section(view, "table-2", heading, *content)


def _our_photos(view: View, photos: Sequence[Facts]) -> Html:
    titles = {str(row.get("run")): title_of(row) for row in items(view.facts, "rows")}
    seen = dict.fromkeys(run for photo in photos for run in part(photo, "labels"))
    runs = [run for run in titles if run in seen] + [run for run in seen if run not in titles]
    body: list[list[str]] = []
    for i, photo in enumerate(photos):
        body.append([_photograph(photo, f"{view.place}.photos[{i}].image"), *(_labels(photo, run) for run in runs)])
        if not runs:
            body[-1].append(f"can't be read: {photo.get('error') or 'not labelled'}")
    caption = (
        f"Our photographs: the most probable labels of each head, with their probabilities; {hardware_of(view.facts)}."
    )
    head = ["photograph", *(name(titles.get(run, run)) for run in runs)] if runs else ["photograph", "labels"]
    return join([table(caption, head, body), paragraph(_ceiling(view.facts))])


def _photograph(photo: Facts, place: str) -> Html:
    """A photograph with the name of its file; its whole path stands in the title."""
    path = clean(photo.get("name"))
    short = PurePath(path).name or path
    art = img(photo["image"], f"Photograph {short}", place, "photo") if photo.get("image") else ""
    return Html(f'<span title="{esc(path)}">{art}{name(short)}</span>')


def _labels(photo: Facts, run: str) -> Html:
    labels = items(part(photo, "labels"), run)
    if not labels:
        return esc(f"can't be read: {photo['error']}" if photo.get("error") else "not labelled")
    first, *rest = [f"{name(label)} {number(value, '{:.0%}'.format)}" for label, value in labels]
    return Html(f"<strong>{first}</strong>{''.join(f'<small>{other}</small>' for other in rest)}")


def _ceiling(facts: Facts) -> str:
    classes = len(items(facts, "classes"))
    if classes < 2 or not any(squashed(str(row.get("recipe"))) for row in items(facts, "rows")):
        return ""
    most = math.e / (math.e + classes - 1)
    return f"With the study recipe's sigmoid no probability can exceed e / (e + C − 1), {most:.0%} for {classes} classes."


def figure_1(view: View) -> Html:
    """An image before and after preprocessing."""
    it = part(view.facts, "figure_1")
    images = [_preprocessed(one, f"{view.place}.figure_1.images[{i}].image") for i, one in enumerate(items(it, "images"))]
    if not images:
        return Html("")
    art = Html(f'<div class="pair">{"".join(images)}</div>')
    heading = f"{'Figure 1: w' if view.published else 'W'}hat the backbone sees"
    return section(view, "figure-1", heading, figure(art, it.get("caption") or "Before and after preprocessing."))


def _preprocessed(one: Facts, place: str) -> Html:
    title = str(one.get("title") or "image")
    return Html(f"<div>{img(one.get('image'), title, place)}<p>{esc(title)}</p></div>")


# -------------------------------------------------------------------------------------------------- sigmoid, BatchNorm


def sigmoid(view: View) -> Html:
    """What the sigmoid before the loss costs."""
    body = []
    for it in items(view.facts, "sigmoid"):
        first, second = part(it, "with"), part(it, "without")
        if first or second:
            both = known(first.get("mean")) and known(second.get("mean"))
            change = points(second["mean"] - first["mean"]) if both else "not known"
            ends = [(with_interval(end.get("mean"), (end.get("low"), end.get("high")))) for end in (first, second)]
            body.append([name(it.get("model")), *ends, change])
    if not body:
        return Html("")
    whose = "The study squashes" if view.published else "The study recipe squashes"
    lead = (
        f"{whose} the scores by a sigmoid before the cross entropy, so its loss cannot fall under "
        "ln(1 + (C − 1)/e) and its gradient fades. The same training without it:"
    )
    head = ["model", "with the sigmoid", "without", "change, percentage points"]
    caption = "Mean test accuracy with 95 % intervals, with the sigmoid and without"
    return section(view, "sigmoid", "What the sigmoid costs", paragraph(lead), table(caption, head, body))


def batch_norm(view: View) -> Html:
    """What BatchNorm left in training mode costs."""
    it = part(view.facts, "batch_norm")
    sides = {mode: [value for value in items(it, mode) if known(value)] for mode in ("eval", "train")}
    if not all(sides.values()):
        return Html("")
    lead = (
        "Parameters that need no gradient do not freeze BatchNorm: in training mode it goes on normalising by the batch "
        f"and moving its running statistics{', as in the published code' if view.published else ''}. Features kept from "
        "eval() cannot have this fault; it was imitated on a small subset."
    )
    body = [
        [name(mode + "()"), mean_of(values), count(len(values)), ", ".join(map(share, values))]
        for mode, values in sides.items()
    ]
    caption = (
        f"{it.get('model')}, {count(it.get('train_images'))} training and {count(it.get('test_images'))} test images: "
        f"test accuracy (lowest to highest seed)"
    )
    return section(
        view, "batch-norm", "What BatchNorm in training mode costs", paragraph(lead),
        table(caption, ["backbone in", "mean", "seeds", "each seed"], body), paragraph(str(it.get("note") or ""), "made"),
    )  # fmt: skip
