"""What a device can do at most, and what one image needs of it."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any


def matmul(options: dict[str, str]) -> dict[str, float]:
    """The rates of the device, and the needs of an image of `image_size` px in the backbone.

    `fp32` and `bf16`: FLOP/s of the best of several square products. There is no `bf16` where the device has no
    instructions for it: PyTorch would take minutes, a hundred times as long as in fp32. `copy`: bytes/s read and written
    when a large tensor is copied within the device's memory. `pinned_copy`, on CUDA: bytes/s from pinned host memory.
    `flops`, `traffic`: the operations, and the bytes moved at least, of one image in the backbone.
    """
    import torch

    from headstart.core.extract.backbones import get_backbone
    from headstart.core.extract.network.summary import summarise

    device, backbone, size = device_of(options), get_backbone(options["model"]), int(options["image_size"])
    side = 8192 if device.startswith("cuda") else 2048
    found = {}
    dtypes = {"fp32": torch.float32, **({"bf16": torch.bfloat16} if multiplies_bf16(device) else {})}
    for name, dtype in dtypes.items():
        square = torch.randn(side, side, device=device).to(dtype)
        found[name] = 2 * side**3 / fastest(functools.partial(torch.mm, square, square), device)
    found |= copy_rates(device)
    return {**found, "flops": float(summarise(backbone, size).flops), "traffic": traffic(backbone, size, options)}


def copy_rates(device: str) -> dict[str, float]:
    """Bytes per second of large copies: 2 GiB on a GPU, 128 MiB on a CPU, several times what caches hold."""
    import torch

    cuda = device.startswith("cuda")
    count = 2**31 if cuda else 2**27
    source = torch.ones(count, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    rates = {"copy": 2 * count / fastest(lambda: target.copy_(source), device)}  # each byte is read, and written
    if cuda:
        host = torch.ones(2**28, dtype=torch.uint8).pin_memory()
        part = target[: 2**28]
        rates["pinned_copy"] = 2**28 / fastest(lambda: part.copy_(host, non_blocking=True), device)
    return rates


def traffic(backbone: Any, image_size: int, options: dict[str, str]) -> float:
    """The bytes that one image moves at least: each convolution and pooling reads its input and writes its output once.

    Everything between them would be fused at best; weights are shared by a batch and do not count.
    """
    import torch
    from torch import nn

    from headstart.core.extract.network.devices import resolve

    with torch.device("meta"):
        body = backbone.body().eval()
        image = torch.empty(1, 3, image_size, image_size)
    numbers = 0

    def count(module: nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
        nonlocal numbers
        numbers += inputs[0].numel() + output.numel()

    for module in body.modules():
        if isinstance(module, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d):
            module.register_forward_hook(count)
    with torch.inference_mode():
        body(image)
    low = resolve(options["device"], options["precision"]).precision in ("bf16", "fp16")
    return float(numbers * (2 if low else 4))


def fastest(work: Callable[[], object], device: str) -> float:
    """The least seconds of several runs: what the device can do, not what it did beside a neighbour."""
    seconds = []
    for _ in range(8):
        synchronize(device)
        started = time.perf_counter()
        work()
        synchronize(device)
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def device_of(options: dict[str, str]) -> str:
    from headstart.core.extract.network.devices import resolve

    return resolve(options["device"], "fp32").name


def multiplies_bf16(device: str) -> bool:
    """Whether the device has instructions for bf16: those that have are given it by `--precision auto`."""
    from headstart.core.extract.network.devices import resolve

    return resolve(device, "auto").precision == "bf16"


def synchronize(device: str) -> None:
    import torch

    if device.startswith("cuda"):
        torch.cuda.synchronize()
