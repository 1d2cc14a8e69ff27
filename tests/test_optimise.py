"""Gradient descent: the same steps as plain PyTorch takes, and the best epoch kept."""

import copy
import dataclasses
import functools
import itertools
import math
from collections.abc import Mapping
from typing import Any

import heads_samples as samples
import pytest
import torch
from heads_samples import DIM, blobs, silent
from heads_samples import one_thread as one_thread
from torch import Tensor, nn

from cache.errors import FeaturesInvalid
from heads.config import TrainConfig
from heads.kinds import Mlp
from heads.optimise import Split, descend


def make_config(**changes: Any) -> TrainConfig:
    """A recipe without dropout, whose draws would come from the global generator: `train` seeds it, not `descend`."""
    return samples.make_config(**{"dropout": 0.0, **changes})


def noisy_split(rows: int = 60, val_rows: int = 20) -> Split:
    """Blobs a third of whose labels are wrong, so that accuracy rises and falls between epochs."""
    data, generator = blobs(rows + val_rows), torch.Generator().manual_seed(0)
    features, labels = torch.from_numpy(data.features), torch.from_numpy(data.labels)
    wrong = torch.rand(len(labels), generator=generator) < 1 / 3
    labels = torch.where(wrong, torch.randint(3, labels.shape, generator=generator), labels)
    return Split(features[:rows], labels[:rows], features[rows:], labels[rows:])


def without_validation(split: Split) -> Split:
    return dataclasses.replace(split, val_features=split.val_features[:0], val_labels=split.val_labels[:0])


def fresh_head(config: TrainConfig, seed: int = 0) -> Mlp:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Mlp(DIM, 3, config, 60)


