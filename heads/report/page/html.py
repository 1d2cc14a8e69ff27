"""The parts a page is made of: text escaped once, pictures let through only as data, tables, figures and sections.

A plain `str` is text and is escaped where it enters the page; `Html` is what has been escaped or built here.
"""

import base64
import binascii
import dataclasses
import html
import math
import re
import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import TypeGuard

from headstart.core.heads.report.units import percent, seconds


class Html(str):
    """HTML already: text in it is escaped, tags in it are ours."""

    __slots__ = ()


Cell = str
"""What stands in a table: text, or Html."""

NOT_KNOWN = "not known"
_NOT_TEXT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
_PICTURE = re.compile(r"data:image/(?:png|jpeg);base64,([A-Za-z0-9+/]+={0,2})")
_SHORT = re.compile(r"[+−-]?[\d.,]+( ?%| m?s|m \d\ds| points)?")
"""A number with its unit: never broken over two lines."""
MOST_COLUMNS = 8
"""Columns beside the first that a table has room for; of more, the rest stand in further tables."""


@dataclasses.dataclass(frozen=True)
class Frame:
    """Where something stands on the page: what its identifiers begin with, and the level of its headings."""

    prefix: str = ""
    level: int = 2

    def key(self, name: str) -> str:
        """An identifier that no other frame has."""
        return self.prefix + name


def clean(text: object) -> str:
    """Text without characters that HTML or XML cannot hold or that turn round other text; each becomes U+FFFD.

    None is not known.
    """
    return NOT_KNOWN if text is None else _NOT_TEXT.sub("\ufffd", str(text))


def esc(text: object) -> Html:
    """Text for a page, quotes escaped too; Html stays as it is, a name from outside keeps its direction to itself."""
    return text if isinstance(text, Html) else Html(html.escape(clean(text)))


def name(text: object) -> Html:
    """A name from outside, of any script: isolated, so that it does not turn round what stands beside it."""
    return Html(f"<bdi>{esc(text)}</bdi>")


def join(parts: Iterable[str], between: str = "") -> Html:
    """The parts, each escaped unless it is Html, in one piece."""
    return Html(esc(between).join(esc(part) for part in parts))


def picture(uri: str, place: str) -> Html:
    """The URI of a picture for `src`. Raises ValueError unless it is a PNG or JPEG within the URI, in valid base64."""
    found = _PICTURE.fullmatch(uri)
    try:
        base64.b64decode(found[1] if found else "?", validate=True)
    except binascii.Error:
        raise ValueError(
            f"{place}: expected data:image/png;base64,… or data:image/jpeg;base64,… with valid base64, "
            f"found {uri[:40]!r}; put the picture itself into the report, not where it lies"
        ) from None
    return Html(uri)


def img(uri: str, alt: str, place: str, kind: str = "") -> Html:
    """A picture with words in its place; `kind` is its CSS class."""
    return Html(f'<img src="{picture(uri, place)}" alt="{esc(alt)}"{_class(kind)}>')


# ------------------------------------------------------------------------------------------------------------- values


def known(value: float | None) -> TypeGuard[float]:
    """Whether it is a finite number."""
    return value is not None and math.isfinite(value)


def number(value: float | None, form: Callable[[float], str]) -> str:
    """A number in words, or that it is not known."""
    return form(value) if known(value) else NOT_KNOWN


def share(value: float | None) -> str:
    """A fraction of 1 as a percentage."""
    return number(value, percent)


def time(value: float | None) -> str:
    """Seconds as people say them."""
    return number(value, seconds)


def count(value: float | None) -> str:
    """A whole number with its thousands."""
    return number(value, lambda found: f"{found:,.0f}")


def points(value: float | None) -> str:
    """A difference of two fractions in percentage points, with its sign."""
    return number(value, lambda found: f"{100 * found:+.2f}".replace("-", "−"))


def interval(ends: tuple[float, float] | None, form: Callable[[float], str] = share) -> str:
    """Two ends in words, or nothing where there are none."""
    return f"{form(ends[0])} to {form(ends[1])}" if ends else ""


def with_interval(value: float, ends: tuple[float, float] | None) -> str:
    """A percentage, its interval in brackets behind it."""
    found = interval(ends)
    return share(value) + (f" ({found})" if found else "")


