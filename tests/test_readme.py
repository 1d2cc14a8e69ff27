"""The README stays true: every command in it parses, every make target and file it names is there."""

import re
import shlex
from pathlib import Path

import pytest
from cli_samples import parse

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
EXECUTORS = (ROOT / "docs/executors.md").read_text(encoding="utf-8")
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]


def lines_to_type(text: str = README) -> list[str]:
    """The lines of console blocks that a user types: those after a dollar sign."""
    blocks = re.findall(r"```console\n(.*?)```", text, re.DOTALL)
    joined = "\n".join(blocks).replace("\\\n", " ")
    return [line.removeprefix("$ ").partition("  #")[0].strip() for line in joined.splitlines() if line.startswith("$ ")]


@pytest.mark.parametrize("line", [line for line in lines_to_type() if line.startswith(("headstart", "python cli.py"))])
def test_a_command_of_the_readme_parses(line: str, tmp_path: Path) -> None:
    words = shlex.split(line.removeprefix("python ").replace("cli.py", "headstart", 1))
    existing = [str(tmp_path) if before == "--photos" else word for before, word in zip(["", *words], words, strict=False)]
    parse(shlex.join(existing))


@pytest.mark.parametrize("line", lines_to_type(EXECUTORS))
def test_a_command_of_the_executors_parses(line: str) -> None:
    parse(line)


def test_the_scripts_of_job_arrays_parse() -> None:
    scripts = "\n".join(re.findall(r"```sh\n(.*?)```", EXECUTORS, re.DOTALL)).replace("\\\n", " ")
    for variable in ("$SLURM_ARRAY_TASK_ID", "$PBS_ARRAY_INDEX"):
        scripts = scripts.replace(variable, "16")
    commands = re.findall(r"^headstart .*|(?<=\$\()headstart [^)]*", scripts, re.MULTILINE)
    assert len(commands) == 3
    for command in commands:
        parse(command)


def test_the_recipe_for_ray_has_a_token_and_an_address_that_the_user_names() -> None:
    script = "\n".join(re.findall(r"```bash\n(.*?)```", EXECUTORS, re.DOTALL))
    starts = [line for line in script.splitlines() if line.startswith("ray start")]
    assert len(starts) == 2
    assert all("--node-ip-address=" in line and "0.0.0.0" not in line for line in starts)
    assert script.index("ray get-auth-token --generate") < script.index("export RAY_AUTH_MODE=token")
    assert script.index("export RAY_AUTH_MODE=token") < script.index(starts[0])


def test_the_readme_shows_every_main_command() -> None:
    typed = " ".join(lines_to_type())
    for command in ("extract", "train-head", "bench-inference", "predict", "report", "study", "models", "cache", "serve"):
        assert f"headstart {command}" in typed or f"cli.py {command}" in typed, command
    assert "python cli.py extract" in typed


def test_make_targets_that_documents_name_are_there() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = {target for path in DOCUMENTS for target in re.findall(r"\bmake ([a-z]+)\b", path.read_text(encoding="utf-8"))}
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    prose = {"it", "sure", "a", "an", "them", "of", "and", "one", "the"}
    assert named - prose <= targets


def test_the_file_tree_is_the_repository() -> None:
    """One line for each package, and none for one that is gone; a line's indent is the folder it lies in."""
    tree = README[README.index("## The files") :]
    block = re.search(r"```text\n(.*?)```", tree, re.DOTALL)
    assert block is not None
    found: list[str] = []
    above: list[str] = []
    for line in block[1].splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        above[depth:] = [line.split()[0].rstrip("/")]
        found.append("/".join(above))
    packages = {
        path.parent for room in ("cache", "extract", "heads", "headstart") for path in (ROOT / room).rglob("__init__.py")
    }
    assert sorted(found) == sorted({str(path.relative_to(ROOT)) for path in packages} | {"cli.py", "benchmarks", "tests"})


def test_no_document_names_a_place_of_one_machine() -> None:
    for path in DOCUMENTS:
        assert not re.search(r"/(home|work|root|Users)/", path.read_text(encoding="utf-8")), path
