"""A compiled network gives the eager one's features or is refused, and its code is kept where only the user can write."""

import concurrent.futures
import dataclasses
import logging
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from extract_samples import ROOT, noise
from torch import Tensor, nn

from headstart.core.cache.errors import DeviceUnavailable, OutOfMemory
from headstart.core.extract.backbones import get_backbone
from headstart.core.extract.network.devices import Device
from headstart.core.extract.network.engines import ENGINES, TOLERANCE, code_folder, compiled, eager
from headstart.core.extract.network.extractor import FeatureExtractor, build
from headstart.core.extract.network.interface import EngineConfig
from headstart.core.extract.pictures.preprocess import Preprocessing

CODE = "TORCHINDUCTOR_CACHE_DIR"
POINTER = "_TORCHINDUCTOR_PYOBJECT_TENSOR_DATA_PTR"
"""How inductor tells the code that it compiles where torch is; it stays after the first compilation of a process."""
BF16 = Device("cpu", "bf16", "this CPU")
# inductor writes C++ for a CPU and can only be tested for real where something compiles it; the fakes below run anywhere
needs_compiler = pytest.mark.skipif(
    not (shutil.which("g++") or shutil.which("clang++")), reason="needs a C++ compiler: g++ or clang++"
)


class Small(nn.Module):
    """Three convolutions, (n, 3, 16, 16) to (n, 4, 16, 16)."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 4, 1)
        )
        generator = torch.Generator().manual_seed(seed)
        for value in self.parameters():
            value.data.normal_(0, 0.3, generator=generator)
        self.eval().requires_grad_(False)

    def forward(self, pixels: Tensor) -> Tensor:
        found: Tensor = self.layers(pixels)
        return found


def batch(seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(seed)).to(dtype)


@pytest.fixture(scope="module")
def kept_code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all tests: the compiler's own checks and headers take longer than these networks."""
    return tmp_path_factory.mktemp("code")


@pytest.fixture(autouse=True)
def nothing_outside(kept_code: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test writes to the user's folder, and none leaves the variable changed."""
    monkeypatch.setenv(CODE, str(kept_code))


@pytest.fixture
def dynamo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """torch.compile without a code generator: it traces as ever, and runs what it traced eagerly."""
    real = torch.compile
    monkeypatch.setattr(torch, "compile", lambda body, **options: real(body, backend="eager", **options))
    yield
    torch.compiler.reset()


def compiles_to(monkeypatch: pytest.MonkeyPatch, change: Callable[[Tensor], Tensor]) -> None:
    """A compiler whose networks give the eager one's features, changed."""
    monkeypatch.setattr(torch, "compile", lambda body, **_: lambda pixels: change(body(pixels)))


def failing(error: Exception) -> Callable[[Tensor], Tensor]:
    def fail(_: Tensor) -> Tensor:
        raise error

    return fail


def nothing_drawn() -> Tensor:
    raise AssertionError("no batch is needed")


# ---- results


def test_eager_is_the_network_as_it_is() -> None:
    body = Small()
    assert eager(body, nothing_drawn) is body
    assert ENGINES["eager"] is eager


@dataclasses.dataclass(frozen=True)
class ReallyCompiled:
    """A network that the compiler made of a body, and the process before and after."""

    body: Small
    network: nn.Module
    dtype: torch.dtype
    before: "Surroundings"
    after: "Surroundings"


@pytest.fixture(scope="module", params=[torch.float32, torch.bfloat16], ids=str)
def really_compiled(request: pytest.FixtureRequest, kept_code: Path) -> ReallyCompiled:
    dtype: torch.dtype = request.param
    body = Small().to(dtype)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CODE, str(kept_code))
        before = surroundings()
        network = compiled(body, lambda: batch(dtype=dtype))
        with torch.inference_mode():
            network(batch(3, dtype))
        return ReallyCompiled(body, network, dtype, before, surroundings())


