"""Progress of work on many images: a bar on a terminal, else a plain line now and then."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TextIO

PLAIN_EVERY_S = 15.0
"""Seconds between two plain lines."""


class Progress:
    """One piece of work after the other: `note` takes the plain lines, `stream` is where a bar goes if it is a terminal."""

    def __init__(self, note: Callable[[str], None], stream: Callable[[], TextIO]) -> None:
        self._note, self._stream = note, stream
        self._bar: Any = None

    def begin(self, title: str, rows: int, done: int) -> None:
        """Work on `rows` images starts, `done` of which are there already."""
        self._title, self._rows, self._first, self._done, self._more = title, rows, done, done, ""
        self._started = self._said = time.monotonic()
        if self._stream().isatty():
            self._bar = _rich_bar(self._stream())
            self._task = self._bar.add_task(title, total=rows, completed=done, speed="")
            self._bar.start()
        else:
            of = f" of {rows:,}" if done else ""
            self._note(f"{title}: {rows - done:,}{of} {'image' if rows == 1 else 'images'} to do")

    def more(self, text: str) -> None:
        """What is said of the work beside its rows, from now on."""
        self._more = f"; {text}"

    def advance(self, rows: int) -> None:
        """`rows` more are done; below 0 where rows are done anew."""
        self._done += rows
        now = time.monotonic()
        speed = (self._done - self._first) / max(now - self._started, 1e-9)
        if self._bar:
            said = f"{speed:.1f} images/s{self._more}"
            self._bar.update(self._task, completed=self._done, speed=said)
        elif now - self._said > PLAIN_EVERY_S:
            self._said = now
            # the speed can be 0 after rows that are done anew
            left = clock((self._rows - self._done) / speed) if speed > 0 else "unknown"
            self._note(
                f"{self._title}: {self._done:,}/{self._rows:,} images, {speed:.1f} images/s, {left} left{self._more}"
            )

    def end(self) -> None:
        """The work is over, or never began."""
        if self._bar:
            self._bar.stop()
            self._bar = None


def clock(seconds: float) -> str:
    """Seconds as h:mm:ss."""
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def _rich_bar(stream: TextIO) -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = ("[bold]{task.description}", BarColumn(), MofNCompleteColumn(), "{task.fields[speed]}")
    times = (TextColumn("elapsed"), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
    return Bar(*columns, *times, console=Console(file=stream))
