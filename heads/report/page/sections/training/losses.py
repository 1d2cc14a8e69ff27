"""Learning curves: the mean training loss of each epoch, a figure for each kind of settings."""

from headstart.core.heads.report.page.figures import curves as figures
from headstart.core.heads.report.page.html import Html, count, figure, grid, number, section, table
from headstart.core.heads.report.page.view import Part, View
from headstart.core.heads.report.page.words import named


def _losses(view: View) -> Html:
    rows = [row for row in view.section.rows if row.losses]
    if not rows:
        return Html("")
    recipes = dict.fromkeys(row.settings for row in rows)
    drawn = [figures.losses(view.key(f"loss-{i}"), recipe, rows, view.models()) for i, recipe in enumerate(recipes)]
    caption = "Mean training loss of each epoch. Recipes with and without the sigmoid have different scales."
    body = [
        [named(row.model, row.settings), count(len(row.losses)), *(number(row.losses[i], "{:.4f}".format) for i in (0, -1))]
        for row in rows
    ]
    numbers = table("Mean training loss", ["head", "epochs", "first epoch", "last epoch"], body)
    return section(view, "losses", "Learning curves", grid([figure(Html(it), caption) for it in drawn]), numbers)


PART = Part("losses", "Learning curves", _losses, study_place=170, own_place=180)
