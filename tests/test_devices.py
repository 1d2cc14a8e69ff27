"""Devices and precisions: what `auto` means, what is refused, and that no driver means no torch."""

import ctypes
import dataclasses

import pytest
from extract_samples import printed_by_python

from cache.errors import DeviceUnavailable
from extract import devices
from extract.devices import Device, resolve


@dataclasses.dataclass
class FakeCuda:
    """As much of torch.cuda as `devices` asks for."""

    count: int
    capability: tuple[int, int] = (9, 0)

    @property
    def cuda(self) -> "FakeCuda":
        return self

    def device_count(self) -> int:
        return self.count

    def get_device_capability(self, name: str) -> tuple[int, int]:
        return self.capability

    def get_device_name(self, name: str) -> str:
        return f"Fake GPU at {name}"


@pytest.fixture
def cpu_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_has_cuda", lambda: False)
    monkeypatch.setattr(devices, "_has_mps", lambda: False)


def with_gpus(monkeypatch: pytest.MonkeyPatch, fake: FakeCuda) -> None:
    monkeypatch.setattr(devices, "_has_cuda", lambda: fake.count > 0)
    monkeypatch.setattr(devices, "_torch", lambda: fake)


def with_cpu(monkeypatch: pytest.MonkeyPatch, flags: str) -> None:
    monkeypatch.setattr(devices, "_cpu_info", lambda: f"model name\t: Slow CPU @ 1 GHz\nflags\t\t: fpu {flags} sse\n")


@pytest.mark.parametrize("name", ["gpu", "", "CPU", "cpu:0", "cuda:", "cuda:x", "cuda:-1", "mps:0", "auto\n"])
def test_a_device_of_no_known_name_is_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(DeviceUnavailable, match=r"unknown, expected auto, cpu, cuda, cuda:N or mps"):
        resolve(name, "auto")


def test_auto_without_a_gpu_is_the_cpu(cpu_only: None) -> None:
    assert resolve("auto", "fp32").name == "cpu"


def test_auto_takes_the_first_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    with_gpus(monkeypatch, FakeCuda(2))
    assert resolve("auto", "fp32") == Device("cuda:0", "fp32", "Fake GPU at cuda:0")


def test_a_numbered_gpu_is_that_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    with_gpus(monkeypatch, FakeCuda(2))
    assert resolve("cuda:1", "fp32").name == "cuda:1"
    assert resolve("cuda", "fp32").name == "cuda:0"


def test_cuda_without_a_gpu_is_refused(cpu_only: None) -> None:
    with pytest.raises(DeviceUnavailable, match="--device cuda: 0 CUDA devices found here; use --device auto"):
        resolve("cuda", "auto")


def test_a_gpu_number_that_is_not_there_is_refused_with_the_count(monkeypatch: pytest.MonkeyPatch) -> None:
    with_gpus(monkeypatch, FakeCuda(2))
    with pytest.raises(DeviceUnavailable, match="--device cuda:2: 2 CUDA devices found here"):
        resolve("cuda:2", "auto")


def test_mps_that_is_not_there_is_refused(cpu_only: None) -> None:
    with pytest.raises(DeviceUnavailable, match="--device mps: not available here"):
        resolve("mps", "auto")


@pytest.mark.parametrize(("flags", "precision"), [("avx2", "fp32"), ("avx512_bf16", "bf16"), ("amx_bf16", "bf16")])
def test_auto_precision_is_bf16_where_the_cpu_multiplies_in_it(
    monkeypatch: pytest.MonkeyPatch, flags: str, precision: str
) -> None:
    with_cpu(monkeypatch, flags)
    assert resolve("cpu", "auto").precision == precision


@pytest.mark.parametrize(("capability", "precision"), [((7, 5), "fp32"), ((8, 0), "bf16"), ((10, 0), "bf16")])
def test_auto_precision_is_bf16_from_ampere_on(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], precision: str
) -> None:
    with_gpus(monkeypatch, FakeCuda(1, capability))
    assert resolve("cuda", "auto").precision == precision


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_precision_asked_for_is_kept(precision: str) -> None:
    assert resolve("cpu", precision).precision == precision


def test_tf32_is_refused_off_cuda() -> None:
    with pytest.raises(DeviceUnavailable, match="--precision tf32: only CUDA devices have it, this is cpu; use fp32"):
        resolve("cpu", "tf32")


def test_fp16_is_refused_on_the_cpu() -> None:
    with pytest.raises(DeviceUnavailable, match="--precision fp16: too slow to be of use on a CPU; use bf16, fp32 or auto"):
        resolve("cpu", "fp16")


def test_a_gpu_has_tf32_and_fp16(monkeypatch: pytest.MonkeyPatch) -> None:
    with_gpus(monkeypatch, FakeCuda(1))
    assert [resolve("cuda", precision).precision for precision in ("tf32", "fp16")] == ["tf32", "fp16"]


def test_the_cpu_is_described_by_its_name_and_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    with_cpu(monkeypatch, "avx2")
    assert resolve("cpu", "fp32").description.startswith("Slow CPU @ 1 GHz, ")


@pytest.mark.parametrize(("name", "kind"), [("cpu", "cpu"), ("cuda:3", "cuda"), ("mps", "mps")])
def test_the_kind_is_the_name_without_its_number(name: str, kind: str) -> None:
    assert Device(name, "fp32", "").kind == kind


def test_the_batch_size_is_the_one_asked_for_else_larger_on_a_gpu() -> None:
    cpu, gpu = Device("cpu", "fp32", ""), Device("cuda:0", "fp32", "")
    assert cpu.batch_size(7) == gpu.batch_size(7) == 7
    assert 1 <= cpu.batch_size(None) < gpu.batch_size(None)


def test_a_cpu_starts_with_smaller_batches_in_fp32() -> None:
    exact, low = (Device("cpu", precision, "this CPU") for precision in ("fp32", "bf16"))
    assert (exact.batch_size(None), low.batch_size(None)) == (8, 16)
    assert sorted(exact.batch_sizes) == sorted(low.batch_sizes)


def test_without_a_driver_torch_is_not_imported() -> None:
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        code = "import sys; from extract.devices import resolve; print(resolve('auto', 'auto').name, *sys.modules)"
        name, *modules = printed_by_python(code).split()
        assert name == "cpu"
        assert "torch" not in modules
    else:
        pytest.skip("needs a machine without a CUDA driver")


@pytest.mark.cuda
def test_a_real_gpu_is_found_and_named(cuda: Device) -> None:
    import torch

    assert resolve("auto", "fp32") == cuda
    assert (cuda.name, cuda.description) == ("cuda:0", torch.cuda.get_device_name(0))
