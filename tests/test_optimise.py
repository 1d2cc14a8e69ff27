"""Gradient descent: the same steps as plain PyTorch takes, for each head of many, and the best epoch kept."""

import copy
import dataclasses
import itertools
import math
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import heads_samples as samples
import pytest
import torch
from heads_samples import DIM, ROOT, blobs, same_head, silent
from heads_samples import one_thread as one_thread
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from headstart.core.cache.errors import FeaturesInvalid
from headstart.core.heads.config import TrainConfig
from headstart.core.heads.kinds.base import Batch, GradientHead, Rows
from headstart.core.heads.kinds.mlp import Mlp
from headstart.core.heads.training import optimise
from headstart.core.heads.training.adamw import Optimiser
from headstart.core.heads.training.epoch import Epoch
from headstart.core.heads.training.optimise import History, Part, descend

TRAIN, VAL = 60, 20


def make_config(**changes: Any) -> TrainConfig:
    """A recipe without dropout."""
    return samples.make_config(**{"dropout": 0.0, **changes})


def noisy_rows() -> Rows:
    """Blobs a third of whose labels are wrong, so that accuracy rises and falls between epochs."""
    data, generator = blobs(TRAIN + VAL), torch.Generator().manual_seed(0)
    features, labels = torch.from_numpy(data.features), torch.from_numpy(data.labels)
    wrong = torch.rand(len(labels), generator=generator) < 1 / 3
    return Rows(features, torch.where(wrong, torch.randint(3, labels.shape, generator=generator), labels))


def make_part(seed: int = 7, val_rows: int = 0) -> Part:
    """The first rows to learn from, those after them to choose the epoch by."""
    return Part(torch.arange(TRAIN), torch.arange(TRAIN, TRAIN + val_rows), order(seed))


def order(seed: int = 7) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def fresh_head(config: TrainConfig, seed: int = 0) -> Mlp:
    return Mlp(DIM, 3, config, TRAIN, torch.Generator().manual_seed(seed))


def trained(config: TrainConfig, seed: int = 0, part: Part | None = None) -> tuple[Mlp, History]:
    """A head trained alone."""
    head = fresh_head(config, seed)
    (history,) = descend([head], noisy_rows(), [part or make_part()], silent)
    return head, history


def after_each_epoch(config: TrainConfig, seed: int = 0) -> list[Mlp]:
    """The head as it is after each epoch: without validation and cosine a longer training begins as a shorter one."""
    assert not config.cosine
    return [trained(dataclasses.replace(config, epochs=epochs), seed)[0] for epochs in range(1, config.epochs + 1)]


def validation_accuracy(head: GradientHead) -> float:
    rows = noisy_rows()
    return float((head.score(rows.features[TRAIN:]).argmax(dim=1) == rows.labels[TRAIN:]).double().mean())


def validation_loss(head: GradientHead) -> float:
    rows = noisy_rows()
    return float(nn.functional.cross_entropy(head.score(rows.features[TRAIN:]), rows.labels[TRAIN:]))


def plain_loop(model: nn.Module, optimiser: torch.optim.Optimizer, config: TrainConfig) -> list[float]:
    """The training loop as PyTorch's tutorials write it, over the rows in the order of `order()`; mean loss per epoch."""
    rows, generator, losses = noisy_rows(), order(), []
    criterion = nn.CrossEntropyLoss()
    for _ in range(config.epochs):
        model.train()
        drawn = torch.randperm(TRAIN, generator=generator)
        total = 0.0
        for start in range(0, TRAIN, config.batch_size):
            batch = drawn[start : start + config.batch_size]
            optimiser.zero_grad()
            loss = criterion(model(rows.features[batch]), rows.labels[batch])
            loss.backward()
            optimiser.step()
            total += loss.item() * len(batch)
        losses.append(total / TRAIN)
    return losses


