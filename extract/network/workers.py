"""A CPU's threads shared out: workers that compute a batch each, or one that prepares a batch while another is computed.

Threads that share one batch wait for each other after every layer. On two cores ResNet50 in fp32 ran at 16.2 images/s that
way and at 19.1 with a batch for each core; beside another program that wanted a core, at 5.9 and 13.0 (bf16: 16.4 and 30.3;
medians of two rounds, 16 images at once, 8 in fp32).
"""

import concurrent.futures
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import torch

from headstart.core.extract.network.interface import Features

MOST = 8
"""Worker threads at most. Each holds a batch's feature maps; one of VGG16's largest in fp32 is 8 x 64 x 224 x 224 x 4
bytes, 103 MB."""

BUSY = 0.88
"""The part of torch's threads that the workers must keep busy: eight workers of one thread each would leave four of twelve
idle."""

THREADS_PER_PREPARER = 8
"""One thread in so many prepares batches. On one Zen 4 core an image takes 0.65 ms to prepare, and 40 ms of ResNet50."""

T = TypeVar("T")

Check = Callable[[], None]
"""Raises Stopped once nobody waits for the batch any more; called between layers."""


class Stopped(Exception):
    """The batch was dropped."""


def worker_count() -> int:
    """How many batches this processor computes at once: one for each thread that torch would use, up to `MOST`, and where
    there are more threads, as many as leave few of them idle."""
    threads = torch.get_num_threads()
    return max(n for n in range(1, min(threads, MOST) + 1) if n * (threads // n) >= BUSY * threads)


class WorkerBatch:
    """A batch in flight that one worker thread computes: an `extract.network.interface.Pending`."""

    def __init__(self, compute: Callable[[Check], Features]) -> None:
        self._dropped = threading.Event()
        count = worker_count()
        self._future = _pool("worker", count, torch.get_num_threads() // count).submit(compute, self._check)

    def result(self) -> Features:
        """Its features, as soon as they are there; raises what computing them raised."""
        return self._future.result()

    def cancel(self) -> None:
        """Drop it; returns once no worker computes it."""
        self._dropped.set()
        if not self._future.cancel():
            concurrent.futures.wait([self._future])

    def _check(self) -> None:
        if self._dropped.is_set():
            raise Stopped


class PreparedBatch:
    """A batch that a thread prepares while the caller computes the one before it: an `extract.network.interface.Pending`.

    Its network runs in the thread that waits for it, with all threads of torch's.
    """

    def __init__(self, prepare: Callable[[], T], compute: Callable[[T], Features]) -> None:
        threads = max(1, torch.get_num_threads() // THREADS_PER_PREPARER)
        self._ahead: Future[T] = _pool("prepare", 1, threads).submit(prepare)
        self._compute: Callable[[T], Features] = compute
        self._found: Features | None = None

    def result(self) -> Features:
        """Its features; raises what preparing or computing them raised."""
        if self._found is None:
            self._found = self._compute(self._ahead.result())
        return self._found

    def cancel(self) -> None:
        """Drop it; returns once nothing is prepared."""
        if not self._ahead.cancel():
            concurrent.futures.wait([self._ahead])


_POOLS: dict[tuple[str, int, int], ThreadPoolExecutor] = {}
_STARTING = threading.Lock()


def _pool(name: str, count: int, threads: int) -> ThreadPoolExecutor:
    """`count` threads of our own, with `threads` of torch's each. They live until the program ends: a new one would start
    OpenMP's own threads again."""
    with _STARTING:
        key = (name, count, threads)
        if key not in _POOLS:
            _POOLS[key] = _started(name, count, threads)
        return _POOLS[key]


def _started(name: str, count: int, threads: int) -> ThreadPoolExecutor:
    """A pool whose threads all run. `torch.set_num_threads` counts for the thread that calls it and for every thread that
    has not used torch yet: so all of ours call it now, and what was there is put back for those that come after them."""
    before = _in_new_thread(torch.get_num_threads)
    all_there = threading.Barrier(count)
    pool = ThreadPoolExecutor(count, name, initializer=_begin, initargs=(threads,))
    concurrent.futures.wait([pool.submit(all_there.wait) for _ in range(count)])
    _in_new_thread(lambda: torch.set_num_threads(before))
    return pool


def use_one_thread() -> None:
    """Have the thread that calls this compute with one of torch's threads. Those that come after it have what they had."""
    with _STARTING:
        before = _in_new_thread(torch.get_num_threads)
        _begin(1)
        _in_new_thread(lambda: torch.set_num_threads(before))


def _begin(threads: int) -> None:
    torch.get_num_threads()  # makes torch set this thread up, which it would otherwise do later, with what counts for all
    torch.set_num_threads(threads)


def _in_new_thread(work: Callable[[], Any]) -> Any:
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(work()))
    thread.start()
    thread.join()
    return found[0]
