"""A matplotlib figure as SVG for a page: text stays text, colours are CSS variables, identifiers are its own.

The same figure gives the same characters each time. It stands alone too: every variable has its light colour as fallback.
"""

import io
import re
import threading
from collections.abc import Callable, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from headstart.core.heads.report.page.html import clean

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = {
    "paper": ("#fdfdfc", "#14181f"),
    "ink": ("#1b2330", "#e8ebf0"),
    "muted": ("#566173", "#a5afbd"),
    "line": ("#dde1e6", "#333b47"),
    "cell": ("#123c78", "#a9d0ff"),
    "c0": ("#0b62b8", "#6cb4f5"),
    "c1": ("#c2500c", "#f2925a"),
    "c2": ("#0a7d5e", "#48c79c"),
    "c3": ("#9c3b80", "#e090c8"),
    "c4": ("#876a00", "#d9bb45"),
    "c5": ("#3f4c5c", "#b3bdca"),
}
"""Each colour on a light page and on a dark one. c0 to c5 follow Okabe and Ito's hues (Color Universal Design, 2008),
darker or lighter, so that each has a contrast of 4.5 to the page; figures tell series apart by marker or dash as well."""

WIDTH = 380
"""Points of a figure's width: so narrow that its text can be read on a phone."""
MOST_LABELS = 24
"""Entries that a legend has room for; those of more are left out of it."""
TOP = 30
"""Points above the axes, for the title."""
INK, MUTED, LINE, PAPER, CELL = (COLOURS[key][0] for key in ("ink", "muted", "line", "paper", "cell"))
SERIES = tuple(COLOURS[f"c{i}"][0] for i in range(6))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)))

_VARIABLE = {light: f"var(--{key}, {light})" for key, (light, _) in COLOURS.items()}
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "headstart",
    "text.parse_math": False,
    "font.size": 10.5,
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same widths on every machine
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": MUTED,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.linewidth": 0.8,
    "grid.color": LINE,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
    "legend.frameon": False,
    "legend.fontsize": 10,
    "lines.linewidth": 1.8,
    "lines.markersize": 5.5,
}
_LOCK = threading.Lock()  # matplotlib's settings are the process's, not a figure's


def draw(
    key: str, words: str, height: float, labels: Sequence[str], paint: Callable[["Figure"], str | None], *, below: float = 0
) -> str:
    """What `paint` draws as SVG, with axes of this height in points, `below` more points for the names of
    ticks, and a legend of these labels.

    `key` sets its identifiers apart from other figures', `words` say what it shows, and SVG that `paint` gives back is put
    on top.
    """
    import matplotlib
    from matplotlib.figure import Figure

    text = io.StringIO()
    size = (WIDTH, round(TOP + height + below + rows_of(labels)[1]))
    with _LOCK, matplotlib.rc_context():
        matplotlib.rcdefaults()  # nobody's matplotlibrc
        matplotlib.rcParams.update(_STYLE)
        figure = Figure(figsize=(size[0] / 72, size[1] / 72), dpi=72)
        above = paint(figure)
        figure.savefig(text, format="svg", dpi=72, metadata={"Date": None})
    return _finish(text.getvalue(), key, words, size, above or "")


def panel(
    figure: "Figure",
    title: str,
    x: str,
    y: str,
    labels: Sequence[str],
    *,
    left: float = 50,
    right: float = 14,
    below: float = 0,
) -> "Axes":
    """Axes with a title, names of both axes, and room for a legend of these labels; margins in points."""
    height, bottom = 72 * figure.get_figheight(), below + rows_of(labels)[1]
    axes = figure.add_axes(
        (left / WIDTH, bottom / height, (WIDTH - left - right) / WIDTH, (height - TOP - bottom) / height)
    )
    figure.text(4 / WIDTH, 1 - 14 / height, title, fontsize=11.5, fontweight="bold", va="center")
    axes.set_xlabel(x, fontsize=10)
    axes.set_ylabel(y, fontsize=10)
    axes.grid(True)
    return axes


