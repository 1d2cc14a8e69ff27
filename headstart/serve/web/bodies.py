"""Bodies of requests, read as they come and refused as soon as they are too large or too slow; and who may be in hand."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

from starlette.requests import Request

from headstart.serve.settings import Limits
from headstart.serve.web.problems import Problem

RETRY_S = 1
"""When to come again, in seconds, where there is too much in hand."""


class Hand:
    """The requests in hand, and the bytes of their bodies. Belongs to the event loop's thread."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.requests = self.memory = 0

    @contextlib.contextmanager
    def taking(self) -> Iterator[Taken]:
        """One request more. Raises Problem where there are too many."""
        if self.requests >= self._limits.requests:
            raise busy(f"{self.requests:,} requests are in hand, which is the limit")
        self.requests += 1
        taken = Taken(self, self._limits)
        try:
            yield taken
        finally:
            self.requests -= 1
            taken.release()


class Taken:
    """A request in hand, and the memory that is set aside for its body."""

    def __init__(self, hand: Hand, limits: Limits) -> None:
        self._hand, self._limits, self._held = hand, limits, 0

    def hold(self, size: int) -> None:
        """Set aside so many bytes in all. Raises Problem where that is too much for one body, or for all of them."""
        if size > self._limits.body:
            raise Problem(413, f"the body has {size:,} bytes or more, the limit is {self._limits.body:,}")
        more = max(0, size - self._held)
        if self._hand.memory + more > self._limits.memory:
            raise busy(f"the bodies in hand have {self._hand.memory:,} bytes, and {self._limits.memory:,} is the limit")
        self._hand.memory += more
        self._held += more

    def release(self) -> None:
        """Give back what was set aside."""
        self._hand.memory -= self._held
        self._held = 0


def busy(why: str) -> Problem:
    """Too much at once; later there may be room."""
    return Problem(429, f"{why}; try again", {"retry-after": str(RETRY_S)})


async def read_body(request: Request, taken: Taken, limits: Limits) -> bytes:
    """The whole body. Raises Problem for one that is too large or too slow, ClientDisconnect for one that was cut."""
    declared = request.headers.get("content-length", "")
    if declared.isdecimal():
        taken.hold(int(declared[:20]))
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(limits.body_s):
            async for part in request.stream():
                size += len(part)
                taken.hold(size)
                parts.append(part)
    except TimeoutError:
        raise Problem(408, f"after {limits.body_s:g} s {size:,} bytes of the body were there, and not all") from None
    return b"".join(parts)
