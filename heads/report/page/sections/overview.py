"""What the owner of the pictures asks first, of the best head: how good, what is wrong, what would help, how to use it."""

import shlex
import statistics

from headstart.core.heads.report.page.class_charts import fits, mix_ups
from headstart.core.heads.report.page.html import (
    NOT_KNOWN,
    Facts,
    Html,
    View,
    code,
    count,
    esc,
    interval,
    items,
    join,
    known,
    link,
    listed,
    name,
    number,
    part,
    points,
    section,
    share,
    time,
)
from headstart.core.heads.report.page.sections.pictures import mistake
from headstart.core.heads.report.page.words import best_of, comparable, find, models_of, seeds_of, title_of

FIRST_MISTAKES = 6
WIDE = 0.1
"""Width of an interval beyond which more test images are worth asking for."""


def overview(view: View) -> Html:
    """The questions with their answers, of the best head; empty without heads."""
    best = best_of(view.facts)
    if best is None:
        return Html("")
    makers = {
        "How good is the best head?": _good,
        "Which classes are confused?": _confused,
        "Which pictures are wrong?": _wrong,
        "What would help?": _help,
        "How fast is it?": _fast,
        "How do I use it?": _use,
    }
    found = {question: maker(view, best) for question, maker in makers.items()}
    pieces = join(Html(f"<div><dt>{esc(asked)}</dt><dd>{said}</dd></div>") for asked, said in found.items() if said)
    return section(view, "best", "The best head", Html(f'<dl class="answers">{pieces}</dl>'))


def _good(view: View, best: Facts) -> Html:
    ends, rows = interval(best.get("interval")), comparable(view.facts)
    seeds = seeds_of(best)
    text = (
        f"<strong>{share(best['accuracy'])}</strong> of {count(best.get('test_rows'))} test images get their right label "
        f"from {name(title_of(best))}{f', {seeds}' if seeds else ''}."
    )
    if ends:
        text += f" 95 % interval: {ends}, over {esc(best.get('interval_over') or 'images')}."
        low, high = best["interval"]
        text += " That is wide: with more test images it would be narrower." if high - low > WIDE else ""
    if len(rows) > 1:
        text += (
            f" It is the highest of {count(len(rows))} heads on these images, so expect a little less on new ones "
            f"({link(view, 'table-1', 'all heads')})."
        )
    return Html(text + (" Read it with its notes below the table." if items(best, "notes") else ""))


def _confused(view: View, best: Facts) -> Html:
    it, classes = find(view.facts, best), [str(entry) for entry in items(view.facts, "classes")]
    matrix = it.get("confusion")
    if not matrix or not fits(matrix, classes):
        return Html("")
    most = mix_ups(matrix, classes)[:5]
    if not most:
        return Html("None: every test image got its label.")
    said = [f"{name(true)} taken for {name(other)}, {times(images)}" for images, true, other in most]
    found = {entry: value for entry, value in part(it, "recall").items() if known(value)}
    lowest = sorted(found, key=lambda entry: found[entry])[:3]
    worst = ", ".join(f"{name(entry)} ({share(found[entry])})" for entry in lowest)
    below = f"<p>Found least often: {worst} ({link(view, 'classes', 'all classes')}).</p>" if worst else ""
    return Html(listed(list(map(Html, said))) + below)


def times(number: int) -> str:
    """How often, in words."""
    return "once" if number == 1 else f"{count(number)} times"


def _wrong(view: View, best: Facts) -> Html:
    it = find(view.facts, best)
    found, matrix = items(it, "mistakes"), it.get("confusion") or []
    if not found:
        return Html("")
    place = f"{view.place}.models.{best.get('model')}.{best.get('recipe')}.mistakes"
    cells = join(mistake(one, f"{place}[{i}].image") for i, one in enumerate(found[:FIRST_MISTAKES]))
    total = sum(map(sum, matrix))
    wrong = total - sum(row[i] for i, row in enumerate(matrix) if i < len(row))
    said = f"{count(wrong)} of {count(total)}; those it is surest of" if total else "Those it is surest of"
    return Html(f"<p>{said} ({link(view, 'mistakes', 'more')}):</p><ul class='sheet'>{cells}</ul>".replace("'", '"'))


def _help(view: View, best: Facts) -> Html:
    it = find(view.facts, best)
    entries = [_more_pictures(view, it), _labels(view, it), _backbone(view, best)]
    return listed([entry for entry in entries if entry])


