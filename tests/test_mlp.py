"""mlp is two layers with a ReLU between them, whose hidden units dropout leaves out in training alone."""

import numpy as np
import torch
from heads_samples import blobs, make_config, random_head, trained_head
from heads_samples import one_thread as one_thread
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.core.heads.config import RECIPES
from headstart.core.heads.kinds.base import laid
from headstart.core.heads.kinds.mlp import Mlp

seeds = st.integers(0, 2**32 - 1)


def test_the_mlp_is_a_linear_a_relu_and_a_linear_layer() -> None:
    head, features = trained_head("mlp"), blobs(20, seed=1).features
    weights = {name: value.double().numpy() for name, value in head.state_dict().items()}
    hidden = (features - weights["mean"]) / weights["std"] @ weights["hidden.weight"].T + weights["hidden.bias"]
    expected = np.maximum(hidden, 0) @ weights["out.weight"].T + weights["out.bias"]
    np.testing.assert_allclose(head(torch.from_numpy(features)).numpy(), expected, rtol=1e-4, atol=1e-4)


def test_dropout_acts_in_training_only() -> None:
    head = random_head("mlp", classes=3, sigmoid=False, scale=1.0, seed=0)
    head.config = make_config(dropout=0.5)
    features = torch.ones(1, 4)
    assert torch.equal(head.train()(features), head.eval()(features))
    one, other = (trained_head("mlp", dropout=rate).state_dict() for rate in (0.0, 0.5))
    assert not torch.equal(one["hidden.weight"], other["hidden.weight"])


@given(sigmoid=st.booleans(), seed=seeds)
@settings(max_examples=30)
def test_dropout_multiplies_the_hidden_units_of_each_stacked_head(sigmoid: bool, seed: int) -> None:
    heads = [random_head("mlp", 3, sigmoid, 1.0, seed + k) for k in range(2)]
    names = [name for name, _ in heads[0].named_parameters()]
    stack = {name: torch.stack([laid(head.get_parameter(name)) for head in heads]) for name in names}
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(2, 5, 4, generator=generator)
    keep = 2.0 * (torch.rand(2, 5, 8, generator=generator) < 0.5)
    assert isinstance(heads[0], Mlp)
    found = heads[0].scores(stack, features, keep).double().numpy()
    for k, head in enumerate(heads):
        weights = {name: value.double().numpy() for name, value in head.named_parameters()}
        hidden = np.maximum(features[k].double().numpy() @ weights["hidden.weight"].T + weights["hidden.bias"], 0)
        scores = (hidden * keep[k].numpy()) @ weights["out.weight"].T + weights["out.bias"]
        np.testing.assert_allclose(found[k], 1 / (1 + np.exp(-scores)) if sigmoid else scores, rtol=1e-3, atol=1e-4)


def test_the_initial_weights_are_those_of_pytorchs_layers() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        layers = torch.nn.Linear(2048, 128), torch.nn.Linear(128, 10)
    before = torch.get_rng_state()
    head = Mlp(2048, 10, RECIPES["study"], 0, torch.Generator().manual_seed(7))
    assert torch.equal(torch.get_rng_state(), before)
    for ours, theirs in zip((head.hidden, head.out), layers, strict=True):
        assert torch.equal(ours.weight, theirs.weight)
        assert torch.equal(ours.bias, theirs.bias)
