"""docs/own-pictures.md: its commands as they stand there, on pictures made here, from a folder to a service that answers.

The one thing that is put in their place is the download: the published weights are a file that was drawn here.
"""

import dataclasses
import json
import os
import re
import signal
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from heads_samples import ROOT
from PIL import Image

from headstart.core.cache.files import sha256

DOCUMENT = (ROOT / "docs" / "own-pictures.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"```console\n(.*?)\n```", DOCUMENT, re.DOTALL)
COLOURS: Mapping[str, tuple[int, int, int]] = {"ripe": (200, 60, 60), "unripe": (60, 170, 60), "rotten": (110, 80, 50)}

WRAPPER = """#!{python}
import dataclasses
import sys
sys.path.insert(0, {root!r})
from headstart.core import cli
from headstart.core.extract.backbones import torchvision as source
file = source._file("resnet18", {digest!r}, 69.758)
checkpoints = {{"IMAGENET1K_V1": file}}
source.BACKBONES["resnet18"] = dataclasses.replace(source.BACKBONES["resnet18"], checkpoints=checkpoints)
cli.main()
"""


@dataclasses.dataclass(frozen=True)
class User:
    """Somebody's working folder, with `headstart` on the path."""

    folder: Path
    environment: Mapping[str, str]

    def run(self, command: str) -> str:
        """What a command prints on stdout; a shell runs it, as a user's does."""
        done = subprocess.run(
            ["bash", "-c", command], cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout


def pictures(folder: Path, count: int, colour: tuple[int, int, int], rng: np.random.Generator) -> None:
    """Noisy photographs in a colour, each of another size."""
    folder.mkdir(parents=True)
    for i in range(1, count + 1):
        noise = rng.normal(0, 40, (40 + 3 * i, 64, 3)) + np.array(colour)
        Image.fromarray(noise.clip(0, 255).astype(np.uint8)).save(folder / f"{i}.jpg")


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory) -> User:
    """Somebody with pictures of three classes, three new ones, and weights that are there already."""
    folder, rng = tmp_path_factory.mktemp("user"), np.random.default_rng(0)
    for name, colour in COLOURS.items():
        pictures(folder / "pictures" / name, 12, colour, rng)
    pictures(folder / "new", 3, COLOURS["ripe"], rng)
    checkpoints, programs = folder / "torch" / "hub" / "checkpoints", folder / "bin"
    checkpoints.mkdir(parents=True)
    programs.mkdir()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        torch.save(torchvision.models.resnet18().state_dict(), checkpoints / "drawn.pth")
    digest = sha256((checkpoints / "drawn.pth").read_bytes())
    (checkpoints / "drawn.pth").rename(checkpoints / f"resnet18-{digest[:8]}.pth")
    program = programs / "headstart"
    program.write_text(WRAPPER.format(python=sys.executable, root=str(ROOT), digest=digest), encoding="utf-8")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    path = os.pathsep.join([str(programs), os.environ["PATH"]])
    return User(folder, {**os.environ, "PATH": path, "TORCH_HOME": str(folder / "torch")})


@pytest.fixture(scope="module")
def trained(user: User) -> str:
    """The second and the third command; what training printed."""
    user.run(COMMANDS[1])
    return user.run(COMMANDS[2])


def test_there_are_six_commands_and_a_request() -> None:
    words = [command.split()[:2] for command in COMMANDS]
    assert [first for first, _ in words] == ["pip", *["headstart"] * 5, "curl"]
    assert all("\n" not in command for command in COMMANDS)


@pytest.mark.slow
def test_training_tells_how_good_it_is(trained: str) -> None:
    assert re.search(r"accuracy \d+\.\d\d% \(95 % interval .* over 36 images, each predicted once", trained)


@pytest.mark.slow
def test_new_pictures_get_labels(user: User, trained: str) -> None:
    assert len(re.findall(r"new/\d\.jpg +(?:ripe|unripe|rotten) ", user.run(COMMANDS[3]))) == 3


@pytest.mark.slow
def test_a_file_is_shipped_with_its_card(user: User, trained: str) -> None:
    said = user.run(COMMANDS[4])
    assert "3 pictures given" in said
    assert (user.folder / "shipped" / "model.onnx").stat().st_size > 40_000_000
    assert "rotten" in (user.folder / "shipped" / "model-card.md").read_text(encoding="utf-8")


@pytest.fixture
def address(user: User, trained: str) -> Iterator[str]:
    """The last command, at a port that is free, until the test ends."""
    assert COMMANDS[5].endswith("--port 8000")
    words = COMMANDS[5].replace("--port 8000", "--port 0").split()
    process = subprocess.Popen(words, cwd=user.folder, env=user.environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        found = next(filter(None, (re.search(r"http://127\.0\.0\.1:\d+", line) for line in process.stdout)))
        yield found[0]
        process.send_signal(signal.SIGINT)
        assert process.wait(60) in (0, 130)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.slow
def test_the_service_answers(user: User, address: str) -> None:
    for _ in range(600):
        try:
            with urllib.request.urlopen(f"{address}/readyz") as ready:
                assert ready.status == 200
                break
        except urllib.error.URLError:
            time.sleep(0.1)
    found = json.loads(user.run(COMMANDS[6].replace("http://127.0.0.1:8000", address)))
    assert found["pictures"][0]["heads"][0]["labels"][0]["label"] in COLOURS
    with urllib.request.urlopen(address) as page:
        assert b"<title>" in page.read()
