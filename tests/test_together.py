"""Heads trained at once: each ends as if it had been trained alone, and as plain PyTorch trains it from the same draws."""

import dataclasses
import itertools
import math
import time
from collections.abc import Iterator, Sequence
from typing import Any

import heads_samples as samples
import numpy as np
import pytest
import torch
from heads_samples import DIM, blobs, same_head, silent
from heads_samples import one_thread as one_thread
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from headstart.core.extract.network.devices import Device
from headstart.core.heads.config import HeadName, TrainConfig
from headstart.core.heads.data import Labelled
from headstart.core.heads.kinds.base import Head
from headstart.core.heads.kinds.linear import Linear
from headstart.core.heads.kinds.mlp import Mlp
from headstart.core.heads.training import groups
from headstart.core.heads.training.epoch import Epoch
from headstart.core.heads.training.train import Trained, predict, train, train_many

ALIKE = 1e-4
"""How far a parameter may be from that of the head trained alone, as a share of the largest of its tensor: a batched
product adds up in another order, and Adam divides by the size of the gradient, so that rounding is not made smaller. The
data are well conditioned (blobs, a few epochs): no gradient is so near to zero that its sign is a matter of rounding."""

GRADIENT: tuple[HeadName, ...] = ("mlp", "linear")


@pytest.fixture(autouse=True, scope="module")
def stacked() -> Iterator[None]:
    """Heads are stacked here, as they are on a GPU; on a CPU each is trained by itself."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(groups._AT_ONCE, "cpu", 8)
        yield


def division(configs: Sequence[TrainConfig], device: str = "cpu") -> list[int]:
    """How many heads each is stacked with."""
    sizes = {i: len(places) for places in groups.groups(configs, device) for i in places}
    return [sizes[i] for i in range(len(configs))]


def make_config(head: HeadName = "mlp", **changes: Any) -> TrainConfig:
    """The standard recipe for few rows; its rate is that of the recipe."""
    return samples.make_config(head, **{"lr": 1e-3, "hidden": 16, **changes})


def overlapping(rows: int = 90, seed: int = 0) -> Labelled:
    """Clouds so close that no head labels all of them rightly, and epochs differ."""
    data = blobs(rows, seed)
    return dataclasses.replace(data, features=data.features - 4 * np.eye(3, DIM, dtype=np.float32)[data.labels])


def at_once(configs: Sequence[TrainConfig], device: str = "cpu") -> list[Trained]:
    return train_many(overlapping(), 3, configs, device, silent)


def alone(configs: Sequence[TrainConfig], device: str = "cpu") -> list[Trained]:
    return [train(overlapping(), 3, config, device, silent) for config in configs]


def distance(one: Tensor, other: Tensor) -> float:
    """The largest difference, as a share of the largest number of the other, which may be all zeros."""
    return float((one - other).abs().max() / other.abs().max().clamp_min(1e-9))


def assert_alike(ours: Sequence[Trained], theirs: Sequence[Trained], device: str = "cpu") -> None:
    test = overlapping(60, seed=1).features
    for one, other in zip(ours, theirs, strict=True):
        assert one.head.config == other.head.config
        expected = other.head.state_dict()
        for name, value in one.head.state_dict().items():
            assert distance(value, expected[name]) <= ALIKE, name
        np.testing.assert_array_equal(predict(one.head, test, device), predict(other.head, test, device))
        assert one.history.losses == pytest.approx(other.history.losses, rel=ALIKE)
        assert one.history.val_accuracies == other.history.val_accuracies
        assert one.history.best_epoch == other.history.best_epoch
        assert (one.rows, one.val_rows) == (other.rows, other.val_rows)


# --------------------------------------------------------------------------------------------------- as if trained alone


@pytest.mark.parametrize("standardise", [False, True], ids=["as extracted", "standardised"])
@pytest.mark.parametrize("cosine", [False, True], ids=["one rate", "cosine"])
@pytest.mark.parametrize("sigmoid", [False, True], ids=["scores", "sigmoid"])
@pytest.mark.parametrize("val_fraction", [0.0, 0.2], ids=["last epoch", "best epoch"])
@pytest.mark.parametrize("kind", GRADIENT)
def test_seeds_trained_together_are_the_heads_trained_alone(
    kind: HeadName, val_fraction: float, sigmoid: bool, cosine: bool, standardise: bool
) -> None:
    base = make_config(kind, val_fraction=val_fraction, sigmoid=sigmoid, cosine=cosine, standardise=standardise)
    configs = [dataclasses.replace(base, seed=seed) for seed in range(3)]
    found = at_once(configs)
    assert_alike(found, alone(configs))
    assert not any(same_head(one.head, other.head) for one, other in itertools.combinations(found, 2))


GRIDS: dict[str, dict[str, Sequence[float]]] = {
    "rates": {"lr": (1e-3, 3e-3, 1e-2)},
    "decays": {"weight_decay": (0.0, 1e-2, 1.0)},
    "dropouts": {"dropout": (0.0, 0.2, 0.5)},
    "all": {"lr": (1e-3, 1e-2), "weight_decay": (0.0, 1e-1), "dropout": (0.0, 0.5), "seed": (0, 1)},
}


def grid(base: TrainConfig, name: str) -> list[TrainConfig]:
    axes = GRIDS[name]
    points = itertools.product(*axes.values())
    return [dataclasses.replace(base, **dict(zip(axes, point, strict=True))) for point in points]  # type: ignore[arg-type]


@pytest.mark.parametrize("cosine", [False, True], ids=["one rate", "cosine"])
@pytest.mark.parametrize("val_fraction", [0.0, 0.2], ids=["last epoch", "best epoch"])
@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize("kind", GRADIENT)
def test_a_grid_trained_together_is_the_heads_trained_alone(
    kind: HeadName, name: str, val_fraction: float, cosine: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(groups._AT_ONCE, "cpu", 16)
    configs = grid(make_config(kind, val_fraction=val_fraction, cosine=cosine), name)
    found = at_once(configs)
    assert set(division(configs)) == {len(configs)}
    assert_alike(found, alone(configs))
    told_apart = {"dropout"} if kind == "linear" else set()  # it has no hidden units to leave out
    if not told_apart & set(GRIDS[name]):
        assert not any(same_head(one.head, other.head) for one, other in itertools.combinations(found, 2))


@pytest.mark.parametrize("differing", [False, True], ids=["seeds", "rates"])
@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("kind", GRADIENT)
def test_any_number_of_heads_is_trained_as_each_is_alone(kind: HeadName, count: int, differing: bool) -> None:
    configs = [make_config(kind, seed=i, lr=1e-3 * (1 + i * differing)) for i in range(count)]
    found = at_once(configs)
    assert {trained.together for trained in found} == {count}
    assert_alike(found, alone(configs))


@pytest.mark.parametrize("most", [1, 2, 3])
@pytest.mark.parametrize("kind", GRADIENT)
def test_more_heads_than_the_device_takes_at_once_are_trained_in_turns(
    kind: HeadName, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    configs = [make_config(kind, seed=i, lr=1e-3 * (1 + i % 2)) for i in range(5)]
    expected = alone(configs)
    monkeypatch.setitem(groups._AT_ONCE, "cpu", most)
    found = at_once(configs)
    assert division(configs) == {1: [1] * 5, 2: [2, 2, 2, 2, 1], 3: [3, 3, 3, 2, 2]}[most]
    assert {trained.together for trained in found} == {5}
    assert_alike(found, expected)


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("kind", GRADIENT)
def test_the_same_heads_again_are_the_same_to_the_bit(kind: HeadName, count: int) -> None:
    configs = [make_config(kind, seed=seed) for seed in range(count)]
    for one, other in zip(at_once(configs), at_once(configs), strict=True):
        assert same_head(one.head, other.head)
        assert one.history == other.history


@pytest.mark.parametrize("kind", GRADIENT)
def test_one_of_many_is_train_itself(kind: HeadName) -> None:
    ((one,), (other,)) = at_once([make_config(kind)]), alone([make_config(kind)])
    assert same_head(one.head, other.head)
    assert one.history == other.history


points = st.builds(
    make_config,
    st.just("mlp"),
    seed=st.integers(0, 99),
    lr=st.sampled_from([1e-3, 3e-3]),
    weight_decay=st.sampled_from([0.0, 1e-2]),
    dropout=st.sampled_from([0.0, 0.2]),
)


@given(st.lists(points, min_size=1, max_size=5))
@settings(max_examples=25, derandomize=True)  # see ALIKE: a seed in thousands may meet a gradient that is all rounding
def test_any_company_leaves_a_head_as_it_is_alone(configs: list[TrainConfig]) -> None:
    assert_alike(at_once(configs), alone(configs))


# ------------------------------------------------------------------------------------------------ against plain PyTorch


class Given(nn.Module):
    """Dropout whose draws are given."""

    factors: Tensor

    def forward(self, hidden: Tensor) -> Tensor:
        return hidden * self.factors


def plain(data: Labelled, config: TrainConfig) -> nn.Sequential:
    """What PyTorch's own layers, loss, gradients and AdamW make of the rows, in the order and with the dropout that the
    seed draws; the best epoch is not looked for."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        layers: list[nn.Module] = []
        if config.head == "mlp":
            layers = [nn.Linear(DIM, config.hidden), nn.ReLU(), Given()]
        layers.append(nn.Linear(config.hidden if layers else DIM, 3))
    model = nn.Sequential(*layers, *([nn.Sigmoid()] if config.sigmoid else []))
    features = data.features
    if config.standardise:
        mean, std = features.mean(axis=0, dtype=np.float64), features.std(axis=0, dtype=np.float64)
        features = ((features - mean) / std).astype(np.float32)
    inputs, labels = torch.from_numpy(features), torch.from_numpy(data.labels)
    optimiser = torch.optim.AdamW(model.parameters(), lr=config.lr, weight_decay=config.weight_decay)
    generator, rows, done = torch.Generator().manual_seed(config.seed), len(labels), 0
    steps = config.epochs * math.ceil(rows / config.batch_size)
    for _ in range(config.epochs):
        order = torch.randperm(rows, generator=generator)
        factors = torch.ones(rows, config.hidden)
        if config.dropout and config.head == "mlp":
            factors = (torch.rand(rows, config.hidden, generator=generator) >= config.dropout) / (1 - config.dropout)
        for places in torch.arange(rows).split(config.batch_size):
            if config.head == "mlp":
                model[2].factors = factors[places]
            if config.cosine:
                optimiser.param_groups[0]["lr"] = config.lr * (1 + math.cos(math.pi * done / steps)) / 2
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(inputs[order[places]]), labels[order[places]]).backward()
            optimiser.step()
            done += 1
    return model


