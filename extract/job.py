"""An extraction as decided: one split of one data set through one backbone; and who is told how it goes."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import numpy as np

from headstart.core.cache import limits
from headstart.core.cache.key import FeatureKey, NamedKey
from headstart.core.extract.backbones import Backbone
from headstart.core.extract.config import ExtractConfig, ExtractionRequest
from headstart.core.extract.images import Images
from headstart.core.extract.network.devices import Device
from headstart.core.extract.network.loaded import NetworkSpec
from headstart.core.extract.pictures.preprocess import Preprocessing
from headstart.core.extract.weights import Weights


class Observer(Protocol):
    """Told how the run goes; what it prints, and where, is its own affair."""

    def note(self, text: str) -> None:
        """Something the user should know."""

    def begin(self, title: str, rows: int, done: int) -> None:
        """Work on `rows` rows starts, `done` of which are there already."""

    def advance(self, rows: int) -> None:
        """`rows` more are computed."""

    def end(self) -> None:
        """The work announced by `begin` is over."""

    def shards(self, done: "ShardsDone") -> None:
        """Several workers have made so much."""


@dataclasses.dataclass(frozen=True)
class ShardsDone:
    """How far several workers are: shards made, of how many, how often a worker was lost, and the images per second of each
    worker on its last shard."""

    done: int
    total: int
    lost: int
    rates: Mapping[str, float]


@dataclasses.dataclass(frozen=True)
class Asked:
    """What a job was planned from, for whoever has to plan it again: the request, of this model and split alone and with
    all that was decided, and where data sets are."""

    request: ExtractionRequest
    data_dir: Path


@dataclasses.dataclass(frozen=True)
class Job:
    """One split of one data set through one backbone: everything decided, nothing computed."""

    images: Images
    backbone: Backbone
    weights: Weights
    preprocessing: Preprocessing
    device: Device
    config: ExtractConfig
    asked: Asked | None = None

    @property
    def network(self) -> NetworkSpec:
        """The network that the images go through, the same one for all views."""
        return NetworkSpec(self.backbone, self.weights, self.preprocessing.plain, self.device)

    @property
    def key(self) -> FeatureKey:
        """How the job computes features."""
        return FeatureKey(
            backbone=self.backbone.name,
            pooling=self.backbone.pooling,
            weights=self.weights.label,
            weights_sha256=self.weights.sha256,
            image_size=self.preprocessing.image_size,
            interpolation=self.preprocessing.interpolation,
            mean=self.preprocessing.mean,
            std=self.preprocessing.std,
            precision=self.device.precision,
            resize=self.preprocessing.resize,
            crop=self.preprocessing.crop,
            view=self.preprocessing.view,
        )

    @property
    def named(self) -> NamedKey:
        """The key with the names of the data set and its classes."""
        return NamedKey.of(self.key, self.images.name, self.images.classes)

    @property
    def rows(self) -> int:
        """How many rows of the split are asked for; a limit beyond the split's end asks for all."""
        return min(self.images.rows, self.config.limit or self.images.rows)

    @property
    def dtype(self) -> str:
        """Features of the low precisions are kept as float16: eleven significant bits hold bfloat16's eight.

        Untrained networks are the exception: an untrained ResNet152 gives values of 10^8, far beyond float16's range.
        """
        return "float32" if self.device.precision in ("fp32", "tf32") or self.key.untrained else "float16"

    @property
    def row_bytes(self) -> int:
        """What one row of features takes on disk, in bytes."""
        return self.backbone.feature_dim * np.dtype(self.dtype).itemsize

    def check_size(self) -> None:
        """Raises ArgumentInvalid where the set could not be read once it is made: too many shards, or too large ones."""
        itemsize = np.dtype(self.dtype).itemsize
        limits.check(
            self.title, self.rows, self.config.shard_rows, self.backbone.feature_dim, itemsize, self.images.classes
        )

    @property
    def title(self) -> str:
        """The job in a few words."""
        view = f", {self.key.view_words}" if self.preprocessing.view else ""
        return f"{self.backbone.name} {self.images.name} {self.images.split}{view}"