@needs_compiler
@pytest.mark.slow
def test_a_compiled_network_agrees_with_the_eager_one_on_other_pictures(really_compiled: ReallyCompiled) -> None:
    body, network, dtype = really_compiled.body, really_compiled.network, really_compiled.dtype
    with torch.inference_mode():
        found, expected = network(batch(1, dtype)), body(batch(1, dtype))
    assert found.shape == (2, 4, 16, 16)
    off = (found.double() - expected.double()).flatten(1).norm(dim=1) / expected.double().flatten(1).norm(dim=1)
    assert float(off.max()) <= TOLERANCE
    assert type(network) is not Small


def half_wrong(features: Tensor) -> Tensor:
    """The last picture's features alone are others."""
    return torch.cat([features[:-1], features[-1:].flip(1)])


CHANGES: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "opposite": (torch.neg, r"200\.0%"),
    "nothing": (torch.zeros_like, r"100\.0%"),
    "not a number": (lambda features: features * float("nan"), "nan%"),
    "one picture": (half_wrong, r"\d+\.\d%"),
    "shifted": (lambda features: features.roll(1, 3), r"\d+\.\d%"),
    "another scale": (lambda features: features * 1.05, r"5\.0%"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_compiled_network_that_gives_other_features_is_refused(monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    wrong, off = CHANGES[change]
    compiles_to(monkeypatch, wrong)
    message = rf"^the compiled network's features are {off} off the eager one's, expected 4\.5% or less; use"
    with pytest.raises(DeviceUnavailable, match=message + " --engine eager$"):
        compiled(Small(), batch)


def test_a_map_of_zeros_is_compared_like_others(monkeypatch: pytest.MonkeyPatch) -> None:
    dead = Small()
    for value in dead.parameters():
        value.data.zero_()
    compiles_to(monkeypatch, torch.clone)
    assert compiled(dead, batch) is not None
    compiles_to(monkeypatch, lambda features: features + 1)
    with pytest.raises(DeviceUnavailable, match="off the eager one's"):
        compiled(dead, batch)


def test_features_within_rounding_are_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    compiles_to(monkeypatch, lambda features: features.bfloat16().float())
    assert compiled(Small(), batch) is not None


class Branches(nn.Module):
    """What can't be traced whole."""

    def forward(self, pixels: Tensor) -> Tensor:
        return pixels if pixels.sum() > 0 else -pixels


def test_a_network_that_can_not_be_compiled_names_the_way_out(dynamo: None) -> None:
    with pytest.raises(DeviceUnavailable, match=r"^compiling failed \([^\n]{1,200}\); use --engine eager$"):
        compiled(Branches(), batch)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RuntimeError("\nNo working C++ compiler found\n\nset CXX\n"), r"No working C\+\+ compiler found"),
        (RuntimeError("x" * 1000), "x{200}"),
        (ValueError(), "ValueError"),
        (OSError(13, "Permission denied"), r"\[Errno 13\] Permission denied"),
    ],
    ids=["lines", "long", "silent", "system"],
)
def test_a_compiler_that_fails_is_named_in_one_line(monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str) -> None:
    compiles_to(monkeypatch, failing(error))
    with pytest.raises(DeviceUnavailable, match=rf"^compiling failed \({reason}\); use --engine eager$"):
        compiled(Small(), batch)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError("no room")], ids=str)
