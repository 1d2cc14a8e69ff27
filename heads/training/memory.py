"""Whether heads have room: asked before a training where it can be told, and said in one line where memory runs out."""

import contextlib
import os
from collections.abc import Iterator, Sequence

from headstart.core.cache.errors import HeadstartError, OutOfMemory
from headstart.core.heads.config import TrainConfig
from headstart.core.heads.kinds import kind
from headstart.core.heads.kinds.base import layer_shapes

_SIGNS = (
    "out of memory",  # CUDA's allocator, a CUDA error, MPS
    "can't allocate memory",  # the CPU's allocator
    "not enough memory",  # the same on Windows
    "invalid buffer size",  # MPS
    "alloc_failed",  # cuBLAS and cuDNN
    "could not create a memory",  # oneDNN
    "bad_alloc",  # C++
    "storage size calculation overflowed",  # more bytes than a number of 64 bits counts
    "integer multiplication overflow",
    "integer out of range",
)


def check(configs: Sequence[TrainConfig], rows: int, dim: int, classes: int, device: str) -> None:
    """Raise OutOfMemory where the parameters, gradients and batches of heads on `rows` rows (N, D) are more than all the
    memory of the machine: the system would promise it and end the program later. Other devices refuse by themselves."""
    there = _physical() if device == "cpu" else None
    needed = sum(_needed(config, rows, dim, classes) for config in configs if config.trained_by_gradient)
    if there is not None and needed > there:
        reason = f"at least {needed / 1e9:,.1f} GB, this machine has {there / 1e9:,.1f} GB"
        raise OutOfMemory(_message(configs, dim, classes, reason))


def _needed(config: TrainConfig, rows: int, dim: int, classes: int) -> int:
    shapes = layer_shapes(dim, classes, config)
    parameters = sum(inputs * outputs for inputs, outputs in shapes)
    batch = min(config.batch_size, rows) * (dim + 2 * sum(outputs for _, outputs in shapes))
    return 4 * (5 * parameters + batch)  # the head, its place in a stack, its gradient and Adam's two moments


def _physical() -> int | None:
    """Bytes of the machine's memory, None where the system does not tell."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


@contextlib.contextmanager
def known_errors(configs: Sequence[TrainConfig], dim: int, classes: int) -> Iterator[None]:
    """Turn what libraries raise where memory runs out into OutOfMemory."""
    try:
        yield
    except HeadstartError:
        raise
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and not any(sign in str(error).lower() for sign in _SIGNS):
            raise
        raise OutOfMemory(_message(configs, dim, classes, str(error).partition("\n")[0] or "out of memory")) from error


def _message(configs: Sequence[TrainConfig], dim: int, classes: int, reason: str) -> str:
    config = configs[0]
    what = (
        f"{len(configs):,} {config.head} head{'s' if len(configs) > 1 else ''} of {dim:,} features and {classes:,} classes"
    )
    if not config.trained_by_gradient:
        return f"{what}: no room ({reason}); use fewer rows (--train-limit), or --head linear"
    hidden = f", --hidden {config.hidden}" if "hidden" in kind(config.head).uses else ""
    return f"{what}{hidden}, --batch-size {config.batch_size}: no room ({reason}); try smaller numbers, or fewer --seeds"
