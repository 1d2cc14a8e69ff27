"""A backbone described: every parameter is counted once, and nothing is computed for it."""

import pytest
import torch

from headstart.core.extract.backbones import get_backbone, names
from headstart.core.extract.network.summary import summarise


@pytest.mark.parametrize("name", names())
def test_the_layers_add_up_to_the_network(name: str) -> None:
    found = summarise(get_backbone(name), 64)
    assert sum(layer.parameters for layer in found.layers) == found.parameters
    assert sum(layer.flops for layer in found.layers) == found.flops
    with torch.device("meta"):
        assert found.parameters == sum(value.numel() for value in get_backbone(name).body().parameters())


def test_a_convolution_costs_two_operations_for_each_product() -> None:
    first = summarise(get_backbone("resnet18"), 64).layers[0]
    assert (first.name, first.kind, first.shape) == ("conv1", "Conv2d", (64, 32, 32))
    assert first.flops == 2 * 64 * 32 * 32 * 3 * 7 * 7
