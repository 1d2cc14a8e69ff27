"""The report as one HTML page: everything from its JSON document, nothing from anywhere else."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from headstart.core.heads.report.page.html import (
    NOT_KNOWN,
    Facts,
    Html,
    View,
    clean,
    count,
    esc,
    items,
    join,
    listed,
    name,
    paragraph,
    part,
    section,
    table,
)
from headstart.core.heads.report.page.sections import curves, labels, pictures, study
from headstart.core.heads.report.page.sections.findings import findings
from headstart.core.heads.report.page.sections.overview import overview
from headstart.core.heads.report.page.style import STYLE
from headstart.core.heads.report.page.words import cards, hardware_of

TITLE = "Frozen backbones compared"
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
"""Nothing is fetched, nothing runs; styles stand in the page."""

Maker = Callable[[View], Html]

STUDY_PARTS = (
    "findings", "table-1", "table-2", "figure-1", "best", "comparisons", "seeds", "epochs", "sizes", "classes", "sigmoid",
    "batch-norm", "calibration", "mistakes", "disagreements", "maps", "losses", "stages",
)  # fmt: skip
"""The parts in order where the published study's figures stand beside ours."""
OWN_PARTS = (
    "at-a-glance", "best", "table-1", "classes", "mistakes", "disagreements", "comparisons", "sizes", "table-2", "findings",
    "stages", "seeds", "epochs", "calibration", "maps", "sigmoid", "batch-norm", "losses", "figure-1",
)  # fmt: skip
"""The parts in order for anybody's own pictures: their owner's questions first."""


def to_html(document: Mapping[str, Any]) -> str:
    """The report's JSON document as a page that needs no other file, network or script.

    Parts that are absent or null are left out; with one section no level is shown for it. Raises ValueError where a picture
    is not a PNG or JPEG within the document, or a confusion matrix does not fit the classes; the message names the place.
    """
    title, views = clean(document.get("title") or TITLE), _views(document)
    made = [(view, _parts(view)) for view in views]
    sections = [join([_heading(view), *parts.values()], "\n") if len(views) > 1 else join(parts.values(), "\n")
                for view, parts in made]  # fmt: skip
    making = _making(document, views)
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta name="color-scheme" content="light dark">\n'
        f'<meta name="referrer" content="no-referrer">\n<link rel="icon" href="data:,">\n<title>{esc(title)}</title>\n'
        f'<style>{STYLE}</style>\n</head>\n<body>\n<a class="skip" href="#main">Skip to the report</a>\n'
        f"{_header(title, document, views)}\n{_contents(made)}\n"
        f'<main id="main">\n{join([*sections, making], chr(10))}\n</main>\n{_footer(document, views)}\n'
        f"</body>\n</html>\n"
    )


def _views(document: Facts) -> list[View]:
    """A view of each section: identifiers of several begin with the section's number."""
    found = [it for it in items(document, "sections") if isinstance(it, Mapping)]
    several = len(found) > 1
    return [
        View(
            {**it, "rows": [_named(row) for row in items(it, "rows")]},
            f"s{i}-" if several else "",
            3 if several else 2,
            f"sections[{i - 1}]",
        )
        for i, it in enumerate(found, 1)
    ]


