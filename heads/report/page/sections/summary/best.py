"""What the owner of the pictures asks first, of the best head: how good, what is wrong, what would help, how to use it."""

import shlex
import statistics

from headstart.core.heads.report import more_pictures
from headstart.core.heads.report.facts import HeadResults, ModelPair
from headstart.core.heads.report.page.figures.classes import fits, mix_ups
from headstart.core.heads.report.page.html import (
    Html,
    code,
    count,
    esc,
    interval,
    join,
    link,
    listed,
    name,
    paragraph,
    points,
    section,
    share,
    time,
)
from headstart.core.heads.report.page.sections.labels.mistakes import contact_sheet
from headstart.core.heads.report.page.view import Part, View
from headstart.core.heads.report.page.words import seeds_of, title_of
from headstart.core.heads.report.row import Row, tie
from headstart.core.heads.study.results import CurvePoint

FIRST_MISTAKES = 6
WIDE = 0.1
"""Width of an interval beyond which more test images are worth asking for."""


def _best(view: View) -> Html:
    if view.section.replaced:
        return section(view, "best", "The best head", paragraph(view.section.instead))
    best = view.best()
    if best is None:
        return Html("")
    head = view.results_of(best)
    found = {
        "How good is the best head?": _good(view, best),
        "Which classes are confused?": _confused(view, head) if head else "",
        "Which pictures are wrong?": _wrong(view, head) if head else "",
        "What would help?": _help(view, best, head),
        "How fast is it?": _fast(best),
        "How do I use it?": code(command("predict", best, "PICTURES...")),
    }
    pieces = join(Html(f"<div><dt>{esc(asked)}</dt><dd>{said}</dd></div>") for asked, said in found.items() if said)
    return section(view, "best", "The best head", Html(f'<dl class="answers">{pieces}</dl>'))


def _good(view: View, best: Row) -> Html:
    rows, seeds = view.comparable(), seeds_of(best)
    text = (
        f"<strong>{share(best.accuracy)}</strong> of {count(best.test_rows)} test images get their right label "
        f"from {name(title_of(best))}{f', {seeds}' if seeds else ''}."
        f" 95 % interval: {interval(best.interval)}, over {esc(best.interval_over)}."
    )
    low, high = best.interval
    text += " That is wide: with more test images it would be narrower." if high - low > WIDE else ""
    if len(rows) > 1:
        tied = f" ({said})" if (said := tie(best, rows)) else ""
        text += (
            f" It is the highest of {count(len(rows))} heads on these images{tied}, so expect a little less on new ones "
            f"({link(view, 'table-1', 'all heads')})."
        )
    text += f" {esc(best.without_twins.sentence(share))}." if best.without_twins else ""
    return Html(text + (" Read it with its notes below the table." if best.notes else ""))


def _confused(view: View, head: HeadResults) -> Html:
    classes = view.section.classes
    if not fits(head.confusion, classes):
        return Html("")
    most = mix_ups(head.confusion, classes)[:5]
    if not most:
        return Html("None: every test image got its label.")
    said = [Html(f"{name(true)} taken for {name(other)}, {times(images)}") for images, true, other in most]
    found = {entry: value for entry, value in head.recall.items() if value is not None}
    lowest = sorted(found, key=lambda entry: found[entry])[:3]
    worst = ", ".join(f"{name(entry)} ({share(found[entry])})" for entry in lowest)
    return Html(f"{listed(said)}<p>Found least often: {worst} ({link(view, 'classes', 'all classes')}).</p>")


def times(number: int) -> str:
    """How often, in words."""
    return "once" if number == 1 else f"{count(number)} times"


def _wrong(view: View, head: HeadResults) -> Html:
    if not head.mistakes:
        return Html("")
    total = sum(map(sum, head.confusion))
    wrong = total - sum(row[i] for i, row in enumerate(head.confusion))
    said = f"{count(wrong)} of {count(total)}; those it is surest of ({link(view, 'mistakes', 'more')}):"
    return Html(f"<p>{said}</p>{contact_sheet(view, head, FIRST_MISTAKES)}")


