"""A request's pictures on their way: what was asked, what each became, and who waits for them."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headstart.core.heads.predict import Labels, Possible, Wanted


@dataclasses.dataclass(frozen=True)
class Wishes:
    """What is asked of pictures: labels by the heads of these names, and so many of the nearest training pictures."""

    heads: tuple[str, ...]
    wanted: Wanted
    neighbours: int = 0


@dataclasses.dataclass(frozen=True)
class Answer:
    """What one head says of a picture; `possible` is None where no coverage was wanted, `nearest` where there is none."""

    labels: Labels
    possible: Possible | None
    nearest: list[dict[str, Any]] | None = None


class Picture:
    """One picture of a request: its bytes, then what they were found to be, then the heads' answers by their names.

    `error` says why there are none.
    """

    __slots__ = ("answers", "ask", "content", "error", "format", "height", "name", "sha256", "width")

    def __init__(self, content: bytes, name: str | None) -> None:
        self.content, self.name = content, name
        self.sha256, self.format, self.width, self.height = "", "", 0, 0
        self.error: Exception | None = None
        self.answers: dict[str, Answer] = {}
        self.ask: Ask


class Ask:
    """Pictures that one request waits for. Made on the event loop, where its future is; threads settle its parts.

    A part is one picture through one backbone. `dropped` is set once nobody waits any more.
    """

    def __init__(self, pictures: Sequence[Picture], wishes: Wishes, parts: int) -> None:
        self.pictures, self.wishes = pictures, wishes
        self.dropped = False
        self._left = parts
        self._lock = threading.Lock()
        self._loop = asyncio.get_running_loop()
        self.future: asyncio.Future[None] = self._loop.create_future()
        for picture in pictures:
            picture.ask = self

    def settle(self, parts: int = 1, error: BaseException | None = None) -> None:
        """So many parts are over; with an error the whole request is. Called from any thread."""
        with self._lock:
            self._left -= parts
            over = not self._left or error is not None
        if over:
            with contextlib.suppress(RuntimeError):  # the loop is closed, and nobody waits
                self._loop.call_soon_threadsafe(self._tell, error)

    def _tell(self, error: BaseException | None) -> None:
        if self.future.done():
            return
        if error is None:
            self.future.set_result(None)
        else:
            self.dropped = True
            self.future.set_exception(error)
