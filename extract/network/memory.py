"""Memory that runs out, which torch says in different words in each of its parts, as one error of ours."""

import contextlib
from collections.abc import Iterator

import torch

from headstart.core.cache.errors import OutOfMemory

_WORDS = (
    "out of memory",  # CUDA's allocator, a CUDA error, MPS
    "can't allocate memory",  # the CPU's allocator
    "not enough memory",  # the same on Windows
    "ALLOC_FAILED",  # cuBLAS and cuDNN
    "could not create a memory",  # oneDNN
    "bad_alloc",  # C++
)


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error means that memory ran out."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(words in str(error) for words in _WORDS)


@contextlib.contextmanager
def memory_errors(device: str, batch_size: int) -> Iterator[None]:
    """Memory that runs out inside becomes OutOfMemory, with the way out."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        smaller = f"--batch-size {batch_size // 2} or " if batch_size > 1 else ""
        way_out = f"use {smaller}a smaller --image-size"
        raise OutOfMemory(f"{device}: out of memory with {batch_size} images at once; {way_out}") from error
