"""What tests of the command line share."""

import shlex

import click

from headstart.core import cli


def parse(words: str) -> None:
    """Let click read a command line without running it. Raises click.ClickException for what it would refuse."""
    command: click.Command = cli.cli
    arguments = shlex.split(words)[1:]
    while isinstance(command, click.Group) and arguments:
        _, found, arguments = command.resolve_command(click.Context(command), arguments)
        assert found is not None
        command = found
    command.make_context("headstart", arguments)
