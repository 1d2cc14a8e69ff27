"""What was tried before a head was trained, in lines as the terminal and every form of the report show it."""

import dataclasses

from headstart.core.heads.selection.record import Selection, Tried
from headstart.core.heads.settings import distinctions

RULE = "the simplest kind of head within one standard error of the least log loss, at its best"
"""How one of those tried is chosen."""


@dataclasses.dataclass(frozen=True)
class Line:
    """A configuration that was tried: its head, what tells it apart from the others in words, its log loss with the
    standard error of its difference to the least one, its accuracy (0 to 1), and whether it was chosen."""

    head: str
    settings: str
    log_loss: str
    accuracy: float
    chosen: bool


def lines(found: Selection, most: int) -> list[Line]:
    """The best configurations, the best first, `most` of them at most, of which the chosen one is always one."""
    places = list(range(min(most, len(found.tried))))
    if found.chosen not in places:
        places[-1] = found.chosen
    words = distinctions([one.config for one in found.tried])
    shown = [(i, found.tried[i]) for i in places]
    return [Line(one.config.head, words[i], _loss(one), one.accuracy, i == found.chosen) for i, one in shown]


def _loss(one: Tried) -> str:
    """The log loss; that of the least, and of one that says the same of all rows, differs from it by nothing."""
    return f"{one.log_loss:.4f} ± {one.error:.4f}" if one.error else f"{one.log_loss:.4f}"


def rule(found: Selection) -> str:
    """How the one was chosen among those that were tried."""
    return RULE if len({one.config.head for one in found.tried}) > 1 else "the least log loss"


def on_rows(found: Selection) -> str:
    """On which rows they were tried: `62 training rows, each predicted by a head that did not see it (5 folds)`, or
    `150 validation images`."""
    if found.validation:
        return f"{found.rows:,} validation images"
    seen = f"each predicted by a head that did not see it ({found.folds} folds)"
    return f"{found.rows:,} training rows, {seen if found.folds > 1 else 'held out'}"
