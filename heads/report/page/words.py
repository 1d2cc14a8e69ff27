"""The heads of a section in words: what each is called, its mean over seeds, and which may be ranked."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from headstart.core.heads.report.page.html import (
    Facts,
    Html,
    View,
    clean,
    count,
    esc,
    interval,
    items,
    known,
    name,
    part,
    share,
)

MOST_CARDS = 12
"""Models whose accuracies are shown at a glance; those of more stand in the table."""


def models_of(facts: Facts) -> list[str]:
    """All models, in the order of the facts: rows, then what was asked of each, then stages and maps."""
    places = [
        [row.get("model") for row in items(facts, "rows")],
        *(list(part(facts, key)) for key in ("models", "stages", "maps")),
    ]
    return list(dict.fromkeys(str(model) for model in itertools.chain(*places) if model))


def by_recipe(facts: Facts) -> dict[str, dict[str, Any]]:
    """settings → model → what is known of the two, from `models`."""
    found: dict[str, dict[str, Any]] = {}
    for model, recipes in part(facts, "models").items():
        for recipe, it in (recipes or {}).items():
            if it:
                found.setdefault(recipe, {})[model] = it
    return found


def each(facts: Facts, key: str) -> Iterator[tuple[str, str, Any]]:
    """(settings, model, what there is under `key`), where there is something."""
    for recipe, models in by_recipe(facts).items():
        yield from ((recipe, model, it[key]) for model, it in models.items() if it.get(key))


def settings_words(settings: Any) -> str:
    """A head's settings in words: a bare recipe is called one."""
    text = clean(settings)
    return text if "," in text else f"{text} recipe"


def title_of(row: Facts) -> str:
    """A head in few words: its model, and its settings in brackets."""
    return f"{clean(row.get('model'))} ({clean(row.get('recipe'))})"


def named(model: Any, settings: Any) -> Html:
    """A head as the first cell of a line."""
    return Html(f"{name(model)}<small>{esc(settings_words(settings))}</small>")


def hardware_of(facts: Facts) -> str:
    """What our figures were measured on."""
    devices = dict.fromkeys(str(row["device"]) for row in items(facts, "rows") if row.get("device"))
    return str(facts.get("hardware") or "; ".join(devices) or "hardware that was not recorded")


def find(facts: Facts, row: Facts) -> dict[str, Any]:
    """What is known of a row's head beyond the row."""
    return part(part(part(facts, "models"), str(row.get("model"))), str(row.get("recipe")))


# ------------------------------------------------------------------------------------------------------------ seeds


def seeds_of(row: Facts) -> str:
    """`mean of 3 seeds`, or nothing for one."""
    many = len(items(row, "seeds"))
    return f"mean of {many} seeds" if many > 1 else ""


def spread_of(row: Facts) -> str:
    """From the lowest seed to the highest; nothing for one."""
    found = [value for value in items(row, "accuracies") if known(value)]
    return f"seeds {interval((min(found), max(found)))}" if len(found) > 1 else ""


def interval_of(row: Facts) -> str:
    """The 95 % interval with what it allows for, or nothing."""
    ends = interval(row.get("interval"))
    return f"95 %: {ends}, over {clean(row.get('interval_over') or 'images')}" if ends else ""


def accuracy_of(row: Facts) -> Html:
    """An accuracy in a cell: its interval and its seeds below it."""
    small = [interval_of(row), ", ".join(filter(None, (seeds_of(row), spread_of(row))))]
    return Html(share(row.get("accuracy")) + "".join(f"<small>{esc(text)}</small>" for text in small if text))


# ---------------------------------------------------------------------------------------------------------- ranking


def comparable(facts: Facts) -> list[Facts]:
    """The heads that may be ranked: of those with an accuracy, the ones tested on the images that most were tested on."""
    groups: dict[Any, list[Facts]] = {}
    for row in items(facts, "rows"):
        if known(row.get("accuracy")):
            groups.setdefault((row.get("test_used") or "", row.get("test_rows")), []).append(row)
    return max(groups.values(), key=len, default=[])


def best_of(facts: Facts) -> Facts | None:
    """The head with the highest accuracy on the same test images; None without any."""
    return max(comparable(facts), key=lambda row: float(row["accuracy"]), default=None)


def published_of(row: Facts, published: Facts) -> dict[str, Any]:
    """The published figures of a row's backbone; empty unless it is trained as the study trained its own."""
    backbone = str(row.get("model")).partition(",")[0]
    return part(part(published, "table_1"), backbone) if row.get("published") else {}


# ------------------------------------------------------------------------------------------------------------ notes


def notes_of(facts: Facts) -> list[str]:
    """What must stand beside our figures, each once; its place is its number."""
    return list(dict.fromkeys(str(note) for row in items(facts, "rows") for note in items(row, "notes")))


def marks(view: View, row: Facts, notes: Sequence[str]) -> Html:
    """The numbers of a row's notes, small and raised, each a link."""
    numbers = [notes.index(str(note)) + 1 for note in items(row, "notes")]
    links = [
        f'<a href="#{view.key(f"note-{number}")}" aria-label="note {number}">{number}</a>'
        for number in dict.fromkeys(numbers)
    ]
    return Html(f"<sup>{' '.join(links)}</sup>") if links else Html("")


def footnotes(view: View, notes: Sequence[str]) -> Html:
    """The notes that `marks` links to."""
    entries = "".join(f'<li id="{view.key(f"note-{i}")}">{esc(note)}</li>' for i, note in enumerate(notes, 1))
    return Html(f'<ol class="notes" aria-label="Notes to the table of heads">{entries}</ol>') if notes else Html("")


# ------------------------------------------------------------------------------------------------------------ cards


def cards(view: View) -> Html:
    """The accuracies at a glance, a card for each model, in it a figure for each kind of head."""
    facts, notes, models = view.facts, notes_of(view.facts), models_of(view.facts)
    place = view.published.get("hardware") or "other hardware"
    found = []
    for model in models[:MOST_CARDS]:
        rows = [row for row in items(facts, "rows") if row.get("model") == model]
        entries = [_entry(row, marks(view, row, notes)) for row in rows]
        theirs = next(filter(None, (published_of(row, view.published) for row in rows)), {})
        if known(theirs.get("accuracy")):
            entries.append(
                f'<div><dt>published, {esc(place)}</dt><dd class="theirs">{share(theirs["accuracy"])}</dd></div>'
            )
        if entries:
            tag = f"h{view.level + 1}"
            found.append(f'<div class="card"><{tag}>{name(model)}</{tag}><dl>{"".join(entries)}</dl></div>')
    rest = f"<p>{count(len(models) - MOST_CARDS)} more models stand in the table.</p>" if len(models) > MOST_CARDS else ""
    return Html(f'<div class="cards">{"".join(found)}</div>{rest}') if found else Html("")


def _entry(row: Facts, links: Html) -> str:
    title = ", ".join(filter(None, (settings_words(row.get("recipe")), seeds_of(row))))
    small = "".join(f"<small>{esc(text)}</small>" for text in (interval_of(row), spread_of(row)) if text)
    return f"<div><dt>{esc(title)}</dt><dd><strong>{share(row.get('accuracy'))}</strong>{links}{small}</dd></div>"


def range_of(values: Mapping[str, float]) -> tuple[str, str]:
    """The names of the lowest and of the highest."""
    return min(values, key=lambda key: values[key]), max(values, key=lambda key: values[key])
