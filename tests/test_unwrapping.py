"""Weights as people have them: each usual way to store a state dict, what is said of it, and that its numbers stay."""

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
import tarfile
import warnings
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import safetensors.torch
import torch
import torchvision
from cli_samples import Place
from torch import Tensor, nn

from headstart.core.cache.errors import WeightsMismatch
from headstart.core.extract.backbones import get_backbone
from headstart.core.extract.weights import load, locate
from headstart.core.extract.weights.unwrapping import Place as InFile
from headstart.core.extract.weights.unwrapping import taken_off, unwrap

RESNET18 = get_backbone("resnet18")
State = dict[str, Tensor]
OPTIMISER = {
    "state": {0: {"exp_avg": torch.ones(3), "step": torch.tensor(7)}},
    "param_groups": [{"lr": 0.1, "params": [0]}],
}


@pytest.fixture(scope="module")
def state() -> State:
    """A ResNet18 with a classifier for 7 classes and BatchNorm statistics that are not the initial ones."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(14)
        found: State = torchvision.models.resnet18(num_classes=7).state_dict()
        for name in found:
            if name.endswith(("running_mean", "running_var")):
                found[name] = torch.rand_like(found[name]) + 0.5
    return found


def before(prefix: str, state: Mapping[str, Tensor]) -> State:
    return {f"{prefix}{name}": value for name, value in state.items()}


def headless(state: Mapping[str, Tensor]) -> State:
    return {name: value for name, value in state.items() if not name.startswith("fc.")}


def moved(state: State, by: float) -> State:
    return {name: value + by if value.is_floating_point() else value for name, value in state.items()}


def opened(path: Path | str) -> tuple[nn.Module, list[str]]:
    """The body with the file's parameters, and what was said of the file."""
    said: list[str] = []
    return load(RESNET18, locate(RESNET18, str(path)), said.append), said


def assert_same(body: nn.Module, state: State) -> None:
    """Bit for bit what the plain file gives."""
    found = body.state_dict()
    assert set(found) == set(headless(state))
    for name, value in headless(state).items():
        assert found[name].dtype == value.dtype
        assert torch.equal(found[name], value), name


@dataclass(frozen=True)
class Way:
    """A way to store a state dict, the name people give such a file, and what is said of it."""

    file: str
    stored: Callable[[State], dict[Any, Any]]
    said: str = ""

    @property
    def id(self) -> str:
        return f"{self.file} {self.said}"

    def write(self, state: State, folder: Path) -> Path:
        path, stored = folder / self.file, self.stored(state)
        if path.suffix == ".safetensors":
            safetensors.torch.save_file(stored, path)
        else:
            # what .pth.tar was made for is older than torch 1.6 and its zip files
            torch.save(stored, path, _use_new_zipfile_serialization=path.suffix != ".tar")
        return path


