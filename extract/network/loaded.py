"""The network that this process used last, for whoever needs it next: loading takes a second, compiling up to 30.

A network is known by what it is: architecture, weights by content, preprocessing, device and precision. One is held at a
time.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from headstart.core.cache.errors import FeaturesInvalid
from headstart.core.extract import weights
from headstart.core.extract.backbones import Backbone
from headstart.core.extract.network.devices import Device
from headstart.core.extract.network.interface import EngineConfig
from headstart.core.extract.pictures.preprocess import Preprocessing
from headstart.core.extract.weights import Weights

if TYPE_CHECKING:
    from torch import nn

    from headstart.core.extract.network.extractor import FeatureExtractor


@dataclasses.dataclass(frozen=True)
class NetworkSpec:
    """What a network is made of. The device says the precision, too."""

    backbone: Backbone
    weights: Weights
    preprocessing: Preprocessing
    device: Device

    def is_same(self, other: NetworkSpec) -> bool:
        """Whether both give the same network: weights are told by content, wherever they lie."""
        return self._identity == other._identity

    @property
    def _identity(self) -> tuple[object, ...]:
        backbone, weights = self.backbone, self.weights
        return backbone.name, backbone.pooling, weights.label, weights.sha256, self.preprocessing, self.device


class Networks:
    """Holds the last network that was asked for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._spec: NetworkSpec | None = None
        self._network: FeatureExtractor | None = None

    def get(self, spec: NetworkSpec, batch_size: int | None, load: Callable[[], nn.Module]) -> FeatureExtractor:
        """The network ready to run eagerly, in batches of `batch_size` or the device's usual size. `load` gives its body,
        and is called where it is not the one that is held. Raises what `load` raises."""
        from headstart.core.extract.network.extractor import build

        device = spec.device
        with self._lock:
            network = self._network if self._spec is not None and self._spec.is_same(spec) else None
            if network is None or not _frozen(network):
                self._network = network = None  # two at once may be more than the device holds
                network = build(load(), spec.preprocessing, device, device.batch_size(None))
                self._spec, self._network = spec, network
            # what must be said of the device is said of this choice of it
            return dataclasses.replace(network.running(EngineConfig("eager", device.batch_size(batch_size))), device=device)


def _frozen(network: FeatureExtractor) -> bool:
    """Whether it still is what was loaded: whoever had it may have changed it."""
    try:
        network.check_frozen()
    except FeaturesInvalid:
        return False
    return True


NETWORKS = Networks()
"""This process's."""


def load_network(
    spec: NetworkSpec, batch_size: int | None, say: Callable[[str], None] = lambda _: None
) -> FeatureExtractor:
    """The network, this process's where it is the one that was used last. `say` is told what else its weight file holds.

    Raises WeightsMismatch.
    """
    return NETWORKS.get(spec, batch_size, lambda: weights.load(spec.backbone, spec.weights, say))
