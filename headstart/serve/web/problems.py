"""Problem documents (RFC 9457): every error that a client sees, as an exception and as a response."""

from __future__ import annotations

import asyncio
import dataclasses
import http
import json
from collections.abc import Mapping
from typing import Any

from starlette.types import Receive, Scope, Send

TYPE = "application/problem+json"
STATUSES = (400, 401, 403, 404, 405, 408, 413, 415, 422, 429, 500, 503, 504)
"""All that there are."""

FAULT = "something went wrong here; the service's log says what"
HEARD = "headstart.heard"
"""In a request's scope: whether its body is there to the end, or will not come."""

_LINGER_S, _LINGER_BYTES = 2.0, 64 * 2**20
"""How long, and for how much, the rest of a refused body is read and thrown away. A connection that is closed while its
client still sends is reset, and the client may never see why (RFC 9112, 9.6)."""


@dataclasses.dataclass(eq=False)
class Problem(Exception):
    """An answer that says what is wrong: `detail` in one sentence, with what was found and expected."""

    status: int
    detail: str
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The document."""
        title = http.HTTPStatus(self.status).phrase
        return {"type": "about:blank", "title": title, "status": self.status, "detail": self.detail}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it, and read what is still coming."""
        body = json.dumps(self.to_json()).encode()
        own = {"content-type": TYPE, "content-length": str(len(body)), **self.headers}
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in own.items()]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": True})
        if not scope.get(HEARD, True):
            await _linger(receive)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _linger(receive: Receive) -> None:
    left = _LINGER_BYTES
    try:
        async with asyncio.timeout(_LINGER_S):
            while left > 0:
                message = await receive()
                left -= len(message.get("body", b""))
                if not message.get("more_body", False):
                    return
    except TimeoutError:
        return
