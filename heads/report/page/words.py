"""The heads of a section in words: what each is called, its mean over seeds, and its notes."""

from collections.abc import Mapping, Sequence

from headstart.core.heads.report.page.html import Frame, Html, clean, esc, interval, name, share
from headstart.core.heads.report.row import Row


def settings_words(settings: str) -> str:
    """A head's settings in words: a bare recipe is called one."""
    text = clean(settings)
    return text if "," in text else f"{text} recipe"


def title_of(row: Row) -> str:
    """A head in few words: its model, and its settings in brackets."""
    return f"{clean(row.model)} ({clean(row.settings)})"


def named(model: str, settings: str) -> Html:
    """A head as the first cell of a line."""
    return Html(f"{name(model)}<small>{esc(settings_words(settings))}</small>")


def seeds_of(row: Row) -> str:
    """`mean of 3 seeds`, or nothing for one."""
    many = len(row.seeds)
    return f"mean of {many} seeds" if many > 1 else ""


def spread_of(row: Row) -> str:
    """From the lowest seed to the highest; nothing for one."""
    found = row.accuracies
    return f"seeds {interval((min(found), max(found)))}" if len(found) > 1 else ""


def interval_of(row: Row) -> str:
    """The 95 % interval with what it allows for."""
    return f"95 %: {interval(row.interval)}, over {clean(row.interval_over)}"


def accuracy_of(row: Row) -> Html:
    """An accuracy in a cell: its interval and its seeds below it."""
    small = [interval_of(row), ", ".join(filter(None, (seeds_of(row), spread_of(row))))]
    return Html(share(row.accuracy) + "".join(f"<small>{esc(text)}</small>" for text in small if text))


def marks(frame: Frame, row: Row, notes: Sequence[str]) -> Html:
    """The numbers of a row's notes, small and raised, each a link."""
    numbers = dict.fromkeys(notes.index(note) + 1 for note in row.notes)
    links = [f'<a href="#{frame.key(f"note-{number}")}" aria-label="note {number}">{number}</a>' for number in numbers]
    return Html(f"<sup>{' '.join(links)}</sup>") if links else Html("")


def footnotes(frame: Frame, notes: Sequence[str]) -> Html:
    """The notes that `marks` links to."""
    entries = "".join(f'<li id="{frame.key(f"note-{i}")}">{esc(note)}</li>' for i, note in enumerate(notes, 1))
    return Html(f'<ol class="notes" aria-label="Notes to the table of heads">{entries}</ol>') if notes else Html("")


def range_of(values: Mapping[str, float]) -> tuple[str, str]:
    """The names of the lowest and of the highest."""
    return min(values, key=lambda key: values[key]), max(values, key=lambda key: values[key])
