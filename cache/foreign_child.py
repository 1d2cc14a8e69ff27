"""The child process that parses shards which no recorded SHA-256 vouches for. It answers each with its facts as JSON.

Once it has imported h5py, and before it reads a shard, it limits itself where the system can (setrlimit(2)):

    RLIMIT_NOFILE, RLIMIT_FSIZE, RLIMIT_CORE   0: it can open, write and dump no file, whatever a link asks for
    RLIMIT_CPU                                 ends a hung child whose parent was killed; one that waits sees stdin end
    RLIMIT_AS                                  only on Linux, which says how much is in use before the first shard

Windows has none of these: there a late child is killed, and that is all. The limits hold accidents and known crash
files; they are no sandbox for a file that brings code of its own to run.
"""

import contextlib
import dataclasses
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np

from headstart.core.cache.errors import FeaturesDamaged
from headstart.core.cache.files import canonical_json
from headstart.core.cache.shard import Rows, Shard, decode_shard, encode_shard

if sys.platform != "win32":
    import resource

PATIENCE_S = 30.0
"""Seconds a shard may take, and one more for each 10 MB: 2,048 x 2048 float16 (8.4 MB) takes 0.03 (measured)."""
_SLACK_BYTES, _COPIES = 256 * 2**20, 8
"""Memory for a shard. Reading 8 to 84 MB raised the address space by 3.0 to 4.6 times the file's size (measured)."""
_PIPE_BYTES = 2**16  # what Linux's pipes hold: https://man7.org/linux/man-pages/man7/pipe.7.html


def send(pipe: IO[bytes], content: bytes) -> None:
    """Write a message: its length in eight bytes, then its bytes. Raises OSError."""
    for part in (len(content).to_bytes(8, "big"), content):
        view = memoryview(part)
        while view:
            view = view[pipe.write(view) :]


def receive(pipe: IO[bytes], most: int) -> bytes:
    """A message of `most` bytes at most. Raises EOFError, OSError, ValueError for a longer one."""
    if (size := int.from_bytes(_exactly(pipe, 8), "big")) > most:
        raise ValueError(f"has {size:,} bytes, expected at most {most:,}")
    return _exactly(pipe, size)


def _exactly(pipe: IO[bytes], size: int) -> bytes:
    parts = []
    while size and (part := pipe.read(min(size, _PIPE_BYTES))):
        parts.append(part)
        size -= len(part)
    if size:
        raise EOFError
    return b"".join(parts)


def serve(decode: Callable[[bytes, str], Shard] = decode_shard, patience_s: float = PATIENCE_S) -> None:
    """The child's whole life: greet, then answer each shard on stdin with its facts on stdout, until stdin ends."""
    rows = Rows(np.zeros((1, 1), np.float32), np.zeros(1, np.int64), np.zeros(1, "S1"))
    decode_shard(encode_shard(Shard("", "", 0, 1, rows)), "")  # imports what is imported late: no file opens below
    used = _address_space()
    _forbid_files()
    # not closed here: the parent takes a closed pipe for our death, and would kill us before we end by ourselves
    with (
        open(0, "rb", buffering=0, closefd=False) as questions,
        open(1, "wb", buffering=0, closefd=False) as answers,
        contextlib.suppress(EOFError),
    ):
        send(answers, b"")
        while True:
            size = int.from_bytes(_exactly(questions, 8), "big")
            room = _SLACK_BYTES + _COPIES * size
            _limit(time.process_time() + patience_s + size / 1e7, None if used is None else used + room)
            send(answers, _answer(decode, questions, size, room))


def _answer(decode: Callable[[bytes, str], Shard], questions: IO[bytes], size: int, room: int) -> bytes:
    found: dict[str, Any]
    try:
        found = dataclasses.asdict(decode(_exactly(questions, size), "").facts)
    except (FeaturesDamaged, MemoryError) as error:
        exhausted = isinstance(error, MemoryError) or isinstance(error.__cause__, MemoryError)
        found = {"damaged": f"wanted more than {room / 1e6:.0f} MB" if exhausted else str(error).removeprefix(": ")}
    return canonical_json(found)


def _address_space() -> int | None:
    """The bytes of address space in use, where the system says it."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return None


def _forbid_files() -> None:
    if sys.platform != "win32":
        for kind in (resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE, resource.RLIMIT_CORE):
            resource.setrlimit(kind, (0, 0))


def _limit(cpu_s: float, space: int | None) -> None:
    """Lower the soft limits, which can be raised again for the next shard, to what this one may use in all."""
    if sys.platform != "win32":
        for kind, value in ((resource.RLIMIT_CPU, int(cpu_s) + 1), (resource.RLIMIT_AS, space)):
            hard = resource.getrlimit(kind)[1]
            if value is not None:
                resource.setrlimit(kind, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))
