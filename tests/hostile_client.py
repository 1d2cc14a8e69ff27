"""A real service process, and a client that sends it any bytes and hears what comes back."""

import base64
import contextlib
import dataclasses
import json
import os
import re
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from export_samples import untrained_head, untrained_key
from extract_samples import encoded, picture
from heads_samples import ROOT

from headstart.core.heads import checkpoint

TOKEN = "a-token-of-the-tests"
MIB = 2**20
BODY = 2 * MIB
PIXELS = 4_000_000
PICTURES = 8
BODY_S = 2.0
DEADLINE_S = 60.0
GOOD = encoded(picture(60, 40), "PNG")
Part = bytes | float
"""Bytes to send, or seconds to wait."""


# ---------------------------------------------------------------------------------------------------- a running service


@dataclasses.dataclass
class Service:
    """A `headstart serve` process, and where it listens."""

    process: subprocess.Popen[bytes]
    address: tuple[str, int]
    log: Path
    answer: dict[str, Any] = dataclasses.field(default_factory=dict)

    def memory(self) -> int:
        """Its resident memory in bytes (Linux)."""
        found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{self.process.pid}/status").read_text())
        assert found is not None
        return 1024 * int(found[1])

    def ask(self, *parts: Part, answers: int = 1) -> "Heard":
        """Send this on a connection of its own."""
        return talk(self.address, parts, answers)

    def predicts(self, content: bytes = GOOD, query: str = "topk=3") -> dict[str, Any]:
        """The answer to a good picture."""
        heard = self.ask(post(content, query=query))
        assert [one.status for one in heard.answers] == [200], (heard, self.log.read_text())
        return heard.answers[0].json()

    def still_right(self) -> None:
        """It answers, and as before."""
        assert self.process.poll() is None, self.log.read_text()
        found = self.predicts()
        self.answer = self.answer or found
        assert labels(found) == labels(self.answer)

    def is_idle(self) -> None:
        """Soon nothing is in hand any more, and nothing waits."""
        deadline = time.monotonic() + DEADLINE_S
        wanted = ("headstart_requests_in_hand 0.0", "headstart_queue_pictures 0.0")
        while not all(line in (text := self.ask(get("/metrics")).answers[0].body.decode()) for line in wanted):
            assert time.monotonic() < deadline, text
            time.sleep(0.05)

    def no_error_logged(self) -> None:
        """Nothing went wrong inside."""
        said = self.log.read_text()
        assert "Traceback" not in said, said[-4000:]
        assert " failed" not in said, said[-4000:]


def labels(found: Mapping[str, Any]) -> list[tuple[str, float]]:
    """What the first head says of the first picture. Batches of another size may differ in a last digit."""
    return [(one["label"], round(one["share"], 3)) for one in found["pictures"][0]["heads"][0]["labels"]]


@contextlib.contextmanager
def service(folder: Path, *options: str, token: bool = True) -> Iterator[Service]:
    """The command, with a small untrained head; ended at last, whatever happens."""
    path, log = folder / "head.safetensors", folder / "serve.log"
    if not path.exists():
        checkpoint.save(untrained_head(untrained_key()).checkpoint, path)
    words = ["serve", str(path), "--port", "0", "--device", "cpu", "--json", *(("--token-env", "T") if token else ())]
    limits = ["--max-bytes", f"{BODY}B", "--max-pixels", str(PIXELS), "--max-pictures", str(PICTURES)]
    command = [sys.executable, str(ROOT / "cli.py"), *words, *limits, "--body-timeout", f"{BODY_S:g}", *options]
    path_there = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "T": TOKEN, "OMP_NUM_THREADS": "1", "PYTHONPATH": path_there}
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=environment, cwd=folder)
    try:
        yield _ready(process, log)
    finally:
        process.kill()
        process.wait(timeout=DEADLINE_S)


def _ready(process: subprocess.Popen[bytes], log: Path) -> Service:
    """Wait until it takes pictures."""
    deadline = time.monotonic() + DEADLINE_S
    while not (found := re.search(r'"url": ?"http://([\d.]+):(\d+)"', log.read_text())):
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)
    made = Service(process, (found[1], int(found[2])), log)
    while made.ask(get("/readyz")).statuses != [200]:
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)
    return made


# ---------------------------------------------------------------------------------------------------- a client


