"""How a command that stands outside `cli.py` prints: through the root of the command line, which `cli.py` makes."""

from __future__ import annotations

from typing import Any, Protocol, cast

import click

from headstart.console.options import Settings
from headstart.console.terminal import Terminal


class Printing(Protocol):
    """What the root command can write."""

    def out(self, text: object) -> None:
        """A line of results, on stdout."""

    def note(self, text: str) -> None:
        """A line about the run, on stderr."""

    def document(self, settings: Settings, value: Any) -> None:
        """The last line of stdout with --json: one document."""

    def terminal(self, settings: Settings) -> Terminal:
        """What shows the user how a command goes."""
        ...


def _root() -> Printing:
    return cast(Printing, click.get_current_context().find_root().command)


def out(text: object = "") -> None:
    """A line of results, on stdout."""
    _root().out(text)


def note(text: str) -> None:
    """A line about the run, on stderr."""
    _root().note(text)


def document(settings: Settings, value: Any) -> None:
    """The last line of stdout with --json: one document."""
    _root().document(settings, value)


def terminal(settings: Settings) -> Terminal:
    """What shows the user how a command goes."""
    return _root().terminal(settings)
