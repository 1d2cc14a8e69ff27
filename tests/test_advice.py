"""What a message advises can be followed: every command and option it names is there, and doing it helps.

The first tests read every text in the source; the others make each mistake, read the advice, and follow it.
"""

# ruff: noqa: ARG005  (each way of following advice takes what any of them needs)

import ast
import html
import json
import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import pytest
from cli_samples import parse
from click.testing import CliRunner, Result
from extract_samples import write_picture

from headstart.core import cli
from headstart.core.cache.manifest import VERSION

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted(
    [
        ROOT / "cli.py",
        *(path for room in ("cache", "extract", "heads", "headstart") for path in (ROOT / room).rglob("*.py")),
    ]
)


def texts(path: Path) -> Iterator[str]:
    """Every text of a module that may reach a user, docstrings left out; what is filled in is spelled `1`."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    skipped = {
        id(node.body[0].value)
        for node in nodes
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    skipped |= {id(part) for node in nodes if isinstance(node, ast.JoinedStr) for part in ast.walk(node)}
    for node in nodes:
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "1" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in skipped:
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
FLAG = re.compile(r"(?<![\w(-])--[a-z][a-z0-9-]*")
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
        command = COMMANDS[max(known, key=len)]
        if len(words) > len(max(known, key=len).split()) or any(own.required for own in command.params):
            parse(f"headstart {_filled_in(line)}")
    assert not set(FLAG.findall(text)) - OPTIONS


def _filled_in(line: str) -> str:
    """A command with values where the message has holes or capitals."""
    words = line.replace("PATH", "x").split()
    after_model = ["", *words]
    return shlex.join(
        "resnet18" if before in ("-m", "--model") else word for before, word in zip(after_model, words, strict=False)
    )


# ------------------------------------------------------------------------------------------------- followed to the letter


SMALL = ("-m", "resnet18", "--image-size", "32", "--precision", "fp32")


@dataclass
class Place:
    """A user's working place, and the weights they have in a file."""

    root: Path

    def run(self, *words: str) -> Result:
        """Run a command here."""
        folders = ("--features-dir", str(self.root / "features"), "--runs-dir", str(self.root / "runs"))
        return CliRunner().invoke(cli.cli, [*words, *folders, "--data-dir", str(self.root / "data"), "--device", "cpu"])

    def done(self, *words: str) -> Result:
        """Run a command that must succeed."""
        result = self.run(*words)
        assert result.exit_code == 0, (words, result.stdout, result.stderr, result.exception)
        return result

    def pets(self) -> str:
        """A folder of pictures in two classes, divided."""
        root = self.root / "pets"
        if not root.exists():
            for split, count in (("train", 12), ("test", 6)):
                for label in range(2):
                    for number in range(count):
                        write_picture(root / split / "ab"[label] / f"{number}.png", seed=100 * label + number)
        return f"folder:{root}"

    def extract(self, *words: str) -> tuple[str, ...]:
        """The command that extracts the pets, with more words."""
        return ("extract", *SMALL, "--dataset", self.pets(), "--weights", "random:0", *words)

    def trained(self, *words: str) -> Path:
        """A head on the pets: its run's folder."""
        self.done(*self.extract())
        (run,) = json.loads(
            self.done("train-head", "--head", "mlp", "--epochs", "1", "--json", *words).stdout.splitlines()[-1]
        )
        return self.root / "runs" / str(run["name"])


@dataclass(frozen=True)
class Mistake:
    """What a user did, the advice that must come, and what following it to the letter is."""

    name: str
    make: Callable[[Place], tuple[str, ...]]
    advice: str
    follow: Callable[[Place, tuple[str, ...], re.Match[str]], tuple[str, ...]]
    exit_code: int = 1

    def __str__(self) -> str:
        return self.name


def _broken_picture(place: Place) -> tuple[str, ...]:
    words = place.extract()
    next((place.root / "pets" / "train").rglob("*.png")).write_bytes(b"no picture")
    return words


def _changed_picture(place: Place) -> tuple[str, ...]:
    place.done(*place.extract())
    write_picture(next((place.root / "pets" / "train").rglob("*.png")), seed=999)
    return place.extract("--frozen")


