"""Who may ask: hosts, origins and tokens, and what every answer carries."""

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serve_samples import asking, png, problem, service
from starlette.requests import ClientDisconnect

from headstart.serve.settings import Settings
from headstart.serve.web.guard import HEADERS, Guard
from headstart.serve.web.metrics import Metrics

RAW = {"content-type": "image/png"}


@pytest.fixture(scope="module")
def client() -> Any:
    """A client of a service on the loopback that may be called example.org, too."""
    with asking(service(hosts=("example.org",))) as found:
        yield found


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:8000", "127.0.0.1:1", "127.9.9.9", "[::1]:80", "example.org:443", ""]
)
def test_it_is_called_by_names_of_the_loopback(client: Any, host: str) -> None:
    assert client.get("/v1/heads", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "192.0.2.1", "127.0.0.1.evil.example", "[2001:db8::1]", "[", "a b"]
)
def test_and_by_no_others(client: Any, host: str) -> None:
    problem(client.get("/v1/heads", headers={"host": host}), 403, "--allow-host")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": "http://127.0.0.1"},
        {"origin": "https://example.org"},
        {"origin": "http://example.org:3000"},
        {"sec-fetch-site": "same-origin"},
        {"sec-fetch-site": "none"},
    ],
)
def test_programs_and_its_own_pages_may_post(client: Any, headers: dict[str, str]) -> None:
    assert client.post("/v1/predict", content=png(), headers={**RAW, **headers}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "http://127.0.0.1:8001"},
        {"origin": "null"},
        {"origin": "file://127.0.0.1"},
        {"origin": "http://example.org.evil.example"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_pages_of_other_origins_may_not(client: Any, headers: dict[str, str]) -> None:
    problem(client.post("/v1/predict", content=png(), headers={**RAW, **headers}), 403, "page of another origin")
    assert client.get("/v1/heads", headers=headers).status_code == 200  # which no page of theirs can read


def test_an_open_service_is_called_by_any_name_and_still_asked_by_its_own_pages_alone() -> None:
    with asking(service(host="0.0.0.0")) as client:
        own = {"host": "gpu.example:8000", "origin": "http://gpu.example:8000"}
        assert client.post("/v1/predict", content=png(), headers={**RAW, **own}).status_code == 200
        problem(
            client.post("/v1/predict", content=png(), headers={**RAW, **own, "origin": "http://evil.example"}), 403, "page"
        )


def test_a_token_is_needed_for_all_but_what_is_open() -> None:
    with asking(service(token="secret")) as client:
        assert client.get("/healthz").status_code == 200
        for path in ("/v1/heads", "/metrics", "/readyz", "/nothing"):
            refused = client.get(path)
            problem(refused, 401, "a token is needed")
            assert refused.headers["www-authenticate"] == 'Bearer realm="headstart"'
        for wrong in ("Bearer", "Bearer ", "Basic secret", "Bearer secret2", "bearer Secret", "secret", "Bearer \xff"):
            problem(client.get("/v1/heads", headers={"authorization": wrong.encode("latin-1")}), 401, "the token is wrong")
        assert client.get("/v1/heads", headers={"authorization": "Bearer secret"}).status_code == 200


@given(st.binary(max_size=30))
def test_any_authorization_is_refused_or_right(given_bytes: bytes) -> None:
    guard = Guard(_never, Settings(token="secret"), Metrics(), (), lambda: False)
    expected = given_bytes.lower().startswith(b"bearer ") and given_bytes[7:].strip() == b"secret"
    assert guard._is_known({b"authorization": given_bytes}) == expected


@given(st.text(st.characters(max_codepoint=255), max_size=20), st.text(st.characters(max_codepoint=255), max_size=30))
def test_any_host_and_origin_is_taken_or_refused(host: str, origin: str) -> None:
    guard = Guard(_never, Settings(), Metrics(), (), lambda: False)
    headers = [(b"host", host.encode("latin-1")), (b"origin", origin.encode("latin-1"))]
    refused = guard._refusal({"type": "http", "method": "POST", "path": "/", "headers": headers})
    assert refused is None or refused.status == 403


async def _never(*_: object) -> None:
    raise AssertionError("asked")


def test_every_answer_carries_what_keeps_browsers_from_guessing(client: Any) -> None:
    for answer in (client.get("/v1/heads"), client.get("/nothing"), client.get("/", headers={"host": "evil.example"})):
        for name, value in HEADERS:
            assert answer.headers[name.decode()] == value.decode()


def test_an_answer_may_say_otherwise() -> None:
    async def page(scope: Any, receive: Any, send: Any) -> None:
        await send(
            {"type": "http.response.start", "status": 200, "headers": [(b"content-security-policy", b"default-src 'self'")]}
        )
        await send({"type": "http.response.body", "body": b""})

    sent = asyncio.run(_exchange(page))
    headers = [value for name, value in sent[0]["headers"] if name == b"content-security-policy"]
    assert headers == [b"default-src 'self'"]


def test_a_client_that_has_gone_is_counted_and_nothing_else() -> None:
    async def cut(scope: Any, receive: Any, send: Any) -> None:
        raise ClientDisconnect

    metrics = Metrics()
    assert asyncio.run(_exchange(cut, metrics)) == []
    assert b'headstart_requests_total{path="other",status="499"} 1.0' in metrics.text()


async def _exchange(app: Any, metrics: Metrics | None = None) -> list[Any]:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    guard = Guard(app, Settings(), metrics or Metrics(), (), lambda: False)
    await guard({"type": "http", "method": "GET", "path": "/x", "headers": []}, receive, send)
    return sent
