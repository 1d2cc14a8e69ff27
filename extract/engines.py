"""How a network is run: as torch runs it, or compiled for one batch shape. Adding an engine is a function in `ENGINES`.

torch.compile needs a C++ compiler on a CPU. Its code is kept between runs in a folder of the user's own: inductor's default
is a predictable name below /tmp, where anybody may have put code before us.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from cache.errors import DeviceUnavailable

Network = Callable[[Tensor], Tensor]
Example = Callable[[], Tensor]
"""Draws a batch of the one shape that the network will be given."""

AGREEMENT = 0.999
"""The least cosine between a compiled network's feature map and the eager one's over a batch; bf16 gave 0.9999 (ResNet50).
Triton's convolution templates gave wrong results in torch before 2.13: nothing compiled is used on trust."""


def eager(body: nn.Module, example: Example) -> Network:
    """The network as it is."""
    return body


def compiled(body: nn.Module, example: Example) -> Network:
    """The network compiled by inductor for batches like the `example`, parameters frozen into it, and compared with eager.

    Raises DeviceUnavailable where the compiler is missing or fails, or where the results differ.
    """
    import torch._inductor.config as inductor

    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(code_folder()))
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # says that a CPU has no CUDA
    network: Network = torch.compile(body, dynamic=False, fullgraph=True)
    batch = example()
    try:
        # read while tracing, so it must be set here and not in torch.compile's options; no worker processes: a Ctrl-C in
        # a terminal would reach them too
        with torch.inference_mode(), inductor.patch(freezing=True, compile_threads=1):
            found = network(batch)
    except Exception as error:  # dynamo, inductor and the C++ compiler each raise their own kinds
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise DeviceUnavailable(f"compiling failed ({reason[0][:200]}); use --engine eager") from error
    with torch.inference_mode():
        likeness = functional.cosine_similarity(body(batch).double().flatten(1), found.double().flatten(1))
    if not float(likeness.min()) >= AGREEMENT:
        raise DeviceUnavailable(
            f"the compiled network's features have a cosine of {float(likeness.min()):.5f} with the eager one's, "
            f"expected {AGREEMENT} or more; use --engine eager"
        )
    return network


def code_folder() -> Path:
    """Where compiled code is kept, by the XDG convention."""
    return Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "headstart" / "inductor"


ENGINES: Mapping[str, Callable[[nn.Module, Example], Network]] = {"eager": eager, "compiled": compiled}