def _named(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row that says of which run, model and recipe it is, or that this is not known."""
    return {**row, **{key: NOT_KNOWN if row.get(key) is None else str(row[key]) for key in ("run", "model", "recipe")}}


def _makers(view: View) -> dict[str, tuple[str, Maker]]:
    """What the contents call each part, and what makes it."""
    study_s = bool(view.published)
    return {
        "at-a-glance": ("At a glance", _glance),
        "best": ("The best head", overview),
        "findings": ("Findings" if study_s else "Further findings", _findings),
        "table-1": ("Table 1" if study_s else "All heads", study.table_1),
        "table-2": ("Table 2" if study_s else "Photographs", study.table_2),
        "figure-1": ("Figure 1" if study_s else "Preprocessing", study.figure_1),
        "comparisons": ("Differences", labels.comparisons),
        "seeds": ("Seeds", curves.seeds),
        "epochs": ("Epochs", curves.epochs),
        "sizes": ("Training images", curves.sizes),
        "classes": ("Classes", labels.classes),
        "sigmoid": ("Sigmoid", study.sigmoid),
        "batch-norm": ("BatchNorm", study.batch_norm),
        "calibration": ("Calibration", labels.calibration),
        "mistakes": ("Mistakes", pictures.mistakes),
        "disagreements": ("Disagreements", pictures.disagreements),
        "maps": ("Feature maps", pictures.maps),
        "losses": ("Learning curves", curves.losses),
        "stages": ("Times", curves.stages),
    }


def _parts(view: View) -> dict[str, Html]:
    makers = _makers(view)
    made = {key: makers[key][1](view) for key in (STUDY_PARTS if view.published else OWN_PARTS)}
    return {key: content for key, content in made.items() if content}


def _glance(view: View) -> Html:
    found = cards(view)
    return section(view, "at-a-glance", "At a glance", found) if found else Html("")


def _findings(view: View) -> Html:
    found, shown = findings(view), cards(view) if view.published else ""
    heading = "What was found" if view.published else "What else was found"
    return section(view, "findings", heading, shown, listed(found, "plain findings")) if found or shown else Html("")


# ------------------------------------------------------------------------------------------------ around the sections


def _header(title: str, document: Facts, views: Sequence[View]) -> Html:
    """The title with its doubts in the same line, then on what and where."""
    head, bracket, doubts = title.partition(" (")
    rest = f' <span class="doubts">({esc(doubts)}</span>' if bracket else ""
    said = ["Backbones run once over the images, small heads trained on the kept features."]
    said += [_tested(views[0])] if len(views) == 1 else []
    said += [f"On {_hardware(document, views)}."]
    lead = " ".join(filter(None, said)) if any(items(view.facts, "rows") for view in views) else ""
    return Html(f"<header><h1>{esc(head)}{rest}</h1>{paragraph(lead, 'lead')}</header>")


def _tested(view: View) -> str:
    """On which images a section's heads were tested."""
    rows = [row["test_rows"] for row in items(view.facts, "rows") if row.get("test_rows")]
    dataset, classes = view.facts.get("dataset"), len(items(view.facts, "classes"))
    if not rows or not dataset:
        return ""
    whole = view.facts.get("split") in (None, "", "all")  # `all` has no other beside it
    split = "" if whole else f", {clean(view.facts['split'])} split"
    among = f", {count(classes)} classes" if classes else ""
    return f"Tested on {count(max(rows))} images of {clean(dataset)}{split}{among}."


def _heading(view: View) -> Html:
    own = view.key("section")
    title = clean(view.facts.get("title") or view.facts.get("dataset") or "Images without a name")
    return Html(f'<h2 class="of" id="{own}">{name(title)}</h2>{paragraph(_tested(view), "lead")}')


def _contents(made: Sequence[tuple[View, Mapping[str, Html]]]) -> Html:
    """Links to the sections, below each to its parts, then to how the report was made."""
    making = Html('<a href="#making">How it was made</a>')
    lists = []
    for view, parts in made:
        makers = _makers(view)
        links = [Html(f'<a href="#{view.key(key)}">{makers[key][0]}</a>') for key in parts]
        if len(made) > 1:
            title = clean(view.facts.get("title") or view.facts.get("dataset") or "Images without a name")
            lists.append(Html(f'<a href="#{view.key("section")}"><strong>{name(title)}</strong></a>{listed(links)}'))
        else:
            lists += links
    nested = ' class="nested"' if len(made) > 1 else ""
    return Html(f'<nav aria-label="Contents"{nested}>{listed([*lists, making])}</nav>')


def _hardware(document: Facts, views: Sequence[View]) -> str:
    return str(document.get("hardware") or "; ".join(dict.fromkeys(hardware_of(view.facts) for view in views)))


def _making(document: Facts, views: Sequence[View]) -> Html:
    """Hardware, versions, commands, notes, weights."""
    rows = [row for view in views for row in items(view.facts, "rows")]
    weights = dict.fromkeys(f"{row.get('model')}: {row['weights']}" for row in rows if row.get("weights"))
    published = next((view.published for view in views if view.published), {})
    entries = [
        Html(f"Hardware of our figures: {esc(_hardware(document, views) or NOT_KNOWN)}."),
        *([Html(f"Published figures: {esc(published.get('hardware') or 'other hardware')}.")] if published else []),
        *([Html(f"Made: {esc(document['created'])}.")] if document.get("created") else []),
        *([Html(f"Weights, with the first digits of their SHA-256: {esc('; '.join(weights))}.")] if weights else []),
        Html(
            "Made by <code>headstart report</code> from the heads in the runs directory; <code>headstart study</code> "
            "answers more."
        ),
        *map(esc, items(document, "notes")),
    ]
    versions = [[name(package), esc(version)] for package, version in part(document, "versions").items()]
    shown = table("Versions", ["package", "version"], versions) if versions else Html("")
    return section(View({}), "making", "How it was made", listed(entries, "plain"), shown)


def _footer(document: Facts, views: Sequence[View]) -> Html:
    made = f"Made {esc(document['created'])}." if document.get("created") else ""
    study_of = "The published study: “Transfer Learning”, Alan Casey and Alex Racapé, September 2023. "
    return Html(f"<footer><p>{study_of if any(view.published for view in views) else ''}{made}</p></footer>")
