"""Test accuracy against the number of training images, with equal epochs and with equal steps."""

from headstart.core.heads.report.page.curves import Curve, curves
from headstart.core.heads.report.page.html import Html, paragraph, section
from headstart.core.heads.report.page.view import Part, View

HEADING, X = "More training images", "training images (number)"
EQUAL_EPOCHS = Curve("sizes", f"{HEADING}, equal epochs", X, lambda found: found.sizes)
EQUAL_STEPS = Curve("sizes_equal_steps", f"{HEADING}, equal steps", X, lambda found: found.sizes_equal_steps)


def _sizes(view: View) -> Html:
    drawn = [*curves(view, EQUAL_EPOCHS), *curves(view, EQUAL_STEPS)]
    asked = "The study took the first 24,000 images to save time. " if view.section.published else ""
    lead = (
        f"{asked}With equal epochs, fewer images also mean fewer optimiser steps. With equal steps only the number of "
        "images differs."
    )
    return section(view, "sizes", HEADING, paragraph(lead), *drawn) if drawn else Html("")


PART = Part("sizes", "Training images", _sizes, study_place=90, own_place=80)
