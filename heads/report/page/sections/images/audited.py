"""What an audit of the data set found."""

from headstart.core.heads.report import audited
from headstart.core.heads.report.page.html import Html, code, paragraph, section, table
from headstart.core.heads.report.page.view import Part, View


def _audit(view: View) -> Html:
    audit = view.section.audit
    if audit is None:
        return Html("")
    again = code(audited.again(audit, view.section))
    if view.section.audit_outdated:
        return section(view, "audit", audited.TITLE, paragraph(audited.outdated(audit)), again)
    found = table("What may be wrong, and how much of it", ["what", "how much"], audited.lines(audit))
    return section(view, "audit", audited.TITLE, paragraph(audited.lead(audit)), again, found)


PART = Part("audit", audited.TITLE, _audit, study_place=145, own_place=55)