WRAPPED = [
    Way("a.pth.tar", lambda state: {"state_dict": state, "epoch": 90, "optimizer": OPTIMISER}, "unwrapped 'state_dict'; n"),
    Way("a.pth", lambda state: {"model": state, "optimizer": OPTIMISER, "epoch": 3}, "unwrapped 'model'; not used: op"),
    Way(
        "a.pt",
        lambda state: {"epoch": 3, "model_state_dict": OrderedDict(state), "loss": 0.1},
        "unwrapped 'model_state_dict'",
    ),
    Way("b.pth", lambda state: {"ema": state, "step": 7}, "unwrapped 'ema'"),
    Way("b.pt", lambda state: {"teacher": state, "centre": torch.zeros(1, 8)}, "unwrapped 'teacher'; not used: centre"),
    Way("b.bin", lambda state: {"model": {"state_dict": state}}, "unwrapped 'model.state_dict'"),
]
PREFIXED = [
    Way("c.pth", lambda state: before("module.", state), "stripped 'module.' from the names"),
    Way("c.bin", lambda state: before("model.", state), "stripped 'model.' from the names"),
    Way("c.safetensors", lambda state: before("backbone.", headless(state)), "stripped 'backbone.' from the names"),
    Way(
        "d.safetensors",
        lambda state: {**before("encoder.", headless(state)), "head.weight": torch.zeros(3, 512)},
        "stripped 'encoder.' from the names; not used: head",
    ),
    Way("d.pt", lambda state: before("_orig_mod.", state), "stripped '_orig_mod.' from the names"),
    Way("d.pth", lambda state: before("module._orig_mod.", state), "stripped 'module._orig_mod.' from the names"),
    Way("d.bin", lambda state: before("_orig_mod.module.", state), "stripped '_orig_mod.module.' from the names"),
    Way(
        "e.pth",
        lambda state: {name.replace("layer1.", "layer1._orig_mod."): value for name, value in state.items()},
        "left '_orig_mod' out of the names",
    ),
]
BOTH = [
    Way(
        "lightning.pth.tar",
        lambda state: {
            "state_dict": before("model.", state),
            "hyper_parameters": {"lr": 0.1},
            "pytorch-lightning_version": "2",
        },
        "unwrapped 'state_dict', stripped 'model.' from the names",
    ),
    Way(
        "averaged.pth",
        lambda state: {"ema": {"module": before("_orig_mod.", state), "decay": 0.999}, 3: {"4": 5}},
        "unwrapped 'ema.module', stripped '_orig_mod.' from the names",
    ),
    Way(
        "both.pt",
        lambda state: {"teacher": before("module.backbone.", headless(state)), "optimizer": OPTIMISER},
        "unwrapped 'teacher', stripped 'module.backbone.' from the names; not used: optimizer",
    ),
    Way("nested.pth", lambda state: {"model": nested(state)}, "unwrapped 'model'"),
]
OLD = "old.pth.tar"
PLAIN = [
    Way("plain.pth", dict),
    Way("plain.pth.tar", dict),
    Way("plain.pt", OrderedDict),
    Way("plain.bin", dict),
    Way("plain.safetensors", dict),
    Way("headless.pth", headless),
    Way(OLD, lambda state: {n: v for n, v in state.items() if not n.endswith("num_batches_tracked")}),
]


def nested(state: State) -> dict[str, Any]:
    """Names as dictionaries in dictionaries."""
    found: dict[str, Any] = {}
    for name, value in state.items():
        *keys, last = name.split(".")
        inner = found
        for key in keys:
            inner = inner.setdefault(key, {})
        inner[last] = value
    return found


@pytest.mark.parametrize("way", [*WRAPPED, *PREFIXED, *BOTH, *PLAIN], ids=lambda way: way.id)
def test_each_way_gives_the_plain_files_parameters_and_what_was_taken_off_is_said(
    state: State, way: Way, tmp_path: Path
) -> None:
    path = way.write(state, tmp_path)
    if way.file == OLD:  # a counter that is not there is 0
        state = {name: torch.zeros_like(v) if name.endswith("num_batches_tracked") else v for name, v in state.items()}
    body, said = opened(path)
    assert_same(body, state)
    if way.said:
        (line,) = said
        assert line.startswith(f"{path}: took the {len(headless(state))} tensors of resnet18; {way.said}")
        assert "\n" not in line
    else:
        assert said == []


@pytest.mark.parametrize("width", [1, 10, 21_841])
def test_a_classifier_of_any_width_is_no_news(state: State, width: int, tmp_path: Path) -> None:
    torch.save({**state, "fc.weight": torch.zeros(width, 512), "fc.bias": torch.zeros(width)}, tmp_path / "w.pth")
    body, said = opened(tmp_path / "w.pth")
    assert_same(body, state)
    assert said == []


def test_numbers_in_half_precision_are_their_float32(state: State, tmp_path: Path) -> None:
    halves = {name: value.bfloat16() if value.is_floating_point() else value for name, value in state.items()}
    torch.save({"model": halves}, tmp_path / "w.bin")
    assert_same(opened(tmp_path / "w.bin")[0], {name: halves[name].to(value.dtype) for name, value in state.items()})


