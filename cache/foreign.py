"""Shards that no recorded SHA-256 vouches for: libhdf5 parses them in a child process with limits, never in ours.

One of 137 public HDF5 CVE files kills the process that parses it, others loop for ever or ask for terabytes (measured).
The child gets bytes and answers with facts as JSON, which are checked: nothing it says is run, and no array is taken.
Once it has imported h5py, and before it reads a shard, it limits itself where the system can (setrlimit(2)):

    RLIMIT_NOFILE, RLIMIT_FSIZE, RLIMIT_CORE   0: it can open, write and dump no file, whatever a link asks for
    RLIMIT_CPU                                 ends a hung child whose parent was killed; one that waits sees stdin end
    RLIMIT_AS                                  only on Linux, which says how much is in use before the first shard

Windows has none of these: there a late child is killed, and that is all. The limits hold accidents and known crash
files; they are no sandbox for a file that brings code of its own to run.
"""

import contextlib
import dataclasses
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
from headstart.core.cache.errors import FeaturesDamaged
from headstart.core.cache.files import MAX_JSON_BYTES, canonical_json, parse_json
from headstart.core.cache.shard import Rows, Shard, Skipped, decode_shard, encode_shard

if sys.platform != "win32":
    import resource

START_S = 120.0
"""Seconds a child may take to import h5py: 0.2 where nothing else runs, but network file systems are slow."""
PATIENCE_S = 30.0
"""Seconds a shard may take, and one more for each 10 MB: 2,048 x 2048 float16 (8.4 MB) takes 0.03 (measured)."""
MOST_BYTES = 4 * 2**30
"""The largest file that is looked at: a default shard has 17 MB, but a sparse file claims any size for nothing."""

_SLACK_BYTES, _COPIES = 256 * 2**20, 8
"""Memory for a shard. Reading 8 to 84 MB raised the address space by 3.0 to 4.6 times the file's size (measured)."""
_PIPE_BYTES = 2**16  # what Linux's pipes hold: https://man7.org/linux/man-pages/man7/pipe.7.html

_MOST_REASON = 500  # characters of what the child says of a shard

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
"""An HDF5 file may begin with a user block instead (a script, say); ours never do."""

_CODE = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from headstart.core.cache.foreign import serve; serve()"


@dataclasses.dataclass(frozen=True)
class ShardFacts:
    """What a manifest says of a shard: of `start` to `stop`, `rows` are present and `skipped` are not."""

    key: str
    inputs: str
    start: int
    stop: int
    rows: int
    skipped: tuple[Skipped, ...]


def facts_of(shard: Shard) -> ShardFacts:
    """The facts of a shard."""
    return ShardFacts(shard.key, shard.inputs, shard.start, shard.stop, len(shard.rows), shard.skipped)


