"""Pixels from the host to a CUDA device beside what the device computes: a ring of pinned buffers and a stream for copies.

A copy from ordinary memory stops the host, and pinning memory costs more than the copy
(https://docs.pytorch.org/docs/stable/notes/cuda.html#use-pinned-memory-buffers): so the buffers are pinned once.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import torch
    from torch import Tensor

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
        import torch

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
        import torch

        if not self._slots or self._slots[0][0].shape != shape:
            self._slots = [
                (torch.empty(shape, dtype=torch.uint8, pin_memory=True), torch.cuda.Event()) for _ in range(BUFFERS)
            ]
            self._stream = self._stream or torch.cuda.Stream(device)
        self._next = (self._next + 1) % BUFFERS
        return self._slots[self._next]
