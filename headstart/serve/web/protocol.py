"""uvicorn's HTTP/1.1 by h11, with three things more: a time limit for headers, a limit for connections, and problem
documents for what is no HTTP."""

from __future__ import annotations

import asyncio
import functools
import json
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from headstart.serve.settings import Limits
from headstart.serve.web.problems import TYPE, Problem

HEADER_BYTES = 32 * 2**10
"""Of a request's line and headers together."""


def protocol(limits: Limits) -> Any:
    """The class of connections, for uvicorn."""
    return functools.partial(Connection, limits=limits)


class Connection(H11Protocol):  # type: ignore[misc]  # its types are not there without the extra
    """A connection that says within `header_s` what it wants, each time."""

    def __init__(self, *args: Any, limits: Limits, **more: Any) -> None:
        super().__init__(*args, **more)
        self._limits = limits
        self._impatience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Refuse one too many."""
        super().connection_made(transport)
        if len(self.connections) > self._limits.connections:
            self._refuse(Problem(503, f"{self._limits.connections:,} connections are open, which is the limit"))
        else:
            self._impatience = self.loop.call_later(self._limits.header_s, self._out_of_patience)

    def data_received(self, data: bytes) -> None:
        """Headers that come in drips have no more time than others."""
        if self._impatience is None and (self.cycle is None or self.cycle.response_complete):
            self._impatience = self.loop.call_later(self._limits.header_s, self._out_of_patience)
        super().data_received(data)
        if self._impatience is not None and self.cycle is not None and not self.cycle.response_complete:
            self._calm()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody to lose patience with."""
        self._calm()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """As a problem document."""
        self._refuse(Problem(400, "that is no HTTP request, or its headers are too long"))

    def _calm(self) -> None:
        if self._impatience is not None:
            self._impatience.cancel()
            self._impatience = None

    def _out_of_patience(self) -> None:
        self._impatience = None
        if self.transport.is_closing() or (self.cycle is not None and not self.cycle.response_complete):
            return
        self._refuse(Problem(408, f"after {self._limits.header_s:g} s there was no whole request"))

    def _refuse(self, problem: Problem) -> None:
        """Say why, and close."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            body = json.dumps(problem.to_json()).encode()
            headers = [("content-type", TYPE), ("content-length", str(len(body))), ("connection", "close")]
            for event in (
                h11.Response(status_code=problem.status, headers=headers),
                h11.Data(data=body),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event))
        self.transport.close()
