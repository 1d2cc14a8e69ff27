"""Processor threads for the small products of heads. A result does not depend on how many there are (tested).

Threads that share one product wait for each other after it. Where another program takes a processor, each of a step's
dozen waits can cost a time slice: on two cores a head that takes 3 s took 48 s (measured). So heads in several groups get a
thread for each group, and one alone gets many threads only while they are measured to be faster.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

T = TypeVar("T")


class Stopped(Exception):
    """Another group failed or the program is ending."""


@contextlib.contextmanager
def limited(count: int) -> Iterator[None]:
    """torch with so many threads for each operation started by this thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def choose(most: int, left: torch.Tensor, right: torch.Tensor) -> int:
    """1 or `most`, by which batched product of the two is faster at this moment."""
    if most == 1:
        return 1
    seconds = {}
    for count in (1, most):
        with limited(count):
            torch.bmm(left, right)
            started = time.perf_counter()
            for _ in range(4):
                torch.bmm(left, right)
            seconds[count] = time.perf_counter() - started
    return min(seconds, key=lambda count: seconds[count])


def run_groups(work: Sequence[Callable[[Callable[[], None]], T]]) -> list[T]:
    """The results of several pieces of work, each on one thread, as many at a time as torch would use for one operation.

    Each is given a function to call now and then, which raises Stopped once another has failed or this thread has been
    interrupted.
    """
    stop, most = threading.Event(), torch.get_num_threads()

    def check() -> None:
        if stop.is_set():
            raise Stopped

    with limited(1), ThreadPoolExecutor(most, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        futures = [pool.submit(piece, check) for piece in work]
        try:
            return [future.result() for future in futures]
        except BaseException:
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise
