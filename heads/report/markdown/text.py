"""Markdown: a table, and text that stays on one line."""

from collections.abc import Sequence


def one_line(text: str) -> str:
    """A name or sentence from outside that must not begin a line of its own."""
    return " ".join(text.split())


def table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """A Markdown table; a bar within a cell is escaped, a line break becomes a space."""
    cells = [
        [str(cell).replace("|", "\\|").replace("\r", " ").replace("\n", " ") for cell in line] for line in (head, *body)
    ]
    widths = [max(len(line[i]) for line in cells) for i in range(len(head))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in cells
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])
