"""Folding BatchNorm into convolutions changes the network, not its features."""

import pytest
import torch
from test_architectures import ONE_EACH, filled, model_of, pixels_of, size_of
from test_extractor import Features, body_of, untrained, worst
from torch import Tensor, nn

from headstart.core.extract.backbones import get_backbone
from headstart.core.extract.network.body import Body, pooled
from headstart.core.extract.network.folding import fold_batch_norm


@pytest.mark.parametrize(("name", "left"), [("resnet18", 0), ("densenet169", 86)])
def test_folding_batch_norm_keeps_the_features(name: str, left: int) -> None:
    body = body_of(untrained(name), name).eval()
    pixels = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        before = body(pixels).mean((2, 3)).numpy()
        fold_batch_norm(body, 64)
        after = body(pixels).mean((2, 3)).numpy()
    assert sum(isinstance(module, nn.BatchNorm2d) for module in body.modules()) == left
    assert (before != after).any()
    assert worst(after, before) < 1e-4


def test_a_batch_norm_that_follows_no_convolution_is_not_folded() -> None:
    body = body_of(untrained("densenet169"), "densenet169").eval()
    fold_batch_norm(body, 64)
    norms = {key.rpartition(".")[2] for key, module in body.named_modules() if isinstance(module, nn.BatchNorm2d)}
    assert norms == {"norm1", "norm", "norm5"}


NONE = {"alexnet", "convnext_tiny", "squeezenet1_1", "swin_t", "swin_v2_t", "vgg11", "vit_b_32"}
"""Those without a BatchNorm; what a family has left are norms that no convolution feeds alone."""
LEFT = {"densenet121": 62, "mnasnet0_5": 0, "maxvit_t": 11}


@pytest.mark.parametrize("name", [name for name in ONE_EACH if name not in NONE])
def test_every_family_is_folded_rightly(name: str) -> None:
    # in float64: with drawn weights a network may make much of float32's last bit
    body, backbone = filled(name, model_of(name)).double(), get_backbone(name)
    pixels = pixels_of(backbone, 1).double()
    with torch.inference_mode():
        before = features_of(body, pixels)
        norms = norms_of(body)
        fold_batch_norm(body, size_of(backbone))
        after = features_of(body, pixels)
    assert norms > norms_of(body) == LEFT.get(name, 0)
    assert worst(after, before) < 1e-6


def features_of(body: nn.Module, pixels: Tensor) -> Features:
    found: Features = (body.head(body(pixels)) if isinstance(body, Body) else pooled(body, body(pixels))).float().numpy()
    return found


def norms_of(body: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in body.modules())


class Odd(nn.Module):
    """Convolutions whose output is used twice, that run twice, whose norm runs twice, or that are the result; and one pair
    that can be folded, under names that say nothing."""

    def __init__(self) -> None:
        super().__init__()
        for name in ("conv1", "conv2", "conv3", "conv4", "first"):
            self.add_module(name, nn.Conv2d(3, 3, 1))
        for name in ("bn1", "bn2", "bn3", "second"):
            self.add_module(name, nn.BatchNorm2d(3))

    def forward(self, pixels: Tensor) -> Tensor:
        used_twice = self.conv1(pixels)
        pixels = self.bn1(used_twice) + used_twice
        pixels = self.bn2(self.conv2(self.conv2(pixels)))
        pixels = self.bn3(self.conv3(self.bn3(pixels)))
        found: Tensor = self.conv4(self.second(self.first(pixels)))
        return found


def test_only_what_feeds_a_norm_alone_and_runs_once_is_folded() -> None:
    body = Odd().eval().requires_grad_(False)
    for norm in (module for module in body.modules() if isinstance(module, nn.BatchNorm2d)):
        norm.running_mean.normal_(generator=torch.Generator().manual_seed(0))
    pixels = torch.randn(2, 3, 8, 8)
    before = body(pixels)
    fold_batch_norm(body, 8)
    assert {name for name, module in body.named_modules() if isinstance(module, nn.Identity)} == {"second"}
    assert worst(body(pixels).numpy(), before.numpy()) < 1e-5


def test_a_norm_that_somebody_listens_to_stays() -> None:
    body = Odd().eval().requires_grad_(False)
    body.get_submodule("second").register_forward_hook(lambda *_: None)
    fold_batch_norm(body, 8)
    assert norms_of(body) == 4