def layers_of(head: Head) -> list[Tensor]:
    """The parameters from first to last, as `nn.Sequential` has them."""
    assert isinstance(head, Mlp | Linear)
    modules = [head.hidden, head.out] if isinstance(head, Mlp) else [head.out]
    return [value for module in modules for value in (module.weight, module.bias)]


@pytest.mark.parametrize("cosine", [False, True], ids=["one rate", "cosine"])
@pytest.mark.parametrize("sigmoid", [False, True], ids=["scores", "sigmoid"])
@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("differing", [False, True], ids=["seeds", "grid"])
@pytest.mark.parametrize("kind", GRADIENT)
def test_each_of_many_heads_is_what_plain_pytorch_makes_of_the_same_draws(
    kind: HeadName, differing: bool, count: int, sigmoid: bool, cosine: bool
) -> None:
    # heads trained together and alone agree even where a fused AdamW misreads transposed gradients; this one does not
    base = make_config(kind, val_fraction=0.0, sigmoid=sigmoid, cosine=cosine, dropout=0.25)
    own = [{"lr": 1e-3 * (i + 1), "weight_decay": 0.1 * i, "dropout": 0.25 * (i % 3)} for i in range(count)]
    configs = [dataclasses.replace(base, seed=i, **(own[i] if differing else {})) for i in range(count)]  # type: ignore[arg-type]
    for config, found in zip(configs, at_once(configs), strict=True):
        expected = plain(overlapping(), config)
        for ours, theirs in zip(layers_of(found.head), expected.parameters(), strict=True):
            assert distance(ours, theirs.detach()) <= 1e-5