def test_memory_running_out_is_no_failure_of_the_compiler(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    compiles_to(monkeypatch, failing(error))
    with pytest.raises(type(error), match=str(error)):
        compiled(Small(), batch)


@pytest.fixture
def compilations(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[object]]:
    """One entry for each graph that torch compiles, which then runs eagerly."""
    real, found = torch.compile, list[object]()

    def backend(graph: torch.fx.GraphModule, _: object) -> Callable[..., object]:
        found.append(graph)
        return graph.forward

    monkeypatch.setattr(torch, "compile", lambda body, **options: real(body, backend=backend, **options))
    yield found
    torch.compiler.reset()


def test_no_batch_of_a_run_is_compiled_for_again(compilations: list[object]) -> None:
    # what torch compiles later is neither checked nor frozen
    ours = extractor().running(EngineConfig("compiled", 2))
    assert len(compilations) == 1
    for rows, size in ((2, 32), (1, 32), (5, 32), (2, 40)):
        ours(noise(rows, size))
    assert len(compilations) == 1


def test_more_networks_of_one_class_can_be_compiled_than_torch_lets_by_default(dynamo: None) -> None:
    bodies = [Small(seed) for seed in range(12)]
    networks = [compiled(body, batch) for body in bodies]
    with torch.inference_mode():
        assert all(torch.equal(n(batch(1)), b(batch(1))) for n, b in zip(networks, bodies, strict=True))


# ---- where the code is kept


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user without a compiler's or a desktop's variables."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("XDG_CACHE_HOME", CODE):
        monkeypatch.setenv(name, "")  # so that it is put back whatever the test leaves
        monkeypatch.delenv(name)
    return tmp_path


@pytest.mark.parametrize("named", [None, "", "cache", "./cache"])
def test_code_is_kept_in_the_users_cache_folder(home: Path, monkeypatch: pytest.MonkeyPatch, named: str | None) -> None:
    if named is not None:
        monkeypatch.setenv("XDG_CACHE_HOME", named)
    assert code_folder() == home / ".cache/headstart/inductor"


def test_code_is_kept_where_the_user_keeps_caches(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "elsewhere"))
    assert code_folder() == home / "elsewhere/headstart/inductor"


def inductors_default() -> str:
    """What inductor puts into the variable when it is imported."""
    return str(Path(tempfile.gettempdir()) / "torchinductor_somebody")


@pytest.mark.parametrize("before", [None, "", inductors_default()])
@pytest.mark.parametrize("umask", [0o022, 0o000, 0o077], ids=oct)
def test_compiling_keeps_its_code_where_only_the_user_can_write(
    home: Path, monkeypatch: pytest.MonkeyPatch, before: str | None, umask: int
) -> None:
    if before is not None:
        monkeypatch.setenv(CODE, before)
    seen = list[str]()

    def keep(pixels: Tensor) -> Tensor:
        seen.append(os.environ[CODE])
        return pixels

    compiles_to(monkeypatch, keep)
    old = os.umask(umask)
    try:
        compiled(Small(), batch)
        compiled(Small(), batch)
    finally:
        os.umask(old)
    folder = home / ".cache/headstart/inductor"
    assert seen == [str(folder)] * 2
    assert os.environ.get(CODE) == before
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_folder_that_the_user_named_for_code_is_used(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CODE, str(home / "mine"))
    compiles_to(monkeypatch, torch.clone)
    compiled(Small(), batch)
    assert os.environ[CODE] == str(home / "mine")
    assert list(home.iterdir()) == []


def test_a_folder_that_can_not_be_made_is_no_crash(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / ".cache").write_text("a file")
    compiles_to(monkeypatch, torch.clone)
    with pytest.raises(DeviceUnavailable, match=r"^compiling failed \(.*\.cache.*\); use --engine eager$"):
        compiled(Small(), batch)


SCRIPT = """
import os
import torch
from torch import nn
seen = []
{first}
from headstart.core.extract.network.engines import compiled
body = nn.Conv2d(3, 4, 3).eval().requires_grad_(False)
network = compiled(body, lambda: torch.ones(2, 3, 8, 8))
with torch.inference_mode():
    network(torch.ones(2, 3, 8, 8))  # nothing is looked for later in a folder that is not ours
print(seen or "nothing")
"""


