"""Devices and precisions: what `auto` means, what is refused, and that no driver means no torch."""

import ctypes
import dataclasses
import types
from pathlib import Path

import pytest
from extract_samples import printed_by_python

from headstart.core.cache.errors import DeviceUnavailable
from headstart.core.extract.network import devices
from headstart.core.extract.network.devices import Device, resolve, resolve_like


@dataclasses.dataclass
class FakeCuda:
    """As much of torch.cuda, or of torch.xpu, as `devices` asks for; `architecture` is AMD's name of it, None NVIDIA's."""

    count: int
    capability: tuple[int, int] = (9, 0)
    architecture: str | None = None

    @property
    def cuda(self) -> "FakeCuda":
        return self

    @property
    def xpu(self) -> "FakeCuda":
        return self

    @property
    def version(self) -> types.SimpleNamespace:
        return types.SimpleNamespace(hip="6.4" if self.architecture else None)

    def get_device_properties(self, name: str) -> types.SimpleNamespace:
        return types.SimpleNamespace(gcnArchName=self.architecture)

    def device_count(self) -> int:
        return self.count

    def get_device_capability(self, name: str) -> tuple[int, int]:
        return self.capability

    def get_device_name(self, name: str) -> str:
        return f"Fake GPU at {name}"


@pytest.fixture
def cpu_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_has_cuda", lambda: False)
    monkeypatch.setattr(devices, "_has_xpu", lambda: False)
    monkeypatch.setattr(devices, "_has_mps", lambda: False)


def with_gpus(monkeypatch: pytest.MonkeyPatch, fake: FakeCuda) -> None:
    monkeypatch.setattr(devices, "_has_cuda", lambda: fake.count > 0)
    monkeypatch.setattr(devices, "_torch", lambda: fake)


def with_cpu(monkeypatch: pytest.MonkeyPatch, flags: str) -> None:
    monkeypatch.setattr(devices, "_cpu_info", lambda: f"model name\t: Slow CPU @ 1 GHz\nflags\t\t: fpu {flags} sse\n")


@pytest.mark.parametrize("name", ["gpu", "", "CPU", "cpu:0", "cuda:", "cuda:x", "cuda:-1", "mps:0", "auto\n"])
def test_a_device_of_no_known_name_is_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(DeviceUnavailable, match=r"unknown, expected auto, cpu, cuda, cuda:N, xpu, xpu:N or mps"):
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


@pytest.mark.parametrize(
    ("asked", "count", "notes"),
    [
        ("cuda", 3, ("one of 3 GPUs is used, cuda:0; --device cuda:N takes another",)),
        ("auto", 2, ("one of 2 GPUs is used, cuda:0; --device cuda:N takes another",)),
        ("cuda:1", 3, ()),
        ("cuda", 1, ()),
    ],
)
def test_of_several_gpus_one_is_used_and_said(
    monkeypatch: pytest.MonkeyPatch, asked: str, count: int, notes: tuple[str, ...]
) -> None:
    with_gpus(monkeypatch, FakeCuda(count))
    assert resolve(asked, "fp32").notes == notes


def test_intels_gpu_comes_after_cuda_and_before_the_cpu(monkeypatch: pytest.MonkeyPatch, cpu_only: None) -> None:
    monkeypatch.setattr(devices, "_has_xpu", lambda: True)
    monkeypatch.setattr(devices, "_torch", lambda: FakeCuda(2))
    found = resolve("auto", "auto")
    assert (found.name, found.kind, found.precision, found.description) == ("xpu:0", "xpu", "bf16", "Fake GPU at xpu:0")
    assert resolve("xpu:1", "fp32").name == "xpu:1"
    assert found.batch_sizes("eager") == Device("cuda:0", "bf16", "").batch_sizes("eager")
    with pytest.raises(DeviceUnavailable, match="--precision tf32: only CUDA devices have it, this is xpu:0; use fp32"):
        resolve("xpu", "tf32")
    monkeypatch.setattr(devices, "_has_cuda", lambda: True)
    assert resolve("auto", "auto").name == "cuda:0"


def test_xpu_without_a_gpu_is_refused(cpu_only: None) -> None:
    with pytest.raises(DeviceUnavailable, match="--device xpu: 0 XPU devices found here; use --device auto"):
        resolve("xpu", "auto")


