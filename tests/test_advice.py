"""What a message advises can be followed: every command and option it names is there, and doing it helps.

The first tests read every text in the source; the others make each mistake, read the advice, and follow it.
"""

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from cli_samples import parse

import cli

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted(
    [
        ROOT / "cli.py",
        *(path for room in ("cache", "extract", "heads", "headstart") for path in (ROOT / room).rglob("*.py")),
    ]
)


def texts(path: Path) -> Iterator[str]:
    """Every text of a module that may reach a user, docstrings left out; what is filled in is spelled `1`."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    spoken = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    within = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "1" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in spoken | within:
            yield node.value


def commands(group: click.Group, words: str = "") -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        yield f"{words}{name}", command
        if isinstance(command, click.Group):
            yield from commands(command, f"{words}{name} ")


COMMANDS = dict(commands(cli.cli))
OPTIONS = {
    flag
    for command in (cli.cli, *COMMANDS.values())
    for parameter in command.params
    for flag in (*parameter.opts, *parameter.secondary_opts)
} | {"--help", "--version"}
FLAG = re.compile(r"(?<![\w(-])--[a-z][a-z-]*")
"""An option in a text; a style sheet's own names stand behind a bracket, or in braces."""
ADVISED = sorted(
    {text for path in SOURCES for text in texts(path) if "`headstart " in text or (FLAG.search(text) and "{" not in text)}
)


def test_there_is_advice_to_look_at() -> None:
    assert len(ADVISED) > 60


@pytest.mark.parametrize("text", ADVISED)
def test_every_command_and_option_in_a_text_is_there(text: str) -> None:
    for line in re.findall(r"`headstart ([^`]*)`", text):
        words = line.split()
        known = [name for name in COMMANDS if words[: len(name.split())] == name.split()]
        assert known, line
        if len(words) > len(max(known, key=len).split()):
            parse(f"headstart {_filled_in(line)}")
    assert not set(FLAG.findall(text)) - OPTIONS


def _filled_in(line: str) -> str:
    """A command with values where the message has holes or capitals."""
    words = line.replace("PATH", "x").split()
    after_model = ["", *words]
    return shlex.join(
        "resnet18" if before in ("-m", "--model") else word for before, word in zip(after_model, words, strict=False)
    )
