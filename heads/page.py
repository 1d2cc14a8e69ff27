"""The report as one HTML page: everything from its JSON document, nothing from anywhere else."""

from collections.abc import Mapping
from typing import Any

from heads import page_answers as answers
from heads import page_study as study
from heads.page_findings import findings
from heads.page_html import NOT_KNOWN, Html, clean, esc, items, join, listed, name, paragraph, part, section, table
from heads.page_style import STYLE

TITLE = "Frozen backbones compared"
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
"""Nothing is fetched, nothing runs; styles stand in the page."""

PARTS = {
    "findings": "Findings",
    "table-1": "Table 1",
    "table-2": "Table 2",
    "figure-1": "Figure 1",
    "comparisons": "Differences",
    "seeds": "Seeds",
    "epochs": "Epochs",
    "sizes": "Training images",
    "classes": "Classes",
    "sigmoid": "Sigmoid",
    "batch-norm": "BatchNorm",
    "calibration": "Calibration",
    "mistakes": "Mistakes",
    "disagreements": "Disagreements",
    "maps": "Feature maps",
    "losses": "Learning curves",
    "stages": "Times",
    "making": "How it was made",
}
"""The parts by the name of their section, in order, and what the contents call them."""


def to_html(facts: Mapping[str, Any]) -> str:
    """The report's JSON document as a page that needs no other file, network or script.

    Parts that are absent or null are left out. Raises ValueError where a picture is not a PNG or JPEG within the document,
    or a confusion matrix does not fit the classes; the message names the place.
    """
    makers = (
        _findings, study.table_1, study.table_2, study.figure_1, study.comparisons, answers.seeds, answers.epochs,
        answers.sizes, answers.classes, answers.sigmoid, answers.batch_norm, answers.calibration,
        answers.mistakes, answers.disagreements, answers.maps, study.losses, study.stages, _making,
    )  # fmt: skip
    facts = {**facts, "rows": [_named(row) for row in items(facts, "rows")]}
    made = {key: maker(facts) for key, maker in zip(PARTS, makers, strict=True)}
    there = {key: content for key, content in made.items() if content}
    title = clean(facts.get("title") or TITLE)
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta name="color-scheme" content="light dark">\n'
        f'<meta name="referrer" content="no-referrer">\n<link rel="icon" href="data:,">\n<title>{esc(title)}</title>\n'
        f'<style>{STYLE}</style>\n</head>\n<body>\n<a class="skip" href="#main">Skip to the report</a>\n'
        f"{_header(title, facts)}\n{_contents(there)}\n"
        f'<main id="main">\n{join(there.values(), chr(10))}\n</main>\n{_footer(facts)}\n'
        f"</body>\n</html>\n"
    )


def _named(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row that says of which run, model and recipe it is, or that this is not known."""
    return {**row, **{key: NOT_KNOWN if row.get(key) is None else str(row[key]) for key in ("run", "model", "recipe")}}


def _header(title: str, facts: Mapping[str, Any]) -> Html:
    """The title with its doubts in the same line."""
    head, bracket, doubts = title.partition(" (")
    rest = f' <span class="doubts">({esc(doubts)}</span>' if bracket else ""
    rows = bool(items(facts, "rows"))
    lead = (
        f"Backbones run once over the images, small heads trained on the kept features. On {study.hardware_of(facts)}."
        if rows
        else ""
    )
    return Html(f"<header><h1>{esc(head)}{rest}</h1>{paragraph(lead, 'lead')}</header>")


def _contents(there: Mapping[str, Html]) -> Html:
    entries = [Html(f'<a href="#{key}">{PARTS[key]}</a>') for key in there]
    return Html(f'<nav aria-label="Contents">{listed(entries)}</nav>')


def _findings(facts: Mapping[str, Any]) -> Html:
    cards, found = study.cards(facts), findings(facts)
    return section("findings", "What was found", cards, listed(found, "plain findings")) if cards or found else Html("")


def _making(facts: Mapping[str, Any]) -> Html:
    """Hardware, versions, commands, notes, weights."""
    weights = dict.fromkeys(f"{row.get('model')}: {row['weights']}" for row in items(facts, "rows") if row.get("weights"))
    entries = [
        Html(f"Hardware of our figures: {esc(study.hardware_of(facts))}."),
        *(
            [Html(f"Published figures: {esc(part(facts, 'published').get('hardware') or 'other hardware')}.")]
            if part(facts, "published")
            else []
        ),
        *([Html(f"Made: {esc(facts['created'])}.")] if facts.get("created") else []),
        *([Html(f"Weights, with the first digits of their SHA-256: {esc('; '.join(weights))}.")] if weights else []),
        Html("Made by <code>headstart study</code>, shown by <code>headstart report</code>."),
        *map(esc, items(facts, "notes")),
    ]
    versions = [[name(package), esc(version)] for package, version in part(facts, "versions").items()]
    shown = table("Versions", ["package", "version"], versions) if versions else Html("")
    return section("making", "How it was made", listed(entries, "plain"), shown)


def _footer(facts: Mapping[str, Any]) -> Html:
    made = f" Made {esc(facts['created'])}." if facts.get("created") else ""
    study_of = "The published study: “Transfer Learning”, Alan Casey and Alex Racapé, September 2023."
    return Html(f"<footer><p>{study_of}{made}</p></footer>")
