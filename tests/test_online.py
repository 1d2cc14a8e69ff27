"""The head that learns batch by batch: the study's own layers, loss and optimiser, step by step."""

import dataclasses

import numpy as np
import pytest
import torch
from heads_samples import CLASSES, DIM, blobs
from heads_samples import one_thread as one_thread
from torch import nn

from headstart.core.cache.errors import FeaturesInvalid
from headstart.core.heads.config import RECIPES, TrainConfig
from headstart.core.heads.data import Labelled
from headstart.core.heads.training.online import OnlineHead
from headstart.core.heads.training.train import predict, train

STUDY = RECIPES["study"]
UNDROPPED = dataclasses.replace(STUDY, dropout=0.0)


def learned(data: Labelled, config: TrainConfig, seed: int = 0, epochs: int = 3) -> OnlineHead:
    head = OnlineHead(DIM, len(CLASSES), config, seed)
    for _ in range(epochs):
        for start in range(0, len(data.labels), config.batch_size):
            rows = slice(start, start + config.batch_size)
            head.learn(data.features[rows], data.labels[rows])
    return head


def published(head: OnlineHead, dropout: float) -> nn.Sequential:
    """The study's layers as it wrote them, with the head's initial weights."""
    layers = nn.Sequential(nn.Linear(DIM, 128), nn.ReLU(), nn.Dropout(dropout), nn.Linear(128, len(CLASSES)), nn.Sigmoid())
    own = head.head.state_dict()
    layers.load_state_dict({f"{place}.{kind}": own[f"{name}.{kind}"] for place, name in ((0, "hidden"), (3, "out"))
                            for kind in ("weight", "bias")})  # fmt: skip
    return layers


def test_it_takes_the_steps_of_the_published_code() -> None:
    data, head = blobs(150), OnlineHead(DIM, len(CLASSES), UNDROPPED, 3)
    layers = published(head, 0.0)
    optimiser, criterion = torch.optim.Adam(layers.parameters(), lr=1e-3), nn.CrossEntropyLoss()
    for start in range(0, 150, 64):
        features, labels = data.features[start : start + 64], data.labels[start : start + 64]
        head.learn(features, labels)
        optimiser.zero_grad()
        criterion(layers(torch.from_numpy(features)), torch.from_numpy(labels)).backward()
        optimiser.step()
    assert torch.allclose(head.head.hidden.weight, layers[0].weight, rtol=0, atol=1e-6)
    assert torch.allclose(head.head.out.weight, layers[3].weight, rtol=0, atol=1e-6)
    assert torch.allclose(head.head.out.bias, layers[3].bias, rtol=0, atol=1e-6)


def test_dropout_leaves_out_a_fifth_and_makes_up_for_it() -> None:
    head = OnlineHead(DIM, len(CLASSES), dataclasses.replace(STUDY, sigmoid=False), 0)
    with torch.no_grad():
        head.head.hidden.weight.zero_()
        head.head.hidden.bias.fill_(1)
        head.head.out.weight.fill_(1 / 128)
        head.head.out.bias.zero_()
    with torch.no_grad():
        means = head._scores(torch.ones(2000, DIM))[:, 0] * 0.8  # the part of the 128 units that stayed
    assert abs(float(means.mean()) - 0.8) < 0.005
    assert abs(float(means.std()) - (0.8 * 0.2 / 128) ** 0.5) < 0.003
    with torch.inference_mode():
        assert torch.allclose(head.head(torch.ones(4, DIM)), torch.ones(4, len(CLASSES)))


def test_it_ends_where_training_on_the_whole_ends() -> None:
    # another order and another dropout, the same recipe: on clouds this far apart both are right
    data, test = blobs(600), blobs(300, seed=1)
    whole = train(data, len(CLASSES), STUDY, "cpu", lambda *_: None)
    head = learned(data, STUDY, epochs=5)
    assert (head.predict(test.features) == test.labels).mean() > 0.98
    assert (head.predict(test.features) == predict(whole.head, test.features, "cpu")).mean() > 0.98


def test_it_begins_with_the_weights_that_training_on_the_whole_begins_with() -> None:
    still = dataclasses.replace(STUDY, lr=1e-30, epochs=1, seed=5)
    whole = train(blobs(60), len(CLASSES), still, "cpu", lambda *_: None).head.state_dict()
    own = OnlineHead(DIM, len(CLASSES), STUDY, 5).head.state_dict()
    assert own.keys() == whole.keys()
    assert all(torch.equal(own[name], value) for name, value in whole.items())


def test_the_same_seed_gives_the_same_head_whatever_was_drawn_in_between() -> None:
    data, state = blobs(130), torch.get_rng_state()
    first = learned(data, STUDY, seed=1)
    assert torch.equal(torch.get_rng_state(), state)  # and nobody else's draws change
    torch.rand(7)
    second, other = learned(data, STUDY, seed=1), learned(data, STUDY, seed=2)
    assert torch.equal(first.head.hidden.weight, second.head.hidden.weight)
    assert not torch.equal(first.head.hidden.weight, other.head.hidden.weight)


def test_weight_decay_is_the_recipes() -> None:
    data = blobs(64)
    plain, decayed = (learned(data, dataclasses.replace(UNDROPPED, weight_decay=d), epochs=1) for d in (0.0, 0.5))
    start = OnlineHead(DIM, len(CLASSES), UNDROPPED, 0).head.hidden.weight
    difference = plain.head.hidden.weight - decayed.head.hidden.weight  # decoupled: lr x decay x weight
    assert torch.allclose(difference, 1e-3 * 0.5 * start, rtol=1e-2, atol=1e-7)


@pytest.mark.parametrize("recipe", [RECIPES["standard"], dataclasses.replace(STUDY, head="ridge")])
def test_recipes_that_need_all_features_at_once_are_refused(recipe: TrainConfig) -> None:
    with pytest.raises(
        ValueError, match=f"the recipe {recipe.recipe} with the head {recipe.head} can't learn batch by batch"
    ):
        OnlineHead(DIM, len(CLASSES), recipe, 0)


def test_a_loss_that_is_not_finite_is_refused() -> None:
    head = OnlineHead(DIM, len(CLASSES), STUDY, 0)
    features = np.full((4, DIM), np.nan, dtype=np.float32)
    with pytest.raises(FeaturesInvalid, match=r"the loss is not finite in a batch of 4; try a --lr below 0\.001"):
        head.learn(features, np.zeros(4, dtype=np.int64))
