"""How many threads compute changes no number, and a group that fails stops the others."""

import dataclasses
import functools
import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from heads_samples import silent

from heads import threads
from heads.config import RECIPES
from heads.data import Labelled
from heads.train import train_many


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    """torch with two threads for each operation, as on a machine with two processors."""
    with threads.limited(2):
        yield


def rows(count: int) -> Labelled:
    rng = np.random.default_rng(0)
    return Labelled(rng.standard_normal((count, 64), dtype=np.float32), rng.integers(0, 3, count))


def test_a_limit_ends_with_its_block() -> None:
    def leave() -> None:
        with threads.limited(1):
            assert torch.get_num_threads() == 1
            raise ValueError("out of the block")

    with pytest.raises(ValueError, match="out of the block"):
        leave()
    assert torch.get_num_threads() == 2


def test_the_faster_number_is_chosen_among_one_and_all() -> None:
    product = torch.ones(1, 8, 8)
    assert threads.choose(1, product, product) == 1
    assert threads.choose(2, product, product) in (1, 2)
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize("recipe", list(RECIPES))
def test_heads_are_the_same_bit_for_bit_with_one_thread_and_two(recipe: str) -> None:
    config = dataclasses.replace(RECIPES[recipe], epochs=2)
    found = []
    for count in (1, 2):
        with threads.limited(count):
            found.append(train_many(rows(600), 3, [config], "cpu", silent)[0].head.state_dict())
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


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
