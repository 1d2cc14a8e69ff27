"""Folding BatchNorm into convolutions changes the network, not its features."""

import pytest
import torch
from test_extractor import body_of, untrained, worst
from torch import nn

from headstart.core.extract.network.folding import fold_batch_norm


@pytest.mark.parametrize(("name", "left"), [("resnet18", 0), ("densenet169", 86)])
def test_folding_batch_norm_keeps_the_features(name: str, left: int) -> None:
    body = body_of(untrained(name), name).eval()
    pixels = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        before = body(pixels).mean((2, 3)).numpy()
        fold_batch_norm(body)
        after = body(pixels).mean((2, 3)).numpy()
    assert sum(isinstance(module, nn.BatchNorm2d) for module in body.modules()) == left
    assert (before != after).any()
    assert worst(after, before) < 1e-4


def test_a_batch_norm_that_follows_no_convolution_is_not_folded() -> None:
    body = body_of(untrained("densenet169"), "densenet169").eval()
    fold_batch_norm(body)
    norms = {key.rpartition(".")[2] for key, module in body.named_modules() if isinstance(module, nn.BatchNorm2d)}
    assert norms == {"norm1", "norm", "norm5"}
