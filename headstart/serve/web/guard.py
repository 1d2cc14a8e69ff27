"""Who may ask: names by which the service is called, pages of other origins, the token. And what every answer carries.

On the loopback a page of any web site could reach the service by a name that its owner lets point to this machine (DNS
rebinding). So there only `localhost`, loopback addresses and the names that were allowed are taken for Host. What changes
nothing may be asked by any page, which can't read the answer; any other request that names an origin must come from the
service's own page or a host that was allowed.
"""

from __future__ import annotations

import hmac
import ipaddress
import logging
import time
from collections.abc import Callable

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from headstart.serve.settings import Settings
from headstart.serve.web.metrics import Metrics
from headstart.serve.web.problems import FAULT, HEARD, Problem

OPEN = ("/", "/healthz")
"""What needs no token: the page must be there to ask for one, and shows nothing without it."""
SAFE = ("GET", "HEAD", "OPTIONS")
HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cache-control", b"no-store"),
)
"""Of every answer that does not say otherwise."""

LOG = logging.getLogger("headstart.serve")


def _has_body(scope: Scope) -> bool:
    """Whether a body may be on its way; a client that asked whether to send it does not."""
    there = {
        name: value for name, value in scope["headers"] if name in (b"content-length", b"transfer-encoding", b"expect")
    }
    return b"expect" not in there and (b"transfer-encoding" in there or there.get(b"content-length", b"0") != b"0")


class Guard:
    """The ASGI application around the service's own. `stopping` is told by connections that are not kept open."""

    def __init__(
        self, app: ASGIApp, settings: Settings, metrics: Metrics, paths: tuple[str, ...], stopping: Callable[[], bool]
    ) -> None:
        self._app, self._metrics, self._paths, self._stopping = app, metrics, paths, stopping
        self._hosts = None if settings.is_open else {settings.host.lower(), "localhost", *map(str.lower, settings.hosts)}
        self._friends = set(map(str.lower, settings.hosts))
        self._token = None if settings.token is None else settings.token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or refuse; nothing that goes wrong inside reaches the client but as a problem."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.perf_counter(), 499  # nginx' number for a client that has gone

        async def telling(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = self._with_own(message.get("headers", ()))
            await send(message)

        async def hearing() -> Message:
            message: Message = await receive()
            scope[HEARD] = not message.get("more_body", False)
            return message

        scope[HEARD] = not _has_body(scope)
        try:
            await (self._refusal(scope) or self._app)(scope, hearing, telling)
        except ClientDisconnect:
            pass
        except Exception as error:
            LOG.error("%s %s failed", scope["method"], scope["path"], exc_info=error)
            if status == 499:  # outside of Starlette, which answers by itself
                await Problem(500, FAULT)(scope, hearing, telling)
        finally:
            path = scope["path"] if scope["path"] in self._paths else "other"
            self._metrics.request(path, status, time.perf_counter() - started)

    def _with_own(self, headers: list[tuple[bytes, bytes]] | tuple[()]) -> list[tuple[bytes, bytes]]:
        there = {name for name, _ in headers}
        own = [header for header in HEADERS if header[0] not in there]
        return [*headers, *own, *([(b"connection", b"close")] if self._stopping() else [])]

    def _refusal(self, scope: Scope) -> Problem | None:
        headers: dict[bytes, bytes] = dict(scope["headers"])
        host = headers.get(b"host", b"").decode("latin-1").lower()
        if self._hosts is not None and host and not self._is_own(host):
            return Problem(403, f"Host {host[:200]!r} is not this service's; `--allow-host` lets it be called so")
        if scope["method"] not in SAFE and not self._is_same_origin(headers, host):
            return Problem(403, "the request comes from a page of another origin; `--allow-host` lets pages of a host ask")
        if self._token is not None and scope["path"] not in OPEN and not self._is_known(headers):
            what = "a token is needed" if b"authorization" not in headers else "the token is wrong"
            return Problem(401, f"{what}: Authorization: Bearer TOKEN", {"www-authenticate": 'Bearer realm="headstart"'})
        return None

    def _is_own(self, host: str) -> bool:
        name = _hostname(host)
        assert self._hosts is not None
        return name in self._hosts or _is_loopback(name)

    def _is_same_origin(self, headers: dict[bytes, bytes], host: str) -> bool:
        """Browsers say where a request comes from, in Origin with each that is not safe; other programs say nothing."""
        origin = headers.get(b"origin", b"").decode("latin-1").lower()
        if not origin:
            return headers.get(b"sec-fetch-site", b"none") in (b"none", b"same-origin")
        scheme, _, netloc = origin.partition("://")
        return scheme in ("http", "https") and (netloc == host or _hostname(netloc) in self._friends)

    def _is_known(self, headers: dict[bytes, bytes]) -> bool:
        assert self._token is not None
        kind, _, given = headers.get(b"authorization", b"").partition(b" ")
        return hmac.compare_digest(given.strip(), self._token) and kind.lower() == b"bearer"


def _hostname(netloc: str) -> str:
    """A host without its port and brackets."""
    if netloc.startswith("["):
        return netloc[1:].partition("]")[0]
    return netloc.partition(":")[0]


def _is_loopback(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