def compiled_by_python(home: Path, temporary: Path, first: str) -> str:
    """Compile in a fresh interpreter of a user without variables: what it prints. It leaves no file in `temporary`."""
    for folder in (home, temporary):
        folder.mkdir()
    kept = {name: value for name, value in os.environ.items() if name not in (CODE, "XDG_CACHE_HOME")}
    found = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(first=first)],
        cwd=ROOT,
        env={**kept, "HOME": str(home), "TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    assert [path for path in temporary.rglob("*") if path.is_file()] == []
    return found.stdout.strip()


def test_inductor_is_told_where_before_it_is_imported(tmp_path: Path) -> None:
    look = "seen.append(os.environ['TORCHINDUCTOR_CACHE_DIR'])"
    found = compiled_by_python(tmp_path / "home", tmp_path / "tmp", f"torch.compile = lambda body, **_: {look} or body")
    assert found == str([f"{tmp_path}/home/.cache/headstart/inductor"])
    assert list((tmp_path / "tmp").iterdir()) == []


@needs_compiler
@pytest.mark.slow
def test_inductor_writes_to_our_folder_alone_even_if_it_was_imported_before(tmp_path: Path) -> None:
    compiled_by_python(tmp_path / "home", tmp_path / "tmp", "import torch._inductor.config")
    assert list((tmp_path / "home/.cache/headstart/inductor").rglob("*.so")) != []


# ---- in an extractor


def extractor(batch_size: int = 4) -> FeatureExtractor:
    """An untrained ResNet18 for pictures of 32 px, the same each time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        body = get_backbone("resnet18").body()
    return build(body, Preprocessing(32), BF16, batch_size)


def test_the_way_it_runs_already_is_the_extractor_itself() -> None:
    ours = extractor()
    assert ours.running(EngineConfig("eager", 4)) is ours


def test_other_batches_are_the_same_backbone_and_features() -> None:
    ours = extractor()
    other = ours.running(EngineConfig("eager", 3))
    assert (other.batch_size, other.engine, other.network) == (3, "eager", ours.body)
    assert other == dataclasses.replace(ours, batch_size=3)
    assert other(noise(7, 32)).shape == (7, 512)


def test_memory_running_out_while_compiling_names_a_smaller_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    compiles_to(monkeypatch, failing(torch.OutOfMemoryError("CUDA out of memory")))
    with pytest.raises(OutOfMemory, match="out of memory with 8 images at once; use --batch-size 4"):
        extractor().running(EngineConfig("compiled", 8))


def test_the_network_is_compiled_for_the_one_shape_that_batches_have(monkeypatch: pytest.MonkeyPatch) -> None:
    shapes: list[tuple[torch.Size, torch.dtype, bool]] = []

    def look(body: nn.Module, **_: object) -> Callable[[Tensor], Tensor]:
        def network(pixels: Tensor) -> Tensor:
            shapes.append((pixels.shape, pixels.dtype, pixels.is_contiguous(memory_format=torch.channels_last)))
            found: Tensor = body(pixels)
            return found

        return network

    monkeypatch.setattr(torch, "compile", look)
    ours = extractor().running(EngineConfig("compiled", 3))
    assert ours(noise(4, 40)).shape == (4, 512)
    assert shapes == [(torch.Size([3, 3, 32, 32]), torch.bfloat16, True)] * 3


@needs_compiler
@pytest.mark.slow
def test_a_compiled_backbone_gives_the_eager_ones_features_and_the_same_bits_each_time() -> None:
    ours, images = extractor(), noise(4, 32)
    made = [ours.running(EngineConfig("compiled", 4)), extractor().running(EngineConfig("compiled", 4))]
    expected, found = ours(images), made[0](images)
    assert (np.linalg.norm(found - expected, axis=1) / np.linalg.norm(expected, axis=1)).max() <= TOLERANCE
    assert found.dtype == np.float32
    assert np.array_equal(found, made[0](images))
    assert np.array_equal(found, made[1](images))
    assert np.array_equal(found[:3], made[0](images[:3]))  # a short batch is padded
    assert (made[0].engine, made[0].parameters) == ("compiled", ours.parameters)
    for each in made:
        each.check_frozen()


# ---- what belongs to the whole process


@dataclasses.dataclass(frozen=True)
class Surroundings:
    """What compiling needs otherwise, and what others may rely on."""

    environment: dict[str, str]
    log_level: int
    threads: int
    filters: list[object]
    freezing: object
    limit: object


def surroundings() -> Surroundings:
    import torch._dynamo.config as dynamo
    import torch._inductor.config as inductor

    return Surroundings(
        {name: value for name, value in os.environ.items() if name != POINTER},
        logging.getLogger("torch.utils.cpp_extension").level,
        torch.get_num_threads(),
        list(warnings.filters),
        inductor.freezing,
        dynamo.recompile_limit,
    )


@pytest.mark.parametrize("outcome", [torch.clone, failing(RuntimeError("no compiler"))], ids=["compiles", "fails"])
def test_threads_that_compile_leave_the_process_as_it_was(
    home: Path, monkeypatch: pytest.MonkeyPatch, outcome: Callable[[Tensor], Tensor]
) -> None:
    inside, most = threading.Semaphore(0), list[int]()
    running = set[int]()

    def slow(pixels: Tensor) -> Tensor:
        running.add(threading.get_ident())
        most.append(len(running))
        inside.acquire(timeout=0.02)  # long enough for the others to come, too
        running.discard(threading.get_ident())
        return outcome(pixels)

    compiles_to(monkeypatch, slow)
    before = surroundings()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        done = [pool.submit(compiled, Small(), batch) for _ in range(16)]
    assert {type(future.exception()) for future in done} <= {type(None), DeviceUnavailable}
    assert max(most) == 1  # else one would put back what another had set
    assert surroundings() == before


@needs_compiler
@pytest.mark.slow
def test_a_real_compiler_leaves_the_process_as_it_was(really_compiled: ReallyCompiled) -> None:
    assert really_compiled.after == really_compiled.before


def test_a_network_is_compiled_once_for_each_batch_size(compilations: list[object]) -> None:
    ours = extractor()
    first = ours.running(EngineConfig("compiled", 2))
    assert ours.running(EngineConfig("compiled", 2)) is first
    assert first.running(EngineConfig("eager", 3)).running(EngineConfig("compiled", 2)) is first
    assert len(compilations) == 1
    assert ours.running(EngineConfig("compiled", 3)) is not first
    assert len(compilations) == 2


def test_memory_that_runs_out_on_a_cpu_is_no_failure_of_the_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    compiles_to(monkeypatch, failing(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9")))
    with pytest.raises(OutOfMemory, match="out of memory with 8 images at once; use --batch-size 4"):
        extractor().running(EngineConfig("compiled", 8))


# ---- batches prepared by a thread of their own


def test_batches_prepared_ahead_give_the_same_bits(dynamo: None) -> None:
    ahead, together = extractor().running(EngineConfig("compiled", 4)).host_variants
    assert (ahead.ahead, together.ahead) == (True, False)
    batches = [noise(4, 40, seed=i) for i in range(5)] + [noise(3, 40)]
    asked = [ahead.submit(one) for one in batches]
    for pending, one in zip(asked, batches, strict=True):
        assert np.array_equal(pending.result(), together.submit(one).result())


def test_an_eager_network_has_one_arrangement() -> None:
    ours = extractor()
    assert ours.host_variants == (ours,)


def test_memory_running_out_while_a_batch_is_prepared_says_so(dynamo: None, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = extractor().running(EngineConfig("compiled", 4))

    def full(*_: object) -> Tensor:
        raise RuntimeError("can't allocate memory")

    monkeypatch.setattr("headstart.core.extract.pictures.preprocess.prepare", full)
    pending = ours.submit(noise(4, 32))
    with pytest.raises(OutOfMemory, match="out of memory with 4 images at once"):
        pending.result()
    pending.cancel()
