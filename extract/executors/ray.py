"""The actors of a Ray cluster: one for each GPU, or on CPUs one for each node or as many as are asked for.

Pictures are read and shards are written by the actors, on storage that all of them share: through Ray's object store goes
what a task is and what the manifest says of a shard. An actor that dies is replaced by a new one, where there is room.
"""

import logging
import math
import queue
import socket
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from headstart.core.cache.errors import ArgumentInvalid, DeviceUnavailable, WorkerLost
from headstart.core.extract.config import ExecutorConfig
from headstart.core.extract.distributed.brief import Brief, brief_of
from headstart.core.extract.distributed.driver import Team
from headstart.core.extract.distributed.hands import Advanced
from headstart.core.extract.distributed.worker import Answer
from headstart.core.extract.executors.processes import python_path
from headstart.core.extract.job import Job, Observer
from headstart.core.extract.rows.computing import Load

KNOCK_S = 5.0
"""Seconds for a cluster to answer at all."""
OPTIONS = ("num", "address")
LOCAL = "local"
"""The address of a cluster that is started for one command, on this machine alone."""


def crew(config: ExecutorConfig, job: Job, load: Load, observer: Observer) -> Team:
    """Actors that compute a job. Raises ArgumentInvalid; DeviceUnavailable where the cluster can't be reached, or has no
    room for one actor."""
    brief, ray = brief_of(job), _ray()
    own = not ray.is_initialized()
    if own:
        _connect(ray, config.address or "auto")
    return Team(job, load, Actors(ray, brief, _shares(ray, config.num, job), own))


def _ray() -> Any:
    try:
        import ray
    except ImportError:
        raise ArgumentInvalid("--executor ray needs Ray; `pip install 'headstart[ray]'` adds it") from None
    return ray


def _connect(ray: Any, address: str) -> None:
    """Join the cluster. Raises DeviceUnavailable."""
    quiet: dict[str, Any] = {"logging_level": logging.WARNING, "configure_logging": False}
    try:
        _knock(address)
        if address == LOCAL:  # without the address the ports would be open to the network
            ray.init(address=LOCAL, include_dashboard=False, _node_ip_address="127.0.0.1", **quiet)
        else:
            ray.init(address=address, **quiet)
    except Exception as error:  # OSError, RuntimeError, ValueError and ray's own, by what is wrong
        why = str(error).strip().partition("\n")[0]
        raise DeviceUnavailable(
            f"--address {address}: no Ray cluster answers there, or it wants the token that `ray get-auth-token` prints on "
            f"its head ({why}); `ray start --head` begins one, --address local starts one for this command alone"
        ) from error


def _knock(address: str) -> None:
    """Ray tries for minutes to reach an address where nobody listens. Raises OSError, ValueError."""
    host, colon, port = address.rpartition(":")
    if colon and "://" not in address:
        with socket.create_connection((host.strip("[]"), int(port)), KNOCK_S):
            pass


def _shares(ray: Any, number: int | None, job: Job) -> Sequence[dict[str, float]]:
    """What of the cluster each actor gets. Raises DeviceUnavailable where nothing is left for one."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    cpus, gpus = ([int(node.get(kind, 0)) for node in nodes] for kind in ("CPU", "GPU"))
    if job.device.kind not in ("cpu", "cuda"):
        raise DeviceUnavailable(f"--executor ray: its actors have CPUs or CUDA devices, and not {job.device.name}")
    on_gpu = job.device.kind == "cuda"
    count = number or (sum(gpus) if on_gpu else sum(1 for cores in cpus if cores))
    if not count or (on_gpu and not sum(gpus)):
        raise DeviceUnavailable(f"--executor ray: the cluster has {sum(cpus)} CPUs and {sum(gpus)} GPUs, none for an actor")
    per_node = math.ceil(count / max(1, sum(1 for units in (gpus if on_gpu else cpus) if units)))
    room = min(cores for cores, units in zip(cpus, gpus if on_gpu else cpus, strict=True) if units)
    share = {"num_cpus": float(max(0 if on_gpu else 1, room // per_node)), "num_gpus": 1.0 if on_gpu else 0.0}
    return [share] * count


class Actors:
    """A cluster's actors: `extract.distributed.hands.Hands`."""

    def __init__(self, ray: Any, brief: Brief, shares: Sequence[dict[str, float]], own: bool) -> None:
        self._ray, self._brief, self._shares, self._own = ray, brief, shares, own
        self.advanced: Advanced = queue.SimpleQueue()

    @property
    def count(self) -> int:
        """How many there are at once."""
        return len(self._shares)

    def start(self, place: int) -> "Actor":
        """A new actor, as soon as there is room for it."""
        share = self._shares[place]
        device = "cuda:0" if share["num_gpus"] else "cpu"  # Ray shows an actor no other GPU than its own
        made = _actor_class(self._ray).options(**share).remote(*_way(), max(1, int(share["num_cpus"])))
        return Actor(self._ray, f"actor {place + 1}", made, (self._brief, device))

    def close(self) -> None:
        """Leave the cluster, if it was joined for this."""
        if self._own:
            self._ray.shutdown()


def _way() -> tuple[str, str]:
    """Where an actor finds headstart, and where relative paths start from: as here, for Ray gives it neither."""
    return python_path(), str(Path.cwd())


def _actor_class(ray: Any) -> Any:
    """The class of our actors. It is sent by value, since a node can't import headstart before it knows where that is."""

    class Shards:
        def __init__(self, path: str, cwd: str, threads: int) -> None:
            import os
            import sys

            os.chdir(cwd)
            sys.path[:0] = [each for each in path.split(os.pathsep) if each not in sys.path]
            import torch

            torch.set_num_threads(threads)

        def begin(self, *told: Any) -> None:  # on its own, since `told` can't be read before the path is known
            from headstart.core.extract.distributed.worker import Worker

            self._worker = Worker(*told)

        def answer(self, what: str, *given: Any) -> Any:
            return self._worker.answer(what, *given)

    return ray.remote(max_restarts=0, max_task_retries=0)(Shards)


class Actor:
    """One actor."""

    def __init__(self, ray: Any, name: str, handle: Any, told: tuple[Brief, str]) -> None:
        self.name, self._ray, self._handle = name, ray, handle
        self._begun = handle.begin.remote(*told).future()
        self.ask("where").add_done_callback(self._named)

    def ask(self, what: str, *given: Any) -> "Future[Answer]":
        """As `Hand.ask`."""
        found: Future[Answer] = Future()
        found.set_running_or_notify_cancel()

        def done(asked: "Future[Answer]") -> None:
            error = asked.exception()
            if error is None:
                found.set_result(asked.result())
            elif isinstance(error, self._ray.exceptions.RayTaskError):
                found.set_exception(self._unable() or error)  # else a fault of ours
            else:
                found.set_exception(WorkerLost(f"lost ({type(error).__name__})"))

        self._handle.answer.remote(what, *given).future().add_done_callback(done)
        return found

    def close(self) -> None:
        """End it: it holds nothing that is not on the disk or to be made anew."""
        self._ray.kill(self._handle)

    def _unable(self) -> DeviceUnavailable | None:
        """Why it could not begin, where that is so: its node has no headstart, say."""
        error = self._begun.exception() if self._begun.done() else None
        if error is None:
            return None
        why = str(error).strip().rpartition("\n")[2]
        return DeviceUnavailable(f"{self.name} can't begin: {why}; every node needs the same headstart, with its extras")

    def _named(self, asked: "Future[Answer]") -> None:
        if asked.exception() is None:
            self.name = f"{self.name} on {asked.result().get()}"
