"""Test images on which the models disagree."""

from headstart.core.heads.report.facts import named
from headstart.core.heads.report.page.html import Html, img, name, section, table
from headstart.core.heads.report.page.view import Part, View


def _disagreements(view: View) -> Html:
    found = view.section.disagreements
    if not found:
        return Html("")
    models = list(dict.fromkeys(model for it in found for model in it.predicted))
    body = []
    for i, it in enumerate(found):
        which = named(it.row, it.id)
        art = img(it.image, f"{which}: {it.label}", f"{view.place}.disagreements[{i}].image", "tiny") if it.image else ""
        first = Html(f"{art}{name(it.label)}<small>{name(which)}</small>")
        body.append([first, *(_verdict(it.predicted.get(model), it.label) for model in models)])
    caption = "Test images on which the models disagree: the true class, and what each model says"
    return section(view, "disagreements", "Where the models disagree", table(caption, ["image", *map(name, models)], body))


def _verdict(predicted: str | None, label: str) -> Html:
    return Html("not labelled") if predicted is None else Html(f"{name(predicted)}{' ✓' if predicted == label else ''}")


PART = Part("disagreements", "Disagreements", _disagreements, study_place=150, own_place=60)
