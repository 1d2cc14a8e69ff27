"""The study's open questions, answered, as the Markdown report's tables; every number is the document's own."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from headstart.core.heads.report.tables import one_line, percent, seconds, table

Facts = Mapping[str, Any]
SHOWN_EPOCHS = (1, 2, 5, 10, 20, 50, 100)
SHOWN_CLASSES = 20


def to_markdown(facts: Facts) -> str:
    """What the report's document says beyond its runs, as Markdown; empty where nothing was answered."""
    parts = (_seeds(facts), _comparisons(facts), _epochs(facts), *_sizes(facts), _labels(facts), _sigmoid(facts))
    return "".join(f"\n{part}\n" for part in (*parts, _batch_norm(facts)) if part)


def _answered(facts: Facts, key: str) -> Iterator[tuple[str, str, Facts]]:
    """(model, recipe, what is known of both), where `key` is among it."""
    for model, recipes in (facts.get("models") or {}).items():
        yield from ((model, recipe, found) for recipe, found in recipes.items() if found.get(key))


def _section(heading: str, head: Sequence[str], body: Sequence[Sequence[str]], below: str = "") -> str:
    return f"## {heading}\n\n{table(head, body)}" + (f"\n\n{below}" if below else "") if body else ""


def _span(low: float, high: float) -> str:
    return f"{percent(low)} to {percent(high)}"


def _seeds(facts: Facts) -> str:
    head = (
        "model", "recipe", "seeds", "mean accuracy", "standard deviation", "95 % over seeds", "95 % over seeds and images",
        "calibration error", "time for all",
    )  # fmt: skip
    body = [
        (model, recipe, *_spread(found["seeds"]), _span(*found["both_interval"]), _trust(found.get("calibration")),
         seconds(found["seeds"]["elapsed_s"]))
        for model, recipe, found in _answered(facts, "seeds")
    ]  # fmt: skip
    return _section("Many seeds", head, body)


def _spread(found: Facts) -> tuple[str, str, str, str]:
    several = found["low"] is not None
    deviation = f"{100 * found['deviation']:.2f} points" if several else "one seed"
    return (
        str(found["count"]), percent(found["mean"]), deviation,
        _span(found["low"], found["high"]) if several else "one seed",
    )  # fmt: skip


def _trust(found: Facts | None) -> str:
    """The calibration error as trained, and with a temperature or why there is none."""
    if not found or found.get("ece") is None:
        return "not known"
    if found.get("temperature") is None or found.get("ece_after") is None:
        return f"{percent(found['ece'])}, no temperature: {found.get('not_fitted') or 'not fitted'}"
    return f"{percent(found['ece'])}, {percent(found['ece_after'])} with a temperature of {found['temperature']:.2f}"


def _comparisons(facts: Facts) -> str:
    head = ("recipe", "models", "difference (95 %)", "only first right", "only second right", "p (McNemar)", "p after Holm")
    body = [
        (
            pair["recipe"],
            f"{pair['first']} - {pair['second']}",
            f"{100 * pair['difference']:+.2f} ({100 * pair['low']:+.2f} to {100 * pair['high']:+.2f}) points",
            str(pair["only_first"]),
            str(pair["only_second"]),
            f"{pair['p']:.2g}",
            f"{pair['p_holm']:.2g}",
        )
        for pair in facts.get("comparisons") or ()
    ]
    pairs = facts.get("comparisons") or ()
    notes = dict.fromkeys(f"{it['first']} - {it['second']}: {it['note']}" for it in pairs if it.get("note"))
    below = "\n".join(f"- {one_line(text)}" for text in [*notes, *(facts.get("not_compared") or ())])
    if not body and below:
        return f"## Not compared\n\n{below}"
    return _section("Pairs of models on the same test images", head, body, below)


def _epochs(facts: Facts) -> str:
    note = "Mean test accuracy over the seeds of a curve. Test rows are watched, never used to choose."
    return _curve(facts, "epochs", "epoch", "More epochs", note)


def _sizes(facts: Facts) -> Iterator[str]:
    note = "Mean test accuracy over the seeds of a curve."
    fewer = "With equal epochs, fewer images also mean fewer optimiser steps."
    yield _curve(facts, "sizes", "rows", "More training images, equal epochs", f"{note} {fewer}")
    yield _curve(facts, "sizes_equal_steps", "rows", "More training images, equal steps", note)


def _curve(facts: Facts, key: str, field: str, heading: str, note: str) -> str:
    found = [(model, recipe, it[key]) for model, recipe, it in _answered(facts, key)]
    places = sorted({entry[field] for _, _, entries in found for entry in entries})
    places = places if len(places) <= 12 else [place for place in places if place in SHOWN_EPOCHS or place == places[-1]]
    body = []
    for model, recipe, entries in found:
        means = {entry[field]: percent(statistics.fmean(entry["accuracies"])) for entry in entries}
        body.append((model, recipe, *(means.get(place, "") for place in places)))
    return _section(heading, ("model", "recipe", *(f"{place:,}" for place in places)), body, note)


def _labels(facts: Facts) -> str:
    found = list(_answered(facts, "predicted"))
    classes = list(facts.get("classes") or () if found else ())
    shown = _worst(classes, [it.get("recall") or {} for _, _, it in found])
    body = [(name, str(found[0][2]["true"][name]), *(_given(it, name) for _, _, it in found)) for name in shown]
    head = ("class", "test images", *(f"{model} ({recipe})" for model, recipe, _ in found))
    note = "How often each label is given, and as a multiple of how often it is right to, with a 95 % interval."
    if len(shown) < len(classes):
        note += f" These are the {len(shown)} of {len(classes)} classes that are found least often; report.json has all."
    return _section("Labels given", head, body, note)


def _worst(classes: Sequence[str], recalls: Sequence[Facts]) -> list[str]:
    """All classes where they are few, else those that any head finds least often; those without test images last."""
    if len(classes) <= SHOWN_CLASSES:
        return list(classes)
    lowest = {name: min((it[name] for it in recalls if it.get(name) is not None), default=2.0) for name in classes}
    return sorted(classes, key=lambda name: lowest[name])[:SHOWN_CLASSES]


def _given(found: Facts, name: str) -> str:
    ratio = found["ratio"][name]
    if ratio["ratio"] is None:
        return str(found["predicted"][name])
    ends = "" if ratio["low"] is None else f", {ratio['low']:.2f} to {ratio['high']:.2f}"
    return f"{found['predicted'][name]} ({ratio['ratio']:.2f}{ends})"


def _sigmoid(facts: Facts) -> str:
    body = [
        (it["model"], percent(it["with"]["mean"]), percent(it["without"]["mean"]), f"{100 * it['difference']:+.2f} points")
        for it in facts.get("sigmoid") or ()
    ]
    head = ("model", "with the sigmoid", "without", "change")
    return _section("What the sigmoid before the loss costs", head, body)


def _batch_norm(facts: Facts) -> str:
    it = facts.get("batch_norm") or {}
    body = [
        (f"{mode}()", percent(statistics.fmean(it[mode])), str(len(it[mode])))
        for mode in ("eval", "train")
        if it.get("eval") and it.get("train")
    ]
    below = (
        f"{it.get('model')}, {it.get('train_images')} training and {it.get('test_images')} test images; {it.get('note')}."
    )
    if drift := it.get("drift"):
        mean, var = (percent(statistics.fmean(one[key] for one in drift)) for key in ("mean", "var"))
        below += f" The running means drifted by {mean}, the variances by {var}."
    return _section("What BatchNorm in training mode costs", ("backbone in", "mean accuracy", "seeds"), body, below)
