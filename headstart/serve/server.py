"""The service run by uvicorn: a socket, signals, and an end in which no request in hand is lost.

At a signal `readyz` says no, and for a moment requests are still taken, whose connections are then closed: they were on
their way before anybody could know. Then the socket is closed, what comes on connections that are open is refused, and
what is in hand is answered, within the time that there is.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import uvicorn

from headstart.core.cache.errors import HeadstartError
from headstart.observer import Observer
from headstart.serve.settings import Settings
from headstart.serve.web.bodies import Hand
from headstart.serve.web.protocol import HEADER_BYTES, protocol

LAST_S = 0.3
"""How long requests are taken after a signal, and how long connections that are open may still ask."""
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Working(Protocol):
    """What computes for a service: whether it is ready, whether it failed, and how many requests it gives up where there is
    no time left."""

    @property
    def ready(self) -> bool:
        """Whether requests are answered by now."""

    @property
    def failed(self) -> BaseException | None:
        """Why it can't go on, None where it can."""

    def give_up(self) -> int:
        """Whoever still waits is told so. Returns how many."""


class Service(Protocol):
    """What is run: an ASGI application, and what must be known of it to end it in order."""

    settings: Settings
    hand: Hand
    stopping: bool
    leaving: bool
    app: Any

    @property
    def room(self) -> Working:
        """What computes for it."""


class AddressUnavailable(HeadstartError, OSError):
    """The service can't listen where it was told to."""


def listening(settings: Settings) -> socket.socket:
    """A socket bound to where the service shall listen. Raises AddressUnavailable."""
    where = f"--host {settings.host} --port {settings.port}"
    try:
        found = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise AddressUnavailable(
            f"{where}: no such address here ({error.strerror}); --host 127.0.0.1 is this machine"
        ) from None
    family, kind, number, _, address = found[0]
    made = socket.socket(family, kind, number)
    try:
        if os.name == "posix":  # elsewhere it lets two programs have one port
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
    except OSError as error:
        made.close()
        way_out = "--port 0 takes any that is free" if error.errno == errno.EADDRINUSE else "use another --port or --host"
        raise AddressUnavailable(f"{where}: {error.strerror}; {way_out}") from None
    made.set_inheritable(False)
    return made


def url_of(bound: socket.socket, settings: Settings) -> str:
    """Where the service is called from this machine, or by the address that it listens at."""
    host, port = bound.getsockname()[:2]
    if ipaddress.ip_address(host).is_unspecified:
        host = "::1" if ":" in host else "127.0.0.1"
    elif settings.host == "localhost":
        host = "localhost"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class Server(uvicorn.Server):  # type: ignore[misc]  # its types are not there without the extra
    """uvicorn's, whose signals are ours, and whose open connections may ask once more."""

    def capture_signals(self) -> contextlib.AbstractContextManager[None]:
        """They are heard by `serve`."""
        return contextlib.nullcontext()

    async def shutdown(self, sockets: Any = None) -> None:
        """Close the socket first, and the connections a moment later."""
        for server in self.servers:
            server.close()
        await asyncio.sleep(LAST_S)
        await super().shutdown(sockets)


def serve(service: Service, bound: socket.socket, observer: Observer, started: Callable[[], None]) -> None:
    """Run until a signal comes; `started` is called once pictures are taken: when everything has been computed once. Called
    from the main thread, whose handlers of signals are put back at the end. Raises OutOfMemory, and whatever else keeps the
    heads from being made ready."""
    settings = service.settings
    config = uvicorn.Config(
        service.app,
        http=protocol(settings.limits),
        ws="none",
        lifespan="on",
        log_config=None,
        log_level=logging.ERROR,  # what is no HTTP is worth no line of a log that others write
        access_log=False,
        server_header=False,
        proxy_headers=False,
        h11_max_incomplete_event_size=HEADER_BYTES,
        timeout_graceful_shutdown=settings.grace_s,
    )
    asyncio.run(_run(service, Server(config), bound, observer, started))
    if service.room.failed is not None:
        raise service.room.failed


async def _run(
    service: Service, server: Server, bound: socket.socket, observer: Observer, started: Callable[[], None]
) -> None:
    asked = asyncio.Event()
    with _heard(asyncio.get_running_loop(), asked):
        running = asyncio.ensure_future(server.serve(sockets=[bound]))
        while not (_is_ready(service, server) or running.done() or asked.is_set() or service.room.failed is not None):
            await asyncio.sleep(0.01)
        if _is_ready(service, server) and not running.done():
            started()
        watching = asyncio.ensure_future(_watch(service, server, asked, running, observer))
        await running
        await watching


def _is_ready(service: Service, server: Server) -> bool:
    return bool(server.started) and service.room.ready


async def _watch(
    service: Service, server: Server, asked: asyncio.Event, running: asyncio.Future[None], observer: Observer
) -> None:
    """Wait for a signal or a failure, and end the service in order."""
    while not asked.is_set() and not running.done() and service.room.failed is None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asked.wait(), 0.2)
    service.leaving = True
    if service.room.failed is None and not running.done():
        observer.note("stopping: requests in hand are answered; a second signal leaves at once")
        await asyncio.sleep(min(LAST_S, service.settings.grace_s))
    service.stopping = server.should_exit = True
    loop = asyncio.get_running_loop()
    until = loop.time() + max(0.0, service.settings.grace_s - 2 * LAST_S)
    while not running.done() and service.hand.requests and loop.time() < until:
        await asyncio.sleep(0.05)
    if service.hand.requests and (left := service.hand.give_up() + service.room.give_up()):
        requests = "1 request was" if left == 1 else f"{left:,} requests were"
        observer.note(f"{requests} not answered within the {service.settings.grace_s:g} s of --grace")


@contextlib.contextmanager
def _heard(loop: asyncio.AbstractEventLoop, asked: asyncio.Event) -> Iterator[None]:
    """The signals that end programs set `asked`, as long as this lasts."""

    def on(number: int, frame: object) -> None:
        loop.call_soon_threadsafe(asked.set)

    numbers = (*SIGNALS, signal.SIGHUP) if hasattr(signal, "SIGHUP") else SIGNALS
    before = {number: signal.signal(number, on) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
