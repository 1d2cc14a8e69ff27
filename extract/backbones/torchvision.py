"""torchvision's architectures: feature dimensions, how each is cut before its pooling, and its published weights.

Adding one is a line in `BACKBONES`. torch is imported when a network is built, not before.
"""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from headstart.core.extract.backbones import Backbone, Preset, WeightFile
from headstart.core.extract.pictures.preprocess import Preprocessing

if TYPE_CHECKING:
    from torch import nn

BASE_URL = "https://download.pytorch.org/models/"
"""Where torchvision's weights enums point to; a test holds this against the enums."""


def names() -> Sequence[str]:
    """The architectures of the table."""
    return list(BACKBONES)


def find(name: str) -> Backbone | None:
    """The table's line."""
    return BACKBONES.get(name)


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


_FAMILIES = {"vgg": (_vgg, "classifier."), "resnet": (_resnet, "fc."), "densenet": (_densenet, "classifier.")}
"""How an architecture is cut, and the prefix of the parameters behind its feature map."""


def _backbone(name: str, family: str, feature_dim: int, precision: str | None = None) -> Backbone:
    build, classifier = _FAMILIES[family]
    return Backbone(name, feature_dim, functools.partial(build, name), classifier, _published(name), precision, _preset)


BACKBONES: Mapping[str, Backbone] = {
    backbone.name: backbone
    for backbone in (
        _backbone("vgg16", "vgg", 512),
        _backbone("vgg19", "vgg", 512),
        _backbone("resnet18", "resnet", 512),
        _backbone("resnet50", "resnet", 2048),
        _backbone("resnet152", "resnet", 2048),
        # bf16 fell below the cosine of 0.998 that we hold to (0.9962 over 64 CIFAR images with trained weights)
        _backbone("densenet169", "densenet", 1664, precision="fp32"),
    )
}
