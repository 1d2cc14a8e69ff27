"""SIGINT, SIGTERM and SIGHUP: a command ends in order, and a second signal ends it at once."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any


class Interrupted(KeyboardInterrupt):
    """A signal asked us to end; its number is the argument."""


class Signals:
    """SIGINT, SIGTERM and SIGHUP end the process in order: where work must not be cut, after the batch in hand.

    Where `deferred` is set the first signal is only noted, for `check` to act on between batches, and `say` tells the user,
    called from the handler. A second one leaves at once. A program started in the background has SIGINT ignored, so our own
    handlers are set whatever was there.
    """

    NUMBERS = (
        (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if hasattr(signal, "SIGHUP") else (signal.SIGINT, signal.SIGTERM)
    )

    def __init__(self, say: Callable[[bytes], object]) -> None:
        self.deferred = False
        self._say = say
        self._noted: int | None = None
        self._before: dict[int, Any] = {}
        self._wakeup = -1

    def __enter__(self) -> None:
        if threading.current_thread() is not threading.main_thread() or self._before:
            return
        self._noted = None
        self._before = {number: signal.signal(number, self._on) for number in self.NUMBERS}
        reader, self._wakeup = os.pipe()
        os.set_blocking(self._wakeup, False)
        signal.set_wakeup_fd(self._wakeup, warn_on_full_buffer=False)
        threading.Thread(target=_leave_at_the_second, args=(reader, self.NUMBERS), daemon=True).start()

    def __exit__(self, kind: object, *_: object) -> None:
        self.deferred = False
        if not self._before or kind is Interrupted:  # interrupted, we are leaving: a second signal still does so at once
            self._before = {}
            return
        signal.set_wakeup_fd(-1)
        os.close(self._wakeup)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _on(self, number: int, frame: object) -> None:
        if self._noted is not None:
            return
        self._noted = number
        if not self.deferred:
            raise Interrupted(number)
        self._say(b"\nheadstart: ending after the batch in hand; a second signal leaves at once\n")

    def check(self) -> None:
        """Raise Interrupted if a signal was noted."""
        if self._noted is not None:
            raise Interrupted(self._noted)


ECHO_S = 0.1
"""`timeout` and batch systems signal a process and then its whole group: what comes this soon is the same request."""


def _leave_at_the_second(reader: int, numbers: Sequence[int]) -> None:
    """Exit when a second signal comes. Python runs handlers between bytecodes only, which a forward pass or a compilation
    puts off by seconds; this thread hears of a signal from the C handler itself."""
    first: float | None = None
    while heard := os.read(reader, 1):
        if heard[0] not in numbers:
            continue
        now = time.monotonic()
        if first is not None and now - first > ECHO_S:
            os._exit(128 + heard[0])
        first = first or now
    os.close(reader)
