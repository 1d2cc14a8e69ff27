"""A progress bar in a notebook; in a script, silence."""

import html
import sys
import time
from typing import Any

from headstart.observer import SILENT, Observer

EVERY_S = 0.2
"""Seconds between two drawings of a bar."""


class NotebookBar(Observer):
    """Shows how the work goes below the notebook's cell: a bar, and what the user should know."""

    def __init__(self, ipython: Any) -> None:
        self._ipython = ipython
        self._bar: Any = None

    def note(self, text: str) -> None:
        """Show a line."""
        self._ipython.display.display(self._ipython.display.HTML(f"<small>{html.escape(text)}</small>"))

    def remark(self, text: str) -> None:
        """Show what must be said beside the results."""
        self.note(f"note: {text}")

    def warn(self, text: str) -> None:
        """Show what makes the results unfit for most purposes."""
        self.note(f"WARNING: {text}")

    def begin(self, title: str, rows: int, done: int) -> None:
        """Show an empty bar, or one filled as far as the work is done."""
        self._title, self._rows, self._done, self._first = title, rows, done, done
        self._started = self._drawn = time.monotonic()
        self._bar = self._ipython.display.display(self._html(), display_id=True)

    def advance(self, rows: int) -> None:
        """Fill the bar; it is drawn now and then."""
        self._done += rows
        if time.monotonic() - self._drawn > EVERY_S:
            self._draw()

    def end(self) -> None:
        """Draw it as it ends."""
        if self._bar is not None:
            self._draw()
            self._bar = None

    def _draw(self) -> None:
        self._drawn = time.monotonic()
        if self._bar is not None:
            self._bar.update(self._html())

    def _html(self) -> Any:
        speed = (self._done - self._first) / max(time.monotonic() - self._started, 1e-9)
        text = f"{html.escape(self._title)}: {self._done:,} of {self._rows:,}, {speed:,.1f}/s"
        return self._ipython.display.HTML(f'<progress value="{self._done}" max="{self._rows}"></progress> {text}')


def watching(observer: Observer | None) -> Observer:
    """The observer given; without one a bar where this is a notebook, else silence."""
    if observer is not None:
        return observer
    ipython = sys.modules.get("IPython")  # a notebook has imported it
    shell = ipython.get_ipython() if ipython is not None else None
    return NotebookBar(ipython) if hasattr(shell, "kernel") else SILENT  # a terminal's IPython has no kernel