def _damaged_shard(place: Place) -> tuple[str, ...]:
    place.trained()
    next((place.root / "features").glob("*train*/shard-*.h5")).write_bytes(b"no shard")
    return ("train-head", "--head", "mlp", "--epochs", "1")


def _later_manifest(place: Place) -> tuple[str, ...]:
    place.done(*place.extract())
    path = next((place.root / "features").glob("*train*/manifest.json"))
    path.write_text(path.read_text().replace(f'"version": {VERSION}', '"version": 99'))
    return place.extract()


def _two_sizes(place: Place) -> tuple[str, ...]:
    place.done(*place.extract())
    place.done("extract", "-m", "resnet18", "--image-size", "64", "--precision", "fp32", "--dataset", place.pets(),
               "--weights", "random:0")  # fmt: skip
    return ("train-head", "--head", "mlp", "--epochs", "1")


def _damaged_timings(place: Place) -> tuple[str, ...]:
    (place.trained() / "bench.json").write_text("no timings")
    return ("report",)


def _head_alone(place: Place) -> tuple[str, ...]:
    place.trained()
    return ("bench-inference", "--limit", "4")


def _moved_weights(place: Place) -> tuple[str, ...]:
    import torch
    import torchvision

    torch.save(torchvision.models.resnet18(weights=None).state_dict(), place.root / "mine.pth")
    place.done("extract", *SMALL, "--dataset", place.pets(), "--weights", str(place.root / "mine.pth"))
    place.done("train-head", "--head", "mlp", "--epochs", "1")
    (place.root / "mine.pth").rename(place.root / "moved.pth")
    return ("predict", str(next((place.root / "pets").rglob("*.png"))))


def _after(*words: str) -> Callable[[Place, tuple[str, ...], re.Match[str]], tuple[str, ...]]:
    """The same command with more words."""
    return lambda place, before, advice: (*before, *words)


Follow = Callable[[Place, tuple[str, ...], re.Match[str]], tuple[str, ...]]


def _then(first: Callable[[Place, re.Match[str]], object]) -> Follow:
    """Something done first, then the same command again."""

    def follow(place: Place, before: tuple[str, ...], advice: re.Match[str]) -> tuple[str, ...]:
        first(place, advice)
        return before

    return follow


def _trained_first(*words: str) -> Callable[[Place], tuple[str, ...]]:
    """A command of somebody who has a head."""

    def make(place: Place) -> tuple[str, ...]:
        place.trained()
        return words

    return make


def _instead(*words: str) -> Follow:
    """Another command."""
    return lambda place, before, advice: words


def _timed_again(place: Place, advice: re.Match[str]) -> None:
    Path(advice[1]).unlink()
    place.done("bench-inference", "--limit", "4", "--dataset", place.pets())


EXTRACT_FIRST = _then(lambda place, advice: place.done(*place.extract()))
TRAIN_FIRST = _then(lambda place, advice: place.trained())
ONE_CLASS = ("study", *SMALL, "--weights", "random:0", "--dry-run", "--dataset")

