"""Worker threads: batches side by side give what one after the other gives, and none goes on that nobody waits for."""

import functools
import threading
from collections.abc import Callable, Iterator

import hypothesis
import numpy as np
import numpy.typing as npt
import pytest
import torch
from extract_samples import noise
from hypothesis import strategies as st
from torch import nn

from headstart.core.extract.backbones import get_backbone
from headstart.core.extract.network import workers
from headstart.core.extract.network.devices import Device
from headstart.core.extract.network.engines import steps
from headstart.core.extract.network.extractor import FeatureExtractor, build
from headstart.core.extract.network.interface import EngineConfig
from headstart.core.extract.network.workers import Check, PreparedBatch, Stopped, WorkerBatch
from headstart.core.extract.pictures.preprocess import Preprocessing

SIDE = 32
"""Pixels: few, since a CPU without bf16 takes a hundred times as long in it."""
NOTHING = np.zeros((1, 1), dtype=np.float32)


def nothing(check: Check) -> npt.NDArray[np.float32]:
    check()
    return NOTHING


def threads_here(check: Check) -> npt.NDArray[np.float32]:
    """How many threads torch has in a worker."""
    check()
    return np.full((1, 1), torch.get_num_threads(), dtype=np.float32)


@pytest.fixture
def threads() -> Iterator[int]:
    """Two threads for torch, whatever this machine has."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield 2
    torch.set_num_threads(before)


def extractor(name: str = "resnet18", batch_size: int = 3, precision: str = "fp32") -> FeatureExtractor:
    torch.manual_seed(0)
    return build(get_backbone(name).body(), Preprocessing(SIDE), Device("cpu", precision, "this CPU"), batch_size)


@functools.cache
def shared_extractor(precision: str) -> FeatureExtractor:
    """One for all examples of a test."""
    return extractor(precision=precision)


@pytest.mark.usefixtures("threads")
def test_workers_share_torchs_threads() -> None:
    assert workers.worker_count() == 2
    found = WorkerBatch(threads_here).result()
    assert found.item() == 1
    assert torch.get_num_threads() == 2


def test_no_more_workers_than_memory_allows(threads: int) -> None:
    torch.set_num_threads(2 * workers.MOST)
    assert workers.worker_count() == workers.MOST
    assert WorkerBatch(threads_here).result().item() == threads


@pytest.mark.usefixtures("threads")
def test_two_batches_are_computed_at_once() -> None:
    both = threading.Barrier(2, timeout=30)

    def meet(check: Check) -> npt.NDArray[np.float32]:
        both.wait()  # breaks where the second never comes
        return NOTHING

    asked = [WorkerBatch(meet) for _ in range(2)]
    assert [pending.result() is NOTHING for pending in asked] == [True, True]


@pytest.mark.usefixtures("threads")
def test_a_dropped_batch_stops_at_its_next_check_and_one_that_waits_never_starts() -> None:
    started, stopped = threading.Semaphore(0), list[str]()

    def until_dropped(check: Check) -> npt.NDArray[np.float32]:
        started.release()
        try:
            while True:
                check()
        except Stopped:
            stopped.append(threading.current_thread().name)
            raise

    asked = [WorkerBatch(until_dropped) for _ in range(4)]
    for _ in range(2):
        assert started.acquire(timeout=30)
    for pending in reversed(asked):  # those that wait first
        pending.cancel()
    assert len(stopped) == 2
    assert not started.acquire(blocking=False)


@pytest.mark.usefixtures("threads")
def test_an_error_reaches_who_waits_and_the_worker_goes_on() -> None:
    def fail(check: Check) -> npt.NDArray[np.float32]:
        raise MemoryError("no room in this test")

    with pytest.raises(MemoryError, match="no room in this test"):
        WorkerBatch(fail).result()
    assert WorkerBatch(nothing).result() is NOTHING


def test_a_batch_that_is_done_can_be_cancelled() -> None:
    pending = WorkerBatch(nothing)
    pending.result()
    pending.cancel()
    assert pending.result() is NOTHING


# ---- the extractor


@pytest.mark.parametrize("name", ["vgg16", "resnet18", "resnet50", "densenet169"])
def test_a_bodys_steps_are_the_body(name: str) -> None:
    body, pixels = extractor(name).body, torch.rand(2, 3, SIDE, SIDE)
    with torch.inference_mode():
        found = pixels.clone()
        for step in steps(body):
            found = step(found)
        assert torch.equal(found, body(pixels.clone()))
    assert len(steps(body)) > 8  # it can be stopped in between


def test_a_sequential_with_a_forward_of_its_own_is_one_step() -> None:
    class Twice(nn.Sequential):
        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            found: torch.Tensor = super().forward(super().forward(pixels))
            return found

    inner = Twice(nn.ReLU(), nn.ReLU())
    assert steps(nn.Sequential(nn.Identity(), nn.Sequential(inner)))[1:] == [inner]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@hypothesis.given(rows=st.lists(st.integers(1, 3), min_size=1, max_size=6))
@hypothesis.settings(max_examples=8, deadline=None, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
@pytest.mark.usefixtures("threads")
def test_workers_give_the_features_of_one_batch_after_the_other(precision: str, rows: list[int]) -> None:
    ours = shared_extractor(precision)
    assert ours.concurrent_batches == 2
    batches = [noise(count, SIDE, seed=i) for i, count in enumerate(rows)]
    asked = [ours.submit(batch) for batch in batches]
    for pending, batch in zip(asked, batches, strict=True):
        found, expected = pending.result(), ours(batch)
        assert found.shape == (len(batch), 512)
        assert found.dtype == np.float32
        scale = np.abs(expected).max()  # oneDNN may add in another order where it has other threads
        assert np.abs(found - expected).max() <= {"fp32": 1e-5, "bf16": 1e-2}[precision] * scale


@pytest.mark.usefixtures("threads")
def test_the_same_batch_by_a_worker_is_the_same_bit_for_bit() -> None:
    ours, batch = extractor(), noise(3, SIDE)
    asked = [ours.submit(batch) for _ in range(6)]
    assert len({pending.result().tobytes() for pending in asked}) == 1


@pytest.mark.usefixtures("threads")
def test_one_thread_needs_no_workers() -> None:
    torch.set_num_threads(1)
    ours, batch = extractor(), noise(3, SIDE)
    assert ours.concurrent_batches == 1
    assert np.array_equal(ours.submit(batch).result(), ours(batch))


@pytest.mark.usefixtures("threads")
def test_an_extractor_out_of_memory_says_so_in_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    from headstart.core.cache.errors import OutOfMemory

    ours = extractor().running(EngineConfig("eager", 4))

    def full(pixels: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    monkeypatch.setattr(ours.body, "layer1", nn.Module())
    ours.body.layer1.forward = full
    with pytest.raises(OutOfMemory, match="cpu: out of memory with 4 images at once; use --batch-size 2"):
        ours.submit(noise(3, SIDE)).result()


# ---- torch's threads, which belong to the whole process


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("cores", [1, 2, 3, 6, 8, 9, 10, 11, 12, 14, 15, 17, 20, 23, 24, 31, 32, 61, 64, 96])
def test_hardly_a_thread_is_left_idle(cores: int) -> None:
    torch.set_num_threads(cores)
    used = workers.worker_count() * (cores // workers.worker_count())
    assert 1 <= workers.worker_count() <= workers.MOST
    assert cores * 0.88 <= used <= cores
    assert workers.worker_count() == cores if cores <= workers.MOST else workers.worker_count() >= 5


def threads_of_a_new_thread() -> int:
    """What a thread finds that has not used torch before."""
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    return found[0]


def eager_batches() -> None:
    asked = [WorkerBatch(nothing) for _ in range(4)]
    for pending in asked:
        pending.result()


def prepared_batches() -> None:
    asked = [
        PreparedBatch(torch.get_num_threads, lambda threads: np.full((1, 1), threads, dtype=np.float32)) for _ in range(4)
    ]
    assert {pending.result().item() for pending in asked} == {1}


@pytest.fixture
def new_pools(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pool is there yet."""
    monkeypatch.setattr(workers, "_POOLS", {})


