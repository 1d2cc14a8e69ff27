"""Where to compute and in which precision, decided without importing torch where no GPU driver is there."""

import ctypes
import dataclasses
import functools
import importlib.util
import os
import platform
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from headstart.core.cache.errors import DeviceUnavailable

_BATCHES = {"cpu": (16, 32, 8), "mps": (64, 128), "cuda": (256, 512), "xpu": (256, 512)}
"""Images per forward pass where the user leaves it to us: the first for a short run, the fastest of them for a long one.
On two CPU cores 16 was faster than 32 or 64 (ResNet50, bf16), and VGG19 lost half its speed at 32."""

_EXACT_CPU = (8, 16, 32)
"""The same on a CPU in fp32, where 8 gave 18.2, 7.3 and 42.6 images/s and 16 gave 14.6, 6.0 and 37.6 (DenseNet169,
ResNet152, ResNet18)."""

_COMPILED_CPU = (16, 32)
"""The same for a compiled network, whose threads share a batch: on two cores 16 gave 4 to 10 % more than 8 (ResNet50)."""


@dataclasses.dataclass(frozen=True)
class Device:
    """A device torch knows (`cpu`, `cuda:0`, `mps`, `xpu:0`), the precision to use on it, and its name for people.

    `notes` are what must be said where it is used.
    """

    name: str
    precision: str
    description: str
    notes: tuple[str, ...] = dataclasses.field(default=(), compare=False)

    @property
    def kind(self) -> str:
        """`cpu`, `cuda`, `mps` or `xpu`."""
        return self.name.partition(":")[0]

    def batch_size(self, asked: int | None) -> int:
        """Images per forward pass where nothing was measured."""
        return asked or self.batch_sizes("eager")[0]

    def batch_sizes(self, engine: str) -> tuple[int, ...]:
        """The batch sizes worth trying with an engine, the one to begin with first."""
        if self.kind != "cpu":
            return _BATCHES[self.kind]
        if engine == "compiled":
            return _COMPILED_CPU
        return _EXACT_CPU if self.precision == "fp32" else _BATCHES["cpu"]

    @property
    def engines(self) -> tuple[str, ...]:
        """The engines worth trying, the one for short runs first. The exact precisions stay torchvision's own graph."""
        exact = self.precision in ("fp32", "tf32") or self.kind == "mps"
        return ("eager",) if exact else ("eager", "compiled")


def resolve(device: str, precision: str) -> Device:
    """The device and precision to use. Raises DeviceUnavailable for one that is not here.

    `auto` is CUDA (which AMD's GPUs are to torch, too), else Intel's GPU, else Apple's, else the CPU; precision `auto` is
    bf16 where the hardware multiplies in it, else fp16 where it does on CUDA, else fp32.
    """
    if not re.fullmatch(r"auto|cpu|mps|(cuda|xpu)(:\d+)?", str(device)):
        raise DeviceUnavailable(f"--device {device}: unknown, expected auto, cpu, cuda, cuda:N, xpu, xpu:N or mps")
    name, notes = _choose(device)
    if precision == "auto":
        precision = _fast_precision(name)
    if precision == "tf32" and precision not in _precisions(name):
        raise DeviceUnavailable(f"--precision tf32: only CUDA devices have it, this is {name}; use fp32 or auto")
    if precision not in _precisions(name):
        raise DeviceUnavailable(f"--precision {precision}: too slow to be of use on a CPU; use bf16, fp32 or auto")
    return Device(name, precision, _describe(name), notes)


def resolve_like(device: str, precision: str) -> Device:
    """The device for images whose features must be of the same kind as features of this precision: in it or, where the
    device has not got it, in fp32, with a note. Raises DeviceUnavailable for a device that is not here."""
    found = resolve(device, "fp32")
    if precision in _precisions(found.name):
        return dataclasses.replace(found, precision=precision)
    remark = f"the head learned from {precision} features, which {found.name} has not got: its features here are of fp32"
    return dataclasses.replace(found, notes=(*found.notes, remark))


def _precisions(name: str) -> tuple[str, ...]:
    """The precisions that can be asked for."""
    kind = name.partition(":")[0]
    return {"cuda": ("fp32", "tf32", "bf16", "fp16"), "cpu": ("fp32", "bf16")}.get(kind, ("fp32", "bf16", "fp16"))


