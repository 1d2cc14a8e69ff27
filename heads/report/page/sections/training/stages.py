"""Where the time of an image goes, from raw image to label."""

from headstart.core.heads.report.page.figures import times as figures
from headstart.core.heads.report.page.html import Html, figure, grid, name, number, section, table
from headstart.core.heads.report.page.view import Part, View


def _stages(view: View) -> Html:
    found = {model: it for model, it in view.section.stages.items() if it}
    drawn = figures.stage_bars(view.key("stages-figure"), found)
    if not drawn:
        return Html("")
    body = [[name(model), *(number(it.get(key), _milliseconds) for key in figures.STAGES)] for model, it in found.items()]
    caption = f"Milliseconds per image, on {view.hardware()}"
    shown = figure(Html(drawn), f"{caption}. Measured by headstart bench-inference, apart from training.")
    return section(view, "stages", "Where the time goes", grid([shown]), table(caption, ["model", *figures.STAGES], body))


def _milliseconds(value: float) -> str:
    return f"{1000 * value:.3f}"


PART = Part("stages", "Times", _stages, study_place=180, own_place=110)