@pytest.mark.usefixtures("threads", "new_pools")
@pytest.mark.parametrize("work", [eager_batches, prepared_batches])
def test_threads_that_come_after_a_pool_find_what_threads_before_it_found(work: Callable[[], None]) -> None:
    assert threads_of_a_new_thread() == 2
    work()
    assert threads_of_a_new_thread() == 2
    assert torch.get_num_threads() == 2


@pytest.mark.usefixtures("threads", "new_pools")
def test_pools_that_are_started_by_many_threads_leave_torchs_threads_as_they_were() -> None:
    seen: list[int] = []

    def work() -> None:
        seen.append(torch.get_num_threads())
        eager_batches()
        prepared_batches()
        seen.append(torch.get_num_threads())

    workers = [threading.Thread(target=work) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(seen) == 16
    assert set(seen[1:]) <= {1, 2}  # one that begins while a pool starts may find its threads
    assert (threads_of_a_new_thread(), torch.get_num_threads()) == (2, 2)
    assert WorkerBatch(threads_here).result().item() == 1


# ---- batches prepared ahead


def test_a_batch_is_prepared_while_the_one_before_it_is_computed() -> None:
    begun, told = threading.Event(), list[str]()

    def prepare() -> int:
        begun.set()
        return 2

    def compute(number: int) -> npt.NDArray[np.float32]:
        told.append(threading.current_thread().name)
        assert begun.wait(timeout=30)
        return NOTHING

    first = PreparedBatch(lambda: 1, compute)
    second = PreparedBatch(prepare, compute)
    assert [first.result() is NOTHING, second.result() is NOTHING, second.result() is NOTHING] == [True] * 3
    assert told == [threading.current_thread().name] * 2  # computed once each, by whoever waits


def test_an_error_while_preparing_reaches_who_waits_and_the_next_batch_is_prepared() -> None:
    def fail() -> int:
        raise MemoryError("no room in this test")

    with pytest.raises(MemoryError, match="no room in this test"):
        PreparedBatch(fail, lambda _: NOTHING).result()
    assert PreparedBatch(lambda: 1, lambda _: NOTHING).result() is NOTHING


def test_dropped_batches_are_not_prepared_and_never_computed() -> None:
    started, go = threading.Event(), threading.Event()

    def wait() -> int:
        started.set()
        assert go.wait(timeout=30)
        return 1

    def compute(_: int) -> npt.NDArray[np.float32]:
        raise AssertionError("nobody waits for it")

    first, second = PreparedBatch(wait, compute), PreparedBatch(wait, compute)
    assert started.wait(timeout=30)
    started.clear()
    second.cancel()
    go.set()
    first.cancel()
    assert not started.is_set()


@pytest.mark.usefixtures("threads")
def test_a_thread_may_compute_with_one_and_leave_the_others_what_they_had() -> None:
    found: list[int] = []

    def one() -> None:
        workers.use_one_thread()
        found.append(torch.get_num_threads())

    thread = threading.Thread(target=one)
    thread.start()
    thread.join()
    assert [*found, threads_of_a_new_thread(), torch.get_num_threads()] == [1, 2, 2]
