"""Several batches at once on a CPU, each on its share of the threads.

Threads that share one batch wait for each other after every layer. On two cores ResNet50 in fp32 ran at 16.2 images/s that
way and at 19.1 with a batch for each core; beside another program that wanted a core, at 5.9 and 13.0 (bf16: 16.4 and 30.3;
medians of two rounds, 16 images at once, 8 in fp32).
"""

import concurrent.futures
import functools
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
import torch

MOST = 8
"""Each lane holds a batch's feature maps; one of VGG16's largest in fp32 is 8 x 64 x 224 x 224 x 4 bytes, 103 MB."""

Check = Callable[[], None]
"""Raises Stopped once nobody waits for the batch any more; called between layers."""


class Stopped(Exception):
    """The batch was dropped."""


def count() -> int:
    """How many batches this processor computes at once: one for each thread that torch would use, up to `MOST`."""
    return min(torch.get_num_threads(), MOST)


class InLane:
    """A batch on its way through a lane: an `extract.tune.Pending`."""

    def __init__(self, compute: Callable[[Check], npt.NDArray[np.float32]]) -> None:
        self._dropped = threading.Event()
        self._future = _pool(count(), torch.get_num_threads() // count()).submit(compute, self._check)

    def result(self) -> npt.NDArray[np.float32]:
        """Its features, as soon as they are there; raises what computing them raised."""
        return self._future.result()

    def cancel(self) -> None:
        """Drop it; returns once no lane works on it."""
        self._dropped.set()
        if not self._future.cancel():
            concurrent.futures.wait([self._future])

    def _check(self) -> None:
        if self._dropped.is_set():
            raise Stopped


@functools.cache
def _pool(lanes: int, threads: int) -> ThreadPoolExecutor:
    """Threads live until the program ends: a new one would start OpenMP's own threads again."""
    return ThreadPoolExecutor(lanes, "lane", initializer=torch.set_num_threads, initargs=(threads,))
