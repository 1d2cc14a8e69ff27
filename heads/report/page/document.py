"""The report as one HTML page that needs no other file, network or script."""

from collections.abc import Mapping, Sequence

from headstart.core.heads.report.facts import Report
from headstart.core.heads.report.page.html import (
    Frame,
    Html,
    clean,
    count,
    esc,
    join,
    listed,
    name,
    paragraph,
    section,
    table,
)
from headstart.core.heads.report.page.sections import parts
from headstart.core.heads.report.page.style import STYLE
from headstart.core.heads.report.page.view import Part, View

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
"""Nothing is fetched, nothing runs; styles stand in the page."""

Made = Mapping[Part, Html]
"""The parts of a section that have something to say, in their order."""


def to_html(report: Report) -> str:
    """The report as a page; with one section no level is shown for it.

    Raises ValueError where a picture is not a PNG or JPEG within the report, or a confusion matrix does not fit the
    classes; the message names the place.
    """
    views = _views(report)
    made = [(view, _parts(view)) for view in views]
    sections = [join([_heading(view), *found.values()], "\n") if len(views) > 1 else join(found.values(), "\n")
                for view, found in made]  # fmt: skip
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta name="color-scheme" content="light dark">\n'
        f'<meta name="referrer" content="no-referrer">\n<link rel="icon" href="data:,">\n'
        f"<title>{esc(report.title)}</title>\n"
        f'<style>{STYLE}</style>\n</head>\n<body>\n<a class="skip" href="#main">Skip to the report</a>\n'
        f"{_header(report, views)}\n{_contents(made)}\n"
        f'<main id="main">\n{join([*sections, _making(report)], chr(10))}\n</main>\n{_footer(report)}\n'
        f"</body>\n</html>\n"
    )


def _views(report: Report) -> list[View]:
    """A view of each section: identifiers of several begin with the section's number."""
    several = len(report.sections) > 1
    return [
        View(f"s{i}-" if several else "", 3 if several else 2, f"sections[{i - 1}]", section=found)
        for i, found in enumerate(report.sections, 1)
    ]


def _parts(view: View) -> dict[Part, Html]:
    made = {part: part.make(view) for part in parts(beside_study=view.section.published is not None)}
    return {part: content for part, content in made.items() if content}


# ------------------------------------------------------------------------------------------------ around the sections


def _header(report: Report, views: Sequence[View]) -> Html:
    """The title, on what and where, and what makes all figures less than they seem."""
    said = ["Backbones run once over the images, small heads trained on the kept features."]
    said += [_tested(views[0])] if len(views) == 1 else []
    said += [f"On {report.hardware}."] if report.hardware else []
    lead = " ".join(filter(None, said)) if any(found.rows for found in report.sections) else ""
    doubts = f"Of all figures: {'; '.join(report.doubts)}." if report.doubts else ""
    return Html(f"<header><h1>{esc(report.title)}</h1>{paragraph(lead, 'lead')}{paragraph(doubts, 'doubts')}</header>")


def _tested(view: View) -> str:
    """On which images a section's heads were tested."""
    found = view.section
    if not found.rows:
        return ""
    split = "" if found.split in ("", "all") else f", {clean(found.split)} split"  # `all` has no other beside it
    among = f", {count(len(found.classes))} classes" if found.classes else ""
    return f"Tested on {count(max(row.test_rows for row in found.rows))} images of {clean(found.dataset)}{split}{among}."


def _heading(view: View) -> Html:
    title = f'<h2 class="of" id="{view.key("section")}">{name(view.section.title)}</h2>'
    return Html(f"{title}{paragraph(_tested(view), 'lead')}")


def _contents(made: Sequence[tuple[View, Made]]) -> Html:
    """Links to the sections, below each to its parts, then to how the report was made."""
    making = Html('<a href="#making">How it was made</a>')
    lists: list[str] = []
    for view, found in made:
        links = [Html(f'<a href="#{view.key(part.key)}">{_title(part, view)}</a>') for part in found]
        if len(made) > 1:
            title = f"<strong>{name(view.section.title)}</strong>"
            lists.append(Html(f'<a href="#{view.key("section")}">{title}</a>{listed(links)}'))
        else:
            lists += links
    nested = ' class="nested"' if len(made) > 1 else ""
    return Html(f'<nav aria-label="Contents"{nested}>{listed([*lists, making])}</nav>')


def _title(part: Part, view: View) -> str:
    return part.study_title if view.section.published and part.study_title else part.title


def _making(report: Report) -> Html:
    """Hardware, versions, commands, weights."""
    rows = [row for found in report.sections for row in found.rows]
    weights = dict.fromkeys(f"{row.model}: {row.weights}" for row in rows if row.weights)
    study = next((found.published for found in report.sections if found.published), None)
    entries = [
        Html(f"Hardware of our figures: {esc(report.hardware or 'not known')}."),
        *([Html(f"Published figures: {esc(study.hardware)}.")] if study else []),
        *([Html(f"Made: {esc(report.created)}.")] if report.created else []),
        *([Html(f"Weights, with the first digits of their SHA-256: {esc('; '.join(weights))}.")] if weights else []),
        Html(
            "Made by <code>headstart report</code> from the heads in the runs directory; <code>headstart study</code> "
            "answers more."
        ),
    ]
    versions = [[name(package), esc(version)] for package, version in report.versions.items()]
    shown = table("Versions", ["package", "version"], versions) if versions else Html("")
    return section(Frame(), "making", "How it was made", listed(entries, "plain"), shown)


def _footer(report: Report) -> Html:
    made = f"Made {esc(report.created)}." if report.created else ""
    study = "The published study: “Transfer Learning”, Alan Casey and Alex Racapé, September 2023. "
    return Html(f"<footer><p>{study if any(found.published for found in report.sections) else ''}{made}</p></footer>")
