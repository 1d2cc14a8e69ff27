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
from headstart.core.cache.key import POOLINGS
from headstart.core.cache.text import did_you_mean
from headstart.core.extract.pictures.preprocess import Preprocessing

if TYPE_CHECKING:
    from torch import Tensor, nn

POOLING = POOLINGS["avg"]
"""How keys name the mean of the last feature map over the picture."""
CLASS_TOKEN = POOLINGS["cls"]
"""How keys name the first token of a network that has one for the whole picture."""
OWN_HEAD = "own head"
"""How keys name what comes between the last feature map and the last linear layer where that is more than one pooling."""


@dataclasses.dataclass(frozen=True)
class Sizes:
    """The pictures that a network takes, squared, in pixels: from `least` on in multiples of `step`, or `only` one size."""

    least: int = 32
    step: int = 1
    only: int | None = None


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
    """A published file of weights: its address, its SHA-256 or as many of its first digits as are known (perhaps none), the
    ImageNet top-1 accuracy that is published for the whole network with these weights, in per cent, and the licence where
    it is not its source's usual one."""

    url: str
    sha256: str
    top1: float | None = None
    licence: str | None = None

    @property
    def name(self) -> str:
        """What the file is called, there and here."""
        return self.url.rpartition("/")[2]


@dataclasses.dataclass(frozen=True)
class HubFile(WeightFile):
    """Weights in a repository of the Hugging Face Hub, which `url` is the page of: in the first of `files` that it has, of
    `revision`, or where that is empty of the newest one."""

    repository: str = ""
    files: tuple[str, ...] = ()
    revision: str = ""


Convert = Callable[[Mapping[str, "Tensor"]], Mapping[str, "Tensor"]]
"""Tensors by the names that a network's authors gave them to tensors by a source's names. Raises WeightsMismatch."""


@dataclasses.dataclass(frozen=True)
class Backbone:
    """A frozen feature extractor: images (N, 3, H, W) to features (N, `feature_dim`), on which its authors classify.

    `body` builds the network with its source's parameter names, and can be sent to another process: a plain module ends in
    its last feature map (N, `feature_dim`, h, w), which is averaged over the picture; any other is an
    `extract.network.body.Body`. `classifier` are the prefixes of the parameters that are left out. `checkpoints` maps
    the names of published weights to their files, the newest last. `precision` is what `auto` means for it: None leaves it
    to the device. `pooling` says in the key how a feature map becomes features. `preset` gives the transform of published
    weights by their name, or of others by theirs (`file`, `random:0`); None where nobody says. `convert` reads files whose
    names are not the source's. `default` is the name of the weights that are meant where nobody says, None for the usual.
    `packages` are those that draw random weights. `compared` says that its features in low precision were compared with
    those in fp32, over many pictures: `precision` is what came of it.
    """

    name: str
    feature_dim: int
    body: Callable[[], nn.Module] = dataclasses.field(compare=False)
    classifier: str | tuple[str, ...] = ""
    checkpoints: Mapping[str, WeightFile] = dataclasses.field(default_factory=dict)
    precision: str | None = None
    pooling: str = POOLING
    sizes: Sizes = Sizes()
    preset: Callable[[str], Preset | None] | None = dataclasses.field(default=None, compare=False)
    convert: Convert | None = dataclasses.field(default=None, compare=False)
    default: str | None = None
    packages: tuple[str, ...] = ("torch", "torchvision")
    compared: bool = False

    @property
    def accuracies(self) -> dict[str, float]:
        """The published ImageNet top-1 accuracies in per cent, by name of the weights."""
        return {name: file.top1 for name, file in self.checkpoints.items() if file.top1 is not None}


class Source(Protocol):
    """What a module of this package offers."""

    def names(self) -> Sequence[str]:
        """The backbones of the short list; `known` and `find` may know more."""
        ...

    def known(self) -> Sequence[str]:
        """Every name that `find` knows; this may take seconds."""
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
    near = [one for source in _sources() if source.names() for one in source.known()]
    hint, short = did_you_mean(name, near), ", ".join(names())
    raise WeightsMismatch(f"model {name!r} is unknown{hint}; there are {short} and others, `headstart models` lists them")


def known() -> list[str]:
    """All backbones of all sources; this may take seconds."""
    return [name for source in _sources() for name in source.known()]


def is_model(name: str) -> bool:
    """Whether `name`, which looks like a path, begins as models of another source than torchvision do."""
    return name.startswith("timm/")


def _sources() -> list[Source]:
    found = pkgutil.iter_modules(__path__)
    return [cast(Source, importlib.import_module(f"{__name__}.{module.name}")) for module in found]
