"""How a network is run: as torch runs it, or compiled for one batch shape. Adding an engine is a function in `ENGINES`.

torch.compile needs a C++ compiler on a CPU. Its code is kept between runs in a folder of the user's own: inductor's default
is a predictable name below /tmp, where anybody may have put code before us.
"""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from headstart.core.cache.errors import DeviceUnavailable
from headstart.core.extract.network.memory import is_out_of_memory

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
_ONE_AT_A_TIME = threading.RLock()


def eager(body: nn.Module, example: Example) -> Network:
    """The network as it is."""
    return body


def compiled(body: nn.Module, example: Example) -> Network:
    """The network compiled by inductor for batches like the `example`, parameters frozen into it, and compared with eager.

    Raises DeviceUnavailable where the compiler is missing or fails, or where the results differ; torch's own error where
    memory runs out.
    """
    with (
        torch.inference_mode()
    ):  # as every batch will be: torch would compile again, unchecked, for tensors of another kind
        batch = example()
    try:
        with _surroundings():
            network, found = _compiled(body, batch)
    except Exception as error:  # dynamo, inductor and the C++ compiler each raise their own kinds
        if is_out_of_memory(error):
            raise  # a smaller batch may fit: another engine is not the way out
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


def _compiled(body: nn.Module, batch: Tensor) -> tuple[Network, Tensor]:
    """The network, compiled by its first batch, and what it gave for it."""
    import torch._dynamo.config as dynamo
    import torch._inductor.config as inductor

    network: Network = torch.compile(body, dynamic=False, fullgraph=True)
    # read while tracing, so it must be set here and not in torch.compile's options; no worker processes: a Ctrl-C in
    # a terminal would reach them too; no precompiled headers: they lie below /tmp wherever the code is kept
    settings = inductor.patch(freezing=True, compile_threads=1, cpp_cache_precompile_headers=False)
    with torch.inference_mode(), dynamo.patch(recompile_limit=NETWORKS), settings:
        return network, network(batch)


@contextlib.contextmanager
def _surroundings() -> Iterator[None]:
    """What belongs to the whole process as compiling needs it, for one thread at a time; then as before. Raises OSError.

    Entered before inductor is imported, since its import takes and makes its default folder; a training's optimiser may
    have imported it already.
    """
    with _ONE_AT_A_TIME:
        logger, before = logging.getLogger("torch.utils.cpp_extension"), os.environ.get(_CODE)
        level = logger.level
        try:
            logger.setLevel(logging.ERROR)  # it says that a CPU has no CUDA
            os.environ[_CODE] = _code_kept(before or "")
            yield
        finally:
            logger.setLevel(level)
            if before is None:
                os.environ.pop(_CODE, None)
            else:
                os.environ[_CODE] = before


def _difference(expected: Tensor, found: Tensor) -> float:
    """The largest distance of an image's feature map from what is expected, in norms of the latter."""
    exact = expected.double().flatten(1)
    norms = exact.norm(dim=1).clamp_min(torch.finfo(torch.float32).tiny)  # a map of zeros has none
    return float(((found.double().flatten(1) - exact).norm(dim=1) / norms).max())


def steps(body: nn.Module) -> list[nn.Module]:
    """The modules that, one after the other, do what the body does: Sequentials taken apart, down to a block or a layer."""
    if type(body).forward is not nn.Sequential.forward:
        return [body]
    return [step for child in body.children() for step in steps(child)]


def code_folder() -> Path:
    """Where compiled code is kept, by the XDG convention: a variable that is empty or no absolute path counts as none."""
    named = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (named if named.is_absolute() else Path.home() / ".cache") / "headstart" / "inductor"


def _code_kept(chosen: str) -> str:
    """Where inductor shall keep its code: where the user said, else in our folder, which is made. Raises OSError."""
    if chosen and not chosen.startswith(os.path.join(tempfile.gettempdir(), "torchinductor_")):
        return chosen
    code_folder().mkdir(mode=0o700, parents=True, exist_ok=True)
    return str(code_folder())


ENGINES: Mapping[str, Callable[[nn.Module, Example], Network]] = {"eager": eager, "compiled": compiled}
