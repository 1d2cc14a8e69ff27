"""torchvision's classification models: how each is cut before its last linear layer, and its published weights.

Six have a table of their own here; all the others are cut by a rule, and torchvision says where their weights are. torch is
imported when a network is built or somebody asks for those weights, not before. torchvision's DEFAULT is now the first
recipe, now the second: nothing here takes it unless it is asked for.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import re
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from headstart.core.extract.architectures.torchvision_models import MODELS
from headstart.core.extract.backbones import Backbone, Preset, WeightFile
from headstart.core.extract.pictures.preprocess import Preprocessing

if TYPE_CHECKING:
    from torch import nn

    from headstart.core.extract.architectures.traced import Traced

BASE_URL = "https://download.pytorch.org/models/"
"""Where torchvision's weights enums point to; a test holds this against the enums."""


def names() -> Sequence[str]:
    """The study's architectures and two beside them, whose files are known by whole digests."""
    return list(BACKBONES)


def known() -> Sequence[str]:
    """All of torchvision's classification models."""
    return list(MODELS)


def find(name: str) -> Backbone | None:
    """The model called so."""
    return BACKBONES.get(name) or (_by_rule(name) if name in MODELS else None)


def _model(name: str) -> Any:
    import torchvision

    return getattr(torchvision.models, name)(weights=None)


def _vgg(name: str) -> nn.Module:
    from torch import nn

    return nn.Sequential(OrderedDict(features=_model(name).features))


def _resnet(name: str) -> nn.Module:
    from torch import nn

    children = _model(name).named_children()
    return nn.Sequential(OrderedDict((child, module) for child, module in children if child not in ("avgpool", "fc")))


def _densenet(name: str) -> nn.Module:
    """torchvision applies the last ReLU in forward(), so it isn't among the modules."""
    from torch import nn

    return nn.Sequential(OrderedDict(features=_model(name).features, relu=nn.ReLU(inplace=True)))


def _file(model: str, sha256: str, top1: float) -> WeightFile:
    """A file's name ends in the first eight digits of its SHA-256 (https://docs.pytorch.org/docs/stable/hub.html)."""
    return WeightFile(f"{BASE_URL}{model}-{sha256[:8]}.pth", sha256, top1)


# torchvision publishes eight digits, which are 32 bits and can be met on purpose. The other 56 are those that other people
# found when they hashed these very files:
#   vgg16, vgg19            LibreYOLO/libreyolo, docs/provenance/vgg.md
#   resnet18                zspacelabs/bunsen, its table of ResNet checkpoints (crates/bunsen, kits/bimm/resnet)
#   resnet50, resnet152 V1  isarandi/tensorflow-resnetv1.5-like-pytorch, convert_weights.py; zspacelabs/bunsen, as above
#   resnet50 V2             kkirchheim/pytorch-ood, src/pytorch_ood/model/registry.py
# None was found for resnet152's V2 and for densenet169. The accuracies are those of torchvision's enums.
_V1: Mapping[str, WeightFile] = {
    "vgg16": _file("vgg16", "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0", 71.592),
    "vgg19": _file("vgg19", "dcbb9e9dad569fff7a846263a77324fc34978fea2bfb039c012d710e1776ae44", 72.376),
    "resnet18": _file("resnet18", "f37072fd47e89c5e827621c5baffa7500819f7896bbacec160b1a16c560e07ec", 69.758),
    "resnet50": _file("resnet50", "0676ba61b6795bbe1773cffd859882e5e297624d384b6993f7c9e683e722fb8a", 76.13),
    "resnet152": _file("resnet152", "394f9c45966e3651a89bbb78a48410a6755854ce4a5ab64927cf1c7247f85e58", 78.312),
    "densenet169": _file("densenet169", "b2777c0a", 75.6),
}
_V2: Mapping[str, WeightFile] = {
    "resnet50": _file("resnet50", "11ad3fa62ca79e40addfd354a8ec4b7c75143b3038b8d2a807fbc68deab379ca", 80.858),
    "resnet152": _file("resnet152", "f82ba261", 82.284),
}


