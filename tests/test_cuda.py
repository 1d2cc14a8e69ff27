"""TF32's one switch is found as each thread wants it; pinned buffers bring every batch whole, where there is a GPU."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from extract_samples import noise

from headstart.core.extract.network.cuda import BUFFERS, Ring, tf32_allowed
from headstart.core.extract.network.devices import Device

SWITCH = torch.backends.cudnn


@pytest.mark.parametrize("before", [False, True])
def test_the_switch_is_set_inside_and_put_back(before: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SWITCH, "allow_tf32", before)
    for allow in (False, True):
        with tf32_allowed(allow):
            assert SWITCH.allow_tf32 == allow
        assert SWITCH.allow_tf32 == before


def test_an_error_inside_puts_it_back() -> None:
    before = SWITCH.allow_tf32
    with pytest.raises(ValueError, match="in this test"), tf32_allowed(not before):
        raise ValueError("in this test")
    assert SWITCH.allow_tf32 == before


@pytest.mark.parametrize("before", [False, True])
def test_threads_of_both_precisions_each_see_their_own(before: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SWITCH, "allow_tf32", before)
    wrong = list[int]()

    def work(number: int) -> None:
        allow = number % 2 == 0
        for _ in range(50):
            with tf32_allowed(allow):
                for _ in range(3):
                    if SWITCH.allow_tf32 != allow:
                        wrong.append(number)
                    time.sleep(0)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert wrong == []
    assert SWITCH.allow_tf32 == before


def test_threads_that_want_the_same_need_not_wait_for_each_other() -> None:
    both = threading.Barrier(2, timeout=30)

    def work() -> None:
        with tf32_allowed(True):
            both.wait()

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: work(), range(2)))
    assert not both.broken


# ---- the ring of pinned buffers


@pytest.mark.cuda
def test_batches_that_follow_each_other_arrive_whole(cuda: Device) -> None:
    ring = Ring()
    batches = [noise(5, 64, seed=i) for i in range(4 * BUFFERS)]
    there = [ring.to_device(batch, cuda.name) for batch in batches]
    for pixels, batch in zip(there, batches, strict=True):
        assert np.array_equal(pixels.cpu().numpy(), batch)


@pytest.mark.cuda
def test_a_batch_of_another_shape_gets_new_buffers(cuda: Device) -> None:
    ring = Ring()
    for size in (32, 48, 32):
        batch = noise(3, size, seed=size)
        assert np.array_equal(ring.to_device(batch, cuda.name).cpu().numpy(), batch)


@pytest.mark.cuda
def test_what_the_device_does_next_waits_for_the_copy(cuda: Device) -> None:
    ring, batch = Ring(), noise(64, 224)
    sums = [ring.to_device(batch, cuda.name).long().sum() for _ in range(2 * BUFFERS)]
    assert {int(found) for found in sums} == {int(batch.sum(dtype=np.int64))}


@pytest.mark.cuda
def test_threads_share_a_ring(cuda: Device) -> None:
    ring, wrong = Ring(), list[int]()

    def work(number: int) -> None:
        for i in range(20):
            batch = noise(4, 32, seed=100 * number + i)
            if not np.array_equal(ring.to_device(batch, cuda.name).cpu().numpy(), batch):
                wrong.append(number)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert wrong == []


def test_a_ring_that_is_not_used_pins_nothing() -> None:
    Ring()
    assert not torch.cuda.is_initialized() or torch.cuda.is_available()
