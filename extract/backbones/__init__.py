"""The backbones by name: what a source says of each, and the sources that are asked for one. Imports no torch.

Each module of this package is a source, with `names` and `find`; adding one is adding a file.
"""

from __future__ import annotations

import dataclasses
import importlib
import math
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, cast

from headstart.core.cache.errors import WeightsMismatch
from headstart.core.cache.text import did_you_mean
from headstart.core.extract.pictures.preprocess import Preprocessing

if TYPE_CHECKING:
    from torch import nn

POOLING = "global average"


@dataclasses.dataclass(frozen=True)
class Preset:
    """What a network's authors do to a picture before it: sizes in pixels, `mode` and the rest as `Preprocessing` has them.

    `crop_pct` is timm's, from which it computes `resize` at every size; without it `resize` keeps its proportion to `crop`.
    """

    resize: int
    crop: int
    interpolation: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    mode: str = "center"
    crop_pct: float | None = None

    def at(self, image_size: int | None = None) -> Preprocessing:
        """The transform to `image_size` squared, by default its own size. At another one the part of a picture that is seen
        stays the same: `resize` is rounded down, as timm does it (data/transforms_factory.py: transforms_imagenet_eval)."""
        size = image_size or self.crop
        resize = self.resize if size == self.crop else size * self.resize // self.crop
        if self.crop_pct is not None:
            resize = math.floor(size / self.crop_pct)
        return Preprocessing(size, self.interpolation, self.mean, self.std, resize, self.mode)


@dataclasses.dataclass(frozen=True)
class WeightFile:
    """A published file of weights: its address, its SHA-256 or as many of its first digits as are known, and the ImageNet
    top-1 accuracy that is published for the whole network with these weights, in per cent."""

    url: str
    sha256: str
    top1: float | None = None

    @property
    def name(self) -> str:
        """What the file is called, there and here."""
        return self.url.rpartition("/")[2]


@dataclasses.dataclass(frozen=True)
class Backbone:
    """A frozen feature extractor: images (N, 3, H, W) to features (N, `feature_dim`) after global average pooling.

    `body` builds the network up to its last feature map, (N, `feature_dim`, H/32, W/32), with its source's parameter names,
    and can be sent to another process. `classifier` is the prefix of the parameters that are left out. `checkpoints` maps
    the names of published weights to their files, the newest last. `precision` is what `auto` means for it: None leaves it
    to the device. `preset` gives the transform of published weights by their name, or of others by theirs (`file`,
    `random:0`); None where nobody says.
    """

    name: str
    feature_dim: int
    body: Callable[[], nn.Module] = dataclasses.field(compare=False)
    classifier: str = ""
    checkpoints: Mapping[str, WeightFile] = dataclasses.field(default_factory=dict)
    precision: str | None = None
    preset: Callable[[str], Preset | None] | None = dataclasses.field(default=None, compare=False)

    @property
    def accuracies(self) -> dict[str, float]:
        """The published ImageNet top-1 accuracies in per cent, by name of the weights."""
        return {name: file.top1 for name, file in self.checkpoints.items() if file.top1 is not None}


class Source(Protocol):
    """What a module of this package offers."""

    def names(self) -> Sequence[str]:
        """The backbones to list; `find` may know more."""
        ...

    def find(self, name: str) -> Backbone | None:
        """The backbone called `name`; None where it is not of this source."""
        ...


def names() -> list[str]:
    """The backbones that are listed, of all sources."""
    return [name for source in _sources() for name in source.names()]


def get_backbone(name: str) -> Backbone:
    """The backbone called `name`. Raises WeightsMismatch, listing the known ones, where there is none."""
    for source in _sources():
        if (found := source.find(name)) is not None:
            return found
    known = names()
    raise WeightsMismatch(f"model {name!r} is unknown{did_you_mean(name, known)}; there are {', '.join(known)}")


def _sources() -> list[Source]:
    found = pkgutil.iter_modules(__path__)
    return [cast(Source, importlib.import_module(f"{__name__}.{module.name}")) for module in found]
