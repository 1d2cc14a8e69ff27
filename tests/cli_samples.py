"""What tests of the command line share."""

import shlex
from dataclasses import dataclass
from pathlib import Path

import click
from click.testing import CliRunner, Result

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


@dataclass(frozen=True)
class Place:
    """A working place of a user: where features, runs and pictures are."""

    root: Path

    def run(self, *words: str, code: int = 0) -> Result:
        """Run a command here, in this process, and expect its exit code."""
        folders = ("--features-dir", str(self.root / "features"), "--runs-dir", str(self.root / "runs"))
        result = CliRunner().invoke(cli.cli, [*words, *folders, "--data-dir", str(self.root / "data"), "--device", "cpu"])
        assert result.exit_code == code, (result.stdout, result.stderr, result.exception)
        assert isinstance(result.exception, SystemExit | click.exceptions.Exit | None)
        return result

    def fails(self, *words: str) -> str:
        """Run a command that ends in a known error; returns its one line."""
        result = self.run(*words, code=1)
        (line,) = [line for line in result.stderr.splitlines() if line.startswith("headstart: ")]
        assert "Traceback" not in result.stderr
        return line
