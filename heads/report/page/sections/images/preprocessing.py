"""An image before and after preprocessing."""

from headstart.core.heads.report.facts import TitledImage
from headstart.core.heads.report.page.html import Html, esc, figure, img, section
from headstart.core.heads.report.page.view import Part, View


def _preprocessing(view: View) -> Html:
    it = view.section.preprocessing
    if it is None:
        return Html("")
    images = [_titled(one, f"{view.place}.figure_1.images[{i}].image") for i, one in enumerate(it.images)]
    art = Html(f'<div class="pair">{"".join(images)}</div>')
    heading = f"{'Figure 1: w' if view.section.published else 'W'}hat the backbone sees"
    return section(view, "figure-1", heading, figure(art, it.caption))


def _titled(one: TitledImage, place: str) -> Html:
    return Html(f"<div>{img(one.image, one.title, place)}<p>{esc(one.title)}</p></div>")


PART = Part("figure-1", "Preprocessing", _preprocessing, study_place=40, own_place=190, study_title="Figure 1")
