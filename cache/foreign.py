"""Shards that no recorded SHA-256 vouches for: libhdf5 parses them in a child process with limits, never in ours.

One of 137 public HDF5 CVE files kills the process that parses it, others loop for ever or ask for terabytes (measured).
The child (`foreign_child`) gets bytes and answers with facts as JSON, which are checked: nothing it says is run, and no
array is taken.
"""

import json
import math
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

from headstart.core.cache.errors import FeaturesDamaged
from headstart.core.cache.files import MAX_JSON_BYTES, parse_json
from headstart.core.cache.foreign_child import PATIENCE_S, receive, send
from headstart.core.cache.shard import ShardFacts, Skipped

START_S = 120.0
"""Seconds a child may take to import h5py: 0.2 where nothing else runs, but network file systems are slow."""
_MOST_REASON = 500  # characters of what the child says of a shard

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
"""An HDF5 file may begin with a user block instead (a script, say); ours never do."""

_CODE = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from headstart.core.cache.foreign_child import serve; serve()"
)


class ForeignReader:
    """Reads the facts of shards in one child for as long as it behaves, then in a new one; none starts before the first.

    A context manager, with which the child ends. `command` starts a process that calls `foreign_child.serve`.
    """

    def __init__(self, command: Sequence[str] | None = None, patience_s: float = PATIENCE_S) -> None:
        # As -I and -S leave nothing to the environment and the working folder, the child is told where we import from;
        # last comes our own place, which is in no entry of sys.path where the install is editable.
        places = [*filter(os.path.isabs, sys.path), str(Path(__file__).resolve().parent.parent)]
        self._command = command or [sys.executable, "-I", "-S", "-c", _CODE, json.dumps(places)]
        self._patience_s = patience_s
        self._process: subprocess.Popen[bytes] | None = None
        self._watch: _Watch | None = None

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
        self._watch = _Watch(self._process.kill)  # which ends a read or write that waits for the child, too
        try:
            self._ask(self._process, None, START_S)
        except FeaturesDamaged as error:  # no shard's fault: taken for damage, whole sets would be computed again
            why = f"`{sys.executable} -c 'import h5py'` may show why"
            raise OSError(f"the process that checks unlisted shards does not start: {error}; {why}") from None
        return self._process

    def _ask(self, process: subprocess.Popen[bytes], content: bytes | None, seconds: float) -> bytes:
        """The child's answer, or its greeting where `content` is None. Raises FeaturesDamaged."""
        assert self._watch is not None
        watch = self._watch
        watch.begin(seconds)
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            if content is not None:
                send(process.stdin, content)
            answer = receive(process.stdout, min(len(content or b"") + 2**12, MAX_JSON_BYTES))
        except (OSError, EOFError, ValueError) as error:
            self._end()
            raise FeaturesDamaged(f"took longer than {seconds:g} s" if watch.late else _fate(process, error)) from None
        finally:
            watch.end()
        if watch.late:  # in time after all, but the child is gone
            self._end()
        return answer

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            with self._process:  # closes the pipes, and waits, so that no zombie is left
                self._process = None
        if self._watch is not None:
            self._watch.close()
            self._watch = None


class _Watch:
    """Calls `kill` where what was begun has not ended in time. One thread for a child's whole life: with a
    `threading.Timer` for each, a small shard took 4.4 to 5.5 ms, now 1.3 to 1.6 (2,000 of 2.6 kB, two shared cores)."""

    def __init__(self, kill: Callable[[], None]) -> None:
        self.late = False
        self._kill = kill
        self._changed = threading.Condition()
        self._until: float | None = None
        self._wakes = math.inf
        self._closed = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def begin(self, seconds: float) -> None:
        """There are so many seconds from now on."""
        with self._changed:
            self._until = time.monotonic() + seconds
            if self._until < self._wakes:  # else it wakes early enough, and finds out then
                self._changed.notify()

    def end(self) -> None:
        """It is done, or given up."""
        with self._changed:
            self._until = None

    def close(self) -> None:
        """Nothing is watched any more."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        with self._changed:
            while not self._closed:
                now = time.monotonic()
                if self._until is not None and self._until <= now:
                    self.late, self._until = True, None
                    self._kill()
                self._wakes = math.inf if self._until is None else self._until
                self._changed.wait(None if self._until is None else self._until - now)


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