MISTAKES = [
    Mistake("no features", lambda place: ("train-head",), "`headstart extract`", EXTRACT_FIRST),
    Mistake("a picture that can't be read", _broken_picture, "--on-error skip", _after("--on-error", "skip")),
    Mistake(
        "a picture that changed",
        _changed_picture,
        "leave out --frozen",
        lambda place, before, advice: before[:-1],
    ),
    Mistake("a damaged shard", _damaged_shard, "`headstart extract`", EXTRACT_FIRST),
    Mistake("a later headstart's manifest", _later_manifest, "--force", _after("--force")),
    Mistake(
        "two kinds of features",
        _two_sizes,
        "--image-size 32 .*--image-size (64)",
        lambda place, before, advice: (*before, "--image-size", advice[1]),
    ),
    Mistake(
        "a sweep of ridge",
        _trained_first("train-head", "--head", "ridge", "--sweep"),
        "--head mlp",
        _instead("train-head", "--head", "mlp", "--sweep", "--epochs", "1"),
        exit_code=2,  # a wrong use of options
    ),
    Mistake(
        "a rate too high",
        _trained_first("train-head", "--head", "mlp", "--lr", "1e30", "--epochs", "2"),
        "a --lr below",
        _instead("train-head", "--head", "mlp", "--lr", "0.001", "--epochs", "2"),
    ),
    Mistake(
        "no head",
        lambda place: ("predict", str(next(Path(place.pets()[7:]).rglob("*.png")))),
        "`headstart train-head`",
        TRAIN_FIRST,
    ),
    Mistake("no head to report on", lambda place: ("report",), "`headstart train-head`", TRAIN_FIRST),
    Mistake(
        "damaged timings",
        _damaged_timings,
        r"(\S+bench\.json): .*remove it, and `headstart bench-inference`",
        _then(_timed_again),
    ),
    Mistake(
        "a folder's pictures to time",
        _head_alone,
        "--dataset folder:PATH",
        lambda place, before, advice: (*before, "--dataset", place.pets()),
    ),
    Mistake(
        "weights that moved",
        _moved_weights,
        "--weights",
        lambda place, before, advice: (*before, "--weights", str(place.root / "moved.pth")),
    ),
    Mistake(
        "a set that is not there",
        lambda place: ("cache", "rm", "nothing"),
        "`headstart cache ls`",
        _instead("cache", "ls"),
    ),
    Mistake(
        "a study of too few classes",
        lambda place: (*ONE_CLASS, f"{place.pets()}/train/a"),
        "a study needs two or more",
        lambda place, before, advice: (*ONE_CLASS, place.pets()),
    ),
]


@pytest.mark.parametrize("mistake", MISTAKES, ids=str)
def test_advice_that_is_followed_helps(mistake: Mistake, tmp_path: Path) -> None:
    place = Place(tmp_path)
    words = mistake.make(place)
    failed = place.run(*words)
    assert failed.exit_code == mistake.exit_code, (failed.stdout, failed.stderr)
    (line,) = [line for line in failed.stderr.splitlines() if line.startswith(("headstart: ", "Error: "))]
    advice = re.search(mistake.advice, line)
    assert advice, line
    place.done(*mistake.follow(place, words, advice))


def test_what_lists_the_pictures_that_were_left_out_can_be_copied(tmp_path: Path) -> None:
    place = Place(tmp_path)
    said = place.done(*_broken_picture(place), "--on-error", "skip").stderr
    (show,) = re.findall("1 unreadable image left out; `headstart ([^`]*)` lists them", said)
    assert "can't be decoded" in place.done(*shlex.split(show)).stdout


def test_the_reports_commands_can_be_copied(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.trained("--head", "linear")
    place.done("report")
    page = html.unescape((tmp_path / "runs" / "report" / "report.html").read_text())
    told = [shlex.split(found)[1:] for found in re.findall(r"<pre><code>(headstart [^<]*)</code>", page)]
    (bench,) = (words for words in told if words[0] == "bench-inference")
    assert str(place.pets()) in " ".join(bench)
    place.done(*bench, "--limit", "4")
    (curve,) = (words for words in told if "--curve" in words)
    place.done(*curve)


def test_the_report_names_the_pictures_that_are_wrong(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.trained("--head", "linear")
    (section,) = json.loads(place.done("report", "--json").stdout.splitlines()[-1])["sections"]
    (head,) = section["models"]["resnet18"].values()
    names = [one["id"] for one in head["mistakes"]]
    assert names
    assert all((tmp_path / "pets" / "test" / name).is_file() for name in names)
    folder = tmp_path / "runs" / "report"
    for text in (html.unescape((folder / "report.html").read_text()), (folder / "report.md").read_text()):
        assert all(name in text for name in names)


def test_classes_that_a_head_does_not_know_are_said(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.trained("--head", "linear")
    for number in range(3):
        write_picture(tmp_path / "other" / "test" / "c" / f"{number}.png", seed=number)
        write_picture(tmp_path / "other" / "test" / "a" / f"{number}.png", seed=number)
        for label in "ac":
            write_picture(tmp_path / "other" / "train" / label / f"{number}.png", seed=number)
    timed = place.done("bench-inference", "--dataset", f"folder:{tmp_path / 'other'}", "--repeats", "1")
    assert "3 of 6 images are of classes that" in timed.stderr
    assert "does not know: c" in timed.stderr
    assert not timed.stdout.splitlines()[-1].startswith("[")  # only --json ends in JSON
