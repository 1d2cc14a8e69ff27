"""How a command ends: known errors become one line and an exit code, and no traceback shows what a user can cause."""

from __future__ import annotations

import abc
import logging
import os
import warnings
from typing import Any, ClassVar, TextIO

import click

from headstart.console.signals import Interrupted, Signals
from headstart.core.cache.errors import HeadstartError

RESUMED = ("extract", "study", "demo")
"""The commands that go on where an interrupted one stopped."""


class Section(click.Group):
    """Commands in the order of their use, the command `otherwise` among them where none is named."""

    def __init__(self, *args: Any, otherwise: str | None = None, **more: Any) -> None:
        super().__init__(*args, **more)
        self.otherwise = otherwise

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """The command `otherwise`, where there is one, is meant where none is named."""
        if self.otherwise is not None and (not args or args[0].startswith("-")) and args[:1] not in _help(ctx):
            args = [self.otherwise, *args]
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """The same, where what is named is no command."""
        if self.otherwise is not None and args[0] not in self.commands:
            args = [self.otherwise, *args]
        return super().resolve_command(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands in the order in which they are used, not of the alphabet."""
        return list(self.commands)


class Commands(Section, abc.ABC):
    """The root of all commands. A known error is one line and exit code 1, a signal 128 and its number.

    A subclass says how a line is written, to which stream the results go, and who hears signals.
    """

    signals: ClassVar[Signals]

    @abc.abstractmethod
    def note(self, text: str) -> None:
        """Write a line about the run."""

    @abc.abstractmethod
    def results(self) -> TextIO:
        """The stream that results go to."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command, and let it end as the class says."""
        quiet_pillow()
        try:
            with self.signals:
                return super().invoke(ctx)
        except HeadstartError as error:
            self.note(f"headstart: {' '.join(str(error).split())}")
        except BrokenPipeError:  # whoever read our output has gone; Python would complain again at exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.results().fileno())
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            self.note(f"headstart: {where}{error.strerror or error}")
        except Interrupted as error:
            goes_on = ctx.invoked_subcommand in RESUMED
            kept = "; what is finished is kept, the same command goes on from there" if goes_on else ""
            self.note(f"headstart: interrupted{kept}")
            ctx.exit(128 + int(error.args[0]))
        return ctx.exit(1)


def _help(ctx: click.Context) -> list[list[str]]:
    return [[name] for name in ctx.help_option_names]


def quiet_pillow() -> None:
    """Silence Pillow's warnings and log lines: what is wrong with a picture we say ourselves.

    Set once for the whole process, by the program that it belongs to, before any thread is started.
    """
    warnings.filterwarnings("ignore", module=r"PIL\.")
    if not logging.getLogger("PIL").handlers:  # where nobody listens, Python prints what is logged
        logging.getLogger("PIL").addHandler(logging.NullHandler())
