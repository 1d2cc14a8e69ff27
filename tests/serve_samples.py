"""What the tests of the service share: a service of small stand-ins in this process, and a real one in its own."""

import contextlib
import dataclasses
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_samples import Place
from extract_samples import ROOT, QuarterMeans, encoded, picture
from heads_samples import axis_head, make_checkpoint, make_key

from headstart.core.heads.confidence import Confidence
from headstart.inference.trained import TrainedHead
from headstart.serve import app
from headstart.serve.app import Service
from headstart.serve.heads import Nearest, Served, Shared
from headstart.serve.settings import Limits, Settings

COLOURS = ("dark", "light", "odd", "red")
HERE = "http://127.0.0.1"
"""A host that the service takes for its own; that of Starlette's client is none."""


def png(seed: int = 0) -> bytes:
    """A picture of 24 x 16 pixels."""
    return encoded(picture(seed=seed), "PNG")


def head(name: str = "colours", calibrated: bool = True, nearest: Nearest | None = None) -> Served:
    """A head whose scores are the stand-in's four features: the means of the picture's quarters."""
    sure = Confidence(50.0, np.linspace(0.01, 0.99, 99).astype(np.float32), 99)
    key = make_key(classes=COLOURS, weights="random:0", backbone="resnet18")
    found = make_checkpoint(axis_head(4, 4), classes=COLOURS, key=key, confidence=sure if calibrated else None)
    return Served(TrainedHead(found, None, name), name, f"{name}, a stand-in", "ab" * 32, nearest)


def service(*heads: Served, extractor: Any = None, limits: Limits | None = None, **settings: Any) -> Service:
    """A service of a stand-in backbone with these heads."""
    own = Settings(**{"workers": 2, "limits": limits or Limits(), **settings})
    return app.of([Shared(extractor or QuarterMeans(batch_size=8), heads or (head(),))], own)


@contextlib.contextmanager
def asking(made: Service, host: str = HERE) -> Iterator[Any]:
    """A client of a service in this process, once that is ready."""
    from starlette.testclient import TestClient

    with TestClient(made.app, base_url=host, raise_server_exceptions=False) as client:
        until = time.monotonic() + 30
        while not made.room.ready and time.monotonic() < until:
            time.sleep(0.002)
        yield client


def problem(answer: Any, status: int, detail: str) -> None:
    """An answer is a problem document of this status that says this."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    found = answer.json()
    assert (answer.status_code, found["status"], found["type"]) == (status, status, "about:blank"), found
    assert re.search(detail, found["detail"]), found["detail"]


# ------------------------------------------------------------------------------------------------ real processes


@dataclasses.dataclass(frozen=True)
class Running:
    """`headstart serve` in a process, its URL and what it printed."""

    process: subprocess.Popen[str]
    url: str
    facts: dict[str, Any]
    printed: str

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        host, _, port = self.url.removeprefix("http://").partition(":")
        return host, int(port)

    def connect(self) -> socket.socket:
        """A connection of one's own."""
        made = socket.create_connection(self.address, timeout=60)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made

    def end(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Send a signal and wait; the exit code and stderr."""
        self.process.send_signal(number)
        said = self.process.communicate(timeout=60)[1]
        return self.process.returncode, said


@contextlib.contextmanager
def serving(place: Path, *words: str, ready: bool = True, **variables: str) -> Iterator[Running]:
    """A service of the place's newest head, ended with the block."""
    call = [sys.executable, str(ROOT / "cli.py"), "serve", *words, "--port", "0", "--json", "--device", "cpu"]
    call += ["--runs-dir", str(place / "runs"), "--features-dir", str(place / "features")]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", **variables}
    process = subprocess.Popen(call, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    try:
        lines = []
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            if line.startswith("{"):
                break
        else:
            pytest.fail(process.communicate()[1])
        facts = json.loads(lines[-1])
        found = Running(process, facts["url"], facts, "".join(lines))
        until = time.monotonic() + 60
        while ready and exchange(found, b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")[0] != 200:
            assert time.monotonic() < until
            time.sleep(0.05)
        yield found
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def exchange(running: Running, request: bytes) -> tuple[int, bytes]:
    """Send bytes, and read the status and the body until the service closes the connection."""
    with running.connect() as made:
        made.sendall(request)
        return answer(made)


def answer(made: socket.socket) -> tuple[int, bytes]:
    """The next answer on a connection: its status and its body. (0, b"") where it was closed without one."""
    received = b""
    while b"\r\n\r\n" not in received:
        part = made.recv(2**16)
        if not part:
            return 0, received
        received += part
    top, _, body = received.partition(b"\r\n\r\n")
    size = int(re.search(rb"content-length: (\d+)", top, re.IGNORECASE)[1])  # type: ignore[index]
    while len(body) < size:
        part = made.recv(2**16)
        if not part:
            break
        body += part
    return int(top.split()[1]), body


def post(content: bytes, kind: str = "image/png", path: str = "/v1/predict", *headers: str) -> bytes:
    """A request with a picture."""
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: localhost",
        f"Content-Type: {kind}",
        f"Content-Length: {len(content)}",
        *headers,
    ]
    return "\r\n".join([*lines, "", ""]).encode() + content


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A place with two heads on digits, through an untrained ResNet18 at 32 px: the newer one is calibrated."""
    place = Place(tmp_path_factory.mktemp("shop"))
    small = ("-m", "resnet18", "--dataset", "digits", "--weights", "random:0", "--image-size", "32", "--limit", "200")
    place.run("extract", *small, "--precision", "fp32")
    place.run("train-head", "-m", "resnet18", "--recipe", "study", "--epochs", "1", "--train-limit", "100")
    place.run("train-head", "-m", "resnet18", "--head", "ridge")
    return place.root