def rows_of(labels: Sequence[str]) -> tuple[int, float]:
    """(columns, points below the axes) that a legend of these labels needs."""
    labels = labels[:MOST_LABELS]
    column = 34 + 6.3 * max(map(len, labels), default=1)
    columns = max(1, min(len(labels), int((WIDTH - 8) // column)))
    return columns, 44 + 15 * -(-len(labels) // columns)


def legend(figure: "Figure", handles: Sequence[Any]) -> None:
    """The legend below the axes, in the columns that `rows_of` gives."""
    handles = handles[:MOST_LABELS]
    columns, _ = rows_of([str(handle.get_label()) for handle in handles])
    figure.legend(
        handles=handles, loc="lower left", bbox_to_anchor=(0.01, 0), ncols=columns, columnspacing=1.2, handletextpad=0.5,
        borderpad=0.2, handlelength=1.6,
    )  # fmt: skip


def log_x(axes: "Axes", low: float, high: float) -> None:
    """A logarithmic x axis over what lies from low to high, labelled in plain numbers; none so near its end that the figure
    would cut it."""
    import math

    axes.set_xscale("log")
    low, high = low / 1.25, high * 1.25
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if high / low < 150 else (1, 3) if high / low < 3000 else (1,)
    ticks = [step * 10.0**decade for decade in decades for step in steps if low <= step * 10.0**decade <= high / 1.1]
    axes.set_xticks(ticks, [f"{tick:,.0f}" if tick >= 1 else f"{tick:g}" for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.set_xlim(low, high)


def label(text: Any, most: int = 22) -> str:
    """A name from outside within a figure: on one line, not too long, and written so that every font can measure it."""
    short = " ".join(clean(text).split())
    short = short if len(short) <= most else short[: most - 1].rstrip() + "…"
    return "".join(char if _measurable(char) else f"⟨{ord(char)}⟩" for char in short)


def _measurable(char: str) -> bool:
    from matplotlib.font_manager import findfont, get_font

    return char not in "⟨⟩" and get_font(findfont("DejaVu Sans")).get_char_index(ord(char)) != 0


def _finish(svg: str, key: str, words: str, size: tuple[int, int], above: str) -> str:
    body = svg[svg.index(">", svg.index("<svg")) + 1 : svg.rindex("</svg>")]
    body = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", body, flags=re.DOTALL)
    used = dict.fromkeys(re.findall(r'(?:url\(#|href="#)([\w.-]+)', "".join(re.findall(r"<[^<>]*>", body))))
    names = {old: f"{key}-{i}" for i, old in enumerate(used)}
    body = re.sub(r"<[^<>]*>", lambda tag: _tag(tag[0], names), body)
    body = re.sub(r"⟨(\d+)⟩", lambda found: escape(chr(int(found[1])), quote=False), body)
    body = re.sub(r">\s+<", "><", re.sub(r"<g>\s*</g>|<defs>\s*</defs>", "", body)).strip()
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="0 0 {size[0]} {size[1]}" role="img" aria-label="{escape(clean(words))}" '
        f'font-family="system-ui, sans-serif" stroke-linejoin="round">{body}{above}</svg>'
    )


def _tag(tag: str, names: dict[str, str]) -> str:
    """A tag with our identifiers, colours and fewer decimals; text between tags is not touched."""
    tag = re.sub(r' id="([^"]*)"', lambda found: f' id="{names[found[1]]}"' if found[1] in names else "", tag)
    tag = re.sub(r"(url\(#|href=\"#)([\w.-]+)", lambda found: found[1] + names[found[2]], tag)
    tag = re.sub(r"(fill|stroke): (#[0-9a-f]{6})", lambda found: f"{found[1]}: {_VARIABLE.get(found[2], found[2])}", tag)
    tag = re.sub(r"font-family: [^;\"]*;? ?", "", tag)
    tag = re.sub(r' transform="rotate\(-0 [^)]*\)"', "", tag)
    return re.sub(r' (d|x|y|transform|points|width|height)="([^"]*)"', _rounded, tag)


def _rounded(found: re.Match[str]) -> str:
    short = re.sub(r"(\d\.\d{2})\d+", r"\1", found[2])
    return f' {found[1]}="{" ".join(short.split())}"'