@pytest.mark.parametrize("precision", ["fp16", "tf32"])
def test_a_precision_that_a_device_has_not_got_becomes_fp32_for_a_trained_head_and_is_said(precision: str) -> None:
    found = resolve_like("cpu", precision)
    assert (found.name, found.precision) == ("cpu", "fp32")
    assert found.notes == (
        f"the head learned from {precision} features, which cpu has not got: its features here are of fp32",
    )


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_precision_that_a_device_has_is_a_trained_heads(precision: str) -> None:
    assert (resolve_like("cpu", precision).precision, resolve_like("cpu", precision).notes) == (precision, ())


# ---- looking for drivers


@pytest.mark.parametrize(
    ("library", "found"),
    [
        ("libcuda.so.1", {"cuda"}),
        ("libamdhip64.so", {"cuda"}),
        ("libze_loader.so.1", {"xpu"}),
        ("libOpenCL.so.1", set()),
    ],
)
def test_a_gpu_is_looked_for_by_the_libraries_of_torchs_own_backends(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, library: str, found: set[str]
) -> None:
    monkeypatch.setattr(devices, "_loads", lambda name: name == library)
    monkeypatch.setattr(devices, "_library_folders", lambda: [tmp_path])
    drivers = {"cuda": devices._CUDA, "xpu": devices._XPU}
    assert {kind for kind, names in drivers.items() if devices._has_library(names)} == found


def test_the_library_that_rocms_torch_brings_along_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(devices, "_loads", lambda _: False)
    monkeypatch.setattr(devices, "_library_folders", lambda: [tmp_path / "nowhere", tmp_path])
    assert not devices._has_library(devices._CUDA)
    (tmp_path / "libamdhip64.so.6").touch()
    assert devices._has_library(devices._CUDA)
    assert not devices._has_library(devices._XPU)


def test_torchs_folder_is_found_without_importing_it() -> None:
    code = (
        "import sys; from headstart.core.extract.network import devices; "
        "print(devices._library_folders()[0], 'torch' in sys.modules)"
    )
    folder, imported = printed_by_python(code).split()
    assert (Path(folder) / "libtorch.so").exists() or (Path(folder).parent / "__init__.py").exists()
    assert imported == "False"


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


CAPABILITIES = [
    ((3, 7), "fp32"),
    ((5, 2), "fp32"),
    ((5, 3), "fp16"),
    ((6, 0), "fp16"),
    ((6, 1), "fp32"),
    ((6, 2), "fp16"),
    ((7, 0), "fp16"),
    ((7, 5), "fp16"),
    ((8, 0), "bf16"),
    ((10, 0), "bf16"),
]


@pytest.mark.parametrize(("capability", "precision"), CAPABILITIES)
def test_auto_precision_is_the_one_that_a_gpu_multiplies_fast_in(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], precision: str
) -> None:
    with_gpus(monkeypatch, FakeCuda(1, capability))
    assert resolve("cuda", "auto").precision == precision


@pytest.mark.parametrize(
    ("architecture", "precision"),
    [
        ("gfx906:sramecc+:xnack-", "fp16"),
        ("gfx1030", "fp16"),
        ("gfx90a:sramecc+", "bf16"),
        ("gfx942", "bf16"),
        ("gfx1100", "bf16"),
    ],
)
def test_auto_precision_on_amds_gpus(monkeypatch: pytest.MonkeyPatch, architecture: str, precision: str) -> None:
    with_gpus(monkeypatch, FakeCuda(1, (9, 0), architecture))
    assert resolve("cuda", "auto").precision == precision


@pytest.mark.parametrize(("features", "precision"), [("fp asimd fphp", "fp32"), ("fp asimd i8mm bf16 dgh", "bf16")])
def test_auto_precision_is_bf16_on_arm_processors_that_have_it(
    monkeypatch: pytest.MonkeyPatch, features: str, precision: str
) -> None:
    monkeypatch.setattr(devices, "_cpu_info", lambda: f"processor\t: 0\nBogoMIPS\t: 2100.00\nFeatures\t: {features}\n")
    assert resolve("cpu", "auto").precision == precision


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
    assert sorted(exact.batch_sizes("eager")) == sorted(low.batch_sizes("eager"))


def test_a_compiled_network_has_sizes_of_its_own_on_a_cpu() -> None:
    for kind, same in (("cpu", False), ("cuda:0", True)):
        device = Device(kind, "bf16", "")
        assert (device.batch_sizes("compiled") == device.batch_sizes("eager")) == same
    assert Device("cpu", "bf16", "").batch_sizes("compiled")[0] == 16


def test_without_a_driver_torch_is_not_imported() -> None:
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        code = (
            "import sys; from headstart.core.extract.network.devices import resolve; "
            "print(resolve('auto', 'auto').name, *sys.modules)"
        )
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