def _more_pictures(view: View, it: Facts) -> Html:
    for key in ("sizes_equal_steps", "sizes"):
        curve = sorted((e for e in items(it, key) if items(e, "accuracies")), key=lambda entry: float(entry["rows"]))
        if len(curve) > 1:
            halved = [entry for entry in curve if 2 * entry["rows"] <= curve[-1]["rows"]]
            return _rise(view, halved[-1] if halved else curve[0], curve[-1])  # a few more images would show nothing
    if items(it, "sizes"):  # too few images for a curve
        return Html("")
    return Html("<strong>More pictures?</strong> Not measured; <code>headstart study</code> draws the curve.")


def _rise(view: View, before: Facts, after: Facts) -> Html:
    first, last = before["accuracies"], after["accuracies"]
    change = statistics.fmean(last) - statistics.fmean(first)
    # beyond the seeds' own spread: every seed of the larger set is better than every seed of the smaller one
    verdict = "Probably" if min(last) > max(first) else "Hardly"
    said = f"{points(change)} points from {count(before['rows'])} to {count(after['rows'])} training images"
    return Html(f"<strong>More pictures?</strong> {verdict}: {said} ({link(view, 'sizes', 'curve')}).")


def _labels(view: View, it: Facts) -> Html:
    if not items(it, "mistakes"):
        return Html("")
    look = link(view, "mistakes", "the mistakes it is surest of")
    return Html(f"<strong>Mended labels?</strong> Look through {look}: where the label is wrong, not the head, mend it.")


def _backbone(view: View, best: Facts) -> Html:
    model, settings = str(best.get("model")), str(best.get("recipe"))
    pairs = [it for it in items(view.facts, "comparisons") if str(it.get("recipe")) == settings]
    said = [text for it in pairs if (text := _against(it, model))]
    if said:
        more = link(view, "comparisons", "all differences")
        return Html(f"<strong>Another backbone?</strong> {name(model)} compared with {', '.join(said[:5])} ({more}).")
    if len(models_of(view.facts)) > 1:
        return Html("")
    return Html(
        f"<strong>Another backbone?</strong> Only {name(model)} was tried; <code>headstart models</code> lists the others."
    )


def _against(it: Facts, model: str) -> str:
    """The difference of the best model to another, with its interval."""
    ends, sign, other = (it.get("low"), it.get("high")), 1, it.get("second")
    if str(other) == model:
        ends, sign, other = (it.get("high"), it.get("low")), -1, it.get("first")
    elif str(it.get("first")) != model:
        return ""
    if not known(it.get("difference")):
        return ""
    signed = tuple(sign * end for end in ends if known(end))
    found = interval(signed, points)
    return f"{name(other)}: {points(sign * it['difference'])} points" + (f" ({found})" if found else "")


def _fast(view: View, best: Facts) -> Html:
    timed, device = part(best, "inference"), esc(best.get("device") or NOT_KNOWN)
    parts = []
    if known(timed.get("images")) and known(timed.get("elapsed_s")) and timed["elapsed_s"] > 0:
        rate = timed["images"] / timed["elapsed_s"]
        parts.append(f"{rate:,.1f} images a second, raw image to label ({count(timed['images'])} images, {device}).")
    elif best.get("run") != NOT_KNOWN:
        parts.append(f"Not timed yet:{code(command('bench-inference', best))}")
    if known(best.get("training_s")):
        parts.append(f"It was trained in {time(best['training_s'])}{_together(best)}{_extracted(best)}.")
    return Html(" ".join(parts))


def _together(best: Facts) -> str:
    many = best.get("together")
    return f", {count(many)} heads at once," if known(many) and many > 1 else ""


def _extracted(best: Facts) -> str:
    return f" on features that took {number(best['extraction_s'], time)}" if known(best.get("extraction_s")) else ""


def _use(view: View, best: Facts) -> Html:
    return code(command("predict", best, "PICTURES...")) if best.get("run") != NOT_KNOWN else Html("")


def command(verb: str, row: Facts, *rest: str) -> str:
    """What to type to use a run's head; `runs` is where heads are kept unless somebody says otherwise."""
    return " ".join(["headstart", verb, "--head", shlex.quote(str(row.get("folder") or f"runs/{row['run']}")), *rest])
