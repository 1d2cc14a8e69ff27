"""Words that every room uses: names that are safe on a terminal, lists, suggestions, tables and sizes."""

import difflib
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path


def safe(text: object) -> str:
    """Text for a terminal: a name from a file must not move the cursor, so control characters are spelled out."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in str(text))


def listed(names: Iterable[object], most: int = 10) -> str:
    """Names for a sentence, control characters spelled out; of many the first and how many more: a, b, c and 1,197 more."""
    there = list(names)
    shown = ", ".join(safe(name) for name in there[:most])
    return f"{shown} and {len(there) - most:,} more" if len(there) > most else shown


def did_you_mean(word: str, known: Iterable[str], without: str = "") -> str:
    """(did you mean A or B?) for the known words that are most like one, whatever their capital letters; else nothing.
    What all known words begin with, `without`, makes none of them more like it."""
    by_lower = {name.lower().removeprefix(without): name for name in known}
    close = [by_lower[match] for match in difflib.get_close_matches(word.lower(), by_lower, n=3)]
    return f" (did you mean {' or '.join(close)}?)" if close else ""


def columns(lines: Sequence[Sequence[object]]) -> str:
    """Lines of cells as aligned columns; the first line is the heading."""
    text = [[safe(cell) for cell in line] for line in lines]
    widths = [max(len(line[i]) for line in text) for i in range(len(text[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in text
    )


def megabytes(size: float) -> str:
    """Bytes for people."""
    return f"{size / 1e6:,.1f} MB"


def by_commands(commands: Sequence[str], verb: str, rest: str) -> str:
    """What one command does, or several do one after the other: `a` and `b` make them."""
    return f"{' and '.join(f'`{command}`' for command in commands)} {verb}{'s' * (len(commands) == 1)} {rest}"


def set_words(folder: Path) -> str:
    """A feature set as words of a `headstart cache` command: its name, and where it lies unless that is the default."""
    top = str(folder.parent)
    return shlex.join([folder.name] if top == "features" else [folder.name, "--features-dir", top])


def volume(size: float) -> str:
    """A size in bytes in the largest unit of which it has one."""
    units = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
    return next((f"{size / unit:,.1f} {name}" for unit, name in units if size >= unit), f"{size:,.0f} bytes")
