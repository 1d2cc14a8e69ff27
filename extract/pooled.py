"""A backbone on a device: uint8 images in, pooled features out, in one precision and always in batches of one shape."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import resource
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from cache.errors import FeaturesInvalid, OutOfMemory
from cache.files import sha256
from extract import lanes, preprocess
from extract.devices import Device
from extract.engines import ENGINES, Network, steps
from extract.lanes import Check, InLane
from extract.preprocess import Preprocessing
from extract.tune import Pending, Way

if TYPE_CHECKING:
    from torch import Tensor

_DTYPES = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclasses.dataclass(frozen=True)
class FeatureExtractor:
    """A frozen backbone ready to run. The three stages may be called one by one, to time them, or all at once.

    `batch_size` is the number of images of every forward pass: a shorter batch is padded, so that a row's value does not
    depend on how many came with it. `parameters` is the SHA-256 of the parameters and buffers as loaded, `frozen` of those
    that run, which folding and precision have changed. `network` is `body` as `engine` runs it.
    """

    body: nn.Module
    preprocessing: Preprocessing
    device: Device
    batch_size: int
    parameters: str
    frozen: str
    network: Network
    engine: str = "eager"

    def running(self, way: Way) -> FeatureExtractor:
        """The same backbone run by another engine or in other batches. Raises DeviceUnavailable, OutOfMemory."""

        if way == Way(self.engine, self.batch_size):
            return self

        def example() -> Tensor:
            drawn = torch.Generator().manual_seed(0)
            shape = (way.batch_size, self.preprocessing.image_size, self.preprocessing.image_size, 3)
            pixels = torch.randint(0, 256, shape, dtype=torch.uint8, generator=drawn)
            return self.preprocess(pixels.to(self.device.name))

        with _memory_errors(self.device.name, way.batch_size):
            network = ENGINES[way.engine](self.body, example)
        return dataclasses.replace(self, batch_size=way.batch_size, engine=way.engine, network=network)

    def to_device(self, images: npt.NDArray[np.uint8]) -> Tensor:
        """uint8 (n, H, W, 3), n at most `batch_size`, to the same on the device, padded to `batch_size` rows."""
        if len(images) < self.batch_size:
            padding = np.zeros((self.batch_size - len(images), *images.shape[1:]), dtype=np.uint8)
            images = np.concatenate([images, padding])
        pixels = torch.from_numpy(np.require(images, requirements=("C", "W")))
        if self.device.kind == "cuda":
            return pixels.pin_memory().to(self.device.name, non_blocking=True)
        return pixels.to(self.device.name)

    def preprocess(self, images: Tensor) -> Tensor:
        """uint8 (N, H, W, 3) to the backbone's input (N, 3, S, S), resized in float32 whatever the precision."""
        pixels = preprocess.resize(images, self.preprocessing.image_size)
        normal = preprocess.normalise(pixels, self.preprocessing)
        return normal.to(dtype=_DTYPES[self.device.precision], memory_format=self._memory_format)

    def pool(self, pixels: Tensor) -> Tensor:
        """The backbone's input to float32 features (N, D): its last feature map, averaged over the picture in float32."""
        with _Tf32(self.device.precision):
            return _average(self.network(pixels))

    def synchronize(self) -> None:
        """Wait until the device has done all that was asked of it: without this a clock measures the asking."""
        if self.device.kind == "cuda":
            torch.cuda.synchronize(self.device.name)
        elif self.device.kind == "mps":
            torch.mps.synchronize()

    def peak_memory(self) -> int:
        """The most memory that was in use so far, in bytes: the device's on CUDA, else this process's."""
        if self.device.kind == "cuda":
            return int(torch.cuda.max_memory_allocated(self.device.name))
        unit = 1 if sys.platform == "darwin" else 1024  # getrusage counts bytes there, kilobytes elsewhere
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit

    def check_frozen(self) -> None:
        """Raises FeaturesInvalid where a module left `eval()`, or a parameter or buffer changed, since `build`.

        Left in training mode, BatchNorm changes its statistics with every batch, even under `inference_mode`.
        """
        training = [name or "the backbone" for name, module in self.body.named_modules() if module.training]
        if training or state_digest(self.body) != self.frozen:
            what = f"{training[0]} is in training mode" if training else "its parameters or buffers changed"
            raise FeaturesInvalid(f"{self.device.name}: the backbone did not stay frozen: {what}; run it again")

    @property
    def lanes(self) -> int:
        """How many batches are computed at once where they are asked for by `submit`. A compiled network's threads are its
        own: ResNet50 lost 5 % in lanes."""
        return lanes.count() if self.device.kind == "cpu" and self.engine == "eager" else 1

    def __call__(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """uint8 (n, H, W, 3), n at least 1, to float32 features (n, D). Raises OutOfMemory."""
        starts = range(0, len(images), self.batch_size)
        return np.concatenate([self._ask(images[i : i + self.batch_size]).result() for i in starts])

    def submit(self, images: npt.NDArray[np.uint8]) -> Pending:
        """Ask for the features of a batch, n from 1 to `batch_size`; float32 (n, D).

        On CUDA the device works on while the host prepares the next batch, on a CPU other threads do. Both calls, this and
        the one that waits for the result, raise OutOfMemory.
        """
        return InLane(lambda check: self._in_lane(images, check)) if self.lanes > 1 else self._ask(images)

    def _ask(self, images: npt.NDArray[np.uint8]) -> _Copy:
        with _memory_errors(self.device.name, self.batch_size), torch.inference_mode():
            features = self.pool(self.preprocess(self.to_device(images)))
            return _Copy(self, *self._to_host(features), len(images))

    def _in_lane(self, images: npt.NDArray[np.uint8], check: Check) -> npt.NDArray[np.float32]:
        with _memory_errors(self.device.name, self.batch_size), torch.inference_mode():
            found = self.preprocess(self.to_device(images))
            for step in steps(self.body):
                check()
                found = step(found)
            features: npt.NDArray[np.float32] = _average(found).numpy()
        return features[: len(images)]

    def _to_host(self, features: Tensor) -> tuple[Tensor, torch.cuda.Event | None]:
        """The features on the host, on CUDA once the event has come: a copy to pinned memory doesn't stop the device
        (https://docs.pytorch.org/docs/stable/notes/cuda.html)."""
        if self.device.kind != "cuda":
            return features.cpu(), None
        host = torch.empty(features.shape, dtype=features.dtype, pin_memory=True)
        host.copy_(features, non_blocking=True)
        done = torch.cuda.Event()
        done.record(torch.cuda.current_stream(features.device))
        return host, done

    @property
    def _memory_format(self) -> Any:
        return torch.contiguous_format if self.device.precision == "fp32" else torch.channels_last


def _average(feature_map: Tensor) -> Tensor:
    return nn.functional.adaptive_avg_pool2d(feature_map.float(), 1).flatten(1)


@dataclasses.dataclass(frozen=True)
class _Copy:
    """Features (n, D) that lie on the host once `done` has come, the first `rows` of which were asked for."""

    extractor: FeatureExtractor
    host: Tensor
    done: torch.cuda.Event | None
    rows: int

    def result(self) -> npt.NDArray[np.float32]:
        """Wait for them."""
        if self.done is not None:
            with _memory_errors(self.extractor.device.name, self.extractor.batch_size):
                self.done.synchronize()
        found: npt.NDArray[np.float32] = self.host.numpy()
        return found[: self.rows]

    def cancel(self) -> None:
        """The device can't drop it, and its few milliseconds hold up nobody."""


class _Tf32:
    """Lets CUDA use TF32 for `tf32` alone: PyTorch's default would use it for the convolutions of `fp32` as well."""

    def __init__(self, precision: str) -> None:
        self._allow = precision == "tf32"

    def __enter__(self) -> None:
        self._before = torch.backends.cudnn.allow_tf32
        torch.backends.cudnn.allow_tf32 = self._allow

    def __exit__(self, *_: object) -> None:
        torch.backends.cudnn.allow_tf32 = self._before


@contextlib.contextmanager
def _memory_errors(device: str, batch_size: int) -> Iterator[None]:
    """Memory that runs out inside becomes our OutOfMemory, with the way out."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        smaller = f"--batch-size {batch_size // 2} or " if batch_size > 1 else ""
        way_out = f"use {smaller}a smaller --image-size"
        raise OutOfMemory(f"{device}: out of memory with {batch_size} images at once; {way_out}") from error


_NO_MEMORY = (
    "out of memory",  # CUDA's allocator, a CUDA error, MPS
    "can't allocate memory",  # the CPU's allocator
    "not enough memory",  # the same on Windows
    "ALLOC_FAILED",  # cuBLAS and cuDNN
    "could not create a memory",  # oneDNN
    "bad_alloc",  # C++
)


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error means that memory ran out, which torch says in different words in each of its parts."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(words in str(error) for words in _NO_MEMORY)


def build(body: nn.Module, preprocessing: Preprocessing, device: Device, batch_size: int) -> FeatureExtractor:
    """Put a body in float32 on the device. In low precision BatchNorm is folded into the convolutions before the cast,
    which costs less rounding and less time than casting its statistics; fp32 stays torchvision's own graph."""
    body = body.eval().requires_grad_(False)
    parameters = state_digest(body)
    if device.precision in ("bf16", "fp16"):
        fold_batch_norm(body)
        for module in body.modules():
            if isinstance(module, nn.Conv2d):  # a BatchNorm that can't be folded keeps its float32 statistics
                module.to(_DTYPES[device.precision])
    if device.precision != "fp32":
        body = body.to(memory_format=torch.channels_last)
    body = body.to(device.name)
    return FeatureExtractor(body, preprocessing, device, batch_size, parameters, state_digest(body), body)


def state_digest(module: nn.Module) -> str:
    """The SHA-256 of all parameters and buffers, in order and by name."""
    parts: list[bytes] = []
    for name, value in module.state_dict().items():
        data = value.detach().cpu().contiguous()
        parts += [name.encode(), data.reshape(-1).view(torch.uint8).numpy().tobytes()]
    return sha256(*parts)


def fold_batch_norm(module: nn.Module) -> None:
    """Replace each convolution and the BatchNorm behind it by one convolution, in place and in the convolution's dtype."""
    for parent in module.modules():
        for conv, norm in _pairs(parent):
            fused = fuse_conv_bn_eval(getattr(parent, conv), getattr(parent, norm))
            setattr(parent, conv, fused)
            setattr(parent, norm, nn.Identity().eval())


def _pairs(parent: nn.Module) -> Iterator[tuple[str, str]]:
    """Names of a convolution and the BatchNorm fed by it, and by it alone: neighbours in a torchvision module.

    True for Sequential by definition, for ResNet's blocks (conv1, bn1, …) and for DenseNet's layers (conv1, norm2).
    """
    children = list(parent.named_children())
    convs = {name: child for name, child in children if isinstance(child, nn.Conv2d)}
    norms = {name for name, child in children if isinstance(child, nn.BatchNorm2d)}
    if isinstance(parent, nn.Sequential):
        for (first, _), (second, _) in itertools.pairwise(children):
            if first in convs and second in norms:
                yield first, second
        return
    for conv in convs:
        stem, number = conv.rstrip("0123456789"), conv.lstrip("abcdefghijklmnopqrstuvwxyz")
        following = f"norm{int(number) + 1}" if number.isdecimal() else ""
        for norm in (f"bn{number}", following):
            if stem == "conv" and norm in norms:
                yield conv, norm
