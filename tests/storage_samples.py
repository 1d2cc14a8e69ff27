"""A real S3 server for tests: moto's, in a process of its own on a free port of this machine."""

import contextlib
import os
import random
import re
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from heads_samples import ROOT

from headstart.core.cache.files import read_regular
from headstart.core.cache.places import place
from headstart.core.cache.store import FeatureStore
from headstart.core.cache.verify import NOT_COMPLETE, problems, survey

PATIENCE_S = 120.0
WORKER_ROWS, WORKER_SHARD_ROWS = 1000, 64
BEGUN = "images to do"


@dataclass(frozen=True)
class Server:
    """The server's address, and the file that it writes a line to for each request."""

    url: str
    log: Path

    @property
    def environment(self) -> Mapping[str, str]:
        """What leads a client here, and to no other credentials or settings."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }

    def bucket(self, name: str) -> Path:
        """A new bucket."""
        self.put(name, b"")
        return place(f"s3://{name}")

    def put(self, key: str, content: bytes) -> None:
        """Write an object as another machine would, with no client of ours."""
        credential = "Credential=test/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"
        request = urllib.request.Request(f"{self.url}/{urllib.parse.quote(key)}", data=content, method="PUT")
        request.add_header("Content-Type", "application/octet-stream")
        request.add_header("Authorization", f"AWS4-HMAC-SHA256 {credential}")  # nobody looks at the signature
        with urllib.request.urlopen(request, timeout=PATIENCE_S):
            pass

    def requests(self) -> list[str]:
        """The requests so far: method and path."""
        plain = re.sub(r"\x1b\[[0-9;]*m", "", self.log.read_text(encoding="utf-8", errors="replace"))
        return re.findall(r'"([A-Z]+ /\S*) HTTP', plain)


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[Server]:
    """A running server, which is ended in the end."""
    log = folder / "requests.log"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
    with log.open("wb") as file, subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT) as process:
        try:
            yield Server(_address(log, process), log)
        finally:
            process.kill()


def _address(log: Path, process: "subprocess.Popen[bytes]") -> str:
    deadline = time.monotonic() + PATIENCE_S
    while (found := re.search(r"http://127\.0\.0\.1:\d+", log.read_text(encoding="utf-8", errors="replace"))) is None:
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, "the server never said where it listens"
        time.sleep(0.02)
    return found[0]


@dataclass
class Command:
    """A headstart command in a process of its own; what it says goes to files, so that no full pipe can block it."""

    process: "subprocess.Popen[bytes]"
    folder: Path

    @property
    def said(self) -> str:
        """What it has said on stderr so far."""
        return (self.folder / "stderr").read_text(encoding="utf-8")

    @property
    def results(self) -> str:
        """What it has said on stdout so far."""
        return (self.folder / "stdout").read_text(encoding="utf-8")

    def wait(self, code: int = 0) -> "Command":
        """Wait for its end."""
        assert self.process.wait(PATIENCE_S) == code, (self.results, self.said)
        assert "Traceback" not in self.said
        return self

    def says(self, text: str) -> "Command":
        """Wait until stderr holds the text."""
        deadline = time.monotonic() + PATIENCE_S
        while text not in self.said:
            assert self.process.poll() is None, (self.results, self.said)
            assert time.monotonic() < deadline, f"{text!r} was never said: {self.said}"
            time.sleep(0.01)
        return self

    def kill(self) -> bool:
        """Kill it; whether it still ran."""
        self.process.kill()
        return self.process.wait(PATIENCE_S) < 0


def start(folder: Path, server: Server, *words: object, **more: str) -> Command:
    """Start a command; `folder` is a new one for its output, `more` its environment."""
    return _started(folder, server, ROOT / "cli.py", *words, **more)


def start_worker(folder: Path, server: Server, features: Path, *more: object, **environment: str) -> Command:
    """Start the command line's own extraction of noise, with a stand-in for the backbone: a second instead of ten."""
    words = (features, WORKER_ROWS, WORKER_SHARD_ROWS, *more)
    return _started(folder, server, ROOT / "tests/torture/worker.py", *words, **environment)


def _started(folder: Path, server: Server, *words: object, **more: str) -> Command:
    folder.mkdir(parents=True)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **server.environment, **more}
    with (folder / "stdout").open("wb") as out, (folder / "stderr").open("wb") as err:
        command = [sys.executable, *map(str, words)]
        return Command(subprocess.Popen(command, stdout=out, stderr=err, cwd=folder, env=environment), folder)


def kill_at_random(folder: Path, server: Server, features: Path, rng: random.Random, kills: int) -> tuple[int, Command]:
    """Start a worker `kills` times, kill it at a random moment and judge what is there, then let one end. How many were
    killed at work, and the one that ended."""
    hits = 0
    for number in range(kills):
        command = start_worker(folder / f"killed{number}", server, features, "--delay", 0.02)
        if rng.random() < 0.9:
            command.says(BEGUN)
        time.sleep(rng.uniform(0, 0.5))
        hits += command.kill()
        for entry in survey(FeatureStore(features)):
            assert entry.state == NOT_COMPLETE or problems(entry.folder) == [], entry
    return hits, start_worker(folder / "last", server, features).wait()


def files(features: Path) -> dict[str, bytes]:
    """The shards of the one set in a features directory."""
    (own,) = {path.parent for path in features.glob("*/shard-*.h5")}
    return {path.name: read_regular(path, 2**30) for path in own.glob("shard-*.h5")}


def same_as(local: Path, features: Path) -> None:
    """Whether two features directories have the same set, byte for byte, and by the digest in the manifest."""
    assert files(features) == files(local)
    (mine,), (theirs,) = (FeatureStore(root).sets() for root in (features, local))
    assert mine.manifest.digest == theirs.manifest.digest
