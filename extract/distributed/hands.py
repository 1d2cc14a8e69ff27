"""Workers as the driver sees them, wherever they are."""

import queue
from concurrent.futures import Future
from typing import Any, Protocol

from headstart.core.extract.distributed.worker import Answer

Advanced = queue.SimpleQueue[tuple[str, int]]
"""Rows that a worker, by its name, has done of the shard in hand."""


class Hand(Protocol):
    """A worker, wherever it is. `name` is for people."""

    @property
    def name(self) -> str: ...

    def ask(self, what: str, *given: Any) -> "Future[Answer]":
        """Have a method of `Worker` called. The future raises WorkerLost where the worker has died."""
        ...

    def close(self) -> None:
        """End it."""
        ...


class Hands(Protocol):
    """Where workers come from: `count` of them at once."""

    @property
    def count(self) -> int: ...
    @property
    def advanced(self) -> Advanced: ...

    def start(self, place: int) -> Hand:
        """A new worker in one of the places, from 0. Returns before it is ready."""
        ...

    def close(self) -> None:
        """End what was started for all of them."""
        ...