def sequential(head: Mlp, *last: nn.Module) -> nn.Sequential:
    """Plain layers with a copy of the head's parameters."""
    return nn.Sequential(copy.deepcopy(head.hidden), nn.ReLU(), copy.deepcopy(head.out), *last)


def assert_same_parameters(head: Mlp, plain: nn.Sequential) -> None:
    for ours, theirs in zip(head.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


# ------------------------------------------------------------------------------------------------- against plain PyTorch


def test_the_study_recipe_trains_as_plain_pytorch_does() -> None:
    config = make_config(recipe="study", epochs=6, lr=1e-3)
    plain = sequential(fresh_head(config), nn.Sigmoid())
    losses = plain_loop(plain, torch.optim.Adam(plain.parameters(), lr=1e-3), config)

    head, history = trained(config)

    # the same arithmetic in another order (fused Adam): rounding alone may differ
    assert history.losses == pytest.approx(losses, rel=1e-5)
    assert_same_parameters(head, plain)


def test_the_standard_recipe_is_adamw_under_one_cosine_to_zero() -> None:
    config, rows = make_config(epochs=4, weight_decay=0.1), noisy_rows()
    plain = sequential(fresh_head(config))
    optimiser = torch.optim.AdamW(plain.parameters(), lr=config.lr, weight_decay=0.1)
    steps = config.epochs * math.ceil(TRAIN / config.batch_size)
    generator, done = order(), 0
    for _ in range(config.epochs):
        for batch in torch.randperm(TRAIN, generator=generator).split(config.batch_size):
            optimiser.param_groups[0]["lr"] = config.lr * (1 + math.cos(math.pi * done / steps)) / 2
            optimiser.zero_grad()
            nn.functional.cross_entropy(plain(rows.features[batch]), rows.labels[batch]).backward()
            optimiser.step()
            done += 1

    assert_same_parameters(trained(config)[0], plain)


def test_weight_decay_shrinks_the_weights() -> None:
    sizes = [trained(make_config(epochs=5, weight_decay=decay))[0].hidden.weight.norm().item() for decay in (0.0, 1.0)]
    assert sizes[1] < sizes[0]


# ----------------------------------------------------------------------------------------------------- the epoch kept


def test_the_kept_weights_are_those_of_the_epoch_with_the_best_validation_accuracy() -> None:
    kept: list[int | None] = []
    config = make_config(epochs=8, lr=0.1, cosine=False)
    for seed in range(5):
        head, history = trained(config, seed, make_part(val_rows=VAL))
        snapshots = after_each_epoch(config, seed)
        kept.append(history.best_epoch)
        assert history.best_epoch == 1 + history.val_accuracies.index(max(history.val_accuracies))
        assert same_head(head, snapshots[history.best_epoch - 1])
        assert not any(same_head(*pair) for pair in itertools.pairwise(snapshots))
    assert len(set(kept)) > 1  # else it might be a fixed epoch that is kept


def test_each_head_of_many_keeps_its_own_best_epoch() -> None:
    config = make_config(epochs=8, lr=0.1, cosine=False)
    heads = [fresh_head(config, seed) for seed in range(5)]
    histories = descend(heads, noisy_rows(), [make_part(val_rows=VAL) for _ in heads], silent)
    assert len({history.best_epoch for history in histories}) > 1
    for head, history in zip(heads, histories, strict=True):
        assert history.best_epoch == 1 + history.val_accuracies.index(max(history.val_accuracies))
        assert validation_accuracy(head) == max(history.val_accuracies)


def test_of_equally_good_epochs_the_earliest_is_kept() -> None:
    config = make_config(epochs=4, lr=1e-9, cosine=False)  # too small a step to change any label
    head, history = trained(config, part=make_part(val_rows=VAL))
    snapshots = after_each_epoch(config)
    assert len(set(history.val_accuracies)) == 1
    assert history.best_epoch == 1
    assert same_head(head, snapshots[0])
    assert not same_head(snapshots[0], snapshots[-1])


def test_by_loss_the_epoch_of_the_least_validation_loss_is_kept() -> None:
    config = make_config(epochs=8, lr=0.1, cosine=False, epoch_by="loss")
    kept = []
    for seed in range(5):
        head, history = trained(config, seed, make_part(val_rows=VAL))
        losses = [validation_loss(one) for one in after_each_epoch(config, seed)]
        assert history.best_epoch == 1 + losses.index(min(losses))
        assert validation_loss(head) == min(losses)
        kept.append(history.best_epoch)
    assert len(set(kept)) > 1


def test_by_loss_epochs_of_equal_accuracy_go_to_the_later_and_better() -> None:
    config = make_config(epochs=4, lr=1e-5, cosine=False, epoch_by="loss")  # too small a step to change any label
    _, history = trained(config, part=make_part(val_rows=VAL))
    assert len(set(history.val_accuracies)) == 1
    assert history.best_epoch == 4


def test_the_validation_accuracies_are_those_of_each_epochs_weights() -> None:
    config = make_config(epochs=3, dropout=0.5, cosine=False)
    _, history = trained(config, part=make_part(val_rows=VAL))
    assert history.val_accuracies == tuple(validation_accuracy(head) for head in after_each_epoch(config))


def test_without_validation_rows_the_last_epoch_is_kept() -> None:
    config = make_config(epochs=3, cosine=False)
    head, history = trained(config)
    assert (history.val_accuracies, history.best_epoch) == ((), None)
    snapshots = after_each_epoch(config)
    assert same_head(head, snapshots[-1])
    assert not same_head(head, snapshots[-2])


@pytest.mark.parametrize("val_rows", [0, VAL])
@pytest.mark.parametrize("count", [1, 3])
def test_each_epoch_is_reported_once_with_the_figures_of_the_histories(val_rows: int, count: int) -> None:
    config = make_config(epochs=4)
    heads = [fresh_head(config, seed) for seed in range(count)]
    parts = [make_part(seed, val_rows) for seed in range(count)]
    seen: list[tuple[int, list[float], list[float]]] = []

    def on_epoch(epoch: Epoch) -> None:
        seen.append((epoch.number, list(epoch.losses), list(epoch.accuracies)))

    histories = descend(heads, noisy_rows(), parts, on_epoch)
    assert [number for number, _, _ in seen] == [1, 2, 3, 4]
    for k, history in enumerate(histories):
        assert tuple(losses[k] for _, losses, _ in seen) == history.losses
        assert tuple(own[k] for _, _, own in seen if own) == history.val_accuracies
    assert {len(own) for _, _, own in seen} == {count if val_rows else 0}


@given(size=st.integers(1, 70), count=st.integers(1, 3))
@settings(max_examples=30)
def test_the_loss_is_the_mean_over_rows_however_short_the_last_batch_is(size: int, count: int) -> None:
    # a step of 1e-30 changes no weight, so the epoch's mean can be had from one pass over all rows
    config = make_config(epochs=1, lr=1e-30, weight_decay=0.0, batch_size=size, cosine=False)
    heads, rows = [fresh_head(config, seed) for seed in range(count)], noisy_rows()
    for head, history in zip(heads, descend(heads, rows, [make_part(s) for s in range(count)], silent), strict=True):
        expected = nn.functional.cross_entropy(head.score(rows.features[:TRAIN]), rows.labels[:TRAIN]).item()
        assert history.losses[0] == pytest.approx(expected, rel=1e-5)


# -------------------------------------------------------------------------------------------------- order and dropout


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_the_generator_alone_decides_order_and_dropout(dropout: float) -> None:
    before = torch.get_rng_state()
    one, again, other = (trained(make_config(dropout=dropout), part=make_part(seed))[0] for seed in (7, 7, 8))
    assert same_head(one, again)
    assert not same_head(one, other)
    assert torch.equal(torch.get_rng_state(), before)


class Watched(Mlp):
    """An MLP that notes the features and the dropout it is given."""

    def __init__(self, config: TrainConfig) -> None:
        super().__init__(DIM, 3, config, TRAIN, torch.Generator().manual_seed(0))
        self.given: list[Tensor] = []
        self.keep: list[Tensor | None] = []

    def scores(self, parameters: Mapping[str, Tensor], features: Tensor, keep: Tensor | None) -> Tensor:
        self.keep.append(keep)
        return super().scores(parameters, features, keep)

    def learn(self, parameters: Mapping[str, Tensor], batch: Batch, gradients: Mapping[str, Tensor]) -> Tensor:
        self.given.append(batch.features.clone())
        self.keep.append(batch.keep)
        return super().learn(parameters, batch, gradients)


def watched(rates: Sequence[float], epochs: int, val_rows: int) -> Watched:
    """The first of heads of such dropout rates that were trained together: all the stack's products go through it."""
    heads = [Watched(make_config(dropout=rate, epochs=epochs, hidden=64, batch_size=TRAIN)) for rate in rates]
    descend(heads, noisy_rows(), [make_part(seed, val_rows) for seed, _ in enumerate(rates)], silent)
    return heads[0]


def test_dropout_leaves_out_its_share_of_units_in_training_and_none_in_validation() -> None:
    rates, epochs = (0.25, 0.5), 4
    found = watched(rates, epochs, VAL)
    used = [keep for keep in found.keep if keep is not None]
    assert len(used) == epochs  # one step each; validation and the last check leave none out
    assert len(found.keep) > epochs
    for k, rate in enumerate(rates):
        own = torch.stack([keep[k] for keep in used])  # epochs, rows, units
        assert own.unique().tolist() == pytest.approx([0.0, 1 / (1 - rate)])
        assert (own == 0).double().mean() == pytest.approx(rate, abs=0.02)  # of 15,360 draws: five deviations
        assert len({tuple(row.tolist()) for row in own.flatten(0, 1)}) == epochs * TRAIN  # another mask for each row
    assert not torch.equal(used[0][0] == 0, used[0][1] == 0)


def test_every_epoch_goes_through_every_row_once_in_an_order_of_its_own() -> None:
    rows = noisy_rows()
    given = watched((0.5, 0.5), 3, VAL).given
    assert len(given) == 3
    orders = []
    for head in torch.stack(given).flatten(0, 1):  # (epochs * heads, n, D)
        places = (head[:, None] == rows.features[None]).all(dim=2).nonzero()[:, 1].tolist()
        assert sorted(places) == list(range(TRAIN))
        orders.append(tuple(places))
    assert len(set(orders)) == len(orders)


def test_a_head_without_dropout_is_not_changed_by_company_with_dropout() -> None:
    # its generator must not draw masks that it has no use for: the second epoch's order would be another one
    alone, _ = trained(make_config(epochs=4), part=make_part(1))
    heads = [fresh_head(make_config(epochs=4, dropout=rate)) for rate in (0.0, 0.5)]
    descend(heads, noisy_rows(), [make_part(1), make_part(2)], silent)
    for name, value in heads[0].state_dict().items():
        torch.testing.assert_close(value, alone.state_dict()[name], rtol=1e-4, atol=1e-5)


@given(rows=st.integers(1, 70), batch=st.integers(1, 80), hidden=st.integers(1, 40), most=st.integers(1, 500))
@settings(max_examples=40)
def test_how_much_dropout_is_drawn_at_once_changes_no_number(rows: int, batch: int, hidden: int, most: int) -> None:
    config = make_config(dropout=0.5, hidden=hidden, batch_size=batch, epochs=2)
    found = []
    for drawn in (2**22, most):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(optimise, "_DRAWN", drawn)
            head = fresh_head(config)
            descend([head], noisy_rows(), [Part(torch.arange(rows), torch.arange(0), order())], silent)
            found.append(head)
    assert same_head(*found)


def test_a_batch_larger_than_all_rows_is_all_rows() -> None:
    # room for the batch asked for would be 240 GB
    one, other = (trained(make_config(batch_size=size, epochs=2))[0] for size in (TRAIN, 10**10))
    assert same_head(one, other)


# --------------------------------------------------------------------------------------------------------- divergence


@pytest.mark.parametrize("recipe", ["study", "standard"])
def test_a_loss_that_diverges_is_an_error_that_names_the_epoch_and_the_learning_rate(recipe: str) -> None:
    message = r"^the loss is not finite in epoch [12] \(seed 0\); try a --lr below 1e\+30$"
    with pytest.raises(FeaturesInvalid, match=message):
        trained(make_config(recipe=recipe, lr=1e30))


def test_of_many_heads_the_one_that_diverges_is_named() -> None:
    heads = [fresh_head(make_config(lr=lr, seed=seed)) for seed, lr in enumerate((1e-3, 1e-2, 1e30, 1e-3))]
    with pytest.raises(FeaturesInvalid, match=r"not finite .*\(seed 2\); try a --lr below 1e\+30$"):
        descend(heads, noisy_rows(), [make_part() for _ in heads], silent)


def test_a_last_step_that_diverges_is_an_error_too() -> None:
    # one step: the loss before it is finite, what it leaves behind is useless
    config = make_config(lr=1e30, epochs=1, batch_size=60)
    with pytest.raises(FeaturesInvalid, match=r"^the scores are not finite after epoch 1 .*try a --lr below 1e\+30$"):
        trained(config)


def test_a_training_imports_no_compiler() -> None:
    """In a process of its own: the first `torch.optim.AdamW` imports torch._dynamo, which takes longer than a head."""
    code = (
        "import sys, numpy as np; from headstart.core.heads.config import RECIPES; "
        "from headstart.core.heads.data import Labelled; from headstart.core.heads.training.train import train; "
        "import dataclasses; config = dataclasses.replace(RECIPES['standard'], head='mlp', epochs=1); "
        "train(Labelled(np.eye(8, dtype=np.float32), np.arange(8) % 2), 2, config, 'cpu', lambda *_: None); "
        "print('torch._dynamo' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"


@pytest.mark.parametrize("cosine", [False, True], ids=["one rate", "cosine"])
@pytest.mark.parametrize("decays", [(0.1, 0.1), (0.0, 0.3)], ids=["alike", "apart"])
def test_steps_are_those_of_torch_to_the_last_digit(decays: tuple[float, float], cosine: bool) -> None:
    configs = [make_config(lr=3e-3, weight_decay=decay, cosine=cosine) for decay in decays]
    generator, steps = torch.Generator().manual_seed(0), 9
    stack = {"weight": torch.randn(2, 5, 3, generator=generator), "bias": torch.randn(2, 1, 3, generator=generator)}
    # heads that are alike step as one tensor: the rest of a tensor that fills no vector is rounded otherwise
    places: list[Any] = [...] if decays[0] == decays[1] else [0, 1]
    plain = [[nn.Parameter(value[place].clone()) for value in stack.values()] for place in places]
    theirs = [
        torch.optim.AdamW(own, lr=3e-3, weight_decay=decay, fused=True) for own, decay in zip(plain, decays, strict=False)
    ]
    schedules = [torch.optim.lr_scheduler.CosineAnnealingLR(one, steps) for one in theirs] if cosine else []

    ours = Optimiser(stack, configs, steps)
    for _ in range(steps):
        for at, gradient in enumerate(ours.gradients.values()):
            gradient.copy_(torch.randn(gradient.shape, generator=generator))
            for place, own in zip(places, plain, strict=True):
                own[at].grad = gradient[place].clone()
        ours.step()
        for one in [*theirs, *schedules]:
            one.step()

    for place, own in zip(places, plain, strict=True):
        for value, expected in zip(stack.values(), own, strict=True):
            assert torch.equal(value[place], expected.detach())
