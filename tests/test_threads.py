"""How many threads compute changes no number, a seed names its head in any company, a group that fails stops the others."""

import dataclasses
import functools
import itertools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from heads_samples import same_head, silent

from headstart.core.heads.config import RECIPES, STUDY_STANDARD, HeadName, TrainConfig
from headstart.core.heads.data import Labelled
from headstart.core.heads.training import threads
from headstart.core.heads.training.train import train, train_many

STUDIED = (RECIPES["study"], STUDY_STANDARD)


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    """torch with two threads for each operation, as on a machine with two processors."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def rows(count: int, dim: int = 64) -> Labelled:
    rng = np.random.default_rng(0)
    return Labelled(rng.standard_normal((count, dim), dtype=np.float32), rng.integers(0, 3, count))


def test_a_limit_ends_with_its_block() -> None:
    def leave() -> None:
        with threads.limited(1):
            assert torch.get_num_threads() == 1
            raise ValueError("out of the block")

    with pytest.raises(ValueError, match="out of the block"):
        leave()
    assert torch.get_num_threads() == 2


def test_another_thread_waits_for_its_turn_and_finds_the_number_as_it_was() -> None:
    found: list[int] = []

    def other() -> None:
        with threads.limited(1):
            found.append(torch.get_num_threads())
        found.append(torch.get_num_threads())

    thread = threading.Thread(target=other)
    with threads.limited(1):
        thread.start()
        thread.join(0.2)
        assert thread.is_alive()
    thread.join(60)
    assert found == [1, 2]
    assert torch.get_num_threads() == 2


def test_products_are_shared_by_threads_where_they_are_large_and_by_their_shape_alone() -> None:
    assert not threads.shared(1, 64, 2048, 128)
    assert not threads.shared(4, 256, 2048, 128)
    assert threads.shared(1, 4096, 2048, 1024)


@pytest.mark.parametrize("dim", [64, 2048])
@pytest.mark.parametrize("recipe", STUDIED, ids=lambda config: config.recipe)
def test_heads_are_the_same_bit_for_bit_with_one_thread_and_two(recipe: TrainConfig, dim: int) -> None:
    configs = [dataclasses.replace(recipe, epochs=2, seed=seed) for seed in range(3)]
    found = []
    for count in (1, 2):
        with threads.limited(count):
            heads = train_many(rows(600, dim), 3, configs, "cpu", silent)
            found.append([head.head.state_dict() for head in heads])
    for one, other in zip(*found, strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)


def study(seeds: int, **changes: Any) -> list[TrainConfig]:
    """The study's recipe in small, with so many seeds."""
    return [dataclasses.replace(RECIPES["study"], epochs=1, seed=seed, **changes) for seed in range(seeds)]


@pytest.mark.parametrize(("dim", "views"), [(512, 0), (2048, 0), (2048, 2)])
def test_a_seed_names_its_head_bit_for_bit_among_thirty_as_alone(dim: int, views: int) -> None:
    # side by side, where the initial weights were once drawn from one generator of the process
    data, configs = rows(128, dim), study(30)
    data = data.with_views((data.features + 1 + view for view in range(views)), views) if views else data
    alone = [train(data, 3, config, "cpu", silent) for config in configs]
    state = torch.get_rng_state()
    torch.set_num_threads(4)
    for _ in range(10):
        for one, other in zip(train_many(data, 3, configs, "cpu", silent), alone, strict=True):
            assert same_head(one.head, other.head)
            assert one.history == other.history
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(same_head(one.head, other.head) for one, other in itertools.combinations(alone, 2))


@pytest.mark.parametrize("recipe", STUDIED, ids=lambda config: config.recipe)
@pytest.mark.parametrize("head", ["mlp", "linear"])
def test_any_company_leaves_a_head_as_it_is_alone_bit_for_bit(recipe: TrainConfig, head: HeadName) -> None:
    data = rows(300, 128)
    base = dataclasses.replace(recipe, head=head, epochs=2)
    configs = [dataclasses.replace(base, seed=i, lr=1e-3 * (1 + i % 3), dropout=0.1 * (i % 2)) for i in range(7)]
    for one, config in zip(train_many(data, 3, configs, "cpu", silent), configs, strict=True):
        alone = train(data, 3, config, "cpu", silent)
        assert same_head(one.head, alone.head)
        assert one.history == alone.history


@pytest.mark.parametrize("dim", [512, 2048])
def test_each_seed_begins_with_weights_of_its_own(dim: int) -> None:
    # a step so small that it changes nothing leaves the initial weights
    data, configs = rows(64, dim), study(30, dropout=0.0, lr=1e-30)
    expected = []
    for config in configs:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            expected.append(torch.nn.Linear(dim, config.hidden).weight)
    torch.set_num_threads(4)
    for _ in range(10):
        for found, weight in zip(train_many(data, 3, configs, "cpu", silent), expected, strict=True):
            assert torch.equal(found.head.get_parameter("hidden.weight"), weight)
    assert len({float(weight.detach().double().sum()) for weight in expected}) == 30


def test_two_trainings_at_once_in_one_process_do_not_disturb_each_other() -> None:
    data, configs = rows(128, 512), study(10)
    expected = train_many(data, 3, configs, "cpu", silent)
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda _: train_many(data, 3, configs, "cpu", silent), range(6)))
        left = list(pool.map(lambda _: torch.get_num_threads(), range(3)))
    assert all(same_head(one.head, other.head) for many in found for one, other in zip(many, expected, strict=True))
    assert {*left, torch.get_num_threads()} == {2}


def test_heads_side_by_side_are_told_of_together() -> None:
    seen: list[tuple[int, list[float]]] = []
    configs = [dataclasses.replace(config, epochs=2) for config in study(11)]
    found = train_many(rows(100), 3, configs, "cpu", lambda epoch: seen.append((epoch.number, list(epoch.losses))))
    expected = [
        (epoch + 1, [head.history.losses[epoch] for head in found[part]])
        for part in (slice(0, 8), slice(8, 11))
        for epoch in range(2)
    ]
    assert sorted(seen) == sorted(expected)


def test_groups_come_back_in_their_order_and_each_has_one_thread() -> None:
    def piece(number: int, check: Callable[[], None]) -> tuple[int, int]:
        check()
        return number, torch.get_num_threads()

    assert threads.run_groups([functools.partial(piece, i) for i in range(5)]) == [(i, 1) for i in range(5)]
    assert torch.get_num_threads() == 2


def test_a_group_that_fails_stops_the_others_and_its_error_is_told() -> None:
    running, stopped = threading.Event(), threading.Event()

    def waits(check: Callable[[], None]) -> None:
        try:
            running.set()
            while True:
                check()
        except threads.Stopped:
            stopped.set()
            raise

    def fails(check: Callable[[], None]) -> None:
        assert running.wait(60)
        raise ValueError("no such rate")

    with pytest.raises(ValueError, match="no such rate"):
        threads.run_groups([fails, waits])
    assert stopped.wait(60)
    assert torch.get_num_threads() == 2
