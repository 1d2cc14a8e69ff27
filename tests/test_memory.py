"""Memory that runs out is a known error that names what to change, before or after a library says so."""

import dataclasses

import numpy as np
import pytest
import torch
from heads_samples import blobs, make_config, silent

from headstart.core.cache.errors import FeaturesInvalid, OutOfMemory
from headstart.core.heads.config import HeadName, TrainConfig
from headstart.core.heads.training import memory
from headstart.core.heads.training.train import train, train_many


def test_what_is_more_than_the_machine_has_is_refused_before_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_physical", lambda: 10_000_000)
    message = (
        r"^1 mlp head of 512 features and 10 classes, --hidden 4096, --batch-size 16: no room "
        r"\(at least 0\.0 GB, this machine has 0\.0 GB\); try smaller numbers, or fewer --seeds$"
    )
    with pytest.raises(OutOfMemory, match=message):
        memory.check([make_config(hidden=4096)], 1000, 512, 10, "cpu")
    memory.check([make_config(hidden=128)], 1000, 512, 10, "cpu")
    memory.check([make_config(hidden=4096)], 1000, 512, 10, "cuda")  # says so itself


def test_a_batch_is_no_larger_than_the_rows_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_physical", lambda: 10_000_000)
    memory.check([make_config(hidden=8, batch_size=10**9)], 100, 512, 10, "cpu")


def test_a_system_that_does_not_tell_its_memory_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_physical", lambda: None)
    memory.check([make_config(hidden=10**15)], 100, 512, 10, "cpu")


def test_what_the_allocator_says_is_a_known_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_physical", lambda: None)
    for hidden in (10**14, 2**62):  # more than there are addresses, whatever a system promises
        with pytest.raises(OutOfMemory, match=rf"--hidden {hidden}, --batch-size 16: no room \(.+\); try smaller numbers"):
            train(blobs(48), 3, make_config(hidden=hidden), "cpu", silent)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        MemoryError("Unable to allocate 1.5 GiB for an array"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory: you tried to"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
)
@pytest.mark.parametrize("kind", ["mlp", "ridge"])
def test_a_librarys_words_for_it_are_understood(kind: HeadName, error: Exception) -> None:
    def fail(config: TrainConfig) -> None:
        with memory.known_errors([config], 6, 3):
            raise error

    way = (
        "try smaller numbers, or fewer --seeds" if kind == "mlp" else r"use fewer rows \(--train-limit\), or --head linear"
    )
    with pytest.raises(OutOfMemory, match=rf"^1 {kind} head of 6 features and 3 classes.*: no room \(.+\); {way}$"):
        fail(make_config(kind))


@pytest.mark.parametrize("error", [RuntimeError("mat1 and mat2 shapes cannot be multiplied"), FeaturesInvalid("too few")])
def test_other_errors_are_left_as_they_are(error: Exception) -> None:
    def fail() -> None:
        with memory.known_errors([make_config()], 6, 3):
            raise error

    with pytest.raises(type(error), match=str(error)):
        fail()


@pytest.mark.parametrize("kind", ["ridge", "knn"])
def test_heads_without_a_seed_are_fitted_once_and_share_their_numbers(kind: HeadName) -> None:
    configs = [make_config(kind, seed=seed) for seed in range(5)] + [make_config(kind, standardise=False)]
    *five, other = (found.head for found in train_many(blobs(60), 3, configs, "cpu", silent))
    assert [head.config for head in five] == configs[:5]
    assert len({value.data_ptr() for head in five for name, value in head.state_dict().items() if name == "mean"}) == 1
    assert five[0].mean.data_ptr() != other.mean.data_ptr()


def test_similarities_are_bounded_whatever_the_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    from headstart.core.heads.kinds import knn

    head = train(blobs(90), 3, make_config("knn"), "cpu", silent).head
    features = torch.from_numpy(blobs(50, seed=1).features)
    whole = head(features)
    seen: list[int] = []
    shares = knn._shares

    def count(own: knn.Knn, near: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
        seen.append(len(near) * len(own.known))
        return shares(own, near, index)

    monkeypatch.setattr(knn, "_shares", count)
    monkeypatch.setattr(knn, "_MOST_SIMILARITIES", 900)
    np.testing.assert_allclose(head(features), whole, rtol=1e-4, atol=1e-4)
    assert max(seen) <= 900


def test_the_features_asked_for_are_not_changed() -> None:
    data = blobs(48)
    before = dataclasses.replace(data, features=data.features.copy())
    train_many(data, 3, [make_config("knn", standardise=False), make_config("ridge")], "cpu", silent)
    np.testing.assert_array_equal(data.features, before.features)
