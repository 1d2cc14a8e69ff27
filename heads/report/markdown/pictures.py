"""The test images to look at, as Markdown: those that the best head is surest of and gets wrong, and those that models
label differently."""

from collections.abc import Sequence

from headstart.core.heads.report.facts import HeadResults, Section, named
from headstart.core.heads.report.markdown.text import one_line, table
from headstart.core.heads.report.row import Row
from headstart.core.heads.report.units import percent


def pictures(section: Section, best: Row | None) -> str:
    """Both tables, headed by `##`; empty where every image got its label from all."""
    return "\n\n".join(part for part in (_mistakes(_results(section.heads, best)), _disagreements(section)) if part)


def _results(heads: Sequence[HeadResults], best: Row | None) -> HeadResults | None:
    return next((one for one in heads if best and (one.model, one.settings) == (best.model, best.settings)), None)


def _mistakes(head: HeadResults | None) -> str:
    if head is None or not head.mistakes:
        return ""
    body = [(_name(it.row, it.id), it.label, it.predicted, percent(it.probability)) for it in head.mistakes]
    title = one_line(f"{head.model} ({head.settings})")
    lead = f"Wrong labels of {title} with the highest probabilities; report.json has those of the other heads."
    heading = "## Pictures that the best head gets wrong"
    return f"{heading}\n\n{lead}\n\n{table(('picture', 'label', 'labelled', 'probability'), body)}"


def _disagreements(section: Section) -> str:
    found = section.disagreements
    if not found:
        return ""
    models = list(dict.fromkeys(model for it in found for model in it.predicted))
    body = [
        (_name(it.row, it.id), it.label, *(it.predicted.get(model, "not labelled") for model in models)) for it in found
    ]
    return f"## Pictures that the models label differently\n\n{table(('picture', 'label', *models), body)}"


def _name(row: int, known_as: str) -> str:
    return one_line(named(row, known_as))
