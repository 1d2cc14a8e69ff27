"""torchvision's classification models: what each gives and takes, by family. Imports no torch.

A test builds every one and holds this table against it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from headstart.core.extract.backbones import CLASS_TOKEN, OWN_HEAD, POOLING, Sizes

ANY = Sizes()


@dataclasses.dataclass(frozen=True)
class Family:
    """Models that are cut alike: the feature dimension of each by name, the beginnings of the names of the parameters that
    only classifiers have, how a feature map becomes features, in the words of a key, and the pictures that are taken.

    `options` are the arguments of torchvision's functions with which it builds them for its published weights.
    """

    dimensions: Mapping[str, int]
    classifier: tuple[str, ...]
    pooling: str = POOLING
    sizes: Sizes = ANY
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)


_TF = {"transform_input": True, "init_weights": True}
"""Their weights were made for pixels of -1 to 1, which the networks make of ImageNet's mean and deviation themselves."""

FAMILIES = (
    # three linear layers over all places of the picture and no pooling: the average of the map before them, as the study's
    Family({"alexnet": 256}, ("classifier.",), sizes=Sizes(63)),
    Family(
        {
            **{"vgg11": 512, "vgg11_bn": 512, "vgg13": 512, "vgg13_bn": 512},
            **{"vgg16": 512, "vgg16_bn": 512, "vgg19": 512, "vgg19_bn": 512},
        },
        ("classifier.",),
    ),
    # a LayerNorm after the pooling
    Family(
        {"convnext_tiny": 768, "convnext_small": 768, "convnext_base": 1024, "convnext_large": 1536},
        ("classifier.2.",),
        OWN_HEAD,
    ),
    Family({"densenet121": 1024, "densenet161": 2208, "densenet169": 1664, "densenet201": 1920}, ("classifier.",)),
    Family(
        {
            **{"efficientnet_b0": 1280, "efficientnet_b1": 1280, "efficientnet_b2": 1408, "efficientnet_b3": 1536},
            **{"efficientnet_b4": 1792, "efficientnet_b5": 2048, "efficientnet_b6": 2304, "efficientnet_b7": 2560},
            **{"efficientnet_v2_s": 1280, "efficientnet_v2_m": 1280, "efficientnet_v2_l": 1280},
        },
        ("classifier.",),
    ),
    Family({"googlenet": 1024}, ("aux1.", "aux2.", "fc."), options=_TF),
    Family({"inception_v3": 2048}, ("AuxLogits.", "fc."), sizes=Sizes(75), options=_TF),
    # a LayerNorm and a linear layer after the pooling; windows of 7 x 7 in maps of a 32nd
    Family({"maxvit_t": 512}, ("classifier.5.",), OWN_HEAD, Sizes(only=224)),
    Family({"mnasnet0_5": 1280, "mnasnet0_75": 1280, "mnasnet1_0": 1280, "mnasnet1_3": 1280}, ("classifier.",)),
    Family({"mobilenet_v2": 1280}, ("classifier.",)),
    # a linear layer after the pooling
    Family({"mobilenet_v3_small": 1024, "mobilenet_v3_large": 1280}, ("classifier.3.",), OWN_HEAD),
    Family(
        {
            **{"regnet_x_400mf": 400, "regnet_x_800mf": 672, "regnet_x_1_6gf": 912, "regnet_x_3_2gf": 1008},
            **{"regnet_x_8gf": 1920, "regnet_x_16gf": 2048, "regnet_x_32gf": 2520},
            **{"regnet_y_400mf": 440, "regnet_y_800mf": 784, "regnet_y_1_6gf": 888, "regnet_y_3_2gf": 1512},
            **{"regnet_y_8gf": 2016, "regnet_y_16gf": 3024, "regnet_y_32gf": 3712, "regnet_y_128gf": 7392},
        },
        ("fc.",),
    ),
    Family(
        {
            **{"resnet18": 512, "resnet34": 512, "resnet50": 2048, "resnet101": 2048, "resnet152": 2048},
            **{"resnext50_32x4d": 2048, "resnext101_32x8d": 2048, "resnext101_64x4d": 2048},
            **{"wide_resnet50_2": 2048, "wide_resnet101_2": 2048},
        },
        ("fc.",),
    ),
    Family(
        {"shufflenet_v2_x0_5": 1024, "shufflenet_v2_x1_0": 1024, "shufflenet_v2_x1_5": 1024, "shufflenet_v2_x2_0": 2048},
        ("fc.",),
    ),
    # the last linear layer is a convolution of 1 x 1, and is averaged after: its input is averaged here
    Family({"squeezenet1_0": 512, "squeezenet1_1": 512}, ("classifier.1.",)),
    Family(
        {"swin_t": 768, "swin_s": 768, "swin_b": 1024, "swin_v2_t": 768, "swin_v2_s": 768, "swin_v2_b": 1024},
        ("head.",),
    ),
    # position embeddings are for one size
    Family(
        {"vit_b_16": 768, "vit_b_32": 768, "vit_l_16": 1024, "vit_l_32": 1024, "vit_h_14": 1280},
        ("heads.",),
        CLASS_TOKEN,
        Sizes(only=224),
    ),
)

MODELS: Mapping[str, Family] = {name: family for family in FAMILIES for name in family.dimensions}
"""The family of every model."""
