"""Outside photographs with each head's labels, and the published labels of the study's own photographs."""

import math
from pathlib import PurePath

from headstart.core.heads.report.facts import Photograph
from headstart.core.heads.report.page.html import Html, clean, esc, img, join, name, paragraph, section, table
from headstart.core.heads.report.page.view import Part, View
from headstart.core.heads.report.page.words import title_of
from headstart.core.heads.report.published import PublishedStudy


def _photographs(view: View) -> Html:
    study = view.section.published
    if not view.section.photos and not study:
        return Html("")
    content = [_ours(view)] if view.section.photos else []
    content += [_theirs(study)] if study else []
    heading = "Table 2: outside photographs" if study else "Outside photographs"
    return section(view, "table-2", heading, *content)


def _theirs(study: PublishedStudy) -> Html:
    models = list(dict.fromkeys(model for labels in study.table_2.values() for model in labels))
    none = Html('<span aria-label="none">–</span>')
    body = [[name(photo), *(esc(labels.get(model, none)) for model in models)] for photo, labels in study.table_2.items()]
    caption = (
        f"Table 2 as published, on {study.hardware}: the study's own photographs, which were not published. ✓ is a right "
        "label; a word is the wrong one that was given."
    )
    return table(caption, ["photograph", *map(name, models)], body)


def _ours(view: View) -> Html:
    photos = view.section.photos
    titles = {row.run: title_of(row) for row in view.section.rows}
    seen = dict.fromkeys(run for found in photos for run in found.photo.labels)
    runs = [run for run in titles if run in seen] + [run for run in seen if run not in titles]
    body: list[list[str]] = []
    for i, found in enumerate(photos):
        body.append([_picture(found, f"{view.place}.photos[{i}].image"), *(_labels(found, run) for run in runs)])
        if not runs:
            body[-1].append(f"can't be read: {found.photo.error or 'not labelled'}")
    caption = f"Our photographs: the most probable labels of each head, with their probabilities; {view.hardware()}."
    head = ["photograph", *(name(titles.get(run, run)) for run in runs)] if runs else ["photograph", "labels"]
    return join([table(caption, head, body), paragraph(_ceiling(view))])


def _picture(found: Photograph, place: str) -> Html:
    """A photograph with the name of its file; its whole path stands in the title."""
    path = clean(found.photo.name)
    short = PurePath(path).name or path
    art = img(found.image, f"Photograph {short}", place, "photo") if found.image else ""
    return Html(f'<span title="{esc(path)}">{art}{name(short)}</span>')


def _labels(found: Photograph, run: str) -> Html:
    labels = found.photo.labels.get(run, ())
    if not labels:
        return esc(f"can't be read: {found.photo.error}" if found.photo.error else "not labelled")
    first, *rest = [f"{name(label)} {value:.0%}" for label, value in labels]
    return Html(f"<strong>{first}</strong>{''.join(f'<small>{other}</small>' for other in rest)}")


def _ceiling(view: View) -> str:
    classes = len(view.section.classes)
    if classes < 2 or not any(row.sigmoid for row in view.section.rows):
        return ""
    most = math.e / (math.e + classes - 1)
    return f"With the study recipe's sigmoid no probability can exceed e / (e + C − 1), {most:.0%} for {classes} classes."


PART = Part("table-2", "Photographs", _photographs, study_place=30, own_place=90, study_title="Table 2")
