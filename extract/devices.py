"""Where to compute and in which precision, decided without importing torch where no GPU driver is there."""

import ctypes
import dataclasses
import functools
import os
import platform
import re
import sys
from pathlib import Path
from typing import Any

from cache.errors import DeviceUnavailable

_BATCHES = {"cpu": (16, 32, 8), "mps": (64, 128), "cuda": (256, 512)}
"""Images per forward pass where the user leaves it to us: the first for a short run, the fastest of them for a long one.
On two CPU cores 16 was faster than 32 or 64 (ResNet50, bf16), and VGG19 lost half its speed at 32."""

_EXACT_CPU = (8, 16, 32)
"""The same on a CPU in fp32, where 8 gave 18.2, 7.3 and 42.6 images/s and 16 gave 14.6, 6.0 and 37.6 (DenseNet169,
ResNet152, ResNet18)."""


@dataclasses.dataclass(frozen=True)
class Device:
    """A device torch knows (`cpu`, `cuda:0`, `mps`), the precision to use on it, and its name for people."""

    name: str
    precision: str
    description: str

    @property
    def kind(self) -> str:
        """`cpu`, `cuda` or `mps`."""
        return self.name.partition(":")[0]

    def batch_size(self, asked: int | None) -> int:
        """Images per forward pass where nothing was measured."""
        return asked or self.batch_sizes[0]

    @property
    def batch_sizes(self) -> tuple[int, ...]:
        """The batch sizes worth trying, the one for short runs first."""
        return _EXACT_CPU if (self.kind, self.precision) == ("cpu", "fp32") else _BATCHES[self.kind]

    @property
    def engines(self) -> tuple[str, ...]:
        """The engines worth trying, the one for short runs first. The exact precisions stay torchvision's own graph."""
        exact = self.precision in ("fp32", "tf32") or self.kind == "mps"
        return ("eager",) if exact else ("eager", "compiled")


def resolve(device: str, precision: str) -> Device:
    """The device and precision to use. Raises DeviceUnavailable for one that is not here.

    `auto` is CUDA, else Apple's GPU, else the CPU; precision `auto` is bf16 where the hardware multiplies in it, else fp32.
    """
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", device):
        raise DeviceUnavailable(f"--device {device}: unknown, expected auto, cpu, cuda, cuda:N or mps")
    name = _choose(device)
    kind = name.partition(":")[0]
    if precision == "auto":
        precision = "bf16" if _has_bf16(name) else "fp32"
    if precision == "tf32" and kind != "cuda":
        raise DeviceUnavailable(f"--precision tf32: only CUDA devices have it, this is {name}; use fp32 or auto")
    if precision == "fp16" and kind == "cpu":
        raise DeviceUnavailable("--precision fp16: too slow to be of use on a CPU; use bf16, fp32 or auto")
    return Device(name, precision, _describe(name))


def _choose(device: str) -> str:
    if device == "auto":
        return "cuda:0" if _has_cuda() else "mps" if _has_mps() else "cpu"
    if device.startswith("cuda"):
        index = int(device.partition(":")[2] or 0)
        count = _torch().cuda.device_count() if _has_cuda() else 0
        if index >= count:
            raise DeviceUnavailable(f"--device {device}: {count} CUDA devices found here; use --device auto")
        return f"cuda:{index}"
    if device == "mps" and not _has_mps():
        raise DeviceUnavailable("--device mps: not available here; use --device auto")
    return device


def _torch() -> Any:
    import torch

    return torch


@functools.cache
def _has_cuda() -> bool:
    """No driver library, no CUDA: that answer costs microseconds, while importing torch costs two seconds."""
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return bool(_torch().cuda.is_available())


@functools.cache
def _has_mps() -> bool:
    return sys.platform == "darwin" and bool(_torch().backends.mps.is_available())


def _has_bf16(name: str) -> bool:
    if name.startswith("cuda"):
        return bool(_torch().cuda.get_device_capability(name)[0] >= 8)  # Ampere brought bf16 tensor cores
    return name == "cpu" and bool({"avx512_bf16", "amx_bf16"} & _cpu_flags())


@functools.cache
def _cpu_info() -> str:
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _cpu_flags() -> set[str]:
    match = re.search(r"^flags\s*:(.*)$", _cpu_info(), re.MULTILINE)
    return set(match[1].split()) if match else set()


def _describe(name: str) -> str:
    if name.startswith("cuda"):
        return str(_torch().cuda.get_device_name(name))
    match = re.search(r"^model name\s*:\s*(.*)$", _cpu_info(), re.MULTILINE)
    model = match[1] if match else platform.processor() or platform.machine()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{model}, {cores} cores" if name == "cpu" else f"{model} GPU"