def mean_of(values: Sequence[float] | None) -> Html:
    """The mean of several accuracies, from the lowest to the highest below it."""
    if not values:
        return Html(NOT_KNOWN)
    ends = f"<small>{interval((min(values), max(values)))}</small>" if len(values) > 1 else ""
    return Html(f"{share(statistics.fmean(values))}{ends}")


# --------------------------------------------------------------------------------------------------------------- page


def _class(kind: str) -> Html:
    return Html(f' class="{kind}"') if kind else Html("")


def paragraph(text: str, kind: str = "") -> Html:
    """A paragraph, or nothing where there is no text."""
    return Html(f"<p{_class(kind)}>{esc(text)}</p>") if text else Html("")


def listed(entries: Sequence[str], kind: str = "") -> Html:
    """A list, or nothing where there are no entries."""
    return (
        Html(f"<ul{_class(kind)}>{join(Html(f'<li>{esc(entry)}</li>') for entry in entries)}</ul>") if entries else Html("")
    )


def section(frame: Frame, key: str, heading: str, *content: str) -> Html:
    """A part of a section with its heading, named for links to it."""
    own, tag = frame.key(key), f"h{frame.level}"
    return Html(
        f'<section id="{own}" class="part" aria-labelledby="{own}-h">'
        f'<{tag} id="{own}-h">{esc(heading)}</{tag}>{join(content)}</section>'
    )


def below(frame: Frame, heading: str, *content: str) -> Html:
    """A piece of a part with its heading."""
    tag = f"h{frame.level + 1}"
    return Html(f"<{tag}>{esc(heading)}</{tag}>{join(content)}")


def link(frame: Frame, key: str, text: str) -> Html:
    """A link to a part of the same section."""
    return Html(f'<a href="#{frame.key(key)}">{esc(text)}</a>')


def figure(content: str, caption: str, kind: str = "") -> Html:
    """Something to look at with its caption."""
    return Html(
        f'<figure{_class(kind)}><div class="art">{esc(content)}</div><figcaption>{esc(caption)}</figcaption></figure>'
    )


def grid(figures: Sequence[str], kind: str = "grid") -> Html:
    """Figures side by side where there is room."""
    return Html(f'<div class="{kind}">{join(figures)}</div>') if figures else Html("")


def table(caption: str, head: Sequence[Cell], body: Sequence[Sequence[Cell]]) -> Html:
    """A table whose rows are named by their first cells. One of more columns than fit a page is several tables."""
    columns = range(1, len(head))
    if len(columns) <= MOST_COLUMNS:
        return _table(caption, head, body)
    found = []
    for start in range(1, len(head), MOST_COLUMNS):
        stop = min(start + MOST_COLUMNS, len(head))
        of = Html(f"{esc(caption)} (columns {start} to {stop - 1} of {len(columns)})")
        cut = [[line[0], *line[start:stop]] for line in (head, *body)]
        found.append(_table(of, cut[0], cut[1:]))
    return join(found)


def _table(caption: str, head: Sequence[Cell], body: Sequence[Sequence[Cell]]) -> Html:
    names = join(Html(f'<th scope="col">{esc(cell)}</th>') for cell in head)
    labels = [esc(_plain(cell)) for cell in head]
    lines = join(
        Html(f'<tr><th scope="row">{esc(line[0])}</th>{join(map(_cell, line[1:], labels[1:]))}</tr>') for line in body
    )
    kind = _class("" if len(head) < 4 else "stack")
    return Html(
        f'<div class="scroll" tabindex="0" role="region" aria-label="{esc(_plain(caption))}"><table{kind}>'
        f"<caption>{esc(caption)}</caption><thead><tr>{names}</tr></thead><tbody>{lines}</tbody></table></div>"
    )


def _plain(cell: Cell) -> str:
    """The text of a cell, for an attribute."""
    return html.unescape(re.sub(r"<[^>]*>", "", cell)) if isinstance(cell, Html) else cell


def _cell(cell: Cell, label: str) -> Html:
    """A cell with the name of its column, which stands beside it on a phone."""
    kind = "n" if _SHORT.fullmatch(cell.partition("<small>")[0]) else ""
    return Html(f'<td{_class(kind)} data-label="{label}">{esc(cell)}</td>')


def code(text: str) -> Html:
    """A command to copy."""
    return Html(f"<pre><code>{esc(text)}</code></pre>")