# ------------------------------------------------------------------------------------------------------ order and record


MIXED = [
    make_config(seed=1),
    make_config("ridge"),
    make_config("linear"),
    make_config(seed=2, epochs=1),
    make_config("knn"),
    make_config(seed=3, lr=1e-2),
    make_config("linear", batch_size=32),
    make_config("knn", standardise=False),
    make_config("linear", weight_decay=0.5),
    make_config(seed=4, dropout=0.0, epochs=1),
    make_config(hidden=4),
    make_config(val_fraction=0.0),
    make_config(sigmoid=True),
    make_config(cosine=False),
]


def test_heads_of_several_shapes_come_back_in_the_order_asked_for() -> None:
    found = at_once(MIXED)
    assert [trained.head.config for trained in found] == MIXED
    assert division(MIXED) == [2, 1, 2, 2, 1, 2, 1, 1, 2, 2, 1, 1, 1, 1]
    assert_alike(found, alone(MIXED))


def test_heads_trained_at_once_share_their_time() -> None:
    started = time.perf_counter()
    found = at_once(MIXED)
    spent = time.perf_counter() - started
    ((elapsed_s, together),) = {(trained.elapsed_s, trained.together) for trained in found}
    assert together == len(MIXED)
    assert 0 < elapsed_s <= spent  # by the clock, not added up over groups side by side


