"""The page's parts that answer the study's open questions: seeds, epochs, sizes, classes, sigmoid, BatchNorm, maps."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from heads import figures, page_classes
from heads.page_findings import by_recipe, models_of
from heads.page_html import (
    Html,
    below,
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
    with_interval,
)
from heads.page_study import probability

Facts = Mapping[str, Any]
SHOWN_EPOCHS = (1, 2, 5, 10, 20, 50, 100)


def _each(facts: Facts, key: str) -> Iterator[tuple[str, str, Any]]:
    """(recipe, model, what there is under `key`), where there is something."""
    for recipe, models in by_recipe(facts).items():
        yield from ((recipe, model, it[key]) for model, it in models.items() if it.get(key))


def _named(model: str, recipe: str) -> Html:
    return Html(f"{name(model)}<small>{esc(recipe)} recipe</small>")


# ------------------------------------------------------------------------------------------------------ seeds, curves


def seeds(facts: Facts) -> Html:
    """How much of an accuracy is chance."""
    found = [(model, recipe, it) for recipe, model, it in _each(facts, "seeds") if items(it, "accuracies")]
    if not found:
        return Html("")
    body = [
        [_named(model, recipe), *_spread(it, part(part(facts, "models"), model)[recipe])] for model, recipe, it in found
    ]
    head = [
        "model", "seeds", "mean", "95 % interval of the mean", "standard deviation", "lowest to highest",
        "95 %, one head over test images", "95 %, over seeds and images", "time for all",
    ]  # fmt: skip
    drawn = figures.seeds("seeds", part(facts, "models"), models_of(facts))
    caption = (
        "Each dot is a head trained from another seed; a diamond is their mean. The thick line is the 95 % interval of "
        "the mean over seeds, the thin one allows for the choice of test images as well."
    )
    return section(
        "seeds",
        "How much is chance: seeds",
        grid([figure(Html(drawn), caption)]),
        table("Test accuracy over seeds", head, body),
    )


def _spread(it: Facts, whole: Facts) -> list[str]:
    values = [value for value in items(it, "accuracies") if known(value)]
    together = it.get("together")
    several = f"<small>{count(together)} heads at once</small>" if known(together) else ""
    return [
        count(len(values)),
        share(it.get("mean")),
        interval((it.get("low"), it.get("high"))) or "not known",
        number(it.get("deviation"), lambda value: f"{100 * value:.2f} points"),
        interval((min(values), max(values))) if values else "not known",
        interval(whole.get("test_interval")) or "not known",
        interval(whole.get("both_interval")) or "not known",
        Html(f"{time(it.get('elapsed_s'))}{several}"),
    ]


def epochs(facts: Facts) -> Html:
    """Test accuracy against the number of epochs."""
    lead = (
        "The study asked whether more epochs would tell the models apart. Test rows are watched here, never used to choose."
    )
    return _curves(facts, "epochs", "epoch", "More epochs", "epochs of training (number)", lead)


def sizes(facts: Facts) -> Html:
    """Test accuracy against the number of training images."""
    lead = "The study took the first 24,000 images to save time. Here the number of training images is varied."
    return _curves(facts, "sizes", "rows", "More training images", "training images (number)", lead)


def _curves(facts: Facts, key: str, field: str, heading: str, x: str, lead: str) -> Html:
    found: dict[str, dict[str, Any]] = {}
    for recipe, model, it in _each(facts, key):
        found.setdefault(recipe, {})[model] = it
    drawn, tables = [], []
    for i, (recipe, models) in enumerate(found.items()):
        art = figures.curve(f"{key}-{i}", f"{heading}, {recipe} recipe", x, field, models, models_of(facts))
        if art:
            drawn.append(
                figure(
                    Html(art), f"{recipe} recipe: mean test accuracy; the band reaches from the lowest seed to the highest."
                )
            )
            tables.append(
                _curve_table(f"{heading}, {recipe} recipe: mean test accuracy (lowest to highest seed)", field, models)
            )
    return section(key, heading, paragraph(lead), grid(drawn), *tables) if drawn else Html("")


def _curve_table(caption: str, field: str, models: Mapping[str, Sequence[Facts]]) -> Html:
    places = sorted({entry[field] for it in models.values() for entry in it})
    places = places if len(places) <= 12 else [place for place in places if place in SHOWN_EPOCHS or place == places[-1]]
    cells = {model: {entry[field]: items(entry, "accuracies") for entry in it} for model, it in models.items()}
    body = [[name(model), *(_mean(cells[model].get(place)) for place in places)] for model in models]
    return table(caption, ["model", *(f"{place:,}" for place in places)], body)


def _mean(values: Sequence[float] | None) -> Html:
    if not values:
        return Html("not known")
    ends = f"<small>{interval((min(values), max(values)))}</small>" if len(values) > 1 else ""
    return Html(f"{share(statistics.fmean(values))}{ends}")


# ------------------------------------------------------------------------------------------------------------ classes


def classes(facts: Facts) -> Html:
    """What is mistaken for what: recall, predicted labels, confusion matrices."""
    names = [str(entry) for entry in items(facts, "classes")]
    content = []
    for i, (recipe, models) in enumerate(by_recipe(facts).items()):
        shares = {model: part(it, "recall") for model, it in models.items() if it.get("recall")}
        drawn = [page_classes.recall(f"recall-{i}", recipe, shares, names, models_of(facts))]
        caption = f"Recall, {recipe} recipe: the share of each class's test images that got its label."
        shown = [figure(Html(art), caption) for art in drawn if art]
        tables = [*_class_tables(recipe, models, names), *_shifts(facts, recipe)]
        pieces = [grid(shown), *tables, grid(_matrices(i, recipe, models, names))]
        content += [below(f"{recipe} recipe", *pieces)] if any(pieces) else []
    return section("classes", "What is mistaken for what", *content) if content else Html("")


def _class_tables(recipe: str, models: Mapping[str, Facts], names: Sequence[str]) -> list[Html]:
    shares = {model: part(it, "recall") for model, it in models.items() if it.get("recall")}
    counts = {model: part(it, "predicted") for model, it in models.items() if it.get("predicted")}
    true = next((part(it, "true") for it in models.values() if it.get("true")), {})
    found = []
    if shares and names:
        body = [[name(entry), *(share(it.get(entry)) for it in shares.values())] for entry in names]
        found.append(table(f"Recall of each class, {recipe} recipe", ["class", *map(name, shares)], body))
    if counts and names:
        body = [[name(entry), count(true.get(entry)), *(count(it.get(entry)) for it in counts.values())] for entry in names]
        caption = (
            f"Labels given to test images, {recipe} recipe: how often each class is there, and how often each model says it"
        )
        found.append(table(caption, ["class", "true images", *map(name, counts)], body))
    return found


def _shifts(facts: Facts, recipe: str) -> list[Html]:
    """The labels that one model gives more often than another on the same images, beyond chance."""
    found = [it for it in items(facts, "label_shifts") if it.get("recipe") == recipe]
    beyond = sorted((it for it in found if it["p_holm"] < 0.05), key=lambda it: -abs(it["difference"]))
    if not found:
        return []
    lead = f"{count(len(beyond))} of {count(len(found))} pairs of models and labels differ beyond chance (McNemar, Holm)."
    head = ["label", "given by", "more often than by", "only the first", "only the second", "p, Holm"]
    body = [
        [
            name(it["label"]),
            *map(name, (it["first"], it["second"]) if it["difference"] > 0 else (it["second"], it["first"])),
            *map(count, sorted((it["only_first"], it["only_second"]), reverse=True)),
            probability(it["p_holm"]),
        ]
        for it in beyond[:20]
    ]
    caption = f"Labels that one model gives more often than another, {recipe} recipe: the clearest twenty"
    return [paragraph(lead), *([table(caption, head, body)] if body else [])]


def _matrices(i: int, recipe: str, models: Mapping[str, Facts], names: Sequence[str]) -> list[Html]:
    found = []
    for j, (model, it) in enumerate(models.items()):
        matrix = (it.get("confusion") or []) if names else []
        art = page_classes.confusion(f"confusion-{i}-{j}", f"{model}, {recipe} recipe", matrix, names) if matrix else ""
        if art:
            often = [
                f"{true} taken for {other} ({count(images)})"
                for images, true, other in page_classes.mix_ups(matrix, names)[:3]
            ]
            caption = f"{model}, {recipe} recipe: counts of test images; shade: square root of the share of the true class."
            found.append(figure(Html(art), caption + (f" Most often: {', '.join(often)}." if often else "")))
    return found


# -------------------------------------------------------------------------------------------------- sigmoid, BatchNorm


def sigmoid(facts: Facts) -> Html:
    """What the sigmoid before the loss costs."""
    body = []
    for it in items(facts, "sigmoid"):
        first, second = part(it, "with"), part(it, "without")
        if first or second:
            both = known(first.get("mean")) and known(second.get("mean"))
            change = points(second["mean"] - first["mean"]) if both else "not known"
            ends = [(with_interval(end.get("mean"), (end.get("low"), end.get("high")))) for end in (first, second)]
            body.append([name(it.get("model")), *ends, change])
    if not body:
        return Html("")
    lead = (
        "The study squashes the scores by a sigmoid before the cross entropy, so its loss cannot fall under "
        "ln(1 + (C − 1)/e) and its gradient fades. The same training without it:"
    )
    head = ["model", "with the sigmoid", "without", "change, percentage points"]
    caption = "Mean test accuracy with 95 % intervals, with the sigmoid and without"
    return section("sigmoid", "What the sigmoid costs", paragraph(lead), table(caption, head, body))


def batch_norm(facts: Facts) -> Html:
    """What BatchNorm left in training mode costs."""
    it = part(facts, "batch_norm")
    sides = {mode: [value for value in items(it, mode) if known(value)] for mode in ("eval", "train")}
    if not all(sides.values()):
        return Html("")
    lead = (
        "Parameters that need no gradient do not freeze BatchNorm: in training mode it goes on normalising by the batch "
        "and moving its running statistics, as in the published code. Features kept from eval() cannot have this fault; it "
        "was imitated on a small subset."
    )
    body = [
        [name(mode + "()"), _mean(values), count(len(values)), ", ".join(map(share, values))]
        for mode, values in sides.items()
    ]
    caption = (
        f"{it.get('model')}, {count(it.get('train_images'))} training and {count(it.get('test_images'))} test images: "
        f"test accuracy (lowest to highest seed)"
    )
    return section(
        "batch-norm", "What BatchNorm in training mode costs", paragraph(lead),
        table(caption, ["backbone in", "mean", "seeds", "each seed"], body), paragraph(str(it.get("note") or ""), "made"),
    )  # fmt: skip


# ---------------------------------------------------------------------------------------------- calibration, mistakes


def calibration(facts: Facts) -> Html:
    """Whether 90 % means 90 %."""
    body, drawn = [], []
    for i, (recipe, model, it) in enumerate(_each(facts, "calibration")):
        four = (it.get(key) for key in ("ece", "ece_after", "nll", "nll_after"))
        numbers = [number(value, "{:.4f}".format) for value in four]
        body.append([_named(model, recipe), *numbers, number(it.get("temperature"), "{:.3f}".format)])
        art = figures.reliability(f"reliability-{i}", f"{model}, {recipe} recipe", it)
        drawn += [figure(Html(art), f"{model}, {recipe} recipe: on the dotted line confidence is right.")] if art else []
    if not body:
        return Html("")
    head = [
        "model", "calibration error", "after temperature", "negative log-likelihood (nats)", "after temperature",
        "temperature",
    ]  # fmt: skip
    lead = (
        "A head is calibrated when, of the labels it gives with 90 % confidence, 90 % are right. One number, the "
        "temperature, is fitted on rows set aside from training and divides all scores; it changes no label."
    )
    caption = "Expected calibration error (0 is perfect) and negative log-likelihood on the test rows"
    return section(
        "calibration",
        "Can the probabilities be trusted?",
        paragraph(lead),
        table(caption, head, body),
        grid(drawn, "small"),
    )


def mistakes(facts: Facts) -> Html:
    """The most confident mistakes, a contact sheet for each model and recipe."""
    found = [(model, recipe, it) for recipe, model, it in _each(facts, "mistakes")]
    sheets = []
    for i, (model, recipe, entries) in enumerate(found):
        place = f"models.{model}.{recipe}.mistakes"
        cells = join(_mistake(it, f"{place}[{j}].image") for j, it in enumerate(entries))
        title = f"<summary>{name(model)}, {esc(recipe)} recipe ({count(len(entries))} images)</summary>"
        sheets.append(Html(f'<details{" open" if i == 0 else ""}>{title}<ul class="sheet">{cells}</ul></details>'))
    lead = "Wrong labels with the highest probabilities. Some are hard for people too, some labels are doubtful."
    return section("mistakes", "The most confident mistakes", paragraph(lead), *sheets) if sheets else Html("")


def _mistake(it: Facts, place: str) -> Html:
    sure = number(it.get("probability"), "{:.1%}".format)
    alt = f"Test image {it.get('row')}: {it.get('label')}, labelled {it.get('predicted')} with {sure}"
    words = f"{name(it.get('label'))}, labelled <strong>{name(it.get('predicted'))}</strong> {sure}"
    return Html(f"<li>{img(it['image'], alt, place) if it.get('image') else ''}<p>{words}</p></li>")


def disagreements(facts: Facts) -> Html:
    """Test images on which the models disagree."""
    found = items(facts, "disagreements")
    models = list(dict.fromkeys(model for it in found for model in part(it, "predicted")))
    body = []
    for i, it in enumerate(found):
        alt = f"Test image {it.get('row')}: {it.get('label')}"
        art = img(it["image"], alt, f"disagreements[{i}].image", "tiny") if it.get("image") else Html("")
        first = Html(f"{art}{name(it.get('label'))}<small>test image {esc(it.get('row'))}</small>")
        body.append([first, *(_verdict(part(it, "predicted").get(model), it.get("label")) for model in models)])
    caption = "Test images on which the models disagree: the true class, and what each model says"
    return (
        section("disagreements", "Where the models disagree", table(caption, ["image", *map(name, models)], body))
        if body
        else Html("")
    )


def _verdict(predicted: Any, label: Any) -> Html:
    return Html("not labelled") if predicted is None else Html(f"{name(predicted)}{' ✓' if predicted == label else ''}")


# --------------------------------------------------------------------------------------------------------------- maps


def maps(facts: Facts) -> Html:
    """The features in two dimensions, a figure for each model."""
    names = [str(entry) for entry in items(facts, "classes")]
    drawn = [_maps_of(i, model, it, names) for i, (model, it) in enumerate(part(facts, "maps").items()) if it]
    both = any(len(figures_of) > 1 for figures_of in drawn)
    # where there are pairs, each has a row of its own
    grids = map(grid, drawn) if both else [grid([one for figures_of in drawn for one in figures_of])]
    lead = "No head is involved: where classes lie apart already, a small head has little left to do."
    content = [paragraph(lead), paragraph(_NO_DISTANCES if both else ""), *grids]
    return section("maps", "What the backbones see alike", *content) if any(drawn) else Html("")


_NO_DISTANCES = (
    "t-SNE keeps neighbours together and little else: distances between its groups, and how large or dense they are, mean "
    "nothing (Wattenberg et al., How to Use t-SNE Effectively, Distill 2016, doi:10.23915/distill.00002)."
)


def _maps_of(i: int, model: str, facts: Facts, classes: Sequence[str]) -> list[Html]:
    """One model's maps: PCA, and t-SNE where the report has it."""
    found = []
    for key, place, it in (
        (f"map-{i}", f"maps.{model}", facts),
        (f"map-{i}-tsne", f"maps.{model}.tsne", part(facts, "tsne")),
    ):
        art = page_classes.feature_map(key, model, it, classes, place) if it else ""
        if art:
            text = f"{model}: {page_classes.method_of(it)} of the backbone's features, coloured by true class."
            found.append(figure(Html(art), text + _thinned(len(items(it, "points")))))
    return found


def _thinned(total: int) -> str:
    step = -(-total // page_classes.MOST_POINTS)
    return f" Of {count(total)} points {count(-(-total // step))} are drawn." if step > 1 else ""
