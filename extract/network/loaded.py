"""The network that this process used last, for whoever needs it next: loading takes a second, compiling up to 30.

It is known by what it is: architecture, weights by content, preprocessing, device and precision. One is held at a time.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from headstart.core.cache.errors import FeaturesInvalid
from headstart.core.extract.backbones import Backbone
from headstart.core.extract.network.devices import Device
from headstart.core.extract.network.tuning import Way
from headstart.core.extract.pictures.preprocess import Preprocessing
from headstart.core.extract.weights import Weights

if TYPE_CHECKING:
    from headstart.core.extract.network.extractor import FeatureExtractor
    from torch import nn

    Key = tuple[str, str, str, Preprocessing, Device]


class Networks:
    """Holds the last network that was asked for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._key: Key | None = None
        self._network: FeatureExtractor | None = None

    def get(
        self,
        backbone: Backbone,
        found: Weights,
        preprocessing: Preprocessing,
        device: Device,
        batch_size: int | None,
        load: Callable[[], nn.Module],
    ) -> FeatureExtractor:
        """The backbone ready to run eagerly, in batches of `batch_size` or the device's usual size. `load` gives its body,
        and is called where it is not the one that is held. Raises what `load` raises."""
        from headstart.core.extract.network import extractor as pooled

        key = (backbone.name, found.label, found.sha256, preprocessing, device)
        with self._lock:
            network = self._network if key == self._key else None
            if network is None or not _frozen(network):
                self._network = network = None  # two at once may be more than the device holds
                network = pooled.build(load(), preprocessing, device, device.batch_size(None))
                self._key, self._network = key, network
            # what must be said of the device is said of this choice of it
            return dataclasses.replace(network.running(Way("eager", device.batch_size(batch_size))), device=device)

    def forget(self) -> None:
        """Hold none."""
        with self._lock:
            self._key = self._network = None


def _frozen(network: FeatureExtractor) -> bool:
    """Whether it still is what was loaded: whoever had it may have changed it."""
    try:
        network.check_frozen()
    except FeaturesInvalid:
        return False
    return True


NETWORKS = Networks()
"""This process's."""
