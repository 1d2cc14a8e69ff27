"""Whether CUDA's convolutions may use TF32, which torch keeps in one switch for the whole process.

PyTorch's default would use it for the convolutions of `fp32` as well.
"""

import contextlib
import threading
from collections.abc import Iterator

import torch

_CHANGED = threading.Condition()
_inside = 0
_before = False


@contextlib.contextmanager
def tf32_allowed(allow: bool) -> Iterator[None]:
    """Set the switch for the calls made inside. Threads that want the same run side by side, others wait for them; the last
    to leave puts back what was there."""
    global _inside, _before
    switch = torch.backends.cudnn
    with _CHANGED:
        _CHANGED.wait_for(lambda: _inside == 0 or switch.allow_tf32 == allow)
        if _inside == 0:
            _before, switch.allow_tf32 = switch.allow_tf32, allow
        _inside += 1
    try:
        yield
    finally:
        with _CHANGED:
            _inside -= 1
            if _inside == 0:
                switch.allow_tf32 = _before
                _CHANGED.notify_all()
