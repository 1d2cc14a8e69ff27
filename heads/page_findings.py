"""What the figures say, in plain words: each sentence is computed from the facts, none is written beforehand."""

import itertools
import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from heads.figures import trained_in
from heads.page_classes import mix_ups
from heads.page_html import Html, count, esc, items, known, name, number, part, points, share, time, with_interval

Facts = Mapping[str, Any]


def findings(facts: Facts) -> list[Html]:
    """The main findings, one sentence or a few each; none where the facts say nothing of it."""
    makers = (_best, _published, _pairs, _sigmoid, _batch_norm, _cost, _stages, _epochs, _sizes, _labels, _trust, _photos)
    return [Html(f"<strong>{esc(lead)}</strong> {text}") for maker in makers for lead, text in maker(facts)]


def models_of(facts: Facts) -> list[str]:
    """All models, in the order of the facts: rows, then what was asked of each, then stages and maps."""
    places = [
        [row.get("model") for row in items(facts, "rows")],
        *(list(part(facts, key)) for key in ("models", "stages", "maps")),
    ]
    return list(dict.fromkeys(str(model) for model in itertools.chain(*places) if model))


def by_recipe(facts: Facts) -> dict[str, dict[str, Any]]:
    """recipe → model → what is known of the two, from `models`."""
    found: dict[str, dict[str, Any]] = {}
    for model, recipes in part(facts, "models").items():
        for recipe, it in (recipes or {}).items():
            if it:
                found.setdefault(recipe, {})[model] = it
    return found


Said = Iterator[tuple[str, str]]


def _rows(facts: Facts) -> dict[str, list[Facts]]:
    found: dict[str, list[Facts]] = {}
    for row in items(facts, "rows"):
        if known(row.get("accuracy")):
            found.setdefault(str(row.get("recipe")), []).append(row)
    return found


def _best(facts: Facts) -> Said:
    for recipe, rows in _rows(facts).items():
        ordered = sorted(rows, key=lambda row: -row["accuracy"])
        listed = ", ".join(f"{name(row['model'])} {with_interval(row['accuracy'], row.get('interval'))}" for row in ordered)
        doubts = " Read them with the notes at their rows." if any(row.get("notes") for row in rows) else ""
        tested = {row.get("test_rows") for row in rows}
        images = f" on {count(tested.pop())} test images" if len(tested) == 1 else ""
        yield f"Accuracy, {recipe} recipe{images}:", f"{listed} (95 % intervals).{doubts}"


def _published(facts: Facts) -> Said:
    published = part(facts, "published")
    theirs = part(published, "table_1")
    parts = [
        f"{name(row['model'])} {points(row['accuracy'] - theirs[row['model']]['accuracy'])}"
        for row in _rows(facts).get("study", [])
        if known((theirs.get(row["model"]) or {}).get("accuracy"))
    ]
    if parts:
        place = esc(published.get("hardware") or "other hardware")
        yield (
            "Against the published study, same recipe:",
            f"{', '.join(parts)} percentage points. The published figures are of one run each, on {place}, with "
            f"torchvision's weights and, in its ResNets, BatchNorm in training mode.",
        )


def _pairs(facts: Facts) -> Said:
    found: dict[str, list[Facts]] = {}
    for it in items(facts, "comparisons"):
        found.setdefault(str(it.get("recipe")), []).append(it)
    for recipe, pairs in found.items():
        tested = [it for it in pairs if known(it.get("p_holm"))]
        same = [f"{name(it['first'])} and {name(it['second'])}" for it in tested if it["p_holm"] >= 0.05]
        text = (
            f"{len(tested) - len(same)} of {len(tested)} pairs of models differ at the 5 % level after Holm's correction."
        )
        if same:
            text += f" Not told apart: {join_words(same)}."
        yield f"Differences, {recipe} recipe:", text


