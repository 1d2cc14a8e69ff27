"""Which differences between models are real: McNemar's test for every pair, Holm's correction over them."""

from headstart.core.heads.report.facts import ModelPair
from headstart.core.heads.report.page.html import (
    Html,
    below,
    count,
    esc,
    interval,
    listed,
    name,
    paragraph,
    points,
    section,
    table,
)
from headstart.core.heads.report.page.view import Part, View
from headstart.core.heads.report.page.words import settings_words


def _comparisons(view: View) -> Html:
    found, apart = view.section.comparisons, view.section.not_compared
    if not found and not apart:
        return Html("")
    content = []
    for settings in dict.fromkeys(it.settings for it in found):
        pairs = [it for it in found if it.settings == settings]
        methods = ", ".join(dict.fromkeys(it.comparison.paired.test for it in pairs))
        words = settings_words(settings)
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


def _pair(it: ModelPair) -> list[str]:
    found, paired = it.comparison, it.comparison.paired
    note = f"<small>{esc(it.note)}</small>" if it.note else ""
    return [
        Html(f"{name(found.first)} and {name(found.second)}{note}"),
        count(paired.only_first),
        count(paired.only_second),
        points(paired.difference),
        interval(paired.interval, points),
        probability(paired.p_value),
        probability(found.adjusted),
        "yes" if found.adjusted < 0.05 else "not shown",
    ]


def probability(value: float) -> str:
    """A p value: three digits, or that it is smaller than one can care about."""
    return "< 0.0001" if value < 0.0001 else f"{value:.3g}" if value < 0.001 else f"{value:.4f}"


PART = Part("comparisons", "Differences", _comparisons, study_place=60, own_place=70)
