"""The backbones: each a torchvision architecture up to its last feature map, with its weights and its feature dimension.

Adding one is a line in `BACKBONES`. torch is imported when a network is built, not before.
"""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING

from headstart.core.cache.errors import WeightsMismatch
from headstart.core.cache.text import did_you_mean

if TYPE_CHECKING:
    from torch import nn

POOLING = "global average"


@dataclasses.dataclass(frozen=True)
class Backbone:
    """A frozen feature extractor: images (N, 3, H, W) to features (N, `feature_dim`) after global average pooling.

    `checkpoints` maps a name of torchvision's weights enum to the file that torchvision keeps it in, whose last eight
    digits begin the file's SHA-256 (https://docs.pytorch.org/docs/stable/hub.html); `SHA256` knows more of them.
    `classifier` is the prefix of the parameters that we leave out. `precision` is what `auto` means for it: None leaves
    it to the device.
    """

    name: str
    family: str
    feature_dim: int
    checkpoints: Mapping[str, str]
    precision: str | None = None

    @property
    def classifier(self) -> str:
        """The prefix of the parameters behind the feature map, which features don't need."""
        return "fc." if self.family == "resnet" else "classifier."

    def body(self) -> nn.Module:
        """The network up to its last feature map (N, `feature_dim`, H/32, W/32), with torchvision's parameter names."""
        import torchvision
        from torch import nn

        model = getattr(torchvision.models, self.name)(weights=None)
        if self.family == "vgg":
            return nn.Sequential(OrderedDict(features=model.features))
        if self.family == "densenet":  # torchvision applies this ReLU in forward(), so it isn't among the modules
            return nn.Sequential(OrderedDict(features=model.features, relu=nn.ReLU(inplace=True)))
        return nn.Sequential(
            OrderedDict((name, child) for name, child in model.named_children() if name not in ("avgpool", "fc"))
        )


BACKBONES: Mapping[str, Backbone] = {
    backbone.name: backbone
    for backbone in (
        Backbone("vgg16", "vgg", 512, {"IMAGENET1K_V1": "vgg16-397923af.pth"}),
        Backbone("vgg19", "vgg", 512, {"IMAGENET1K_V1": "vgg19-dcbb9e9d.pth"}),
        Backbone("resnet18", "resnet", 512, {"IMAGENET1K_V1": "resnet18-f37072fd.pth"}),
        Backbone(
            "resnet50",
            "resnet",
            2048,
            {"IMAGENET1K_V1": "resnet50-0676ba61.pth", "IMAGENET1K_V2": "resnet50-11ad3fa6.pth"},
        ),
        Backbone(
            "resnet152",
            "resnet",
            2048,
            {"IMAGENET1K_V1": "resnet152-394f9c45.pth", "IMAGENET1K_V2": "resnet152-f82ba261.pth"},
        ),
        # bf16 fell below the cosine of 0.998 that we hold to (0.9962 over 64 CIFAR images with trained weights)
        Backbone("densenet169", "densenet", 1664, {"IMAGENET1K_V1": "densenet169-b2777c0a.pth"}, precision="fp32"),
    )
}


# torchvision publishes eight digits. The other 56 are those that other people found when they hashed these very files:
#   vgg16, vgg19            LibreYOLO/libreyolo, docs/provenance/vgg.md
#   resnet18                zspacelabs/bunsen, its table of ResNet checkpoints (crates/bunsen, kits/bimm/resnet)
#   resnet50, resnet152 V1  isarandi/tensorflow-resnetv1.5-like-pytorch, convert_weights.py; zspacelabs/bunsen, as above
#   resnet50 V2             kkirchheim/pytorch-ood, src/pytorch_ood/model/registry.py
# None was found for resnet152's V2 and for densenet169.
SHA256: Mapping[str, str] = {
    "vgg16-397923af.pth": "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
    "vgg19-dcbb9e9d.pth": "dcbb9e9dad569fff7a846263a77324fc34978fea2bfb039c012d710e1776ae44",
    "resnet18-f37072fd.pth": "f37072fd47e89c5e827621c5baffa7500819f7896bbacec160b1a16c560e07ec",
    "resnet50-0676ba61.pth": "0676ba61b6795bbe1773cffd859882e5e297624d384b6993f7c9e683e722fb8a",
    "resnet50-11ad3fa6.pth": "11ad3fa62ca79e40addfd354a8ec4b7c75143b3038b8d2a807fbc68deab379ca",
    "resnet152-394f9c45.pth": "394f9c45966e3651a89bbb78a48410a6755854ce4a5ab64927cf1c7247f85e58",
}
"""The whole SHA-256 of torchvision's files, by file name: eight digits are 32 bits, which can be met on purpose."""


def get_backbone(name: str) -> Backbone:
    """The backbone called `name`. Raises WeightsMismatch, listing the known ones, where there is none."""
    try:
        return BACKBONES[name]
    except KeyError:
        hint = did_you_mean(name, BACKBONES)
        raise WeightsMismatch(f"model {name!r} is unknown{hint}; there are {', '.join(BACKBONES)}") from None
