"""What test rows and the study's analyses say, as Markdown tables; every number is the report's own."""

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence

from headstart.core.heads.report.facts import HeadResults, ModelPair, Section
from headstart.core.heads.report.markdown.measures import by_class, few_shot, what_was_tried
from headstart.core.heads.report.markdown.text import one_line, table
from headstart.core.heads.report.units import percent, seconds
from headstart.core.heads.statistics.compare import Comparison, Spread
from headstart.core.heads.study.results import Analyses, CurvePoint, TemperatureResults

SHOWN_EPOCHS = (1, 2, 5, 10, 20, 50, 100)
SHOWN_CLASSES = 20


def analyses(section: Section) -> str:
    """The tables as Markdown, headed by `##`; empty where there is nothing beyond the runs."""
    parts = (_seeds(section), _pairs(section), _epochs(section), *_sizes(section), *_classes(section), _sigmoid(section))
    return "".join(
        f"\n{part}\n" for part in (*parts, _batch_norm(section), few_shot(section), what_was_tried(section)) if part
    )


def _part(heading: str, head: Sequence[str], body: Sequence[Sequence[str]], below: str = "") -> str:
    return f"## {heading}\n\n{table(head, body)}" + (f"\n\n{below}" if below else "") if body else ""


def _span(ends: tuple[float, float]) -> str:
    return f"{percent(ends[0])} to {percent(ends[1])}"


def _seeds(section: Section) -> str:
    head = (
        "model", "recipe", "seeds", "mean accuracy", "standard deviation", "95 % over seeds", "95 % over seeds and images",
        "calibration error", "time for all",
    )  # fmt: skip
    body = [
        (one.model, one.settings, *_spread(one.spread), _span(one.analyses.both), _trust(one.analyses.calibration),
         seconds(one.analyses.seeds.elapsed_s))
        for one in section.heads if one.analyses and one.spread
    ]  # fmt: skip
    return _part("Many seeds", head, body)


def _spread(found: Spread) -> tuple[str, str, str, str]:
    if found.interval is None or found.deviation is None:
        return str(found.count), percent(found.mean), "one seed", "one seed"
    return str(found.count), percent(found.mean), f"{100 * found.deviation:.2f} points", _span(found.interval)


def _trust(found: TemperatureResults) -> str:
    """The calibration error as trained, and with a temperature or why there is none."""
    before, after, value = percent(found.before.ece), found.after, found.temperature.value
    if value is None or after is None:
        return f"{before}, no temperature: {found.not_fitted or 'not fitted'}"
    return f"{before}, {percent(after.ece)} with a temperature of {value:.2f}"


def _pairs(section: Section) -> str:
    head = ("recipe", "models", "difference (95 %)", "only first right", "only second right", "p (McNemar)", "p after Holm")
    body = [_pair(pair) for pair in section.comparisons]
    notes = dict.fromkeys(f"{_models(it.comparison)}: {it.note}" for it in section.comparisons if it.note)
    below = "\n".join(f"- {one_line(text)}" for text in [*notes, *section.not_compared])
    if not body and below:
        return f"## Not compared\n\n{below}"
    return _part("Pairs of models on the same test images", head, body, below)


def _models(found: Comparison) -> str:
    return f"{found.first} - {found.second}"


def _pair(pair: ModelPair) -> tuple[str, ...]:
    paired = pair.comparison.paired
    low, high = paired.interval
    return (
        pair.settings,
        _models(pair.comparison),
        f"{100 * paired.difference:+.2f} ({100 * low:+.2f} to {100 * high:+.2f}) points",
        str(paired.only_first),
        str(paired.only_second),
        f"{paired.p_value:.2g}",
        f"{pair.comparison.adjusted:.2g}",
    )


def _epochs(section: Section) -> str:
    note = "Mean test accuracy over the seeds of a curve. Test rows are watched, never used to choose."
    return _curve(section, lambda found: found.epochs, "More epochs", note)


