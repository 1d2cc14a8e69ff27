"""The page's parts about labels: which differences are real, what is mistaken for what, how far probabilities go."""

from collections.abc import Mapping, Sequence

from headstart.core.heads.report.page import charts as figures
from headstart.core.heads.report.page import class_charts as page_classes
from headstart.core.heads.report.page.html import (
    NOT_KNOWN,
    Facts,
    Html,
    View,
    below,
    count,
    esc,
    figure,
    grid,
    interval,
    items,
    known,
    listed,
    name,
    number,
    paragraph,
    part,
    points,
    section,
    share,
    table,
)
from headstart.core.heads.report.page.words import by_recipe, each, models_of, named, settings_words

WORST = 20
"""Classes that are shown; of more, those that are found least often."""
MOST_FIGURES = 12
"""Heads that have a figure of their own in a part."""


# -------------------------------------------------------------------------------------------------------- comparisons


def comparisons(view: View) -> Html:
    """McNemar's test for every pair of models, Holm's correction over them; and what could not be compared."""
    found, apart = items(view.facts, "comparisons"), [str(it) for it in items(view.facts, "not_compared")]
    if not found and not apart:
        return Html("")
    content = []
    for recipe in dict.fromkeys(str(it.get("recipe")) for it in found):
        pairs = [it for it in found if str(it.get("recipe")) == recipe]
        methods = ", ".join(dict.fromkeys(str(it["method"]) for it in pairs if it.get("method"))) or "McNemar"
        words = settings_words(recipe)
        caption = f"{words}: difference of accuracies, first less second, in percentage points; {methods}."
        head = ["pair", "only first right", "only second right", "difference", "95 % interval", "p", "p, Holm", "differ?"]
        content.append(below(view, words, table(caption, head, [_pair(it) for it in pairs])))
    lead = (
        "Two models are tested on the same images, so only the images that one labels rightly and the other wrongly tell "
        "them apart (McNemar's test). Holm's correction allows for the number of pairs: without it, one test in twenty "
        "would find a difference where there is none. Of heads with several seeds that of the lowest seed is compared."
    )
    missing = [paragraph("Not compared:"), listed(apart, "plain")] if apart else []
    return section(view, "comparisons", "Are the differences real?", paragraph(lead if found else ""), *content, *missing)


def _pair(it: Facts) -> list[str]:
    verdict = ("yes" if it["p_holm"] < 0.05 else "not shown") if known(it.get("p_holm")) else NOT_KNOWN
    note = f"<small>{esc(it['note'])}</small>" if it.get("note") else ""
    return [
        Html(f"{name(it.get('first'))} and {name(it.get('second'))}{note}"),
        count(it.get("only_first")),
        count(it.get("only_second")),
        points(it.get("difference")),
        interval((it.get("low"), it.get("high")), points) or NOT_KNOWN,
        number(it.get("p"), probability),
        number(it.get("p_holm"), probability),
        verdict,
    ]


def probability(value: float) -> str:
    """A p value: three digits, or that it is smaller than one can care about."""
    return "< 0.0001" if value < 0.0001 else f"{value:.3g}" if value < 0.001 else f"{value:.4f}"


# ------------------------------------------------------------------------------------------------------------ classes


def classes(view: View) -> Html:
    """What is mistaken for what: recall, predicted labels, confusion matrices."""
    names = [str(entry) for entry in items(view.facts, "classes")]
    content = []
    for i, (recipe, models) in enumerate(by_recipe(view.facts).items()):
        shares = {model: part(it, "recall") for model, it in models.items() if it.get("recall")}
        shown, words = worst(names, shares), settings_words(recipe)
        art = page_classes.recall(view.key(f"recall-{i}"), words, shares, shown, models_of(view.facts))
        caption = f"Recall, {words}: the share of each class's test images that got its label."
        pieces = [
            grid([*([figure(Html(art), caption)] if art else []), *_matrices(view, i, recipe, models, names)]),
            paragraph(_left_out(len(models), "confusion matrices")),
            *_class_tables(words, models, shown),
            *_shifts(view.facts, recipe),
        ]
        content += [below(view, words, *pieces)] if any(pieces) else []
    return (
        section(view, "classes", "What is mistaken for what", paragraph(_bounds(names)), *content) if content else Html("")
    )


def _left_out(heads: int, what: str) -> str:
    return f"The {what} of the first {MOST_FIGURES} of {count(heads)} heads are drawn." if heads > MOST_FIGURES else ""


def worst(names: Sequence[str], shares: Mapping[str, Mapping[str, object]]) -> list[str]:
    """All classes where they are few; else those with the lowest recall by any model, lowest first. Classes without test
    images come last."""
    if len(names) <= WORST:
        return list(names)
    lowest = {
        entry: min((value for it in shares.values() if known(value := it.get(entry))), default=float("inf"))
        for entry in names
    }
    return sorted(names, key=lambda entry: lowest[entry])[:WORST]