def test_tensors_saved_on_a_gpu_are_read_without_one(state: State, tmp_path: Path) -> None:
    path = tmp_path / "w.pth.tar"
    torch.save({"state_dict": before("module.", state)}, path, _use_new_zipfile_serialization=False)
    here, there = b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0"  # the word is there once, and referred to then
    assert path.read_bytes().count(here) == 1
    path.write_bytes(path.read_bytes().replace(here, there))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_same(opened(path)[0], state)


# ---- nothing is stripped in vain, and nothing is chosen in silence


@pytest.mark.parametrize(
    "words", [("model", "ema"), ("model", "teacher"), ("student", "teacher"), ("state_dict", "ema.module")]
)
def test_two_that_fit_are_refused_by_name_and_each_is_taken_by_name(
    state: State, words: tuple[str, str], tmp_path: Path
) -> None:
    path, other = tmp_path / "w.pth", moved(state, 1)
    torch.save({words[0]: state, words[1]: other, "epoch": 3}, path)
    names = re.escape(f"#{words[0]}, #{words[1]}; say which, as in --weights '{path}#{words[0]}'")
    with pytest.raises(WeightsMismatch, match=f"several weights in it fit resnet18: {names}"):
        opened(path)
    for word, expected in zip(words, (state, other), strict=True):
        body, (line,) = opened(f"{path}#{word}")
        assert_same(body, expected)
        assert f"unwrapped '{word}'; not used: " in line


def test_two_names_of_the_same_numbers_are_one(state: State, tmp_path: Path) -> None:
    torch.save({"model": state, "ema": dict(state)}, tmp_path / "w.pth")
    body, (line,) = opened(tmp_path / "w.pth")
    assert_same(body, state)
    assert line.endswith("unwrapped 'model'; not used: ema")


def test_a_prefix_of_some_names_only_is_not_stripped(state: State, tmp_path: Path) -> None:
    mixed = {f"module.{name}" if name.startswith("layer4.") else name: value for name, value in state.items()}
    torch.save(mixed, tmp_path / "w.pth")
    with pytest.raises(WeightsMismatch, match=r"w\.pth: lacks layer4\.0\.conv1\.weight, .* and \d+ more of resnet18$"):
        opened(tmp_path / "w.pth")


@pytest.mark.parametrize("word", ["state_dict", "ema"])
def test_another_architecture_in_a_wrapper_is_named(word: str, tmp_path: Path) -> None:
    torch.save({word: before("module.", torchvision.models.resnet50().state_dict())}, tmp_path / "w.pth")
    with pytest.raises(
        WeightsMismatch, match=rf"has layer1\.0\.conv3.* below '{word}\.module\.', which resnet18 .*; .* -m resnet50 takes$"
    ) as met:
        opened(tmp_path / "w.pth")
    assert "\n" not in str(met.value)


# ---- what holds no state dict