def _published(name: str) -> dict[str, WeightFile]:
    """The weights by the names of torchvision's enums."""
    files = {"IMAGENET1K_V1": _V1.get(name), "IMAGENET1K_V2": _V2.get(name)}
    return {label: file for label, file in files.items() if file is not None}


def _preset(label: str) -> Preset:
    """As torchvision's enums give it in `transforms`, which a test holds this against: the newer weights were found best at
    232 px (https://pytorch.org/blog/how-to-train-state-of-the-art-models-using-torchvision-latest-primitives)."""
    resize = 232 if label == "IMAGENET1K_V2" else 256
    return Preset(resize, 224, Preprocessing.interpolation, Preprocessing.mean, Preprocessing.std)


_CUTS = {"vgg": _vgg, "resnet": _resnet, "densenet": _densenet}
"""How the study's architectures, and two beside them, are cut: as they were before the rule for all of them."""


def _backbone(name: str, cut: str, precision: str | None = None) -> Backbone:
    found = functools.partial(_CUTS[cut], name)
    return dataclasses.replace(
        _by_rule(name),
        body=found,
        checkpoints=_published(name),
        precision=precision,
        compared=True,
        preset=_preset,
    )


def _by_rule(name: str) -> Backbone:
    """One of torchvision's models, cut before its last linear layer."""
    family = MODELS[name]
    return Backbone(
        name,
        family.dimensions[name],
        functools.partial(cut_by_rule, name),
        family.classifier,
        Published(name),
        pooling=family.pooling,
        sizes=family.sizes,
        preset=functools.partial(preset, name),
    )


def cut_by_rule(name: str) -> Traced:
    """The network up to its last feature map, with the head that follows, as an `extract.network.body.Body`."""
    import torchvision

    from headstart.core.extract.architectures.traced import traced

    family = MODELS[name]
    build = functools.partial(torchvision.models.get_model, name, weights=None, **family.options)
    return traced(build, family.sizes.only or SIZE)


SIZE = 224
"""The picture, in pixels, by which a network is cut that takes any."""


class Published(Mapping[str, WeightFile]):
    """The weights of one of torchvision's models by the names of its enum, the one it calls DEFAULT last; torchvision is
    imported when somebody looks. Weights for another size of picture than a network is built for are left out."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getitem__(self, label: str) -> WeightFile:
        return self._files[label]

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)

    @property
    def _files(self) -> Mapping[str, WeightFile]:
        return _files(self._name)


@functools.cache
def _files(name: str) -> Mapping[str, WeightFile]:
    import torchvision

    enum, only = torchvision.models.get_model_weights(name), MODELS[name].sizes.only
    fitting = [one for one in enum if only in (None, one.transforms().crop_size[0])]
    fitting.sort(key=lambda one: one is enum.DEFAULT)  # stable: the others stay in their order
    return {one.name: _file_of(one) for one in fitting}


def _file_of(weights: Any) -> WeightFile:
    """The file of an enum's member. torchvision publishes eight digits of its SHA-256, in the file's name."""
    top1 = float(weights.meta["_metrics"]["ImageNet-1K"]["acc@1"])
    digits = re.search(r"-([0-9a-f]{8})\.pth$", weights.url)
    return WeightFile(weights.url, digits[1] if digits else "", None if math.isnan(top1) else top1)


@functools.cache
def preset(name: str, label: str) -> Preset:
    """The transform of a model's weights by their name; of a file and of random ones that of its first published ones."""
    import torchvision

    enum = torchvision.models.get_model_weights(name)
    found = (enum[label] if label in enum.__members__ else next(iter(enum))).transforms()
    (resize,), (crop,) = found.resize_size, found.crop_size
    return Preset(resize, crop, found.interpolation.value, tuple(found.mean), tuple(found.std))


BACKBONES: Mapping[str, Backbone] = {
    backbone.name: backbone
    for backbone in (
        _backbone("vgg16", "vgg"),
        _backbone("vgg19", "vgg"),
        _backbone("resnet18", "resnet"),
        _backbone("resnet50", "resnet"),
        _backbone("resnet152", "resnet"),
        # bf16 fell below the cosine of 0.998 that we hold to (0.9962 over 64 CIFAR images with trained weights)
        _backbone("densenet169", "densenet", precision="fp32"),
    )
}