def _help(view: View, best: Row, head: HeadResults | None) -> Html:
    entries = [_more_pictures(view, best, head), _labels(view, head), _backbone(view, best)]
    return listed([entry for entry in entries if entry])


def _more_pictures(view: View, best: Row, head: HeadResults | None) -> Html:
    if best.curve is not None:
        more = link(view, "few-shot", "curve")
        return Html(f"<strong>More pictures?</strong> {esc(more_pictures.sentence(best.curve))} ({more}).")
    if head is None or head.analyses is None:
        measured = code(shlex.join(["headstart", "train-head", *best.trained_by, "--curve"]))
        return Html(f"<strong>More pictures?</strong> Not measured. This draws the curve:{measured}")
    for points_ in (head.analyses.sizes_equal_steps, head.analyses.sizes):
        curve = sorted(points_, key=lambda point: point.at)
        if len(curve) > 1:
            halved = [point for point in curve if 2 * point.at <= curve[-1].at]
            return _rise(view, halved[-1] if halved else curve[0], curve[-1])  # a few more images would show nothing
    return Html("")  # too few images for a curve


def _rise(view: View, before: CurvePoint, after: CurvePoint) -> Html:
    first, last = before.accuracies, after.accuracies
    change = statistics.fmean(last) - statistics.fmean(first)
    # beyond the seeds' own spread: every seed of the larger set is better than every seed of the smaller one
    verdict = "Probably" if min(last) > max(first) else "Hardly"
    said = f"{points(change)} points from {count(before.at)} to {count(after.at)} training images"
    return Html(f"<strong>More pictures?</strong> {verdict}: {said} ({link(view, 'sizes', 'curve')}).")


def _labels(view: View, head: HeadResults | None) -> Html:
    if head is None or not head.mistakes:
        return Html("")
    look = link(view, "mistakes", "the mistakes it is surest of")
    return Html(f"<strong>Mended labels?</strong> Look through {look}: where the label is wrong, not the head, mend it.")


def _backbone(view: View, best: Row) -> Html:
    pairs = [pair for pair in view.section.comparisons if pair.settings == best.settings]
    said = [text for pair in pairs if (text := _against(pair, best.model))]
    if said:
        more = link(view, "comparisons", "all differences")
        return Html(f"<strong>Another backbone?</strong> {name(best.model)} compared with {', '.join(said[:5])} ({more}).")
    if len(view.models()) > 1:
        return Html("")
    tried = f"Only {name(best.model)} was tried; <code>headstart models</code> lists the others."
    return Html(f"<strong>Another backbone?</strong> {tried}")


def _against(pair: ModelPair, model: str) -> str:
    """The difference of the best model to another, with its interval."""
    found, paired = pair.comparison, pair.comparison.paired
    low, high = paired.interval
    if found.first == model:
        return _difference(found.second, paired.difference, (low, high))
    return _difference(found.first, -paired.difference, (-high, -low)) if found.second == model else ""


def _difference(other: str, difference: float, ends: tuple[float, float]) -> str:
    return f"{name(other)}: {points(difference)} points ({interval(ends, points)})"


def _fast(best: Row) -> Html:
    timed = best.inference
    place = ["--dataset", shlex.quote(best.place)] if best.place and best.place != best.dataset else []
    speed = f"Not timed yet:{code(command('bench-inference', best, *place))}"
    if timed and timed.elapsed_s > 0:
        rate, of = timed.images / timed.elapsed_s, f"{count(timed.images)} images, {esc(best.device)}"
        speed = f"{rate:,.1f} images a second, raw image to label ({of})."
    together = f", {count(best.together)} heads at once," if best.together > 1 else ""
    features = f" on features that took {time(best.extraction_s)}" if best.extraction_s is not None else ""
    return Html(f"{speed} It was trained in {time(best.training_s)}{together}{features}.")


def command(verb: str, row: Row, *rest: str) -> str:
    """What to type to use a run's head; `runs` is where heads are kept unless somebody says otherwise."""
    return " ".join(["headstart", verb, "--head", shlex.quote(row.folder or f"runs/{row.run}"), *rest])


PART = Part("best", "The best head", _best, study_place=50, own_place=20)