def deep(state: State) -> dict[Any, Any]:
    found: dict[Any, Any] = dict(state)
    for _ in range(100):
        found = {"again": found}
    return found


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "holds no named tensor, expected a state dict"),
        ([{"conv1.weight": torch.zeros(1)}], "holds a list, expected a state dict"),
        (torch.zeros(3), "holds a Tensor, expected a state dict"),
        (3, "holds a int, expected a state dict"),
        ({0: torch.zeros(3), (1, 2): torch.zeros(3)}, "holds no named tensor, expected a state dict"),
        ({"state_dict": {}}, "holds no named tensor, expected a state dict"),
        (deep({"conv1.weight": torch.zeros(1)}), "holds no named tensor, expected a state dict"),
        ({"model": {0: {"weight": torch.zeros(3)}}}, r"its names begin with 'model\.'; expected conv1\.weight, "),
    ],
    ids=["empty", "list", "tensor", "number", "keys", "wrapped empty", "deep", "numbers"],
)
def test_what_is_no_state_dict_is_called_what_it_is(content: object, message: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(WeightsMismatch, match=rf"w\.pth: {message}"):
        opened(tmp_path / "w.pth")


def test_a_dictionary_that_holds_itself_many_times_ends(state: State) -> None:
    found: dict[str, Any] = {"model": state}
    for number in range(50):
        found[f"again{number}"] = found
    assert set(unwrap(found, "w.pth").tensors) == set(before("model.", state))


def test_a_few_dictionaries_that_hold_each_other_very_often_are_refused() -> None:
    found: dict[str, Any] = {}
    for _ in range(8):
        found = {str(number): found for number in range(10)}
    with pytest.raises(WeightsMismatch, match=r"w\.pth: has more than 1,000,000 entries, expected a state dict"):
        unwrap(found, "w.pth")


@pytest.mark.parametrize(
    ("name", "place", "prefix", "said"),
    [
        ("conv1.weight", InFile((), "conv1.weight"), "", ""),
        ("b.denselayer1.norm1.weight", InFile((), "b.denselayer1.norm.1.weight"), "", ""),
        ("b.denselayer1.norm1.weight", InFile((), "m.b.denselayer1.norm.1.weight"), "m.", "stripped 'm.' from the names"),
        ("conv1.weight", InFile(("conv1",), "weight"), "", ""),
        ("conv1.weight", InFile(("a.b", "conv1"), "weight"), "a.b.", "unwrapped 'a.b'"),
        ("conv1.weight", InFile(("_orig_mod",), "conv1.weight"), "", "unwrapped '_orig_mod'"),
        (
            "conv1.weight",
            InFile(("ema",), "module._orig_mod.conv1._checkpoint_wrapped_module.weight"),
            "ema.module.",
            "unwrapped 'ema', stripped 'module._orig_mod.' from the names, "
            "left '_checkpoint_wrapped_module' out of the names",
        ),
    ],
)
def test_what_was_taken_off_one_name(name: str, place: InFile, prefix: str, said: str) -> None:
    assert taken_off([(name, place)], prefix) == said


# ---- programs and whole objects


def scripted(state: State, path: Path) -> None:
    model = torchvision.models.resnet18(num_classes=7)
    model.load_state_dict(state)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit is deprecated, its files are still about
        torch.jit.save(torch.jit.script(model), path)


def whole(state: State) -> nn.Module:
    model = torchvision.models.resnet18(num_classes=7)
    model.load_state_dict(state)
    return model


OBJECTS: dict[str, tuple[Callable[[State, Path], None], str]] = {
    "whole": (lambda state, path: torch.save(whole(state), path), r"torchvision\.models\.resnet\.ResNet"),
    "whole, old": (
        lambda state, path: torch.save(whole(state), path, _use_new_zipfile_serialization=False),
        r"torchvision\.models\.resnet\.ResNet",
    ),
    "in a checkpoint": (
        lambda state, path: torch.save({"model": whole(state), "epoch": 3, "optimizer": OPTIMISER}, path),
        r"torchvision\.models\.resnet\.ResNet",
    ),
    "beside an object": (
        lambda state, path: torch.save({"state_dict": state, "best": np.float64(81.2)}, path),
        r"numpy\..*scalar",
    ),
    "beside an object, old": (
        lambda state, path: torch.save(
            OrderedDict(state_dict=state, best=np.float64(81.2)), path, _use_new_zipfile_serialization=False
        ),
        r"numpy\..*scalar",
    ),
}


@pytest.mark.parametrize("way", OBJECTS)
def test_objects_are_refused_by_name_and_the_way_out_opens_no_pickle(state: State, way: str, tmp_path: Path) -> None:
    write, name = OBJECTS[way]
    write(state, tmp_path / "w.pth")
    said = rf"w\.pth: holds {name}, and only tensors, numbers and text are read, .*; save the weights alone in the program"
    with pytest.raises(WeightsMismatch, match=said) as met:
        opened(tmp_path / "w.pth")
    assert str(met.value).isprintable()
    (code,) = re.findall(r"`(.*)`$", str(met.value))
    with contextlib.chdir(tmp_path):
        exec(code, {"torch": torch, "model": whole(state)})
    assert_same(opened(tmp_path / "weights.pth")[0], state)


def test_a_program_is_refused_by_name_and_the_command_that_keeps_its_weights_works(state: State, tmp_path: Path) -> None:
    path = tmp_path / "it's \"$HOME.pth"
    scripted(state, path)
    with pytest.raises(
        WeightsMismatch, match=r"is a TorchScript archive, a program; where you trust it, `python -c"
    ) as met:
        opened(path)
    (command,) = re.findall(r"`(python -c .*)` runs it and keeps its weights in weights\.pth", str(met.value))
    line = command.replace("python", shlex.quote(sys.executable), 1)  # a shell has its own mind about quotation marks
    subprocess.run(["/bin/sh", "-c", line], cwd=tmp_path, check=True, capture_output=True)
    assert_same(opened(tmp_path / "weights.pth")[0], state)


@dataclass(frozen=True)
class MakesFolder:
    """Unpickled with all of pickle's powers, it makes a folder."""

    path: str

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "old"])
@pytest.mark.parametrize("wrapped", [True, False], ids=["wrapped", "whole"])
def test_nothing_runs_from_a_file_that_calls_the_system_and_no_way_to_run_it_is_given(
    state: State, wrapped: bool, zipped: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")  # a user's switch for other programs is none for us
    armed = MakesFolder(str(tmp_path / "marker"))
    torch.save(
        {"state_dict": state, "x": armed} if wrapped else armed, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped
    )
    with pytest.raises(
        WeightsMismatch, match=r"holds posix\.mkdir, .*; no weights need this one: give another file$"
    ) as met:
        opened(tmp_path / "w.pth")
    assert "python" not in str(met.value)
    assert not (tmp_path / "marker").exists()


def tar(path: Path) -> None:
    with tarfile.open(path, "w") as archive:
        archive.addfile(tarfile.TarInfo("sys_info"), io.BytesIO())


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (tar, "is a tar archive, of torch before 0.1.10 or packed by hand; give"),
        (lambda path: path.write_bytes(b"\x1f\x8b\x08" + bytes(50)), "is compressed with gzip; unpack it first"),
    ],
    ids=["tar", "gzip"],
)
def test_packed_files_are_called_so(write: Callable[[Path], object], message: str, tmp_path: Path) -> None:
    write(tmp_path / "w.pth.tar")
    with pytest.raises(WeightsMismatch, match=rf"w\.pth\.tar: {message}"):
        opened(tmp_path / "w.pth.tar")