class ForeignReader:
    """Reads the facts of shards in one child for as long as it behaves, then in a new one; none starts before the first.

    A context manager, with which the child ends. `command` starts a process that calls `serve`.
    """

    def __init__(self, command: Sequence[str] | None = None, patience_s: float = PATIENCE_S) -> None:
        # As -I and -S leave nothing to the environment and the working folder, the child is told where we import from;
        # last comes our own place, which is in no entry of sys.path where the install is editable.
        places = [*filter(os.path.isabs, sys.path), str(Path(__file__).resolve().parent.parent)]
        self._command = command or [sys.executable, "-I", "-S", "-c", _CODE, json.dumps(places)]
        self._patience_s = patience_s
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "ForeignReader":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._end()

    def read(self, content: bytes, where: str) -> ShardFacts:
        """The facts of the shard in `content`, the bytes of a file called `where` in messages.

        Raises FeaturesDamaged, also where the child dies, is late or wants too much; OSError where none can be started.
        """
        if not content.startswith(_SIGNATURE):
            raise FeaturesDamaged(f"{where}: does not begin as an HDF5 file")
        process = self._process or self._start()
        try:
            return _parse(self._ask(process, content, self._patience_s + len(content) / 1e7))
        except FeaturesDamaged as error:
            self._end()  # a child that stumbled is not asked again
            raise FeaturesDamaged(f"{where}: {error}") from None

    def _start(self) -> subprocess.Popen[bytes]:
        self._process = subprocess.Popen(
            self._command,
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},  # each thread would reserve address space
            start_new_session=True,  # Ctrl-C in the terminal is for the parent, which ends its child
        )
        try:
            self._ask(self._process, None, START_S)
        except FeaturesDamaged as error:  # no shard's fault: taken for damage, whole sets would be computed again
            why = f"`{sys.executable} -c 'import h5py'` may show why"
            raise OSError(f"the process that checks unlisted shards does not start: {error}; {why}") from None
        return self._process

    def _ask(self, process: subprocess.Popen[bytes], content: bytes | None, seconds: float) -> bytes:
        """The child's answer, or its greeting where `content` is None. Raises FeaturesDamaged."""
        late = threading.Event()

        def kill() -> None:
            late.set()
            process.kill()  # which ends a read or write that waits below, too

        timer = threading.Timer(seconds, kill)
        timer.start()
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            if content is not None:
                _send(process.stdin, content)
            answer = _receive(process.stdout, min(len(content or b"") + 2**12, MAX_JSON_BYTES))
        except (OSError, EOFError, ValueError) as error:
            self._end()
            raise FeaturesDamaged(f"took longer than {seconds:g} s" if late.is_set() else _fate(process, error)) from None
        finally:
            timer.cancel()
            timer.join()
        if late.is_set():  # in time after all, but the child is gone
            self._end()
        return answer

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            with self._process:  # closes the pipes, and waits, so that no zombie is left
                self._process = None


def _fate(process: subprocess.Popen[bytes], error: Exception) -> str:
    if isinstance(error, ValueError):
        return f"its reader's answer {error}"
    if process.returncode < 0:
        return f"libhdf5 was killed by signal {-process.returncode} while reading it"
    return f"its reader ended with status {process.returncode}"


def _parse(answer: bytes) -> ShardFacts:
    """The facts in an answer of the child, which a shard may have taken over. Raises FeaturesDamaged."""
    try:
        found = parse_json(answer)
        reason = found.get("damaged")
        if not isinstance(reason, str):
            reason = "its reader's answer can't be a shard's facts"
            facts = ShardFacts(**{**found, "skipped": tuple(Skipped(**one) for one in found["skipped"])})
            if _sound(facts):
                return facts
    except (AttributeError, KeyError, TypeError, ValueError):
        reason = "its reader's answer is no shard's facts"
    raise FeaturesDamaged(reason[:_MOST_REASON])


def _sound(facts: ShardFacts) -> bool:
    texts = [facts.key, facts.inputs, *(text for one in facts.skipped for text in (one.id, one.reason))]
    numbers = [facts.start, facts.stop, facts.rows, *(one.row for one in facts.skipped)]
    return (
        all(type(text) is str for text in texts)
        and all(type(number) is int for number in numbers)  # JSON's true is an int for isinstance
        and all(re.fullmatch("[0-9a-f]{64}", digest) for digest in (facts.key, facts.inputs))
        and 0 <= facts.start <= facts.stop < 2**63
        and facts.rows == facts.stop - facts.start - len(facts.skipped) >= 0
        and all(facts.start <= one.row < facts.stop for one in facts.skipped)
    )


def _send(pipe: IO[bytes], content: bytes) -> None:
    for part in (len(content).to_bytes(8, "big"), content):
        view = memoryview(part)
        while view:
            view = view[pipe.write(view) :]


def _receive(pipe: IO[bytes], most: int) -> bytes:
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


# --- in the child ----------------------------------------------------------------------------------------------------


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
        _send(answers, b"")
        while True:
            size = int.from_bytes(_exactly(questions, 8), "big")
            room = _SLACK_BYTES + _COPIES * size
            _limit(time.process_time() + patience_s + size / 1e7, None if used is None else used + room)
            _send(answers, _answer(decode, questions, size, room))


def _answer(decode: Callable[[bytes, str], Shard], questions: IO[bytes], size: int, room: int) -> bytes:
    found: dict[str, Any]
    try:
        found = dataclasses.asdict(facts_of(decode(_exactly(questions, size), "")))
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
