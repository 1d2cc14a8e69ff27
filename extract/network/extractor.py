"""A backbone on a device: uint8 images in, pooled features out, in one precision and always in batches of one shape."""

from __future__ import annotations

import dataclasses
import resource
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from headstart.core.cache.errors import FeaturesInvalid
from headstart.core.cache.files import sha256
from headstart.core.extract.network.body import cast, pooled
from headstart.core.extract.network.cuda import Ring, tf32_allowed
from headstart.core.extract.network.devices import Device
from headstart.core.extract.network.engines import ENGINES, Network, steps
from headstart.core.extract.network.folding import fold_batch_norm
from headstart.core.extract.network.interface import EngineConfig, Features, Pending, Pixels, TuningState
from headstart.core.extract.network.memory import memory_errors
from headstart.core.extract.network.workers import Check, PreparedBatch, WorkerBatch, worker_count
from headstart.core.extract.pictures import preprocess
from headstart.core.extract.pictures.preprocess import Preprocessing

if TYPE_CHECKING:
    from torch import Tensor

_DTYPES = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclasses.dataclass(frozen=True)
class FeatureExtractor:
    """A frozen backbone ready to run. The three stages may be called one by one, to time them, or all at once.

    `batch_size` is the number of images of every forward pass: a shorter batch is padded, so that a row's value does not
    depend on how many came with it. `parameters` is the SHA-256 of the parameters and buffers as loaded, `frozen` of those
    that run, which folding and precision have changed. `network` is `body` as `engine` runs it. `ahead` says that a thread
    prepares each batch while the one before it is computed. `tuning` and `ring` are shared by all of a network's
    configurations.
    """

    body: nn.Module
    preprocessing: Preprocessing
    device: Device
    batch_size: int
    parameters: str
    frozen: str
    network: Network
    engine: str = "eager"
    ahead: bool = False
    tuning: TuningState = dataclasses.field(default_factory=TuningState, compare=False, repr=False)
    ring: Ring = dataclasses.field(default_factory=Ring, compare=False, repr=False)

    def running(self, config: EngineConfig) -> FeatureExtractor:
        """The same backbone run by another engine or in other batches; what was compiled once is taken again.

        Raises DeviceUnavailable, OutOfMemory.
        """
        if config == EngineConfig(self.engine, self.batch_size):
            return self
        if config.engine == "eager":
            return dataclasses.replace(self, batch_size=config.batch_size, engine="eager", network=self.body, ahead=False)
        if config not in self.tuning.ready:
            self.tuning.ready[config] = self._prepared_for(config)
        ready: FeatureExtractor = self.tuning.ready[config]
        return ready

    def _prepared_for(self, config: EngineConfig) -> FeatureExtractor:
        def example() -> Tensor:
            drawn = torch.Generator().manual_seed(0)
            shape = (config.batch_size, self.preprocessing.image_size, self.preprocessing.image_size, 3)
            pixels = torch.randint(0, 256, shape, dtype=torch.uint8, generator=drawn)
            return self.preprocess(pixels.to(self.device.name))

        with memory_errors(self.device.name, config.batch_size):
            network = ENGINES[config.engine](self.body, example)
        ahead = self.device.kind == "cpu"
        return dataclasses.replace(self, batch_size=config.batch_size, engine=config.engine, network=network, ahead=ahead)

    @property
    def host_variants(self) -> Sequence[FeatureExtractor]:
        """Batches prepared by a thread of their own, or by the thread that computes them: the values are the same."""
        if not self.ahead:
            return (self,)
        return (self, dataclasses.replace(self, ahead=False))

    def to_device(self, images: Pixels) -> Tensor:
        """uint8 (n, H, W, 3), n at most `batch_size`, to the same on the device, padded to `batch_size` rows."""
        if len(images) < self.batch_size:
            padding = np.zeros((self.batch_size - len(images), *images.shape[1:]), dtype=np.uint8)
            images = np.concatenate([images, padding])
        if self.device.kind == "cuda":
            return self.ring.to_device(images, self.device.name)
        return torch.from_numpy(np.require(images, requirements=("C", "W"))).to(self.device.name)

    def preprocess(self, images: Tensor) -> Tensor:
        """uint8 (N, H, W, 3) to the backbone's input (N, 3, S, S), resized in float32 whatever the precision."""
        return preprocess.prepare(images, self.preprocessing, _DTYPES[self.device.precision], self._memory_format)

    def pool(self, pixels: Tensor) -> Tensor:
        """The backbone's input to float32 features (N, D); what comes after its last feature map is done in float32."""
        if self.device.kind != "cuda":
            return pooled(self.body, self.network(pixels))
        with tf32_allowed(self.device.precision == "tf32"):
            return pooled(self.body, self.network(pixels))

    def synchronize(self) -> None:
        """Wait until the device has done all that was asked of it: without this a clock measures the asking."""
        if self.device.kind == "cuda":
            torch.cuda.synchronize(self.device.name)
        elif self.device.kind == "mps":
            torch.mps.synchronize()
        elif self.device.kind == "xpu":
            torch.xpu.synchronize(self.device.name)

    def peak_memory(self) -> int:
        """The most memory that was in use so far, in bytes: the device's on CUDA and XPU, else this process's."""
        if self.device.kind in ("cuda", "xpu"):
            return int(getattr(torch, self.device.kind).max_memory_allocated(self.device.name))
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
    def concurrent_batches(self) -> int:
        """How many batches are computed at once where they are asked for by `submit`. A compiled network's threads are its
        own: ResNet50 lost 5 % on several workers."""
        return worker_count() if self.device.kind == "cpu" and self.engine == "eager" else 1

    def __call__(self, images: Pixels) -> Features:
        """uint8 (n, H, W, 3), n at least 1, to float32 features (n, D). Raises OutOfMemory."""
        starts = range(0, len(images), self.batch_size)
        return np.concatenate([self._start(images[i : i + self.batch_size]).result() for i in starts])

    def submit(self, images: Pixels) -> Pending:
        """Ask for the features of a batch, n from 1 to `batch_size`; float32 (n, D).

        On CUDA the device works on while the host prepares the next batch, on a CPU threads of our own do. Both calls,
        this and the one that waits for the result, raise OutOfMemory.
        """
        if self.concurrent_batches > 1:
            return WorkerBatch(lambda check: self._by_worker(images, check))
        return (
            PreparedBatch(lambda: self._prepare(images), self._compute(len(images))) if self.ahead else self._start(images)
        )

    def _prepare(self, images: Pixels) -> Tensor:
        with memory_errors(self.device.name, self.batch_size), torch.inference_mode():
            return self.preprocess(self.to_device(images))

    def _compute(self, rows: int) -> Callable[[Tensor], Features]:
        def compute(pixels: Tensor) -> Features:
            with memory_errors(self.device.name, self.batch_size), torch.inference_mode():
                features: Features = self.pool(pixels).numpy()
            return features[:rows]

        return compute

    def _start(self, images: Pixels) -> _PendingCopy:
        with memory_errors(self.device.name, self.batch_size), torch.inference_mode():
            features = self.pool(self.preprocess(self.to_device(images)))
            return _PendingCopy(self, *self._to_host(features), len(images))

    def _by_worker(self, images: Pixels, check: Check) -> Features:
        with memory_errors(self.device.name, self.batch_size), torch.inference_mode():
            found = self.preprocess(self.to_device(images))
            for step in steps(self.body):
                check()
                found = step(found)
            features: Features = pooled(self.body, found).numpy()
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


@dataclasses.dataclass(frozen=True)
class _PendingCopy:
    """Features (n, D) that lie on the host once `done` has come, the first `rows` of which were asked for."""

    extractor: FeatureExtractor
    host: Tensor
    done: torch.cuda.Event | None
    rows: int

    def result(self) -> Features:
        """Wait for them."""
        if self.done is not None:
            with memory_errors(self.extractor.device.name, self.extractor.batch_size):
                self.done.synchronize()
        found: Features = self.host.numpy()
        return found[: self.rows]

    def cancel(self) -> None:
        """The device can't drop it, and its few milliseconds hold up nobody."""


def build(body: nn.Module, preprocessing: Preprocessing, device: Device, batch_size: int) -> FeatureExtractor:
    """Put a body in float32 on the device. In low precision BatchNorm is folded into the convolutions before the cast,
    which costs less rounding and less time than casting its statistics; fp32 stays torchvision's own graph."""
    body = body.eval().requires_grad_(False)
    parameters = state_digest(body)
    if device.precision in ("bf16", "fp16"):
        fold_batch_norm(body, preprocessing.image_size)
        cast(body, _DTYPES[device.precision])
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