def test_no_configuration_gives_no_head() -> None:
    assert at_once([]) == []


@given(st.lists(st.sampled_from(MIXED), max_size=6), st.integers(1, 4))
@settings(max_examples=25)
def test_any_mixture_comes_back_in_its_order_in_no_larger_company_than_allowed(
    configs: list[TrainConfig], most: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(groups._AT_ONCE, "cpu", most)
        found = at_once(configs)
        by_gradient = [size for size, config in zip(division(configs), configs, strict=True) if config.trained_by_gradient]
    assert all(1 <= size <= most for size in by_gradient)
    assert [trained.head.config for trained in found] == configs
    assert len({id(trained.head) for trained in found}) == len(configs)


def test_the_epochs_of_each_company_are_reported_in_turn() -> None:
    seen: list[tuple[int, int, int]] = []
    configs = [make_config(seed=0), make_config("linear", val_fraction=0.0, epochs=2), make_config(seed=1)]

    def told(epoch: Epoch) -> None:
        seen.append((epoch.number, len(epoch.losses), len(epoch.accuracies)))

    train_many(overlapping(), 3, configs, "cpu", told)
    assert [one for one in seen if one[1] == 2] == [(1, 2, 2), (2, 2, 2), (3, 2, 2)]
    assert [one for one in seen if one[1] == 1] == [(1, 1, 0), (2, 1, 0)]


# --------------------------------------------------------------------------------------------------------- rows to watch


@pytest.mark.parametrize("standardise", [False, True], ids=["as extracted", "standardised"])
@pytest.mark.parametrize("kind", GRADIENT)
def test_rows_to_watch_are_labelled_after_each_epoch_and_choose_nothing(kind: HeadName, standardise: bool) -> None:
    test = overlapping(60, seed=1)
    base = make_config(kind, lr=1e-2, val_fraction=0.0, cosine=False, standardise=standardise)
    configs = [dataclasses.replace(base, seed=seed) for seed in range(2)]
    found = train_many(overlapping(), 3, configs, "cpu", silent, test)
    for one, other in zip(found, at_once(configs), strict=True):
        assert same_head(one.head, other.head)
        assert dataclasses.replace(one.history, watched=()) == other.history
    for epochs in range(1, base.epochs + 1):  # a shorter training ends where the longer one was
        shorter = at_once([dataclasses.replace(config, epochs=epochs) for config in configs])
        for one, other in zip(found, shorter, strict=True):
            right = predict(other.head, test.features, "cpu") == test.labels
            assert one.history.watched[epochs - 1] == pytest.approx(right.mean())


# ------------------------------------------------------------------------------------------------------ global generators


def test_the_global_generators_are_as_they_were_before(monkeypatch: pytest.MonkeyPatch) -> None:
    seeded: list[int] = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded.append)
    monkeypatch.setattr(torch.mps, "manual_seed", seeded.append)
    before, numpys = torch.get_rng_state(), repr(np.random.get_state())
    at_once(MIXED)
    assert torch.equal(torch.get_rng_state(), before)
    assert repr(np.random.get_state()) == numpys
    assert seeded == []  # what a caller draws on another device is not begun anew


@pytest.mark.cuda
def test_on_a_gpu_too_each_head_is_the_one_trained_alone_and_no_generator_moves(cuda: Device) -> None:
    before, devices = torch.get_rng_state(), torch.cuda.get_rng_state(cuda.name)
    for name in ("rates", "all"):
        configs = grid(make_config(val_fraction=0.2), name)
        found = at_once(configs, cuda.name)
        assert set(division(configs, cuda.name)) == {len(configs)}
        assert_alike(found, alone(configs, cuda.name), cuda.name)
        assert all(same_head(one.head, other.head) for one, other in zip(found, at_once(configs, cuda.name), strict=True))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(torch.cuda.get_rng_state(cuda.name), devices)
