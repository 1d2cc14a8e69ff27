"""Bodies of requests, read as they come and refused as soon as they are too large or too slow; and who may be in hand."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

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
        self.ending = False
        self._reading: set[asyncio.Timeout] = set()

    def give_up(self) -> int:
        """No body is waited for any more. Returns how many were."""
        self.ending = True
        for patience in self._reading:
            patience.reschedule(asyncio.get_running_loop().time())
        return len(self._reading)

    @contextlib.asynccontextmanager
    async def patience(self) -> AsyncIterator[None]:
        """As long as a body may take. Raises TimeoutError, and Problem where the service ends before."""
        try:
            async with asyncio.timeout(0.0 if self.ending else self._limits.body_s) as patience:
                self._reading.add(patience)
                try:
                    yield
                finally:
                    self._reading.discard(patience)
        except TimeoutError:
            if self.ending:
                raise Problem(503, "the service is stopping, and the body was not there in time", linger_s=0.1) from None
            raise

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
        self.hand, self._limits, self._held = hand, limits, 0

    def hold(self, size: int) -> None:
        """Set aside so many bytes in all. Raises Problem where that is too much for one body, or for all of them."""
        if size > self._limits.body:
            raise Problem(413, f"the body has {size:,} bytes or more, the limit is {self._limits.body:,}")
        more = max(0, size - self._held)
        if self.hand.memory + more > self._limits.memory:
            raise busy(f"the bodies in hand have {self.hand.memory:,} bytes, and {self._limits.memory:,} is the limit")
        self.hand.memory += more
        self._held += more

    def release(self) -> None:
        """Give back what was set aside."""
        self.hand.memory -= self._held
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
        async with taken.hand.patience():
            async for part in request.stream():
                size += len(part)
                taken.hold(size)
                parts.append(part)
    except TimeoutError:
        raise Problem(408, f"after {limits.body_s:g} s {size:,} bytes of the body were there, and not all") from None
    return b"".join(parts)