@dataclasses.dataclass(frozen=True)
class Answer:
    """One HTTP answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> dict[str, Any]:
        """Its body."""
        found: dict[str, Any] = json.loads(self.body)
        return found


@dataclasses.dataclass(frozen=True)
class Heard:
    """What came back on a connection, and whether the other side closed it."""

    answers: tuple[Answer, ...]
    closed: bool
    elapsed_s: float

    @property
    def statuses(self) -> list[int]:
        """Of its answers, but for those that ask to go on."""
        return [one.status for one in self.answers if one.status != 100]


def talk(address: tuple[str, int], parts: Sequence[Part], answers: int = 1, deadline_s: float = DEADLINE_S) -> Heard:
    """Send the parts while reading, until so many answers are there or the other side closes; None as the last part closes
    our side. Raises AssertionError where neither happens in time."""
    started, received, closed = time.monotonic(), bytearray(), False
    todo, wait_until = list(parts), 0.0
    with socket.create_connection(address, timeout=deadline_s) as connection, selectors.DefaultSelector() as selector:
        connection.setblocking(False)
        selector.register(connection, selectors.EVENT_READ)
        while not closed and len(_finals(parsed(received))) < answers:
            now = time.monotonic()
            assert now - started < deadline_s, f"no answer in {deadline_s} s to {parts!r:.300}, received {received!r:.300}"
            todo, wait_until = _sent(connection, todo, wait_until, now)
            sending = bool(todo) and now >= wait_until
            selector.modify(connection, selectors.EVENT_READ | (selectors.EVENT_WRITE if sending else 0))
            for _, events in selector.select(0.02):
                if events & selectors.EVENT_READ:
                    closed = _received(connection, received)
    return Heard(tuple(parsed(received)), closed, time.monotonic() - started)


END = -1.0
"""As a part: we close our side."""


def _sent(connection: socket.socket, todo: list[Part], until: float, now: float) -> tuple[list[Part], float]:
    """What is left to send after as much as can be, and until when to wait."""
    while todo and now >= until:
        first = todo[0]
        if isinstance(first, float):
            if first == END:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_WR)
            else:
                until = now + first
            todo = todo[1:]
            continue
        try:
            count = connection.send(first) if first else 0
        except BlockingIOError:
            break
        except OSError:  # closed: what it said is still to be read
            return [], until
        todo = [first[count:], *todo[1:]] if count < len(first) else todo[1:]
    return todo, until


def _received(connection: socket.socket, into: bytearray) -> bool:
    """Read what is there; whether that was the end."""
    try:
        found = connection.recv(MIB)
    except BlockingIOError:
        return False
    except ConnectionError:
        return True
    into += found
    return not found


def parsed(received: bytes | bytearray) -> list[Answer]:
    """The whole answers in what was received, each of a declared length."""
    found, rest = [], bytes(received)
    while b"\r\n\r\n" in rest:
        head, _, rest = rest.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        status = int(first.split(" ")[1])
        size = 0 if status in (100, 204, 304) else int(headers.get("content-length", "0"))
        if len(rest) < size:
            break
        found.append(Answer(status, headers, rest[:size]))
        rest = rest[size:]
    return found


def _finals(found: Sequence[Answer]) -> list[Answer]:
    return [one for one in found if one.status != 100]


def head_of(method: str, target: str, headers: Mapping[str, str | None]) -> bytes:
    """A request's line and headers; one that is None is left out."""
    lines = [f"{method} {target} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in headers.items() if value is not None]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


BASE: Mapping[str, str | None] = {"Host": "localhost", "Authorization": f"Bearer {TOKEN}"}


def get(target: str, **headers: str | None) -> bytes:
    """A GET; `_` in a header's name stands for a dash."""
    return head_of("GET", target, {**BASE, **{name.replace("_", "-"): value for name, value in headers.items()}})


def post(body: bytes, kind: str | None = "image/png", query: str = "", **headers: str | None) -> bytes:
    """A POST to /v1/predict."""
    own = {name.replace("_", "-"): value for name, value in headers.items()}
    target = f"/v1/predict?{query}" if query else "/v1/predict"
    return head_of("POST", target, {**BASE, "Content-Type": kind, "Content-Length": str(len(body)), **own}) + body


def post_json(found: Any) -> bytes:
    """A POST of JSON, which may be bytes already."""
    return post(found if isinstance(found, bytes) else json.dumps(found).encode(), "application/json")


def as_json(*contents: bytes, **options: Any) -> dict[str, Any]:
    """The document that asks for these pictures."""
    return {"pictures": [{"data": base64.b64encode(content).decode()} for content in contents], **options}


# ---------------------------------------------------------------------------------------------------- the hostile requests


def terminate(process: subprocess.Popen[bytes]) -> int:
    """SIGTERM, and how it ended."""
    process.send_signal(signal.SIGTERM)
    return process.wait(timeout=DEADLINE_S)
