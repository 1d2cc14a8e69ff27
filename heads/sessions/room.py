"""Whether the rows of a training fit into memory: that which is given, or that which is free."""

from pathlib import Path

from headstart.core.cache.errors import OutOfMemory
from headstart.core.heads.config import TrainConfig
from headstart.core.heads.data import Pair

_TIMES = 5
"""How often the training features are in memory as numbers of 4 bytes while heads are chosen on them: as read,
standardised, the part that is learned from as it is and standardised, and what is computed from it."""
_CGROUP = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current"))
_MEMINFO = Path("/proc/meminfo")


def fits(pair: Pair, config: TrainConfig, memory: int | None) -> bool:
    """Whether to train with all rows in memory: where no `memory` is given, in bytes, or where they fit into it. Raises
    OutOfMemory where none is given and the features alone are more than is free."""
    if memory is not None:
        return needed(pair, config) <= memory
    least, free = _numbers(pair) * 4, available()
    if free is not None and least > free:
        raise OutOfMemory(
            f"{pair.train.folder}: its features take {least / 1e9:,.1f} GB or more in memory, {free / 1e9:,.1f} GB are "
            f"free; --memory {max(1, int(free / 2e9))}GB trains on blocks of them"
        )
    return True


def limit(memory: int | None) -> int:
    """The memory that was given. Raises ValueError where none was."""
    if memory is None:
        raise ValueError("no memory was given")
    return memory


def needed(pair: Pair, config: TrainConfig) -> int:
    """About how many bytes a training on all rows at once takes."""
    test = 0 if pair.test is None else pair.test.manifest.rows * pair.test.manifest.feature_dim
    return 4 * (test + (_TIMES + len(config.views)) * (_numbers(pair) - test) * (1 + len(config.views)))


def _numbers(pair: Pair) -> int:
    return sum(one.manifest.rows * one.manifest.feature_dim for one in pair.sets)


def available() -> int | None:
    """Bytes that a program can take without others being put to the disk: Linux' estimate, and what a control group leaves;
    None where the system does not tell."""
    try:
        lines = _MEMINFO.read_text(encoding="ascii").splitlines()
        found = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, ValueError, StopIteration):
        return None
    try:
        most, used = (path.read_text(encoding="ascii").strip() for path in _CGROUP)
        return found if most == "max" else min(found, int(most) - int(used))
    except (OSError, ValueError):
        return found
