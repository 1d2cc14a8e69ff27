"""Test accuracy against the number of epochs."""

from headstart.core.heads.report.page.curves import Curve, curves
from headstart.core.heads.report.page.html import Html, paragraph, section
from headstart.core.heads.report.page.view import Part, View

CURVE = Curve("epochs", "More epochs", "epochs of training (number)", lambda found: found.epochs)


def _epochs(view: View) -> Html:
    asked = "The study asked whether more epochs would tell the models apart. " if view.section.published else ""
    lead = f"{asked}Test rows are watched here, never used to choose."
    drawn = curves(view, CURVE)
    return section(view, "epochs", "More epochs", paragraph(lead), *drawn) if drawn else Html("")


PART = Part("epochs", "Epochs", _epochs, study_place=80, own_place=130)
