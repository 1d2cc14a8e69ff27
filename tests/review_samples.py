"""What the tests of the review share: small folders of drawn pictures, their features, and a review of them that runs."""

import contextlib
import dataclasses
import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn
from cli_samples import Place
from extract_samples import ROOT
from PIL import Image

from headstart.observer import SILENT
from headstart.review import app, making
from headstart.review.request import ReviewRequest
from headstart.review.work import Work
from headstart.serve.settings import Settings
from headstart.workspace import Workspace

COLOURS = {"blue": (110, 110, 146), "green": (110, 146, 110), "red": (146, 110, 110)}
"""So near to each other that wrong labels cost accuracy."""
SMALL = ("-m", "resnet18", "--weights", "random:0", "--image-size", "32", "--precision", "fp32")
LOCAL = Settings(port=0, grace_s=1)


def scene(rng: np.random.Generator, colour: str) -> Image.Image:
    """A picture of 32 x 32 pixels in the colour of its class, another one each time."""
    coarse = rng.integers(-70, 70, (4, 4, 3)) + np.array(COLOURS[colour])
    return Image.fromarray(coarse.clip(0, 255).astype(np.uint8)).resize((32, 32), Image.Resampling.BICUBIC)


def draw(root: Path, rows: int, test: int = 0, wrong: int = 0, seed: int = 0) -> Path:
    """A folder of `rows` pictures of three classes; `wrong` that are red are labelled green. The true class stands in each
    name. With `test` clean pictures beside them both have folders of their own."""
    rng, left = np.random.default_rng(seed), wrong
    for split, count in (("train", rows), ("test", test)):
        for number in range(count):
            colour = list(COLOURS)[number % 3]
            label = colour
            if split == "train" and colour == "red" and left:
                label, left = "green", left - 1
            folder = root / split / label if test else root / label
            folder.mkdir(parents=True, exist_ok=True)
            scene(rng, colour).save(folder / f"{split}{number:03}-{colour}.png")
    return root


def unlabelled(root: Path, rows: int) -> Path:
    """A folder of pictures without sub-folders, their classes in their names."""
    rng = np.random.default_rng(0)
    root.mkdir(parents=True)
    for number in range(rows):
        colour = list(COLOURS)[number % 3]
        scene(rng, colour).save(root / f"{number:03}-{colour}.png")
    return root


def extracted(root: Path, pictures: Path) -> Workspace:
    """A workspace with features of a folder by a small untrained network."""
    Place(root).run("extract", *SMALL, "--dataset", f"folder:{pictures}")
    return Workspace(root / "features", root / "runs", root / "data", "cpu")


@dataclasses.dataclass
class Reviewing:
    """A review that runs: where, the file of corrections, and what it shares."""

    url: str
    corrections: Path
    work: Work | None = None

    def get(self, path: str = "") -> Any:
        """What the service says."""
        with urllib.request.urlopen(f"{self.url}/v1/review{path}", timeout=60) as answer:
            return json.load(answer)

    def post(self, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        """The status and the document of an answer to JSON."""
        content = json.dumps(body).encode()
        request = urllib.request.Request(
            f"{self.url}/v1/review{path}", data=content, headers={"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)


@contextlib.contextmanager
def reviewing(workspace: Workspace, corrections: Path) -> Iterator[Reviewing]:
    """A review of all features of a workspace, in a thread of the tests."""
    review = making.prepare(workspace, ReviewRequest(corrections=corrections), SILENT)
    service = app.of(review, LOCAL)
    server = uvicorn.Server(uvicorn.Config(service.app, log_config=None, access_log=False, ws="none"))
    with socket.create_server(("127.0.0.1", 0)) as bound:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
        thread.start()
        deadline = time.monotonic() + 120  # it must not hang the tests
        while not server.started:
            assert thread.is_alive()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        try:
            yield Reviewing(f"http://127.0.0.1:{bound.getsockname()[1]}", corrections, review.work)
        finally:
            review.work.join()
            server.should_exit = True
            thread.join(60)
            assert not thread.is_alive()


@contextlib.contextmanager
def process(root: Path, *words: str) -> Iterator[tuple[subprocess.Popen[str], Reviewing, list[str]]]:
    """`headstart review` in a process of its own, as a user starts it, and what it printed."""
    call = [sys.executable, str(ROOT / "cli.py"), "review", *words, "--port", "0", "--json", "--device", "cpu"]
    call += ["--runs-dir", str(root / "runs"), "--features-dir", str(root / "features"), "--data-dir", str(root / "data")]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with (root / "stderr").open("w") as errors:
        started = subprocess.Popen(call, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment)
    try:
        assert started.stdout is not None
        lines = []
        for line in started.stdout:
            lines.append(line)
            if line.startswith("{"):
                break
        assert lines, (root / "stderr").read_text()
        facts = json.loads(lines[-1])
        yield started, Reviewing(facts["url"], Path(facts["corrections"])), lines
    finally:
        if started.poll() is None:
            started.kill()
        started.communicate(timeout=60)
