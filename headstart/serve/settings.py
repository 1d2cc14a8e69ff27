"""How the service runs: where it listens, what it takes, what it keeps. Imports nothing heavy."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping
from pathlib import Path

from headstart.core.cache.arguments import whole
from headstart.core.cache.errors import ArgumentInvalid

MOST_LABELS, DEFAULT_LABELS = 1000, 3
"""Of `topk`."""
MOST_NEIGHBOURS = 20
MOST_NAME = 1024
"""Characters of a picture's name in a request."""
COVERAGE = 0.95
"""Of the prediction sets, where nothing is said and all heads have a calibration."""
MIB = 2**20

LOOPBACK = ("127.0.0.1", "::1", "localhost")
"""The hosts that only programs of this machine reach, and the names that they may use for it."""

_TOKEN = re.compile(r"[!-~]+")


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a request may be, and how many there may be. Sizes in bytes, times in seconds.

    `requests` are in hand at most, which is read, waits or is computed, with `memory` bytes of bodies together. A body is
    there within `body_s`, and its answer `answer_s` later. `header_s` is how long a connection may take to say what it
    wants. Raises ArgumentInvalid.
    """

    body: int = 32 * MIB
    pictures: int = 64
    pixels: int = 64_000_000
    requests: int = 128
    memory: int = 512 * MIB
    connections: int = 512
    header_s: float = 10.0
    body_s: float = 30.0
    answer_s: float = 30.0

    def __post_init__(self) -> None:
        for name in ("body", "pictures", "pixels", "requests", "memory", "connections"):
            whole(name, getattr(self, name), 1)
        for name in ("header_s", "body_s", "answer_s"):
            if not getattr(self, name) > 0:
                raise ArgumentInvalid(f"{name} is {getattr(self, name)!r}, expected seconds above 0")

    def to_json(self) -> dict[str, float]:
        """What a client should know of them."""
        return {
            "body_bytes": self.body,
            "pictures": self.pictures,
            "pixels": self.pixels,
            "requests": self.requests,
            "body_seconds": self.body_s,
            "answer_seconds": self.answer_s,
            "topk": MOST_LABELS,
            "neighbours": MOST_NEIGHBOURS,
        }


@dataclasses.dataclass(frozen=True)
class Settings:
    """Where the service listens and what it does.

    `port` 0 is any that is free. `hosts` are names, beside those of the loopback, by which it may be called there. With a
    `token` every request but for what is open must bring it. `coverage` None leaves it to the heads. `keep` is a folder for
    pictures and their answers, None keeps nothing. `near` shows training pictures where they are at hand. A batch waits at
    most `delay_s` for pictures that are being decoded. After a signal `grace_s` are left for what is in hand. Raises
    ArgumentInvalid.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    hosts: tuple[str, ...] = ()
    token: str | None = dataclasses.field(default=None, repr=False)
    coverage: float | None = None
    keep: Path | None = None
    near: bool = True
    workers: int = 4
    batch_size: int | None = None
    delay_s: float = 0.01
    grace_s: float = 30.0
    limits: Limits = Limits()

    def __post_init__(self) -> None:
        if not 0 <= self.port < 2**16:
            raise ArgumentInvalid(f"port is {self.port!r}, expected 0 to 65535")
        for name in ("delay_s", "grace_s"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ArgumentInvalid(f"{name} is {getattr(self, name)!r}, expected seconds from 0 on")

    @property
    def is_open(self) -> bool:
        """Whether other machines can reach it."""
        return self.host not in LOOPBACK and not self.host.startswith("127.")


def token_of(variable: str | None, environment: Mapping[str, str] = os.environ) -> str | None:
    """The token in an environment variable, None where none is named. Raises ArgumentInvalid."""
    if variable is None:
        return None
    found = environment.get(variable, "")
    if not _TOKEN.fullmatch(found):
        what = "has characters that a header can't carry" if found else "is not set or empty"
        raise ArgumentInvalid(f"--token-env {variable}: {what}; expected a token of visible ASCII characters in it")
    return found
