"""What an installation takes of a shared environment: one top-level name, whatever lies beside it."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("cache", "extract", "heads")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's content in a folder of its own, as pip unpacks it."""
    built = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(built)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=120)
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(built / "site")
    return built / "site"


def told(code: str, *before: Path, cwd: Path) -> str:
    """What a Python prints that finds these folders first and this checkout not at all."""
    folders = [str(folder) for folder in before]
    paths = f"import sys; sys.path[:] = {folders!r} + [path for path in sys.path if path != {str(ROOT)!r}]\n"
    done = subprocess.run([sys.executable, "-P", "-c", paths + code], cwd=cwd, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_wheel_takes_one_top_level_name(installed: Path) -> None:
    names = {path.name for path in installed.iterdir() if not path.name.endswith(".dist-info")}
    assert names == {"headstart"}


def test_the_wheel_holds_every_source_file_once(installed: Path) -> None:
    rooms = [path for room in ROOMS for path in (ROOT / room).rglob("*.py")]
    expected = {Path("headstart/core") / path.relative_to(ROOT) for path in [*rooms, ROOT / "cli.py"]}
    expected |= {path.relative_to(ROOT) for path in (ROOT / "headstart").rglob("*.py")}
    assert {path.relative_to(installed) for path in installed.rglob("*.py")} == expected
    assert not [path for path in installed.rglob("*") if path.suffix in (".pyc", ".h5")]
    for page in (Path("headstart/serve/page"), Path("headstart/review/page")):  # are put together of these
        assert {path.name for path in (installed / page).iterdir()} >= {path.name for path in (ROOT / page).glob("*.*")}


@pytest.mark.parametrize("module", ["cli", "cache.store", "extract.config", "heads.config"])
def test_an_installed_module_comes_from_the_installation(installed: Path, tmp_path: Path, module: str) -> None:
    code = f"import importlib; print(importlib.import_module('headstart.core.{module}').__file__)"
    found = told(code, installed, cwd=tmp_path)
    assert found == str(installed / "headstart" / "core" / (module.replace(".", "/") + ".py"))


def test_foreign_packages_called_as_our_rooms_are_left_alone(installed: Path, tmp_path: Path) -> None:
    for room in (*ROOMS, "cli"):
        (tmp_path / f"{room}.py").write_text("WHOSE = 'theirs'\n")
    code = "import cache, cli, headstart.core.cli, headstart.core.cache.key; print(cache.WHOSE, cli.WHOSE)"
    assert told(code, tmp_path, installed, cwd=tmp_path) == "theirs theirs"


def test_the_installed_command_runs_away_from_the_checkout(installed: Path, tmp_path: Path) -> None:
    code = "sys.argv = ['headstart', 'cache', 'ls']; from headstart.core.cli import main; main()"
    assert "no feature sets; make one with `headstart extract`" in told(code, installed, cwd=tmp_path)
