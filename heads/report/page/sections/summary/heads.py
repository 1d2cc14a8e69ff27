"""Every head with its accuracy and times; the published figures in a column of their own, with their hardware."""

from collections.abc import Sequence

from headstart.core.heads.report.page.figures.times import time_accuracy
from headstart.core.heads.report.page.html import Html, count, esc, figure, grid, name, section, share, table, time
from headstart.core.heads.report.page.view import Part, View
from headstart.core.heads.report.page.words import accuracy_of, footnotes, marks, settings_words
from headstart.core.heads.report.published import Published
from headstart.core.heads.report.row import Row

NONE = Html('<span aria-label="none">–</span>')


def _heads(view: View) -> Html:
    rows, study, notes = view.section.rows, view.section.published, view.notes()
    if not rows and not study:
        return Html("")
    body = [_line(view, row, notes) for row in rows]
    caption, heading, column = f"Heads on {view.hardware()}, each with the 95 % interval of its accuracy.", "All heads", []
    if study:
        shown = {row.model.partition(",")[0] for row in rows if row.published}
        others = [model for model in study.table_1 if model not in shown]
        body += [[name(model), "not run here", _published(study.table_1[model]), *[NONE] * 4] for model in others]
        compare = f"Published times are of other hardware ({study.hardware}): compare accuracies, not times."
        caption, heading = f"Table 1: our h{caption[1:]} {compare}", "Table 1: models compared"
        column = [f"published, {study.hardware}"]
    head = ["head", "accuracy", *column, "extraction", "head training", "inference", "trained on / tested on"]
    return section(view, "table-1", heading, table(caption, head, body), footnotes(view, notes), *_time_figure(view))


def _line(view: View, row: Row, notes: Sequence[str]) -> list[str]:
    several = f"<small>{count(row.together)} heads at once</small>" if row.together > 1 else ""
    own = f"<small>{esc(settings_words(row.settings))}</small>"
    made = f"{name(row.dataset)}, {esc(row.device)}"
    timed = "not timed"
    if row.inference:
        timed = Html(f"{time(row.inference.elapsed_s)}<small>{count(row.inference.images)} images</small>")
    return [
        Html(f"{name(row.model)}{marks(view, row, notes)}{own}"),
        accuracy_of(row),
        *([_published(view.published_of(row))] if view.section.published else []),
        time(row.extraction_s),
        Html(f"{time(row.training_s)}{several}"),
        timed,
        Html(f"{count(row.train_rows)} / {count(row.test_rows)}<small>{made}</small>"),
    ]


def _published(it: Published | None) -> Html:
    if it is None:
        return NONE
    times = (("training", it.training_s), ("inference", it.inference_s))
    small = "".join(f"<small>{words} {time(value)}</small>" for words, value in times)
    return Html(f"{share(it.accuracy)}{small}")


def _time_figure(view: View) -> list[Html]:
    rows, study = view.section.rows, view.section.published
    theirs = study.table_1 if study else {}
    order = list(dict.fromkeys([*view.models(), *theirs]))  # published: colours too
    if len([row for row in rows if row.trained_in_s]) + len(theirs) < 2:  # one point says no more than its line
        return []
    drawn = time_accuracy(view.key("time"), rows, study, order)
    caption = (
        "Time from images to a trained head, and its test accuracy with its 95 % interval. Filled marks: "
        f"{view.hardware()}."
    )
    if study:
        caption += " Hollow marks: published, on other hardware, with the backbone in each of five epochs."
    return [grid([figure(Html(drawn), caption)])] if drawn else []


PART = Part("table-1", "All heads", _heads, study_place=20, own_place=30, study_title="Table 1")
