"""The step of CI that looks for a browser: it never fails, and says when the tests that need one are left out."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from extract_samples import ROOT

BASH = shutil.which("bash")
LEFT_OUT = "no Chromium, and none can be installed here: the tests that click through pages are left out\n"

# what is tested is a script for bash, which some systems have not
pytestmark = pytest.mark.skipif(BASH is None, reason="needs bash on PATH")


def program(folder: Path, name: str, script: str) -> None:
    """A program of that name, in the place of the machine's."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!{BASH}\n{script}\n")
    (folder / name).chmod(0o755)


def said(programs: Path) -> str:
    """What the step prints where there are these programs and no others."""
    done = subprocess.run(
        [str(BASH), str(ROOT / ".ci/browser")],
        env={"PATH": str(programs), "HOME": os.environ.get("HOME", "/")},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_a_browser_that_is_there_is_taken(tmp_path: Path) -> None:
    program(tmp_path, "google-chrome", "exit 1")
    program(tmp_path, "apt-get", f"touch {tmp_path / 'asked'}")
    assert said(tmp_path) == ""
    assert not (tmp_path / "asked").exists()


def test_where_nothing_can_be_installed_that_is_said(tmp_path: Path) -> None:
    tmp_path.joinpath("nothing").mkdir()
    assert said(tmp_path / "nothing") == LEFT_OUT


@pytest.mark.parametrize(("user", "does"), [("0", "exit 100"), ("1000", "exit 0")])
def test_an_installation_that_fails_or_may_not_be_is_said(user: str, does: str, tmp_path: Path) -> None:
    program(tmp_path, "apt-get", f"echo E: Unable to locate package; {does}")
    program(tmp_path, "timeout", 'shift; "$@"')
    program(tmp_path, "id", f"echo {user}")
    assert said(tmp_path) == LEFT_OUT


def test_the_package_is_installed_where_it_may_be(tmp_path: Path) -> None:
    made, chmod = tmp_path / "chromium", shutil.which("chmod")
    installs = f'if [ "$2" = install ]; then printf "#!{BASH}\\n" > {made}; {chmod} +x {made}; fi'
    program(tmp_path, "apt-get", installs)
    program(tmp_path, "timeout", 'shift; "$@"')
    program(tmp_path, "id", "echo 0")
    assert said(tmp_path) == ""
    assert made.exists()


def test_ci_looks_for_one_before_it_tests() -> None:
    steps = [line for line in (ROOT / ".ci/run").read_text(encoding="utf-8").splitlines() if line.startswith("make ")]
    assert steps.index("make setup browser") < steps.index("make test")
    assert "browser:\n\t@.ci/browser\n" in (ROOT / "Makefile").read_text(encoding="utf-8")
