"""Pinned buffers: every batch arrives whole, however many follow it at once. Needs a GPU; elsewhere nothing is pinned."""

import threading

import numpy as np
import pytest
import torch
from extract_samples import noise
from headstart.core.extract.network.devices import Device
from headstart.core.extract.network.transfer import BUFFERS, Ring


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

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_ring_that_is_not_used_pins_nothing() -> None:
    Ring()
    assert not torch.cuda.is_initialized() or torch.cuda.is_available()
