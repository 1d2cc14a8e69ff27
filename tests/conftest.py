"""Fixtures for what is large or not everywhere: the shared real data, CIFAR-10 files of the right size, a GPU."""

import os
from collections.abc import Iterator
from pathlib import Path

# Before anything imports torch: its threads wait for each other by spinning, and where several tests share the cores
# that costs them five to fifty times what a second thread gains on images this small. Processes inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import hypothesis
import numpy as np
import pytest
from extract_samples import ROOT, cifar_records, write_records
from storage_samples import Server, serving

from headstart.core.cache.store import FeatureStore
from headstart.core.extract.network.devices import Device, resolve

hypothesis.settings.register_profile("headstart", deadline=None)  # no test is timed
hypothesis.settings.load_profile("headstart")

SHARED = ROOT.parent / "shared/data"


@pytest.fixture
def rng() -> np.random.Generator:
    """Random numbers, the same in every run."""
    return np.random.default_rng(0)


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    """A features directory that is not there yet."""
    return FeatureStore(tmp_path / "features")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data and trained weights."""
    if not SHARED.is_dir():
        pytest.skip("needs ../shared/data")
    return SHARED


@pytest.fixture(scope="session")
def cifar_files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two different files of 10,000 valid records each, 1,000 of every class; tests link to them and never write them."""
    folder = tmp_path_factory.mktemp("cifar")
    first, second = (write_records(folder / f"{seed}.bin", cifar_records(seed)) for seed in (1, 2))
    return first, second


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """An S3 server of this process's own."""
    with serving(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def s3(s3_server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """The same, which clients in this process find."""
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    return s3_server


@pytest.fixture
def bucket(s3: Server) -> Path:
    """A new bucket."""
    return s3.bucket(f"test-{os.urandom(8).hex()}")


@pytest.fixture(scope="session")
def cuda() -> Device:
    """The first CUDA device, in fp32."""
    import torch

    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    return resolve("cuda", "fp32")
