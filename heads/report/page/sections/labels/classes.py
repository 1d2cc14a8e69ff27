"""What is mistaken for what: recall, predicted labels, confusion matrices."""

from collections.abc import Mapping, Sequence

from headstart.core.heads.report.facts import HeadResults, LabelShift
from headstart.core.heads.report.page.figures import classes as figures
from headstart.core.heads.report.page.html import Html, below, count, figure, grid, name, paragraph, section, share, table
from headstart.core.heads.report.page.sections.labels.comparisons import probability
from headstart.core.heads.report.page.view import Part, View
from headstart.core.heads.report.page.words import settings_words

WORST = 20
"""Classes that are shown; of more, those that are found least often."""
MOST_FIGURES = 12
"""Heads whose confusion matrices are drawn."""


def _classes(view: View) -> Html:
    names, content = view.section.classes, []
    for i, (settings, models) in enumerate(view.heads_by_settings().items()):
        shares = {model: it.recall for model, it in models.items()}
        shown, words = worst(names, shares), settings_words(settings)
        art = figures.recall(view.key(f"recall-{i}"), words, shares, shown, view.models())
        caption = f"Recall, {words}: the share of each class's test images that got its label."
        recall = [figure(Html(art), caption)] if art else []
        pieces = [
            grid([*recall, *_matrices(view.key(f"confusion-{i}"), words, models, names)]),
            paragraph(_left_out(len(models))),
            *_class_tables(words, models, shown),
            *_shifts(words, [it for it in view.section.label_shifts if it.settings == settings]),
        ]
        content += [below(view, words, *pieces)]
    lead = paragraph(_bounds(names))
    return section(view, "classes", "What is mistaken for what", lead, *content) if content else Html("")


def _left_out(heads: int) -> str:
    drawn = f"The confusion matrices of the first {MOST_FIGURES} of {count(heads)} heads are drawn."
    return drawn if heads > MOST_FIGURES else ""


def worst(names: Sequence[str], shares: Mapping[str, Mapping[str, float | None]]) -> list[str]:
    """All classes where they are few; else those with the lowest recall by any model, lowest first. Classes without test
    images come last."""
    if len(names) <= WORST:
        return list(names)
    lowest = {
        entry: min((value for it in shares.values() if (value := it.get(entry)) is not None), default=float("inf"))
        for entry in names
    }
    return sorted(names, key=lambda entry: lowest[entry])[:WORST]


def _bounds(names: Sequence[str]) -> str:
    """What is left out where there are many classes."""
    said = ""
    if len(names) > WORST:
        said = f"Shown are the {WORST} of {count(len(names))} classes that are found least often; all are in report.json."
    if len(names) > figures.MOST_CLASSES:
        said += f" Confusion matrices of more than {figures.MOST_CLASSES} classes are in report.json only."
    return said


def _class_tables(words: str, models: Mapping[str, HeadResults], names: Sequence[str]) -> list[Html]:
    if not names:
        return []
    heads = list(models.values())
    true, said = heads[0].true, [*map(name, models)]
    recall = [[name(entry), *(_recall(it.recall.get(entry)) for it in heads)] for entry in names]
    others = [
        [name(entry), *(f"{_defined(it.precision.get(entry))} / {_defined(it.f1.get(entry))}" for it in heads)]
        for entry in names
    ]
    given = [[name(entry), count(true.get(entry)), *(count(it.predicted.get(entry)) for it in heads)] for entry in names]
    caption = f"Labels given to test images, {words}: how often each class is there, and how often each model says it"
    return [
        table(f"Recall of each class, {words}", ["class", *said], recall),
        table(f"Precision / F1 of each class, {words}", ["class", *said], others),
        table(caption, ["class", "true images", *said], given),
    ]


def _recall(value: float | None) -> str:
    return "no test image" if value is None else share(value)


def _defined(value: float | None) -> str:
    return "not defined" if value is None else share(value)


def _shifts(words: str, found: Sequence[LabelShift]) -> list[Html]:
    """The labels that one model gives more often than another on the same images, beyond chance."""
    if not found:
        return []
    beyond = [it for it in found if it.comparison.adjusted < 0.05]
    beyond.sort(key=lambda it: -abs(it.comparison.paired.difference))
    lead = f"{count(len(beyond))} of {count(len(found))} pairs of models and labels differ beyond chance (McNemar, Holm)."
    head = ["label", "given by", "more often than by", "only the first", "only the second", "p, Holm"]
    caption = f"Labels that one model gives more often than another, {words}: the clearest twenty"
    body = [_shift(it) for it in beyond[:20]]
    return [paragraph(lead), *([table(caption, head, body)] if body else [])]


def _shift(it: LabelShift) -> list[str]:
    models, paired = (it.comparison.first, it.comparison.second), it.comparison.paired
    return [
        name(it.label),
        *map(name, models if paired.difference > 0 else reversed(models)),
        *map(count, sorted((paired.only_first, paired.only_second), reverse=True)),
        probability(it.comparison.adjusted),
    ]


def _matrices(key: str, words: str, models: Mapping[str, HeadResults], names: Sequence[str]) -> list[Html]:
    found = []
    for j, (model, it) in enumerate(list(models.items())[:MOST_FIGURES]):
        art = figures.confusion(f"{key}-{j}", f"{model}, {words}", it.confusion, names) if names else ""
        if art:
            often = [
                f"{true} taken for {other} ({count(images)})"
                for images, true, other in figures.mix_ups(it.confusion, names)[:3]
            ]
            caption = f"{model}, {words}: counts of test images; shade: square root of the share of the true class."
            found.append(figure(Html(art), caption + (f" Most often: {', '.join(often)}." if often else "")))
    return found


PART = Part("classes", "Classes", _classes, study_place=100, own_place=40)
