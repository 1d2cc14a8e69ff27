"""What the figures say, in plain words: each sentence is computed from the facts, none is written beforehand."""

import itertools
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence

from headstart.core.heads.report.page.cards import cards
from headstart.core.heads.report.page.figures.classes import fits, mix_ups
from headstart.core.heads.report.page.html import (
    Html,
    count,
    esc,
    known,
    listed,
    name,
    points,
    section,
    share,
    time,
    with_interval,
)
from headstart.core.heads.report.page.view import Part, View
from headstart.core.heads.report.page.words import range_of, seeds_of, settings_words
from headstart.core.heads.report.row import Row, rank
from headstart.core.heads.study.results import Analyses, CurvePoint

SHOWN_PAIRS = 6
"""Pairs of models that are named in a sentence."""

Said = Iterator[tuple[str, str]]
"""The lead of a finding and its text."""


def _findings(view: View) -> Html:
    """Beside the published study's figures all findings with the cards above them; else those that other parts do not say
    already."""
    study = view.section.published is not None
    makers = _ALL if study else _FURTHER
    found = [Html(f"<strong>{esc(lead)}</strong> {text}") for maker in makers for lead, text in maker(view)]
    shown = cards(view) if study else ""
    heading = "What was found" if study else "What else was found"
    return section(view, "findings", heading, shown, listed(found, "plain findings")) if found or shown else Html("")


def _best(view: View) -> Said:
    by_settings: dict[str, list[Row]] = {}
    for row in view.comparable():
        by_settings.setdefault(row.settings, []).append(row)
    for recipe, rows in by_settings.items():
        ordered = sorted(rows, key=rank)
        ends = [ordered[0], *ordered[-1:]] if len(ordered) > 1 else ordered
        places = ("first ", "last ") if len(ordered) > 1 else ("",)
        listed_ = ", ".join(
            f"{name(row.model)} {place}with {with_interval(row.accuracy, row.interval)}"
            + (f", {seeds}" if (seeds := seeds_of(row)) else "")
            for row, place in zip(ends, places, strict=False)
        )
        doubts = " Read it with the notes at the rows." if any(row.notes for row in rows) else ""
        tested = {row.test_rows for row in rows}
        images = f" on {count(tested.pop())} test images" if len(tested) == 1 else ""
        yield f"Accuracy, {settings_words(recipe)}:", f"{listed_}{images}, 95 % intervals.{doubts}"


def _range(values: Mapping[str, float], form: Callable[[float], str]) -> str:
    """The lowest and the highest, with their models."""
    low, high = range_of(values)
    ends = form(values[low]), form(values[high])
    if ends[0] == ends[1]:
        return f"{ends[0]} ({name(low) if len(values) == 1 else f'all {count(len(values))} models'})"
    return f"{ends[0]} ({name(low)}) to {ends[1]} ({name(high)})"


def _published(view: View) -> Said:
    found = [(row, view.published_of(row)) for row in view.comparable()]
    said = [f"{name(row.model)} {points(row.accuracy - theirs.accuracy)}" for row, theirs in found if theirs]
    if said and view.section.published:
        yield (
            "Against the published study, same recipe:",
            f"{', '.join(said)} percentage points. The published figures are of one run each, on "
            f"{esc(view.section.published.hardware)}, with torchvision's weights and, in its ResNets, BatchNorm in "
            "training mode.",
        )


def _pairs(view: View) -> Said:
    for recipe in dict.fromkeys(it.settings for it in view.section.comparisons):
        tested = [it.comparison for it in view.section.comparisons if it.settings == recipe]
        same = [f"{name(it.first)} and {name(it.second)}" for it in tested if it.adjusted >= 0.05]
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


def _sigmoid(view: View) -> Said:
    changes = {it.model: it.difference for it in view.section.sigmoid}
    if changes:
        yield (
            "The sigmoid before the loss:",
            f"without it the accuracy changes by {_range(changes, points)} percentage points.",
        )


def _batch_norm(view: View) -> Said:
    it = view.section.batch_norm
    if it:
        first, second = (statistics.fmean(values) for values in (it.accuracy_eval, it.accuracy_train))
        seeds = len(it.accuracy_eval)
        yield (
            f"BatchNorm left in training mode, {it.model}:",
            f"{share(second)} instead of {share(first)} ({points(second - first)} points), over "
            f"{seeds} seed{'s' if seeds > 1 else ''} on {count(it.test_images)} test images.",
        )


def _cost(view: View) -> Said:
    timed = [(row, spent, row.extraction_s or 0) for row in view.section.rows if (spent := row.trained_in_s)]
    if timed:
        shares = [extraction / spent for _, spent, extraction in timed]
        (slowest, most, _), (fastest, least, _) = (pick(timed, key=lambda it: it[1]) for pick in (max, min))
        ends = time(least), time(most)
        both = f"from {ends[0]} ({name(fastest.model)}) to {ends[1]} ({name(slowest.model)})"
        total = ends[0] if ends[0] == ends[1] else both
        parts = list(dict.fromkeys([f"{min(shares):.0%}", f"{max(shares):.0%}"]))
        yield (
            "Time to a trained head:",
            f"{total}; {' to '.join(parts)} of it is the extraction, which runs once for all heads.",
        )


