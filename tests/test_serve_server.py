"""The service as a process: how it starts, what odd connections do to it, and how it ends."""

import asyncio
import base64
import json
import re
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cli_samples import Place
from serve_samples import Running, answer, exchange, png, post, serving
from serve_samples import shop as shop

from headstart.observer import SILENT
from headstart.serve import server
from headstart.serve.settings import Settings

CLOSE = "Connection: close"


@pytest.fixture(scope="module")
def running(shop: Path) -> object:
    """A service with short times, for tests that leave no trace there."""
    words = ("--body-timeout", "0.6", "--max-bytes", "2MB", "--max-requests", "8")
    with serving(shop, *words) as found:
        yield found


def test_what_is_said_at_the_start(running: Running, shop: Path) -> None:
    assert running.printed.startswith(
        f"serving at {running.url}, without a token; sets of 95% coverage; no picture is kept\n"
    )
    assert "a request: 2.0 MB, 64 pictures of 64.0 megapixels, 0.6 s to send, 30 s to answer; 8 at once" in running.printed
    (head,) = running.facts["heads"]
    assert (shop / "runs" / head["name"]).is_dir()
    assert re.search(rf"{head['name']}  resnet18 \S+.*  10 +\d\d\.\d\d% \(test\)  yes", running.printed)


def test_a_picture_is_labelled_and_the_connection_kept(running: Running) -> None:
    with running.connect() as made:
        for seed in range(3):
            made.sendall(post(png(seed)))
            status, body = answer(made)
            assert status == 200
            assert len(json.loads(body)["pictures"][0]["heads"][0]["labels"]) == 3
        made.sendall(post(b"no picture"))
        assert answer(made)[0] == 422
        made.sendall(post(png()))
        assert answer(made)[0] == 200


def test_two_requests_on_one_connection_are_answered_in_their_order(running: Running) -> None:
    with running.connect() as made:
        made.sendall(
            post(png(1), "image/png", "/v1/predict?topk=1") + post(png(2), "image/png", "/v1/predict?topk=2", CLOSE)
        )
        first, second = answer(made), answer(made)
    counts = [len(json.loads(body)["pictures"][0]["heads"][0]["labels"]) for _, body in (first, second)]
    assert counts == [1, 2]


def test_a_body_that_drips_is_408(running: Running) -> None:
    with running.connect() as made:
        made.sendall(post(png())[:-40])
        status, body = answer(made)
    assert status == 408
    assert "not all" in json.loads(body)["detail"]


