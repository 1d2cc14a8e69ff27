"""How a network is run: as torch runs it, or compiled for one batch shape. Adding an engine is a function in `ENGINES`.

torch.compile needs a C++ compiler on a CPU. Its code is kept between runs in a folder of the user's own: inductor's default
is a predictable name below /tmp, where anybody may have put code before us.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from cache.errors import DeviceUnavailable

Network = Callable[[Tensor], Tensor]
Example = Callable[[], Tensor]
"""Draws a batch of the one shape that the network will be given."""

TOLERANCE = 0.045
"""The largest difference of a compiled network's feature map from the eager one's, as a part of its norm, for each image of
a batch: a cosine of 0.999, and a wrong scale shows as well. bf16 gave a cosine of 0.9999 (ResNet50).
Triton's convolution templates gave wrong results in torch before 2.13: nothing compiled is used on trust."""

NETWORKS = 256
"""Networks of one class that a process may compile: torch stops at 8, counting those that are gone too."""

_CODE = "TORCHINDUCTOR_CACHE_DIR"


def eager(body: nn.Module, example: Example) -> Network:
    """The network as it is."""
    return body


def compiled(body: nn.Module, example: Example) -> Network:
    """The network compiled by inductor for batches like the `example`, parameters frozen into it, and compared with eager.

    Raises DeviceUnavailable where the compiler is missing or fails, or where the results differ; torch's own error where
    memory runs out.
    """
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # says that a CPU has no CUDA
    with (
        torch.inference_mode()
    ):  # as every batch will be: torch would compile again, unchecked, for tensors of another kind
        batch = example()
    try:
        _keep_code()
        import torch._dynamo.config as dynamo
        import torch._inductor.config as inductor

        network: Network = torch.compile(body, dynamic=False, fullgraph=True)
        # read while tracing, so it must be set here and not in torch.compile's options; no worker processes: a Ctrl-C in
        # a terminal would reach them too; no precompiled headers: they lie below /tmp wherever the code is kept
        settings = inductor.patch(freezing=True, compile_threads=1, cpp_cache_precompile_headers=False)
        with torch.inference_mode(), dynamo.patch(recompile_limit=NETWORKS), settings:
            found = network(batch)
    except (torch.OutOfMemoryError, MemoryError):
        raise  # a smaller batch may fit: another engine is not the way out
    except Exception as error:  # dynamo, inductor and the C++ compiler each raise their own kinds
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise DeviceUnavailable(f"compiling failed ({reason[0][:200]}); use --engine eager") from error
    with torch.inference_mode():
        difference = _difference(body(batch), found)
    if not difference <= TOLERANCE:  # nor is what is no number
        raise DeviceUnavailable(
            f"the compiled network's features are {difference:.1%} off the eager one's, "
            f"expected {TOLERANCE:.1%} or less; use --engine eager"
        )
    return network


def _difference(expected: Tensor, found: Tensor) -> float:
    """The largest distance of an image's feature map from what is expected, in norms of the latter."""
    exact = expected.double().flatten(1)
    return float(((found.double().flatten(1) - exact).norm(dim=1) / exact.norm(dim=1)).max())


def steps(body: nn.Module) -> list[nn.Module]:
    """The modules that, one after the other, do what the body does: Sequentials taken apart, down to a block or a layer."""
    if type(body).forward is not nn.Sequential.forward:
        return [body]
    return [step for child in body.children() for step in steps(child)]


def code_folder() -> Path:
    """Where compiled code is kept, by the XDG convention: a variable that is empty or no absolute path counts as none."""
    named = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (named if named.is_absolute() else Path.home() / ".cache") / "headstart" / "inductor"


def _keep_code() -> None:
    """Have inductor keep its code in our folder unless the user named one. Raises OSError.

    Called before inductor is imported, since its import takes and makes its default; a training's optimiser may have
    imported it already.
    """
    chosen = os.environ.get(_CODE, "")
    if chosen and not chosen.startswith(os.path.join(tempfile.gettempdir(), "torchinductor_")):
        return
    code_folder().mkdir(mode=0o700, parents=True, exist_ok=True)
    os.environ[_CODE] = str(code_folder())


ENGINES: Mapping[str, Callable[[nn.Module, Example], Network]] = {"eager": eager, "compiled": compiled}
