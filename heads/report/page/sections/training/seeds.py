"""How much of an accuracy is chance: heads that differ in their seed alone."""

from headstart.core.heads.report.facts import HeadResults
from headstart.core.heads.report.page.figures import seeds as figures
from headstart.core.heads.report.page.html import (
    NOT_KNOWN,
    Html,
    count,
    figure,
    grid,
    interval,
    number,
    section,
    share,
    table,
    time,
)
from headstart.core.heads.report.page.view import Part, View
from headstart.core.heads.report.page.words import named
from headstart.core.heads.statistics.compare import Spread
from headstart.core.heads.study.results import Analyses


def _seeds(view: View) -> Html:
    found = [(head, analyses, head.spread) for head, analyses in view.analysed() if head.spread]
    if not found:
        return Html("")
    body = [[named(head.model, head.settings), *_numbers(head, analyses, spread)] for head, analyses, spread in found]
    head = ["head", "mean", "95 %, mean over seeds", "standard deviation", "lowest to highest",
            "95 %, one head over images", "95 %, seeds and images", "time for all"]  # fmt: skip
    drawn = figures.seeds(view.key("seeds-figure"), _dots(view), view.models())
    caption = (
        "Each dot is a head trained from another seed; a diamond is their mean. The thick line is the 95 % interval of "
        "the mean over seeds, the thin one allows for the choice of test images as well."
    )
    return section(
        view, "seeds", "How much is chance: seeds", grid([figure(Html(drawn), caption)]),
        table("Test accuracy over seeds", head, body),
    )  # fmt: skip


def _dots(view: View) -> list[figures.SeedDots]:
    return [
        figures.SeedDots(head.model, head.settings, head.analyses.seeds.accuracies, head.spread, head.analyses.both)
        for head in view.section.heads
        if head.analyses and head.spread
    ]


def _numbers(head: HeadResults, found: Analyses, spread: Spread) -> list[str]:
    values, together = found.seeds.accuracies, found.seeds.together
    many = f"<small>{count(len(values))} seeds</small>" if len(values) > 1 else "<small>one seed</small>"
    return [
        Html(f"{share(spread.mean)}{many}"),
        interval(spread.interval) or NOT_KNOWN,
        number(spread.deviation, lambda value: f"{100 * value:.2f} points"),
        interval((min(values), max(values))),
        interval(head.test_interval),
        interval(found.both),
        Html(f"{time(found.seeds.elapsed_s)}<small>{count(together)} heads at once</small>"),
    ]


PART = Part("seeds", "Seeds", _seeds, study_place=70, own_place=120)