def join_words(words: Sequence[str]) -> str:
    """Words as one list: a, b and c."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}" if words else ""


def _sigmoid(facts: Facts) -> Said:
    parts = []
    for it in items(facts, "sigmoid"):
        first, second = part(it, "with").get("mean"), part(it, "without").get("mean")
        if known(first) and known(second):
            parts.append(f"{name(it.get('model'))} {points(second - first)} ({share(first)} with, {share(second)} without)")
    if parts:
        yield "Leaving out the sigmoid before the loss changes the accuracy, in percentage points:", f"{', '.join(parts)}."


def _batch_norm(facts: Facts) -> Said:
    it = part(facts, "batch_norm")
    frozen, training = ([value for value in items(it, key) if known(value)] for key in ("eval", "train"))
    if frozen and training:
        first, second = statistics.fmean(frozen), statistics.fmean(training)
        yield (
            f"BatchNorm left in training mode, {it.get('model')}:",
            f"{share(second)} instead of {share(first)}, {points(second - first)} percentage points, over {len(frozen)} seeds on "
            f"{count(it.get('test_images'))} test images.",
        )


def _cost(facts: Facts) -> Said:
    timed = [row for row in items(facts, "rows") if trained_in(row)]
    if timed:
        shares = [row["extraction_s"] / (trained_in(row) or 1) for row in timed]
        slowest, fastest = (pick(timed, key=lambda row: trained_in(row) or 0) for pick in (max, min))
        yield (
            "Time to a trained head:",
            f"from {time(trained_in(fastest))} ({name(fastest['model'])}) to {time(trained_in(slowest))} "
            f"({name(slowest['model'])}); {min(shares):.0%} to {max(shares):.0%} of it is the extraction, which runs once for "
            f"all heads.",
        )


def _stages(facts: Facts) -> Said:
    shares = []
    for model in part(facts, "stages"):
        found = {key: value for key, value in part(part(facts, "stages"), model).items() if known(value)}
        if sum(found.values()):
            most = max(found, key=lambda key: found[key])
            shares.append(f"{name(model)} {found[most] / sum(found.values()):.0%} {esc(most)}")
    if shares:
        yield "Largest part of an image's time:", f"{', '.join(shares)}."


def _ends(facts: Facts, key: str, field: str) -> Iterator[tuple[str, str, list[tuple[int, float]]]]:
    for recipe, models in by_recipe(facts).items():
        for model, it in models.items():
            found = sorted(
                (entry[field], statistics.fmean(entry["accuracies"]))
                for entry in items(it, key)
                if items(entry, "accuracies")
            )
            if len(found) > 1:
                yield recipe, model, found


def _epochs(facts: Facts) -> Said:
    found: dict[str, list[str]] = {}
    for recipe, model, curve in _ends(facts, "epochs", "epoch"):
        five = min(curve, key=lambda point: abs(point[0] - 5))
        text = f"{name(model)} {share(five[1])} after {five[0]}, {share(curve[-1][1])} after {curve[-1][0]}"
        found.setdefault(recipe, []).append(text)
    for recipe, parts in found.items():
        yield f"More epochs, {recipe} recipe:", f"{'; '.join(parts)} (means over seeds)."


def _sizes(facts: Facts) -> Said:
    found: dict[str, list[str]] = {}
    for recipe, model, curve in _ends(facts, "sizes", "rows"):
        text = f"{name(model)} {share(curve[0][1])} with {count(curve[0][0])}, {share(curve[-1][1])} with {count(curve[-1][0])}"
        found.setdefault(recipe, []).append(text)
    for recipe, parts in found.items():
        yield f"More training images, {recipe} recipe:", f"{'; '.join(parts)} (means over seeds)."


def _labels(facts: Facts) -> Said:
    classes = [str(entry) for entry in items(facts, "classes")]
    for recipe, models in by_recipe(facts).items():
        parts = []
        for model, it in models.items():
            matrix = it.get("confusion") or []
            mixed = mix_ups(matrix, classes) if len(matrix) == len(classes) else []
            if mixed:
                images, true, predicted = mixed[0]
                parts.append(f"{name(model)} takes {name(true)} for {name(predicted)} ({count(images)} times)")
        if parts:
            yield f"Most frequent confusion, {recipe} recipe:", f"{'; '.join(parts)}."


def _trust(facts: Facts) -> Said:
    for recipe, models in by_recipe(facts).items():
        parts = []
        for model, it in models.items():
            found = part(it, "calibration")
            if known(found.get("ece")):
                after = f", {found['ece_after']:.4f} after a temperature" if known(found.get("ece_after")) else ""
                parts.append(f"{name(model)} {number(found['ece'], '{:.4f}'.format)}{after}")
        if parts:
            yield f"Expected calibration error, {recipe} recipe:", f"{'; '.join(parts)} (0 is perfect)."


def _photos(facts: Facts) -> Said:
    photos = [photo for photo in items(facts, "photos") if len(part(photo, "labels")) > 1]
    if photos:
        agreed = sum(len({labels[0][0] for labels in part(photo, "labels").values() if labels}) == 1 for photo in photos)
        yield "Outside photographs:", f"all heads gave the same label to {agreed} of {len(photos)}."
