"""What the rest of `extract` needs of a network on a device. Imports no torch.

`extract.network.extractor.FeatureExtractor` is the network that we ship; tests have smaller ones.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt

from headstart.core.extract.network.devices import Device
from headstart.core.extract.pictures.preprocess import Preprocessing

Pixels = npt.NDArray[np.uint8]
Features = npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class EngineConfig:
    """The engine that runs a network, and the number of images in each forward pass."""

    engine: str
    batch_size: int


@dataclasses.dataclass
class TuningState:
    """What this process has learnt of one network, shared by all its configurations.

    `ready` holds the networks that are prepared, `rates` the images per second of those that were measured (0 where one
    can't be run), `compared` those whose host variants were compared. `chosen` was chosen last, for `rows` rows.
    """

    ready: dict[EngineConfig, Any] = dataclasses.field(default_factory=dict)
    rates: dict[EngineConfig, float] = dataclasses.field(default_factory=dict)
    compared: set[EngineConfig] = dataclasses.field(default_factory=set)
    chosen: EngineConfig | None = None
    rows: int = 0


class Pending(Protocol):
    """The features of a batch in flight; a `concurrent.futures.Future` could be one."""

    def result(self) -> Features:
        """Wait for them: float32 (n, D). Raises OutOfMemory."""
        ...

    def cancel(self) -> object:
        """Nobody will wait: give up what can be given up, and return when it is."""
        ...


class Extractor(Protocol):
    """What turns pixels into features, by one engine and in batches of one size."""

    @property
    def device(self) -> Device: ...
    @property
    def preprocessing(self) -> Preprocessing: ...
    @property
    def engine(self) -> str: ...
    @property
    def batch_size(self) -> int: ...
    @property
    def parameters(self) -> str: ...
    @property
    def tuning(self) -> TuningState: ...

    @property
    def concurrent_batches(self) -> int:
        """How many batches are computed at once where they are asked for by `submit`."""
        ...

    def running(self, config: EngineConfig) -> Self:
        """The same network by another engine or in other batches. Raises DeviceUnavailable, OutOfMemory."""
        ...

    @property
    def host_variants(self) -> Sequence[Self]:
        """This configuration with the host's work done in each way that there is, the usual one first. All give the same
        bits."""
        ...

    def submit(self, images: Pixels) -> Pending:
        """Ask for the features of uint8 (n, H, W, 3), n from 1 to a batch's size. Raises OutOfMemory."""
        ...

    def __call__(self, images: Pixels) -> Features:
        """uint8 (n, H, W, 3) to float32 (n, D), one batch after the other. Raises OutOfMemory."""
        ...

    def check_frozen(self) -> None:
        """Raises FeaturesInvalid where the network is no longer what it was when it was built."""
        ...
