"""Processor threads for the products of heads: how many is a matter of shapes alone, never of how fast they are just now.

Threads that share one product wait for each other after it. Where another program takes a processor, each of a step's
dozen waits can cost a time slice: on two cores a head that takes 3 s took 48 s (measured). So a head's product has one
thread, and several groups of heads are computed side by side; only products so large that a wait hardly counts are shared.

The number of threads belongs to the process. It is changed by the thread that asks for a training and put back by it; a
second training in the same process waits until then.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

T = TypeVar("T")
LARGE = 2**30
"""Multiplications and additions of a product from which its threads are worth their waits: some ten milliseconds."""
SMALL = 2**27
"""The same of a product up to which a second thread is not worth its waits: some milliseconds."""
_OURS = threading.RLock()


class Stopped(Exception):
    """Another group failed or the program is ending."""


@contextlib.contextmanager
def limited(count: int) -> Iterator[None]:
    """torch with so many threads for each operation that this thread, or one begun meanwhile, starts.

    One at a time in a process. Not to be used in threads that the block waits for.
    """
    with _OURS:
        before = torch.get_num_threads()
        torch.set_num_threads(count)
        try:
            yield
        finally:
            torch.set_num_threads(before)


def shared(heads: int, rows: int, inputs: int, outputs: int) -> bool:
    """Whether the product of stacked (heads, rows, inputs) and (heads, inputs, outputs) gets all threads, or one."""
    return 2 * heads * rows * inputs * outputs >= LARGE


@contextlib.contextmanager
def suited(device: str, numbers: int, classes: int) -> Iterator[None]:
    """As many threads as the products of so many numbers of features with coefficients of `classes` are worth: a head
    without epochs takes some hundred of them one after the other."""
    alone = device == "cpu" and 2 * numbers * classes < SMALL
    with limited(1) if alone else contextlib.nullcontext():
        yield


def run_groups(work: Sequence[Callable[[Callable[[], None]], T]]) -> list[T]:
    """The results of several pieces of work, each on one thread, as many at a time as torch would use for one operation.

    Each is given a function to call now and then, which raises Stopped once another has failed or this thread has been
    interrupted.
    """
    stop = threading.Event()

    def check() -> None:
        if stop.is_set():
            raise Stopped

    with _OURS:
        most = torch.get_num_threads()
        with limited(1), ThreadPoolExecutor(most) as pool:  # its threads are new, and begin with the number of torch's last
            futures = [pool.submit(piece, check) for piece in work]
            try:
                return [future.result() for future in futures]
            except BaseException:
                stop.set()
                pool.shutdown(cancel_futures=True)
                raise