def test_a_body_that_is_cut_leaves_no_trace(running: Running) -> None:
    for _ in range(20):  # more than may be in hand
        with running.connect() as made:
            made.sendall(post(png())[:-40])
    deadline = time.monotonic() + 20
    while (status := exchange(running, post(png(), "image/png", "/v1/predict", CLOSE))[0]) == 429:
        assert time.monotonic() < deadline  # a busy machine is told late that they have gone
    assert status == 200
    _, found = exchange(running, b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert b"headstart_requests_in_hand 0.0" in found


def test_a_body_that_is_too_large_is_refused_by_its_length_and_the_answer_is_heard(running: Running) -> None:
    status, body = exchange(running, post(bytes(3_000_000), "image/png", "/v1/predict", CLOSE))
    assert (status, json.loads(body)["status"]) == (413, 413)


def test_a_body_of_unknown_length_is_refused_as_soon_as_it_is_too_large(running: Running) -> None:
    top = b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"%x\r\n" % 2**20 + bytes(2**20) + b"\r\n"
    with running.connect() as made:
        made.sendall(top + 3 * chunk)  # and no end
        status, body = answer(made)
    assert status == 413
    assert "the limit is 2,000,000" in json.loads(body)["detail"]


def test_who_asks_before_sending_is_told_at_once(running: Running) -> None:
    """curl does so for larger bodies."""
    asked = post(b"", "image/png").replace(b"Content-Length: 0", b"Content-Length: 3000000\r\nExpect: 100-continue")
    with running.connect() as made:
        made.sendall(asked)
        assert answer(made)[0] == 413


@pytest.mark.parametrize(
    "request_bytes",
    [b"\x16\x03\x01\x02\x00\x01\x00\x01", b"GET /" + b"a" * 70_000, b"POST / HTTP/1.1\r\n\r\n"],
    ids=["tls", "endless line", "no host"],
)
def test_what_is_no_http_is_a_problem_too(running: Running, request_bytes: bytes) -> None:
    status, body = exchange(running, request_bytes)
    assert (status, json.loads(body)["status"]) == (400, 400)


def test_json_of_many_pictures(running: Running) -> None:
    pictures = [{"name": f"{seed}.png", "data": base64.b64encode(png(seed)).decode()} for seed in range(64)]
    content = json.dumps({"pictures": pictures}).encode()
    assert len(content) > 2**13
    status, body = exchange(running, post(content, "application/json", "/v1/predict", CLOSE))
    assert status == 200
    assert [one["name"] for one in json.loads(body)["pictures"]] == [f"{seed}.png" for seed in range(64)]


def test_a_page_of_another_site_can_not_ask(running: Running) -> None:
    for header in ("Origin: http://evil.example", "Origin: null", "Sec-Fetch-Site: cross-site"):
        status, body = exchange(running, post(png(), "image/png", "/v1/predict", CLOSE, header))
        assert status == 403
        assert "page of another origin" in json.loads(body)["detail"]
    rebound = b"GET /v1/heads HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n"
    assert exchange(running, rebound)[0] == 403


def test_under_load_a_signal_loses_no_request(shop: Path) -> None:
    """Eight clients ask without a pause; whatever was sent before the signal is answered, and what is refused is told."""
    with serving(shop) as found:
        told: list[tuple[float, int]] = []
        clients = [threading.Thread(target=_ask_on, args=(found, seed, told)) for seed in range(8)]
        for client in clients:
            client.start()
        while len(told) < 40:
            time.sleep(0.01)
        asked = time.monotonic()
        code, said = found.end()
        for client in clients:
            client.join()
    assert code == 0
    assert "stopping: requests in hand are answered" in said
    before = [status for sent, status in told if sent < asked]
    assert len(before) >= 40
    assert set(before) == {200}
    assert {status for sent, status in told if sent >= asked} <= {200, 503, 0}


def _ask_on(found: Running, seed: int, told: list[tuple[float, int]]) -> None:
    """Ask on one connection after the other, until none is taken any more."""
    content = post(png(seed))
    while True:
        try:
            made = found.connect()
        except ConnectionRefusedError:
            return
        with made:
            while True:
                sent = time.monotonic()
                try:
                    made.sendall(content)
                    status, _ = answer(made)
                except (ConnectionResetError, BrokenPipeError):
                    status = 0
                told.append((sent, status))
                if not status:
                    break  # closed between two requests, so that this one was never taken


def test_a_request_in_hand_is_answered_after_the_signal(shop: Path) -> None:
    with serving(shop) as found, found.connect() as made:
        made.sendall(post(png())[:-10])
        time.sleep(0.2)
        found.process.send_signal(signal.SIGINT)
        time.sleep(1.0)  # the socket is closed by now
        with pytest.raises(ConnectionRefusedError):
            found.connect()
        made.sendall(post(png())[-10:])
        assert answer(made)[0] == 200
        assert made.recv(1) == b""
        assert found.process.wait(30) == 0


def test_what_never_ends_is_given_up_in_time(shop: Path) -> None:
    with serving(shop, "--grace", "1.5") as found, found.connect() as made:
        made.sendall(post(png())[:-10])
        time.sleep(0.2)
        began = time.monotonic()
        found.process.send_signal(signal.SIGTERM)
        status, _ = answer(made)
        code, said = found.process.wait(30), found.process.communicate()[1]
        took = time.monotonic() - began
    assert (code, status) == (0, 503), said
    assert took < 15
    assert "1 request was not answered within the 1.5 s of --grace" in said


def test_a_second_signal_leaves_at_once(shop: Path) -> None:
    with serving(shop) as found, found.connect() as made:
        made.sendall(post(png())[:-10])
        time.sleep(0.2)
        found.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        found.process.send_signal(signal.SIGTERM)
        assert found.process.wait(10) == 128 + signal.SIGTERM


def test_its_address_is_printed_once_it_answers(shop: Path) -> None:
    with serving(shop, ready=False) as found:
        status, _ = exchange(found, b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert status == 200


class Listening:
    """A server that listens at once, and runs until it is told to end."""

    started, should_exit = True, False

    async def serve(self, sockets: object) -> None:
        while not self.should_exit:
            await asyncio.sleep(0.01)


def service_that(room: SimpleNamespace) -> Any:
    """A service with this engine room and nothing in hand."""
    return SimpleNamespace(room=room, settings=Settings(grace_s=0.0), hand=SimpleNamespace(requests=0), leaving=False)


def test_what_is_started_is_told_when_everything_has_been_computed_once() -> None:
    room, told = SimpleNamespace(ready=False, failed=None), list[bool]()

    async def run() -> None:
        asyncio.get_running_loop().call_later(0.05, setattr, room, "ready", True)
        await server._run(service_that(room), Listening(), None, SILENT, started)  # type: ignore[arg-type]

    def started() -> None:
        told.append(room.ready)
        signal.raise_signal(signal.SIGTERM)

    asyncio.run(run())
    assert told == [True]


@pytest.mark.parametrize("why", ["a signal", "a failure"])
def test_what_never_gets_ready_is_not_told_to_be_started(why: str) -> None:
    room, told = SimpleNamespace(ready=False, failed=None), list[bool]()

    async def run() -> None:
        loop = asyncio.get_running_loop()
        if why == "a signal":
            loop.call_later(0.05, signal.raise_signal, signal.SIGTERM)
        else:
            loop.call_later(0.05, setattr, room, "failed", RuntimeError("no memory"))
        await server._run(service_that(room), Listening(), None, SILENT, lambda: told.append(True))  # type: ignore[arg-type]

    asyncio.run(run())
    assert told == []


def failing(shop: Path, *words: str) -> str:
    """The one line that `serve` ends with."""
    return Place(shop).fails("serve", *words)


def test_a_port_in_use_is_one_line(shop: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert f"--host 127.0.0.1 --port {port}: Address already in use; --port 0 takes any" in failing(
            shop, "--port", port
        )


def test_an_address_that_is_not_here_is_one_line(shop: Path) -> None:
    assert "--host 192.0.2.77 --port 0: Cannot assign" in failing(shop, "--host", "192.0.2.77", "--port", "0")
    assert "no such address here" in failing(shop, "--host", "no.such.host.invalid", "--port", "0")


def test_what_can_not_be_served_is_one_line(shop: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert "--token-env NO_TOKEN: is not set or empty" in failing(shop, "--token-env", "NO_TOKEN")
    monkeypatch.setenv("BAD", "with spaces")
    assert "--token-env BAD: has characters" in failing(shop, "--token-env", "BAD")
    assert "no-run: no run in" in failing(shop, "no-run", "--port", "0")
    study = next(path.name for path in (shop / "runs").iterdir() if "study" in path.name)
    assert "has no calibration" in failing(shop, study, "--coverage", "0.9", "--port", "0")
    (tmp_path / "file").write_text("no folder")
    assert "file" in failing(shop, "--keep", str(tmp_path / "file" / "inside"), "--port", "0")
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.delitem(sys.modules, "headstart.serve.server", raising=False)
    monkeypatch.delattr("headstart.serve.server", raising=False)
    assert "pip install 'headstart[serve]'" in failing(shop, "--port", "0")


def test_an_open_service_with_a_token_is_asked_by_any_name_and_with_it_alone(shop: Path) -> None:
    with serving(shop, "--host", "0.0.0.0", "--token-env", "TOKEN", ready=False, TOKEN="a-token-for-tests") as found:
        assert found.url.startswith("http://127.0.0.1:")
        assert "a-token-for-tests" not in found.printed
        get = "GET {} HTTP/1.1\r\nHost: any.example\r\nConnection: close\r\n{}\r\n"
        assert exchange(found, get.format("/healthz", "").encode())[0] == 200
        for path in ("/readyz", "/v1/heads", "/metrics", "/openapi.json", "/nothing"):
            status, body = exchange(found, get.format(path, "").encode())
            assert (status, json.loads(body)["detail"][:17]) == (401, "a token is needed"), path
        wrong = exchange(found, get.format("/v1/heads", "Authorization: Bearer wrong\r\n").encode())
        assert (wrong[0], json.loads(wrong[1])["detail"][:18]) == (401, "the token is wrong")
        assert exchange(found, get.format("/v1/heads", "Authorization: bearer a-token-for-tests\r\n").encode())[0] == 200
        assert exchange(found, post(png(), "image/png", "/v1/predict", CLOSE))[0] == 401
        assert found.end()[0] == 0
