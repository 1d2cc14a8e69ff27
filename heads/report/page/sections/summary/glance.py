"""The accuracies at a glance. Beside the published study's figures they stand above the findings instead."""

from headstart.core.heads.report.page.cards import cards
from headstart.core.heads.report.page.html import Html, section
from headstart.core.heads.report.page.view import Part, View


def _glance(view: View) -> Html:
    found = cards(view)
    return section(view, "at-a-glance", "At a glance", found) if found else Html("")


PART = Part("at-a-glance", "At a glance", _glance, study_place=None, own_place=10)
