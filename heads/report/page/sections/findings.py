"""What the figures say, in plain words: each sentence is computed from the facts, none is written beforehand."""

import itertools
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence

from headstart.core.heads.report.page.charts import trained_in
from headstart.core.heads.report.page.class_charts import fits, mix_ups
from headstart.core.heads.report.page.html import (
    Facts,
    Html,
    View,
    count,
    esc,
    items,
    known,
    name,
    part,
    points,
    share,
    time,
    with_interval,
)
from headstart.core.heads.report.page.words import by_recipe, comparable, published_of, range_of, seeds_of, settings_words

SHOWN_PAIRS = 6
"""Pairs of models that are named in a sentence."""


def findings(view: View) -> list[Html]:
    """The main findings, one sentence or a few each; none where the facts say nothing of it.

    Beside the published study's figures all of them; else those that `page_overview` does not say already.
    """
    makers: tuple[Callable[[Facts], Said], ...]
    if view.published:
        makers = (
            _best,
            _published,
            _pairs,
            _sigmoid,
            _batch_norm,
            _cost,
            _stages,
            _epochs,
            _sizes,
            _labels,
            _trust,
            _photos,
        )
    else:
        makers = (_pairs, _sigmoid, _batch_norm, _cost, _stages, _epochs, _trust, _photos)
    return [Html(f"<strong>{esc(lead)}</strong> {text}") for maker in makers for lead, text in maker(view.facts)]


Said = Iterator[tuple[str, str]]


def _rows(facts: Facts) -> dict[str, list[Facts]]:
    """The heads that may be ranked, by their settings."""
    found: dict[str, list[Facts]] = {}
    for row in comparable(facts):
        found.setdefault(str(row.get("recipe")), []).append(row)
    return found


def _best(facts: Facts) -> Said:
    for recipe, rows in _rows(facts).items():
        ordered = sorted(rows, key=lambda row: -row["accuracy"])
        ends = [ordered[0], *ordered[-1:]] if len(ordered) > 1 else ordered
        places = ("first ", "last ") if len(ordered) > 1 else ("",)
        listed = ", ".join(
            f"{name(row['model'])} {place}with {with_interval(row['accuracy'], row.get('interval'))}"
            + (f", {seeds}" if (seeds := seeds_of(row)) else "")
            for row, place in zip(ends, places, strict=False)
        )
        doubts = " Read it with the notes at the rows." if any(row.get("notes") for row in rows) else ""
        tested = {row.get("test_rows") for row in rows}
        images = f" on {count(tested.pop())} test images" if len(tested) == 1 else ""
        yield f"Accuracy, {settings_words(recipe)}:", f"{listed}{images}, 95 % intervals.{doubts}"


def _range(values: Mapping[str, float], form: Callable[[float], str]) -> str:
    """The lowest and the highest, with their models."""
    low, high = range_of(values)
    ends = form(values[low]), form(values[high])
    if ends[0] == ends[1]:
        return f"{ends[0]} ({name(low) if len(values) == 1 else f'all {count(len(values))} models'})"
    return f"{ends[0]} ({name(low)}) to {ends[1]} ({name(high)})"


