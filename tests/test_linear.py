"""linear is one layer of standardised features, drawn as PyTorch draws it."""

import numpy as np
import torch
from heads_samples import blobs, make_config, trained_head
from heads_samples import one_thread as one_thread

from headstart.core.heads.kinds.linear import Linear


def test_it_is_one_linear_layer_of_standardised_features() -> None:
    head, features = trained_head("linear"), blobs(20, seed=1).features
    weights = {name: value.double().numpy() for name, value in head.state_dict().items()}
    expected = (features - weights["mean"]) / weights["std"] @ weights["out.weight"].T + weights["out.bias"]
    assert not np.allclose(weights["std"], 1)
    np.testing.assert_allclose(head(torch.from_numpy(features)).numpy(), expected, rtol=1e-4, atol=1e-4)


def test_its_initial_weights_are_those_of_pytorchs_layer() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        layer = torch.nn.Linear(12, 5)
    head = Linear(12, 5, make_config("linear"), 0, torch.Generator().manual_seed(7))
    assert torch.equal(head.out.weight, layer.weight)
    assert torch.equal(head.out.bias, layer.bias)
