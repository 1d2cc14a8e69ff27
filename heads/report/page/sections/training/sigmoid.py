"""What the sigmoid before the loss costs."""

from headstart.core.heads.report.page.html import Html, name, paragraph, points, section, table, with_interval
from headstart.core.heads.report.page.view import Part, View


def _sigmoid(view: View) -> Html:
    body = [
        [
            name(it.model),
            *(with_interval(side.mean, side.interval) for side in (it.with_sigmoid, it.without)),
            points(it.difference),
        ]
        for it in view.section.sigmoid
    ]
    if not body:
        return Html("")
    whose = "The study squashes" if view.section.published else "The study recipe squashes"
    lead = (
        f"{whose} the scores by a sigmoid before the cross entropy, so its loss cannot fall under "
        "ln(1 + (C − 1)/e) and its gradient fades. The same training without it:"
    )
    head = ["model", "with the sigmoid", "without", "change, percentage points"]
    caption = "Mean test accuracy with 95 % intervals, with the sigmoid and without"
    return section(view, "sigmoid", "What the sigmoid costs", paragraph(lead), table(caption, head, body))


PART = Part("sigmoid", "Sigmoid", _sigmoid, study_place=110, own_place=160)