def _sizes(section: Section) -> Iterator[str]:
    note = "Mean test accuracy over the seeds of a curve."
    fewer = "With equal epochs, fewer images also mean fewer optimiser steps."
    yield _curve(section, lambda found: found.sizes, "More training images, equal epochs", f"{note} {fewer}")
    yield _curve(section, lambda found: found.sizes_equal_steps, "More training images, equal steps", note)


def _curve(section: Section, points: Callable[[Analyses], Sequence[CurvePoint]], heading: str, note: str) -> str:
    found = [(one.model, one.settings, points(one.analyses)) for one in section.heads if one.analyses]
    places = sorted({point.at for *_, curve in found for point in curve})
    places = places if len(places) <= 12 else [place for place in places if place in SHOWN_EPOCHS or place == places[-1]]
    body = []
    for model, settings, curve in found:
        means = {point.at: percent(statistics.fmean(point.accuracies)) for point in curve}
        if means:
            body.append((model, settings, *(means.get(place, "") for place in places)))
    return _part(heading, ("model", "recipe", *(f"{place:,}" for place in places)), body, note)


def _classes(section: Section) -> tuple[str, str]:
    """Each class, or of many those that are found least often: how well it is found, and how often its label is given."""
    found, classes = section.heads, section.classes if section.heads else ()
    shown, note = _worst(classes, [one.recall for one in found]), ""
    if len(shown) < len(classes):
        note = f"These are the {len(shown)} of {len(classes)} classes that are found least often; report.json has all."
    return by_class(section, shown, note), _labels(found, shown, note)


def _labels(found: Sequence[HeadResults], shown: Sequence[str], which: str) -> str:
    body = [(name, str(found[0].true[name]), *(_given(one, name) for one in found)) for name in shown]
    head = ("class", "test images", *(f"{one.model} ({one.settings})" for one in found))
    note = "How often each label is given, and as a multiple of how often it is right to, with a 95 % interval."
    return _part("Labels given", head, body, f"{note} {which}".rstrip())


def _worst(classes: Sequence[str], recalls: Sequence[Mapping[str, float | None]]) -> list[str]:
    """All classes where they are few, else those that any head finds least often; those without test images last."""
    if len(classes) <= SHOWN_CLASSES:
        return list(classes)
    lowest = {name: min((share for it in recalls if (share := it[name]) is not None), default=2.0) for name in classes}
    return sorted(classes, key=lambda name: lowest[name])[:SHOWN_CLASSES]


def _given(head: HeadResults, name: str) -> str:
    found = head.ratio[name]
    if found.ratio is None:
        return str(head.predicted[name])
    ends = f", {found.interval[0]:.2f} to {found.interval[1]:.2f}" if found.interval else ""
    return f"{head.predicted[name]} ({found.ratio:.2f}{ends})"


def _sigmoid(section: Section) -> str:
    body = [
        (it.model, percent(it.with_sigmoid.mean), percent(it.without.mean), f"{100 * it.difference:+.2f} points")
        for it in section.sigmoid
    ]
    head = ("model", "with the sigmoid", "without", "change")
    return _part("What the sigmoid before the loss costs", head, body)


def _batch_norm(section: Section) -> str:
    it = section.batch_norm
    if it is None:
        return ""
    modes = (("eval()", it.accuracy_eval), ("train()", it.accuracy_train))
    body = [(mode, percent(statistics.fmean(found)), str(len(found))) for mode, found in modes]
    below = f"{it.model}, {it.train_images} training and {it.test_images} test images; {it.note}."
    if it.drift:
        mean, var = (percent(statistics.fmean(values)) for values in zip(*((d.mean, d.var) for d in it.drift), strict=True))
        below += f" The running means drifted by {mean}, the variances by {var}."
    return _part("What BatchNorm in training mode costs", ("backbone in", "mean accuracy", "seeds"), body, below)