# ---- at the command line


def features(place: Place, path: Path) -> tuple[np.ndarray, str]:
    """The features of 20 digits with these weights, and what was printed."""
    words = ("-m", "resnet18", "--image-size", "32", "--dataset", "digits", "--split", "train", "--limit", "20")
    result = place.run("extract", *words, "--precision", "fp32", "--weights", str(path))
    (shard,) = (place.root / "features").glob("*/shard-00000.h5")
    with h5py.File(shard) as file:
        return file["features"][:], result.stderr


@pytest.mark.parametrize("way", [WRAPPED[0], PREFIXED[2], BOTH[1]], ids=lambda way: way.id)
def test_extract_prints_what_was_taken_off_and_makes_the_plain_files_features(
    state: State, way: Way, tmp_path: Path
) -> None:
    torch.save(state, tmp_path / "plain.pth")
    plain, printed = features(Place(tmp_path / "plain"), tmp_path / "plain.pth")
    assert "took the" not in printed
    path = way.write(state, tmp_path)
    found, printed = features(Place(tmp_path / "wrapped"), path)
    assert np.array_equal(found, plain)
    assert f"took the {len(headless(state))} tensors of resnet18; {way.said}" in printed
    assert printed.count("took the") == 1


def test_extract_refuses_a_program_in_one_line(state: State, tmp_path: Path) -> None:
    scripted(state, tmp_path / "w.pt")
    words = ("-m", "resnet18", "--image-size", "32", "--dataset", "digits", "--limit", "20")
    line = Place(tmp_path).fails("extract", *words, "--weights", str(tmp_path / "w.pt"))
    assert "is a TorchScript archive, a program; where you trust it, `python -c" in line
