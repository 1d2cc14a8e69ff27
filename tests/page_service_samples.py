"""A service in a thread of the tests, with small heads that learned from a folder of pictures."""

import contextlib
import dataclasses
import json
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import uvicorn
from api_samples import COLOURS, coloured
from cli_samples import Place
from extract_samples import encoded

from headstart.serve import app
from headstart.serve.settings import Settings
from headstart.workspace import Workspace

HOSTILE = "<img src=x onerror=alert(1)> & ‮evil"
"""The name of a class, which is nothing but text."""
SMALL = ("-m", "resnet18", "--weights", "random:0", "--image-size", "32", "--precision", "fp32")


def pictures(root: Path, each: int = 8) -> Path:
    """A folder of three classes, one of them with a name that would like to be more than a name."""
    for name in COLOURS:
        folder = root / (HOSTILE if name == "red" else name)
        folder.mkdir(parents=True)
        for seed in range(each):
            (folder / f"{seed}.png").write_bytes(encoded(coloured(name, seed), "PNG"))
    return root


def trained(root: Path, *kinds: str) -> Workspace:
    """Features of such a folder, and a head of each kind."""
    place = Place(root)
    place.run("extract", *SMALL, "--dataset", f"folder:{pictures(root / 'pets')}")
    for kind in kinds:
        place.run("train-head", "-m", "resnet18", "--head", kind)
    return Workspace(root / "features", root / "runs", root / "data", "cpu")


@dataclasses.dataclass
class Serving:
    """A service that runs: where, and how to end it."""

    url: str
    token: str | None
    server: uvicorn.Server
    thread: threading.Thread

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])

    def ask(self, path: str, body: bytes | None = None) -> Any:
        """What the service says to a program: parsed JSON."""
        request = urllib.request.Request(self.url + path, data=body, headers={"Content-Type": "application/octet-stream"})
        if self.token is not None:
            request.add_header("Authorization", f"Bearer {self.token}")
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def stop(self) -> None:
        """End it, as a signal would."""
        self.server.should_exit = True
        self.thread.join(60)
        assert not self.thread.is_alive()


@contextlib.contextmanager
def serving(workspace: Workspace, settings: Settings, port: int = 0) -> Iterator[Serving]:
    """A service of all heads of the workspace, until it is stopped or this ends."""
    names = sorted(path.name for path in workspace.runs_dir.iterdir())
    service = app.create(workspace, names, settings)
    server = uvicorn.Server(uvicorn.Config(service.app, lifespan="on", log_config=None, access_log=False, ws="none"))
    with socket.create_server(("127.0.0.1", port)) as bound:
        own = dataclasses.replace(settings, port=bound.getsockname()[1])
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
        thread.start()
        made = Serving(f"http://127.0.0.1:{own.port}", settings.token, server, thread)
        deadline = time.monotonic() + 120  # it must not hang the tests
        while not (server.started and service.room.ready):
            assert thread.is_alive(), "the service ended while it started"
            assert time.monotonic() < deadline, "the service did not become ready"
            time.sleep(0.02)
        try:
            yield made
        finally:
            made.stop()
