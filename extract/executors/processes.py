"""Several processes on this machine: one for each GPU, or on a CPU as many as are asked for, its cores divided."""

import importlib.util
import os
import queue
import socket
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from headstart.core.cache.errors import ArgumentInvalid, WorkerLost
from headstart.core.extract.config import ExecutorConfig
from headstart.core.extract.distributed.brief import Brief, brief_of
from headstart.core.extract.distributed.driver import Team
from headstart.core.extract.distributed.hands import Advanced
from headstart.core.extract.distributed.worker import Answer
from headstart.core.extract.job import Job, Observer
from headstart.core.extract.network.devices import count, resolve
from headstart.core.extract.reading import cores
from headstart.core.extract.rows.computing import Load

OPTIONS = ("num",)


def crew(config: ExecutorConfig, job: Job, load: Load, observer: Observer) -> Team:
    """Processes that compute a job. Raises ArgumentInvalid, DeviceUnavailable."""
    return Team(job, load, Processes(brief_of(job), _places(config.num, job)))


def _places(number: int | None, job: Job) -> Sequence[tuple[str, int]]:
    """The device and the threads of each process."""
    device = job.device
    if ":" in job.config.device:  # a device that is named is not joined by others
        if number not in (None, 1):
            raise ArgumentInvalid(
                f"--num {number}: --device {job.config.device} is one; --device {device.kind} has a process on each"
            )
        return [(device.name, cores())]
    if device.kind in ("cuda", "xpu"):
        there = number or count(device.kind)
        names = [resolve(f"{device.kind}:{place}", device.precision).name for place in range(there)]
        return [(name, max(1, cores() // there)) for name in names]
    if number is None:
        raise ArgumentInvalid(f"--executor processes on {device.name}: say how many with --num N; {cores()} cores are here")
    if device.kind != "cpu" and number > 1:
        raise ArgumentInvalid(f"--num {number}: there is one {device.name}, which one process uses best; --executor local")
    return [(device.name, max(1, cores() // number)) for _ in range(number)]


class Processes:
    """Processes of their own, each on its device with its threads: `extract.distributed.hands.Hands`."""

    def __init__(self, brief: Brief, places: Sequence[tuple[str, int]]) -> None:
        self._brief, self._places = brief, places
        self.advanced: Advanced = queue.SimpleQueue()

    @property
    def count(self) -> int:
        """How many there are at once."""
        return len(self._places)

    def start(self, place: int) -> "Process":
        """A new process."""
        return Process(f"process {place + 1}", (self._brief, *self._places[place]), self.advanced)

    def close(self) -> None:
        """Each was ended by itself."""


class Process:
    """One child, and a thread that waits for its answers."""

    def __init__(self, name: str, told: tuple[Brief, str, int], advanced: Advanced) -> None:
        self.name, self._advanced = name, advanced
        here, there = socket.socketpair()
        with there:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "headstart.core.extract.distributed.child", str(there.fileno())],
                pass_fds=[there.fileno()],
                stdin=subprocess.DEVNULL,
                env={**os.environ, "OMP_NUM_THREADS": str(told[2]), "PYTHONPATH": python_path()},
                start_new_session=True,  # Ctrl-C in the terminal is for the parent, which ends its children
            )
        self._socket = Connection(here.detach())
        self._thread = ThreadPoolExecutor(1, name)
        self._thread.submit(self._send, told)

    def ask(self, what: str, *given: Any) -> "Future[Answer]":
        """As `Hand.ask`."""
        return self._thread.submit(self._exchange, what, given)

    def close(self) -> None:
        """Kill it: it holds nothing that is not on the disk or to be made anew."""
        self._child.kill()
        self._child.wait()
        self._thread.shutdown()
        self._socket.close()

    def _exchange(self, what: str, given: tuple[Any, ...]) -> Answer:
        try:
            self._socket.send((what, given))
            while True:
                kind, value = self._socket.recv()
                if kind == "answer":
                    answer: Answer = value
                    return answer
                self._advanced.put((self.name, value))
        except (EOFError, OSError):
            raise WorkerLost(_fate(self._child.wait())) from None

    def _send(self, told: Any) -> None:
        self._socket.send(told)


def python_path() -> str:
    """Where another Python finds the very headstart that runs here, before any other."""
    found = importlib.util.find_spec(__name__.partition(".")[0])
    assert found is not None
    here = str(Path(str(found.origin)).parents[1])
    return os.pathsep.join([here, *filter(None, [os.environ.get("PYTHONPATH")])])


def _fate(status: int) -> str:
    return f"killed by signal {-status}" if status < 0 else f"ended by itself, with status {status}"
