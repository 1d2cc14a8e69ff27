"""Convolutions that take in the BatchNorm behind them: less rounding and less time in low precision."""

import itertools
from collections.abc import Iterator

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def fold_batch_norm(module: nn.Module) -> None:
    """Replace each convolution and the BatchNorm behind it by one convolution, in place and in the convolution's dtype."""
    for parent in module.modules():
        for conv, norm in _pairs(parent):
            fused = fuse_conv_bn_eval(getattr(parent, conv), getattr(parent, norm))
            setattr(parent, conv, fused)
            setattr(parent, norm, nn.Identity().eval())


def _pairs(parent: nn.Module) -> Iterator[tuple[str, str]]:
    """Names of a convolution and the BatchNorm fed by it, and by it alone: neighbours in a torchvision module.

    True for Sequential by definition, for ResNet's blocks (conv1, bn1, …) and for DenseNet's layers (conv1, norm2).
    """
    children = list(parent.named_children())
    convs = {name: child for name, child in children if isinstance(child, nn.Conv2d)}
    norms = {name for name, child in children if isinstance(child, nn.BatchNorm2d)}
    if isinstance(parent, nn.Sequential):
        for (first, _), (second, _) in itertools.pairwise(children):
            if first in convs and second in norms:
                yield first, second
        return
    for conv in convs:
        stem, number = conv.rstrip("0123456789"), conv.lstrip("abcdefghijklmnopqrstuvwxyz")
        following = f"norm{int(number) + 1}" if number.isdecimal() else ""
        for norm in (f"bn{number}", following):
            if stem == "conv" and norm in norms:
                yield conv, norm