def _published(facts: Facts) -> Said:
    published = part(facts, "published")
    found = [(row, published_of(row, published)) for row in comparable(facts)]
    parts = [
        f"{name(row['model'])} {points(row['accuracy'] - theirs['accuracy'])}"
        for row, theirs in found
        if known(theirs.get("accuracy"))
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
        apart = len(tested) - len(same)
        text = f"{apart} of {len(tested)} pairs of models differ at the 5 % level after Holm's correction."
        if len(tested) == 1:
            text = f"the two models {'differ' if apart else 'are not told apart'} at the 5 % level."
        elif same:
            more = [f"{len(same) - SHOWN_PAIRS} more"] if len(same) > SHOWN_PAIRS else []
            text += f" Not told apart: {join_words([*same[:SHOWN_PAIRS], *more])}."
        yield f"Differences, {settings_words(recipe)}:", text


def join_words(words: Sequence[str]) -> str:
    """Words as one list: a, b and c."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}" if words else ""


def _sigmoid(facts: Facts) -> Said:
    changes = {}
    for it in items(facts, "sigmoid"):
        first, second = part(it, "with").get("mean"), part(it, "without").get("mean")
        if known(first) and known(second):
            changes[str(it.get("model"))] = second - first
    if changes:
        yield (
            "The sigmoid before the loss:",
            f"without it the accuracy changes by {_range(changes, points)} percentage points.",
        )


def _batch_norm(facts: Facts) -> Said:
    it = part(facts, "batch_norm")
    frozen, training = ([value for value in items(it, key) if known(value)] for key in ("eval", "train"))
    if frozen and training:
        first, second = statistics.fmean(frozen), statistics.fmean(training)
        yield (
            f"BatchNorm left in training mode, {it.get('model')}:",
            f"{share(second)} instead of {share(first)} ({points(second - first)} points), over "
            f"{len(frozen)} seed{'s' if len(frozen) > 1 else ''} on {count(it.get('test_images'))} test images.",
        )


def _cost(facts: Facts) -> Said:
    timed = [row for row in items(facts, "rows") if trained_in(row)]
    if timed:
        shares = [row["extraction_s"] / (trained_in(row) or 1) for row in timed]
        slowest, fastest = (pick(timed, key=lambda row: trained_in(row) or 0) for pick in (max, min))
        yield (
            "Time to a trained head:",
            f"from {time(trained_in(fastest))} ({name(fastest['model'])}) to {time(trained_in(slowest))} "
            f"({name(slowest['model'])}); {min(shares):.0%} to {max(shares):.0%} of it is the extraction, which runs once "
            f"for all heads.",
        )


def _stages(facts: Facts) -> Said:
    shares: dict[str, dict[str, float]] = {}
    for model in part(facts, "stages"):
        found = {key: value for key, value in part(part(facts, "stages"), model).items() if known(value)}
        if sum(found.values()):
            most = max(found, key=lambda key: found[key])
            shares.setdefault(most, {})[model] = found[most] / sum(found.values())
    if shares:
        parts = [f"{esc(stage)} {_range(values, '{:.0%}'.format)}" for stage, values in shares.items()]
        yield "Largest part of an image's time at inference:", f"{'; '.join(parts)}."


def _curves(
    facts: Facts, key: str, field: str, start: int
) -> Iterator[tuple[str, str, dict[str, float], dict[str, float]]]:
    """(recipe, places in words, means at the first place, at the last) where models have both; first is near `start`."""
    for recipe, models in by_recipe(facts).items():
        curves = {
            model: {
                entry[field]: statistics.fmean(entry["accuracies"])
                for entry in items(it, key)
                if items(entry, "accuracies")
            }
            for model, it in models.items()
        }
        found = {model: curve for model, curve in curves.items() if curve}
        shared = sorted(set.intersection(*map(set, found.values()))) if found else []
        if len(shared) > 1:
            first, last = min(shared[:-1], key=lambda place: abs(place - start)), shared[-1]
            before, after = ({model: curve[place] for model, curve in found.items()} for place in (first, last))
            yield recipe, f"from {count(first)} to {count(last)}", before, after


def _spread(values: Mapping[str, float]) -> str:
    return f"{100 * (max(values.values()) - min(values.values())):.2f}"


def _epochs(facts: Facts) -> Said:
    for recipe, places, first, last in _curves(facts, "epochs", "epoch", 5):
        changes = {model: last[model] - first[model] for model in first}
        text = f"{places} the mean accuracy changes by {_range(changes, points)} points."
        if len(first) > 1:
            text += f" The models lie {_spread(first)} points apart before, {_spread(last)} after."
        yield f"More epochs, {settings_words(recipe)}:", text


def _sizes(facts: Facts) -> Said:
    for key, words in (("sizes", ""), ("sizes_equal_steps", ", equal steps")):
        for recipe, places, first, last in _curves(facts, key, "rows", 0):
            text = f"{places} images: {_range(first, share)} before, {_range(last, share)} after."
            yield f"More training images, {settings_words(recipe)}{words}:", text


def _labels(facts: Facts) -> Said:
    classes = [str(entry) for entry in items(facts, "classes")]
    for recipe, models in by_recipe(facts).items():
        sums: dict[tuple[str, str], int] = {}
        matrices = [it["confusion"] for it in models.values() if it.get("confusion") and fits(it["confusion"], classes)]
        for images, true, predicted in itertools.chain(*(mix_ups(matrix, classes) for matrix in matrices)):
            sums[true, predicted] = sums.get((true, predicted), 0) + images
        most = sorted(sums, key=lambda pair: -sums[pair])[:3]
        if most:
            parts = [
                f"{name(true)} taken for {name(predicted)} ({count(sums[true, predicted])})" for true, predicted in most
            ]
            over = f", over {count(len(matrices))} models" if len(matrices) > 1 else ""
            yield (
                f"Most often mistaken, {settings_words(recipe)}:",
                f"{', '.join(parts)}{over}.",
            )


def _trust(facts: Facts) -> Said:
    for recipe, models in by_recipe(facts).items():
        found = {model: part(it, "calibration") for model, it in models.items()}
        before, after = (
            {model: it[key] for model, it in found.items() if known(it.get(key))} for key in ("ece", "ece_after")
        )
        if before:
            text = f"{_range(before, '{:.4f}'.format)} as trained"
            text += f", {_range(after, '{:.4f}'.format)} after a temperature" if after else ""
            yield f"Expected calibration error, {settings_words(recipe)}:", f"{text} (0 is perfect)."


def _photos(facts: Facts) -> Said:
    photos = [photo for photo in items(facts, "photos") if len(part(photo, "labels")) > 1]
    if photos:
        agreed = sum(len({labels[0][0] for labels in part(photo, "labels").values() if labels}) == 1 for photo in photos)
        yield "Outside photographs:", f"all heads gave the same label to {agreed} of {len(photos)}."