def _stages(view: View) -> Said:
    shares: dict[str, dict[str, float]] = {}
    for model, found in view.section.stages.items():
        if sum(found.values()):
            most = max(found, key=lambda key: found[key])
            shares.setdefault(most, {})[model] = found[most] / sum(found.values())
    if shares:
        said = [f"{esc(stage)} {_range(values, '{:.0%}'.format)}" for stage, values in shares.items()]
        yield "Largest part of an image's time at inference:", f"{'; '.join(said)}."


Means = dict[str, float]
"""By model."""


def _ends(
    view: View, points_of: Callable[[Analyses], Sequence[CurvePoint]], start: int
) -> Iterator[tuple[str, str, Means, Means]]:
    """(settings, places in words, means at the first place, at the last) where models have both; first is near `start`."""
    curves: dict[str, dict[str, dict[int, float]]] = {}
    for head, analyses in view.analysed():
        if curve := {point.at: statistics.fmean(point.accuracies) for point in points_of(analyses)}:
            curves.setdefault(head.settings, {})[head.model] = curve
    for settings, found in curves.items():
        shared = sorted(set.intersection(*map(set, found.values())))
        if len(shared) > 1:
            first, last = min(shared[:-1], key=lambda place: abs(place - start)), shared[-1]
            before, after = ({model: curve[place] for model, curve in found.items()} for place in (first, last))
            yield settings, f"from {count(first)} to {count(last)}", before, after


def _spread(values: Mapping[str, float]) -> str:
    return f"{100 * (max(values.values()) - min(values.values())):.2f}"


def _epochs(view: View) -> Said:
    for recipe, places, first, last in _ends(view, lambda found: found.epochs, 5):
        changes = {model: last[model] - first[model] for model in first}
        text = f"{places} the mean accuracy changes by {_range(changes, points)} points."
        if len(first) > 1:
            text += f" The models lie {_spread(first)} points apart before, {_spread(last)} after."
        yield f"More epochs, {settings_words(recipe)}:", text


def _sizes(view: View) -> Said:
    curves: tuple[tuple[Callable[[Analyses], Sequence[CurvePoint]], str], ...] = (
        (lambda found: found.sizes, ""),
        (lambda found: found.sizes_equal_steps, ", equal steps"),
    )
    for points_of, words in curves:
        for recipe, places, first, last in _ends(view, points_of, 0):
            text = f"{places} images: {_range(first, share)} before, {_range(last, share)} after."
            yield f"More training images, {settings_words(recipe)}{words}:", text


def _labels(view: View) -> Said:
    classes = view.section.classes
    for recipe, models in view.heads_by_settings().items():
        sums: dict[tuple[str, str], int] = {}
        matrices = [it.confusion for it in models.values() if fits(it.confusion, classes)]
        for images, true, predicted in itertools.chain(*(mix_ups(matrix, classes) for matrix in matrices)):
            sums[true, predicted] = sums.get((true, predicted), 0) + images
        most = sorted(sums, key=lambda pair: -sums[pair])[:3]
        if most:
            said = [f"{name(true)} taken for {name(wrong)} ({count(sums[true, wrong])})" for true, wrong in most]
            over = f", over {count(len(matrices))} models" if len(matrices) > 1 else ""
            yield f"Most often mistaken, {settings_words(recipe)}:", f"{', '.join(said)}{over}."


def _trust(view: View) -> Said:
    for recipe, models in view.heads_by_settings().items():
        found = {model: it.analyses.calibration for model, it in models.items() if it.analyses}
        before = {model: it.before.ece for model, it in found.items() if known(it.before.ece)}
        after = {model: it.after.ece for model, it in found.items() if it.after}
        if before:
            text = f"{_range(before, '{:.4f}'.format)} as trained"
            text += f", {_range(after, '{:.4f}'.format)} after a temperature" if after else ""
            yield f"Expected calibration error, {settings_words(recipe)}:", f"{text} (0 is perfect)."


def _photos(view: View) -> Said:
    found = [it.photo.labels for it in view.section.photos if len(it.photo.labels) > 1]
    if found:
        agreed = sum(len({given[0][0] for given in labels.values() if given}) == 1 for labels in found)
        yield "Outside photographs:", f"all heads gave the same label to {agreed} of {len(found)}."


_ALL: tuple[Callable[[View], Said], ...] = (
    _best, _published, _pairs, _sigmoid, _batch_norm, _cost, _stages, _epochs, _sizes, _labels, _trust, _photos,
)  # fmt: skip
_FURTHER: tuple[Callable[[View], Said], ...] = (_pairs, _sigmoid, _batch_norm, _cost, _stages, _epochs, _trust, _photos)

PART = Part(
    "findings", "Further findings", _findings, study_place=10, own_place=100, study_title="Findings",
)  # fmt: skip
