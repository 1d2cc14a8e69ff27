"""A network's BatchNorm layers: whether their statistics can show the fault, and how far they moved."""

import numpy as np
import torch
from torch import Tensor, nn

from headstart.core.cache.errors import WeightsMismatch
from headstart.core.extract.backbones import Backbone, names
from headstart.core.extract.weights import Weights
from headstart.core.heads.study.results import Drift

FOLDED = 1e-3
"""How near 1 a whole layer's running variance is where it was folded away: at 1 less BatchNorm's epsilon, 1e-5 to 1e-3."""


def check_norms(backbone: Backbone, found: Weights, body: nn.Module) -> None:
    """Raises WeightsMismatch for a backbone without BatchNorm, or without running statistics of real images."""
    norms = norms_of(body)
    if not norms:
        able = ", ".join(name for name in names() if not name.startswith("vgg"))
        raise WeightsMismatch(
            f"{backbone.name}: has no BatchNorm layer, expected some, since training mode changes nothing else; use {able}"
        )
    if found.path is None:
        raise WeightsMismatch(
            f"{backbone.name}: the weights {found.label} are untrained, expected BatchNorm statistics of real images; "
            f"give --weights IMAGENET1K_V1 or a file of trained ones"
        )
    if folded := [norm for norm in norms if _is_identity(norm)]:
        raise WeightsMismatch(
            f"{found.origin}: {len(folded)} of {len(norms)} BatchNorm layers of {backbone.name} have the running mean 0 "
            f"and variance 1 (folded away), expected statistics of real images; give other --weights or use densenet169"
        )


def norms_of(body: nn.Module) -> list[nn.BatchNorm2d]:
    """The BatchNorm layers, in the order of the network's modules."""
    return [module for module in body.modules() if isinstance(module, nn.BatchNorm2d)]


def drift(before: nn.Module, after: nn.Module) -> Drift:
    """How far the statistics of `after` are from those of `before`, two copies of one network."""
    changes = [
        [_relative(old, new) for old, new in zip(_statistics(first), _statistics(last), strict=True)]
        for first, last in zip(norms_of(before), norms_of(after), strict=True)
    ]
    mean, var = np.mean(changes, axis=0)
    return Drift(float(mean), float(var))


def _statistics(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    mean, var = norm.running_mean, norm.running_var
    assert mean is not None  # torchvision's layers all keep theirs
    assert var is not None
    return mean.cpu().double(), var.cpu().double()


def _is_identity(norm: nn.BatchNorm2d) -> bool:
    mean, var = _statistics(norm)
    return not bool(mean.any()) and float((var - 1).abs().max()) <= FOLDED


def _relative(old: Tensor, new: Tensor) -> float:
    return float((new - old).norm() / old.norm().clamp_min(torch.finfo(torch.float32).tiny))
