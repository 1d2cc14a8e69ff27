"""What only CUDA devices need: the switch for TF32, and copies of pixels beside what the device computes.

torch keeps the switch for the whole process, and by default uses TF32 for the convolutions of `fp32` as well. A copy from
ordinary memory stops the host, and pinning memory costs more than the copy
(https://docs.pytorch.org/docs/stable/notes/cuda.html#use-pinned-memory-buffers): so buffers are pinned once, in a ring.
"""

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

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


BUFFERS = 3
"""One being filled, one being copied, one whose copy must have come."""


class Ring:
    """Buffers of one shape, made at the first batch and again where the shape changes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._slots: list[tuple[Tensor, torch.cuda.Event]] = []
        self._next = 0
        self._stream: Any = None

    def to_device(self, images: npt.NDArray[np.uint8], device: str) -> Tensor:
        """uint8 images to the same on the device, ready for what the current stream does next."""
        with self._lock:
            buffer, copied = self._slot(images.shape, device)
            copied.synchronize()  # an event that was never recorded has come already
            np.copyto(buffer.numpy(), images)
            with torch.cuda.stream(self._stream):
                pixels = buffer.to(device, non_blocking=True)
                copied.record(self._stream)
            current = torch.cuda.current_stream(device)
            current.wait_event(copied)
            pixels.record_stream(current)  # made in one stream and used in another: its memory must not be reused too soon
            return pixels

    def _slot(self, shape: tuple[int, ...], device: str) -> tuple[Tensor, torch.cuda.Event]:
        if not self._slots or self._slots[0][0].shape != shape:
            self._slots = [
                (torch.empty(shape, dtype=torch.uint8, pin_memory=True), torch.cuda.Event()) for _ in range(BUFFERS)
            ]
            self._stream = self._stream or torch.cuda.Stream(device)
        self._next = (self._next + 1) % BUFFERS
        return self._slots[self._next]
