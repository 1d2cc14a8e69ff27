"""What an audit of the data set found, as Markdown."""

from headstart.core.heads.report import audited
from headstart.core.heads.report.facts import Section
from headstart.core.heads.report.markdown.text import one_line, table


def audit(section: Section) -> str:
    """What may be wrong with the data, headed by `##`; empty without an audit."""
    found = section.audit
    if found is None:
        return ""
    heading, again = f"## {audited.TITLE}", f"`{one_line(audited.again(found, section))}`"
    if section.audit_outdated:
        return f"{heading}\n\n{one_line(audited.outdated(found))} {again}"
    return f"{heading}\n\n{one_line(audited.lead(found))} {again}\n\n{table(('what', 'how much'), audited.lines(found))}"