def order(seed: int = 7) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def same_state(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


def take_snapshot(
    head: nn.Module, snapshots: list[dict[str, Tensor]], number: int, loss: float, accuracy: float | None
) -> None:
    """An `on_epoch` that keeps the weights as they are after each epoch."""
    snapshots.append(copy.deepcopy(head.state_dict()))


def plain_loop(model: nn.Module, optimiser: torch.optim.Optimizer, split: Split, config: TrainConfig) -> list[float]:
    """The training loop as PyTorch's tutorials write it, over the rows in the order of `order()`; mean loss per epoch."""
    generator, losses = order(), []
    criterion = nn.CrossEntropyLoss()
    for _ in range(config.epochs):
        model.train()
        rows = torch.randperm(len(split.labels), generator=generator)
        total = 0.0
        for start in range(0, len(rows), config.batch_size):
            batch = rows[start : start + config.batch_size]
            optimiser.zero_grad()
            loss = criterion(model(split.features[batch]), split.labels[batch])
            loss.backward()
            optimiser.step()
            total += loss.item() * len(batch)
        losses.append(total / len(rows))
    return losses


def test_the_study_recipe_trains_as_plain_pytorch_does() -> None:
    config = make_config(recipe="study", epochs=6, lr=1e-3)
    split, head = without_validation(noisy_split()), fresh_head(config)
    first, last = nn.Linear(DIM, config.hidden), nn.Linear(config.hidden, 3)
    first.load_state_dict(head.hidden.state_dict())
    last.load_state_dict(head.out.state_dict())
    plain = nn.Sequential(first, nn.ReLU(), nn.Dropout(0.0), last, nn.Sigmoid())
    losses = plain_loop(plain, torch.optim.Adam(plain.parameters(), lr=1e-3), split, config)

    history = descend(head, split, config, order(), silent)

    # the same arithmetic in another order (fused Adam): rounding alone may differ
    assert history.losses == pytest.approx(losses, rel=1e-5)
    for ours, theirs in ((head.hidden, first), (head.out, last)):
        torch.testing.assert_close(ours.weight, theirs.weight, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(ours.bias, theirs.bias, rtol=1e-4, atol=1e-5)


def test_the_standard_recipe_is_adamw_under_one_cosine_to_zero() -> None:
    config = make_config(epochs=4, weight_decay=0.1)
    split, head = without_validation(noisy_split()), fresh_head(config)
    plain = copy.deepcopy(head)
    optimiser = torch.optim.AdamW(plain.parameters(), lr=config.lr, weight_decay=0.1)
    steps = config.epochs * math.ceil(60 / config.batch_size)
    generator, done = order(), 0
    for _ in range(config.epochs):
        for batch in torch.randperm(60, generator=generator).split(config.batch_size):
            optimiser.param_groups[0]["lr"] = config.lr * (1 + math.cos(math.pi * done / steps)) / 2
            optimiser.zero_grad()
            nn.functional.cross_entropy(plain.score(split.features[batch]), split.labels[batch]).backward()
            optimiser.step()
            done += 1

    descend(head, split, config, order(), silent)

    for name, value in head.state_dict().items():
        torch.testing.assert_close(value, plain.state_dict()[name], rtol=1e-4, atol=1e-5)


def test_weight_decay_shrinks_the_weights() -> None:
    split = without_validation(noisy_split())
    sizes = []
    for weight_decay in (0.0, 1.0):
        config = make_config(epochs=5, weight_decay=weight_decay)
        head = fresh_head(config)
        descend(head, split, config, order(), silent)
        sizes.append(head.hidden.weight.norm().item())
    assert sizes[1] < sizes[0]


def test_the_kept_weights_are_those_of_the_epoch_with_the_best_validation_accuracy() -> None:
    kept: list[int | None] = []
    for seed in range(5):
        config = make_config(epochs=8, lr=0.1, cosine=False)
        head = fresh_head(config, seed)
        snapshots: list[dict[str, Tensor]] = []
        keep = functools.partial(take_snapshot, head, snapshots)
        history = descend(head, noisy_split(), config, order(), keep)
        kept.append(history.best_epoch)
        assert history.best_epoch == 1 + history.val_accuracies.index(max(history.val_accuracies))
        assert same_state(head.state_dict(), snapshots[history.best_epoch - 1])
        assert not any(same_state(*pair) for pair in itertools.pairwise(snapshots))
    assert len(set(kept)) > 1  # else it might be a fixed epoch that is kept


def test_of_equally_good_epochs_the_earliest_is_kept() -> None:
    config = make_config(epochs=4, lr=1e-9, cosine=False)  # too small a step to change any label
    head = fresh_head(config)
    snapshots: list[dict[str, Tensor]] = []
    history = descend(head, noisy_split(), config, order(), functools.partial(take_snapshot, head, snapshots))
    assert len(set(history.val_accuracies)) == 1
    assert history.best_epoch == 1
    assert same_state(head.state_dict(), snapshots[0])
    assert not same_state(snapshots[0], snapshots[-1])


def test_the_validation_accuracies_are_those_of_each_epochs_weights() -> None:
    config, split = make_config(epochs=3, dropout=0.5), noisy_split()
    head = fresh_head(config)
    found: list[float] = []

    def measure(number: int, loss: float, accuracy: float | None) -> None:
        evaluated = copy.deepcopy(head).eval()
        found.append(float((evaluated.score(split.val_features).argmax(dim=1) == split.val_labels).double().mean()))

    assert descend(head, split, config, order(), measure).val_accuracies == tuple(found)


def test_without_validation_rows_the_last_epoch_is_kept() -> None:
    config = make_config(epochs=3)
    head = fresh_head(config)
    snapshots: list[dict[str, Tensor]] = []
    keep = functools.partial(take_snapshot, head, snapshots)
    history = descend(head, without_validation(noisy_split()), config, order(), keep)
    assert (history.val_accuracies, history.best_epoch) == ((), None)
    assert same_state(head.state_dict(), snapshots[-1])


@pytest.mark.parametrize("val_rows", [0, 20])
def test_each_epoch_is_reported_once_with_the_figures_of_the_history(val_rows: int) -> None:
    config = make_config(epochs=4)
    seen: list[tuple[int, float, float | None]] = []
    history = descend(fresh_head(config), noisy_split(60, val_rows), config, order(), lambda *epoch: seen.append(epoch))
    accuracies = history.val_accuracies or [None] * 4
    assert seen == list(zip(range(1, 5), history.losses, accuracies, strict=True))


def test_the_loss_is_the_mean_over_rows_when_the_last_batch_is_short() -> None:
    # a step of 1e-30 changes no weight, so the epoch's mean can be had from one pass over all rows
    config = make_config(epochs=1, lr=1e-30, weight_decay=0.0, batch_size=50, cosine=False)
    split, head = without_validation(noisy_split()), fresh_head(make_config())
    expected = nn.functional.cross_entropy(head.score(split.features), split.labels).item()
    assert descend(head, split, config, order(), silent).losses[0] == pytest.approx(expected, rel=1e-5)


def test_the_generator_alone_orders_the_rows() -> None:
    config, split = make_config(), without_validation(noisy_split())
    heads = [fresh_head(config) for _ in range(3)]
    for head, seed in zip(heads, (7, 7, 8), strict=True):
        descend(head, split, config, order(seed), silent)
    assert same_state(heads[0].state_dict(), heads[1].state_dict())
    assert not same_state(heads[0].state_dict(), heads[2].state_dict())


@pytest.mark.parametrize("recipe", ["study", "standard"])
def test_a_loss_that_diverges_is_an_error_that_names_the_epoch_and_the_learning_rate(recipe: str) -> None:
    config = make_config(recipe=recipe, lr=1e30)
    with pytest.raises(FeaturesInvalid, match=r"the loss is (nan|inf) in epoch [12]; try a --lr below 1e\+30"):
        descend(fresh_head(config), without_validation(noisy_split()), config, order(), silent)


def test_a_last_step_that_diverges_is_an_error_too() -> None:
    # one step: the loss before it is finite, what it leaves behind is useless
    config = make_config(lr=1e30, epochs=1, batch_size=60)
    with pytest.raises(FeaturesInvalid, match=r"try a --lr below 1e\+30"):
        descend(fresh_head(config), without_validation(noisy_split()), config, order(), silent)