def _choose(device: str) -> tuple[str, tuple[str, ...]]:
    """The device's name, and what must be said of the choice."""
    if device == "auto":
        device = "cuda" if _has_cuda() else "xpu" if _has_xpu() else "mps" if _has_mps() else "cpu"
    kind, _, number = device.partition(":")
    if kind in ("cuda", "xpu"):
        index, there = int(number or 0), _has_cuda() if kind == "cuda" else _has_xpu()
        count = getattr(_torch(), kind).device_count() if there else 0
        if index >= count:
            raise DeviceUnavailable(f"--device {device}: {count} {kind.upper()} devices found here; use --device auto")
        several = count > 1 and not number
        notes = (f"one of {count} GPUs is used, {kind}:{index}; --device {kind}:N takes another",) if several else ()
        return f"{kind}:{index}", notes
    if device == "mps" and not _has_mps():
        raise DeviceUnavailable("--device mps: not available here; use --device auto")
    return device, ()


def count(kind: str) -> int:
    """How many devices of a kind are here: `cuda` or `xpu`."""
    there = _has_cuda() if kind == "cuda" else _has_xpu()
    return getattr(_torch(), kind).device_count() if there else 0


def _torch() -> Any:
    import torch

    return torch


_CUDA = ("nvcuda.dll",) if sys.platform == "win32" else ("libcuda.so.1", "libamdhip64.so*")
"""The drivers' libraries that `torch.cuda` needs: NVIDIA's, or AMD's HIP, which ROCm's torch brings along."""

_XPU = ("ze_loader.dll",) if sys.platform == "win32" else ("libze_loader.so.1",)
"""Intel's: the loader of Level Zero."""


@functools.cache
def _has_cuda() -> bool:
    """No driver library, no CUDA: that answer costs microseconds, while importing torch costs two seconds."""
    return _has_library(_CUDA) and bool(_torch().cuda.is_available())


@functools.cache
def _has_xpu() -> bool:
    if not _has_library(_XPU):
        return False
    xpu = getattr(_torch(), "xpu", None)
    return bool(xpu and xpu.is_available())


@functools.cache
def _has_mps() -> bool:
    return sys.platform == "darwin" and bool(_torch().backends.mps.is_available())


def _has_library(names: Sequence[str]) -> bool:
    """Whether torch brings one of the libraries along, or the system's loader finds it. A name may end in `*`."""
    beside_torch = any(next(folder.glob(name), None) for folder in _library_folders() for name in names)
    return beside_torch or any(_loads(name.removesuffix("*")) for name in names)


def _loads(name: str) -> bool:
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


def _library_folders() -> list[Path]:
    """Where libraries lie that the loader does not know: beside torch, which is found without importing it, and ROCm's."""
    found = importlib.util.find_spec("torch")
    places = found.submodule_search_locations or () if found else ()
    return [*(Path(place) / "lib" for place in places), Path("/opt/rocm/lib")]


def _fast_precision(name: str) -> str:
    """The precision in which the device multiplies fastest and nearly as well."""
    kind = name.partition(":")[0]
    if kind == "cuda":
        return _cuda_precision(name)
    if kind == "xpu":
        return "bf16"
    return "bf16" if kind == "cpu" and {"avx512_bf16", "amx_bf16", "bf16"} & _cpu_flags() else "fp32"


def _cuda_precision(name: str) -> str:
    torch = _torch()
    if torch.version.hip:  # AMD's own names: bf16 came with the matrix units of gfx908, and with gfx11 outside data centres
        architecture = str(torch.cuda.get_device_properties(name).gcnArchName)
        return "bf16" if re.match(r"gfx(908|90a|9[45]|1[12])", architecture) else "fp16"
    capability = torch.cuda.get_device_capability(name)
    if capability >= (8, 0):  # Ampere brought bf16 tensor cores
        return "bf16"
    # Volta and Turing have fp16 tensor cores; of those before them only 5.3, 6.0 and 6.2 are fast in fp16
    return "fp16" if capability >= (7, 0) or capability in ((5, 3), (6, 0), (6, 2)) else "fp32"


@functools.cache
def _cpu_info() -> str:
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _cpu_flags() -> set[str]:
    """What the processor has: x86 calls it `flags`, Arm `Features`."""
    match = re.search(r"^(?:flags|Features)\s*:(.*)$", _cpu_info(), re.MULTILINE)
    return set(match[1].split()) if match else set()


def _describe(name: str) -> str:
    kind = name.partition(":")[0]
    if kind in ("cuda", "xpu"):
        return str(getattr(_torch(), kind).get_device_name(name))
    match = re.search(r"^model name\s*:\s*(.*)$", _cpu_info(), re.MULTILINE)
    model = match[1] if match else platform.processor() or platform.machine()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{model}, {cores} cores" if name == "cpu" else f"{model} GPU"