def _bounds(names: Sequence[str]) -> str:
    """What is left out where there are many classes."""
    said = ""
    if len(names) > WORST:
        said = f"Shown are the {WORST} of {count(len(names))} classes that are found least often; all are in report.json."
    if len(names) > page_classes.MOST_CLASSES:
        said += f" Confusion matrices of more than {page_classes.MOST_CLASSES} classes are in report.json only."
    return said


def _class_tables(words: str, models: Mapping[str, Facts], names: Sequence[str]) -> list[Html]:
    shares = {model: part(it, "recall") for model, it in models.items() if it.get("recall")}
    counts = {model: part(it, "predicted") for model, it in models.items() if it.get("predicted")}
    true = next((part(it, "true") for it in models.values() if it.get("true")), {})
    found = []
    if shares and names:
        body = [[name(entry), *(_recall(it.get(entry)) for it in shares.values())] for entry in names]
        found.append(table(f"Recall of each class, {words}", ["class", *map(name, shares)], body))
    if counts and names:
        body = [[name(entry), count(true.get(entry)), *(count(it.get(entry)) for it in counts.values())] for entry in names]
        caption = f"Labels given to test images, {words}: how often each class is there, and how often each model says it"
        found.append(table(caption, ["class", "true images", *map(name, counts)], body))
    return found


def _recall(value: object) -> str:
    return share(value) if known(value) else "no test image"


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
    caption = f"Labels that one model gives more often than another, {settings_words(recipe)}: the clearest twenty"
    return [paragraph(lead), *([table(caption, head, body)] if body else [])]


def _matrices(view: View, i: int, recipe: str, models: Mapping[str, Facts], names: Sequence[str]) -> list[Html]:
    found, words = [], settings_words(recipe)
    for j, (model, it) in enumerate(list(models.items())[:MOST_FIGURES]):
        matrix = (it.get("confusion") or []) if names else []
        art = page_classes.confusion(view.key(f"confusion-{i}-{j}"), f"{model}, {words}", matrix, names) if matrix else ""
        if art:
            often = [
                f"{true} taken for {other} ({count(images)})"
                for images, true, other in page_classes.mix_ups(matrix, names)[:3]
            ]
            caption = f"{model}, {words}: counts of test images; shade: square root of the share of the true class."
            found.append(figure(Html(art), caption + (f" Most often: {', '.join(often)}." if often else "")))
    return found


# -------------------------------------------------------------------------------------------------------- calibration


def calibration(view: View) -> Html:
    """Whether 90 % means 90 %."""
    body, drawn, reasons, of = [], [], [], dict[str, None]()
    for i, (recipe, model, it) in enumerate(each(view.facts, "calibration")):
        words = f"{model}, {settings_words(recipe)}"
        body.append([named(model, recipe), *_numbers(it)])
        reasons += [f"{words}: no temperature was fitted, {it['not_fitted']}."] if it.get("not_fitted") else []
        of |= {str(it["of"]): None} if it.get("of") else {}
        art = figures.reliability(view.key(f"reliability-{i}"), words, it) if i < MOST_FIGURES else ""
        drawn += [figure(Html(art), f"{words}: on the dotted line confidence is right.")] if art else []
    if not body:
        return Html("")
    head = [
        "head", "calibration error", "after temperature", "negative log-likelihood (nats)", "after temperature",
        "temperature",
    ]  # fmt: skip
    lead = (
        "A head is calibrated when, of the labels it gives with 90 % confidence, 90 % are right. One number, the "
        "temperature, is fitted on rows set aside from training and divides all scores; it changes no label."
    )
    caption = "Expected calibration error (0 is perfect) and negative log-likelihood on the test rows"
    fitted = f"Temperatures were fitted with {'; '.join(of)}." if of else ""
    return section(
        view, "calibration", "Can the probabilities be trusted?", paragraph(lead), table(caption, head, body),
        paragraph(fitted), listed(reasons, "plain"), grid(drawn, "small"), paragraph(_left_out(len(body), "figures")),
    )  # fmt: skip


def _numbers(it: Facts) -> list[str]:
    missing = "not fitted" if it.get("not_fitted") or it.get("temperature", 0) is None else NOT_KNOWN

    def shown(key: str, form: str, absent: str) -> str:
        return number(it[key], f"{{:{form}}}".format) if known(it.get(key)) else absent

    return [
        shown("ece", ".4f", NOT_KNOWN),
        shown("ece_after", ".4f", missing),
        shown("nll", ".4f", NOT_KNOWN),
        shown("nll_after", ".4f", missing),
        shown("temperature", ".3f", missing),
    ]
