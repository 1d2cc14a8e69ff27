"""The features in two dimensions, a figure for each model and method."""

from collections.abc import Sequence

from headstart.core.heads.report.page.figures import maps as figures
from headstart.core.heads.report.page.html import Html, count, figure, grid, paragraph, section
from headstart.core.heads.report.page.view import Part, View
from headstart.core.heads.statistics.maps import FeatureMap, Projection


def _maps(view: View) -> Html:
    classes = view.section.classes
    drawn = [_of_model(view, i, model, it, classes) for i, (model, it) in enumerate(view.section.maps.items()) if it]
    if not any(drawn):
        return Html("")
    both = any(len(found) > 1 for found in drawn)
    # where there are pairs, each has a row of its own
    grids = map(grid, drawn) if both else [grid([one for found in drawn for one in found])]
    lead = "No head is involved: where classes lie apart already, a small head has little left to do."
    content = [paragraph(lead), paragraph(_NO_DISTANCES if both else ""), *grids]
    return section(view, "maps", "What the backbones see alike", *content)


_NO_DISTANCES = (
    "t-SNE keeps neighbours together and little else: distances between its groups, and how large or dense they are, mean "
    "nothing (Wattenberg et al., How to Use t-SNE Effectively, Distill 2016, doi:10.23915/distill.00002)."
)


def _of_model(view: View, i: int, model: str, found: FeatureMap, classes: Sequence[str]) -> list[Html]:
    """One model's maps: PCA, and t-SNE where the report has it."""
    place = f"{view.place}.maps.{model}"
    shown = [(f"map-{i}", place, found.pca)]
    shown += [(f"map-{i}-tsne", f"{place}.tsne", found.tsne)] if found.tsne else []
    drawn = [(figures.feature_map(view.key(key), model, it, classes, where), it) for key, where, it in shown]
    return [figure(Html(art), _caption(model, it, classes)) for art, it in drawn if art]


def _caption(model: str, it: Projection, classes: Sequence[str]) -> str:
    text = f"{model}: {figures.method_of(it)} of the backbone's features, coloured by true class."
    total, most = len(it.points), figures.MOST_LABELS
    step = -(-total // figures.MOST_POINTS)
    text += f" Of {count(total)} points {count(-(-total // step))} are drawn." if step > 1 else ""
    many = len({label for *_, label in it.points})
    return text + (f" The legend names {most} of {count(many)} classes; colours repeat." if many > most else "")


PART = Part("maps", "Feature maps", _maps, study_place=160, own_place=150)
