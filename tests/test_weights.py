"""A backbone's weights: reproducible draws, every accepted file form, and a refusal by name for everything else."""

import argparse
import contextlib
import dataclasses
import os
import re
import shlex
import shutil
import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
import torchvision
from torch import Tensor, nn

from headstart.core.cache.errors import WeightsMismatch, WeightsNotFound
from headstart.core.cache.files import sha256_file
from headstart.core.extract.backbones import Backbone, WeightFile, get_backbone
from headstart.core.extract.network.extractor import state_digest
from headstart.core.extract.weights import checkpoint_folder, lacking, load, locate

RESNET18 = get_backbone("resnet18")
State = dict[str, Tensor]


@pytest.fixture(scope="module")
def state() -> State:
    """A whole torchvision ResNet18, classifier included, with BatchNorm statistics that are not the initial ones."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(18)
        found: State = torchvision.models.resnet18().state_dict()
        for name in found:
            if name.endswith(("running_mean", "running_var")):
                found[name] = torch.rand_like(found[name]) + 0.5
    return found


@pytest.fixture
def torch_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty TORCH_HOME and a server without files, both below tmp_path; gives the server's folder."""
    server = tmp_path / "server"
    server.mkdir()
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return server


def features_of(state: Mapping[str, Tensor]) -> State:
    return {name: value for name, value in state.items() if not name.startswith("fc.")}


def halves(state: State) -> State:
    return {name: value.half() if value.is_floating_point() else value for name, value in state.items()}


def assert_loaded(body: nn.Module, expected: State) -> None:
    found = body.state_dict()
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert torch.equal(found[name], value), name
        assert found[name].dtype == value.dtype


def loaded(path: Path, backbone: Backbone = RESNET18) -> nn.Module:
    return load(backbone, locate(backbone, str(path)))


# ---- random weights


@pytest.mark.parametrize("name", ["resnet18", "densenet169"])
def test_the_same_seed_draws_the_same_weights_and_another_seed_others(name: str) -> None:
    backbone = get_backbone(name)
    first, again, other = (state_digest(load(backbone, locate(backbone, f"random:{seed}"))) for seed in (1, 1, 2))
    assert first == again != other


def test_a_draw_is_torchvisions_own_initialisation() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        expected = torchvision.models.resnet18().state_dict()
    assert_loaded(load(RESNET18, locate(RESNET18, "random:7")), features_of(expected))


def test_a_draw_leaves_torchs_own_generator_untouched() -> None:
    before = torch.get_rng_state()
    load(RESNET18, locate(RESNET18, "random:1"))
    assert torch.equal(torch.get_rng_state(), before)


def test_random_weights_are_named_by_seed_and_versions() -> None:
    plain, zero, one = (locate(RESNET18, request) for request in ("random", "random:0", "random:1"))
    assert plain == zero
    assert (zero.label, one.label) == ("random:0", "random:1")
    assert zero.sha256 != one.sha256
    assert f"torch=={torch.__version__.partition('+')[0]}" in one.origin


def test_a_seed_that_torch_does_not_take_is_refused() -> None:
    with pytest.raises(WeightsNotFound, match="random:99999999999999999999"):
        load(RESNET18, locate(RESNET18, "random:99999999999999999999"))


# ---- files

FORMS: dict[str, Callable[[State, Path], None]] = {
    "plain.pth": torch.save,
    "legacy.pth": lambda state, path: torch.save(state, path, _use_new_zipfile_serialization=False),
    "state_dict.pth": lambda state, path: torch.save({"epoch": 3, "state_dict": state}, path),
    "model.pt": lambda state, path: torch.save({"model": state, "args": {"lr": 0.1}}, path),
    "parallel.pth": lambda state, path: torch.save({f"module.{name}": value for name, value in state.items()}, path),
    "both.pth": lambda state, path: torch.save({"state_dict": {f"module.{n}": v for n, v in state.items()}}, path),
    "fp32.safetensors": safetensors.torch.save_file,
    "fp16.safetensors": lambda state, path: safetensors.torch.save_file(halves(state), path),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_file_gives_its_parameters_in_float32(state: State, form: str, tmp_path: Path) -> None:
    path = tmp_path / form
    FORMS[form](state, path)
    kept = halves(state) if form.startswith("fp16") else state
    assert_loaded(loaded(path), {name: value.to(state[name].dtype) for name, value in features_of(kept).items()})


def test_a_loaded_body_is_frozen_and_in_eval(state: State, tmp_path: Path) -> None:
    torch.save(state, tmp_path / "w.pth")
    for body in (loaded(tmp_path / "w.pth"), load(RESNET18, locate(RESNET18, "random:0"))):
        assert not any(module.training for module in body.modules())
        assert not any(parameter.requires_grad for parameter in body.parameters())


def test_a_files_weights_are_named_by_the_hash_of_its_bytes(state: State, tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    torch.save(state, path)
    found = locate(RESNET18, str(path))
    assert (found.label, found.sha256, found.origin) == ("file", sha256_file(path), str(path))


def test_a_file_without_classifier_or_counters_will_do(state: State, tmp_path: Path) -> None:
    kept = {name: value for name, value in features_of(state).items() if not name.endswith("num_batches_tracked")}
    safetensors.torch.save_file(kept, tmp_path / "w.safetensors")
    found = loaded(tmp_path / "w.safetensors").state_dict()
    assert all(torch.equal(found[name], value) for name, value in kept.items())


def test_a_path_may_begin_with_the_home_folder(state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    torch.save(state, tmp_path / "w.pth")
    assert locate(RESNET18, "~/w.pth").path == tmp_path / "w.pth"


def without(state: State, name: str) -> State:
    return {key: value for key, value in state.items() if key != name}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: without(state, "layer4.1.conv2.weight"), r"lacks layer4\.1\.conv2\.weight of resnet18"),
        (lambda state: without(state, "bn1.running_var"), r"lacks bn1\.running_var of resnet18"),
        (lambda state: {**state, "layer5.weight": torch.zeros(1)}, r"has layer5\.weight, which resnet18 has not"),
        (
            lambda state: {**state, "conv1.weight": torch.zeros(64, 3, 3, 3)},
            r"conv1\.weight has the shape \(64, 3, 3, 3\), expected \(64, 3, 7, 7\) for resnet18",
        ),
        (lambda _: {}, "holds no named tensor, expected a state dict"),
        (
            lambda state: {name: halves(state)[name].int() for name in state},
            r"conv1\.weight is a tensor of torch\.int32, exp",
        ),
        (lambda state: {**state, "conv1.weight": "none"}, r"conv1\.weight"),
    ],
    ids=["missing", "missing statistics", "extra", "shape", "empty", "integers", "no tensor"],
)
def test_parameters_that_are_not_the_backbones_are_listed(
    state: State, change: Callable[[State], dict[Any, Any]], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "w.pth"
    torch.save(change(state), path)
    with pytest.raises(WeightsMismatch, match=rf"w\.pth: .*{message}"):
        loaded(path)


def test_weights_of_another_backbone_are_refused(state: State, tmp_path: Path) -> None:
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(WeightsMismatch, match=r"lacks layer1\.0\.conv3\.weight, .* more of resnet50"):
        loaded(tmp_path / "w.pth", get_backbone("resnet50"))


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
@pytest.mark.parametrize("content", [b"", b"not weights at all", bytes(1000)], ids=["empty", "text", "zeros"])
def test_a_file_that_holds_no_weights_is_refused(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(
        WeightsMismatch, match=r"can't be read as plain weights \(.*\); expected a \.safetensors or a \.pth"
    ):
        loaded(tmp_path / name)


def test_a_truncated_file_is_refused(state: State, tmp_path: Path) -> None:
    safetensors.torch.save_file(halves(state), tmp_path / "w.safetensors")
    os.truncate(tmp_path / "w.safetensors", 1_000_000)
    with pytest.raises(WeightsMismatch, match="can't be read as plain weights"):
        loaded(tmp_path / "w.safetensors")


def test_a_list_is_no_state_dict(tmp_path: Path) -> None:
    torch.save([torch.zeros(1)], tmp_path / "w.pth")
    with pytest.raises(WeightsMismatch, match="holds a list, expected a state dict"):
        loaded(tmp_path / "w.pth")


@dataclasses.dataclass(frozen=True)
class MakesFolder:
    """Unpickled with all of pickle's powers, it makes a folder."""

    path: str

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_a_pickle_that_would_run_code_is_refused_and_not_run(zipped: bool, tmp_path: Path) -> None:
    path, marker = tmp_path / "w.pth", tmp_path / "marker"
    torch.save({"conv1.weight": MakesFolder(str(marker))}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(WeightsMismatch, match=r"holds posix\.mkdir, and only tensors, numbers and text are read, because"):
        loaded(path)
    assert not marker.exists()
    torch.load(path, weights_only=False)  # on purpose: unless the file is armed, refusing it below would prove nothing
    assert marker.exists()


def test_a_file_that_changes_between_locating_and_loading_is_refused(state: State, tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    torch.save(state, path)
    found = locate(RESNET18, str(path))
    torch.save({**state, "conv1.weight": state["conv1.weight"] + 1}, path)
    with pytest.raises(
        WeightsMismatch, match=rf"w\.pth: SHA-256 is .*, expected {found.sha256[:12]}…; it changed while we ran"
    ):
        load(RESNET18, found)


# ---- checkpoints of other programs


def below(prefix: str, state: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{prefix}{name}": value for name, value in state.items()}


def moved(state: State, by: float) -> State:
    return {name: value + by if value.is_floating_point() else value for name, value in state.items()}


def averaged(state: State) -> State:
    return {"n_averaged": torch.tensor(7), **below("module.", state)}


OPTIMISER = {"state": {0: {"momentum_buffer": torch.ones(3)}}, "param_groups": [{"lr": 0.1, "params": [0]}]}

CHECKPOINTS: dict[str, Callable[[State], dict[Any, Any]]] = {
    "model_state_dict": lambda state: {"epoch": 3, "model_state_dict": state, "optimizer_state_dict": OPTIMISER},
    "net": lambda state: {"net": state, "acc": 81.2, "epoch": 3},
    "compiled": lambda state: below("_orig_mod.", state),
    "compiled layers": lambda state: {name.replace("layer1.", "layer1._orig_mod."): v for name, v in state.items()},
    "compiled in parallel": lambda state: {"model": below("module._orig_mod.", state)},
    "lightning": lambda state: {"state_dict": below("model.", state), "hyper_parameters": {"lr": 0.1}, "callbacks": {}},
    "self-supervised": lambda state: {
        "state_dict": {**below("backbone.", features_of(state)), "projector.0.weight": torch.zeros(2, 2)}
    },
    "of words in no list": lambda state: {"weights": {"ours": below("wrapped.trunk.", state)}},
    "average": averaged,
    "average in a checkpoint": lambda state: {"model_ema": averaged(state), "args": {"lr": 0.1}},
    "one module by two names, once without counters": lambda state: {
        **below("a.", state),
        **below("b.", {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}),
    },
    "one module by two names": lambda state: {**below("attacker.model.", state), **below("model.", state)},
    "projector behind it": lambda state: {**below("module.", state), "module.projection_head.0.weight": torch.zeros(2, 2)},
    "queue": lambda state: {"state_dict": {**below("module.encoder_q.", state), "module.queue": torch.zeros(128, 8)}},
    "too small a namesake": lambda state: {"teacher": {"conv1.weight": torch.zeros(1)}, "student": state},
    "options": lambda state: {"model": state, "args": argparse.Namespace(lr=0.1, arch="resnet18", milestones=[30, 60])},
    "parameters of a module": lambda state: {"model": {name: parameter(value) for name, value in state.items()}},
    "holds itself": lambda state: cyclic({"state_dict": state}),
}


def parameter(value: Tensor) -> Tensor:
    return nn.Parameter(value) if value.is_floating_point() else value


def cyclic(checkpoint: dict[str, Any]) -> dict[str, Any]:
    checkpoint["again"] = checkpoint
    return checkpoint


@pytest.mark.parametrize("form", CHECKPOINTS)
def test_the_backbone_is_found_in_checkpoints_of_other_programs(state: State, form: str, tmp_path: Path) -> None:
    torch.save(CHECKPOINTS[form](state), tmp_path / "checkpoint.pth")
    assert_loaded(loaded(tmp_path / "checkpoint.pth"), features_of(state))


def test_an_old_file_of_one_of_torchs_own_classes_is_refused_as_before(state: State, tmp_path: Path) -> None:
    torch.save(
        {"model": state, "args": argparse.Namespace(start=MakesFolder(str(tmp_path / "marker")))}, tmp_path / "w.pth"
    )
    with pytest.raises(WeightsMismatch, match=r"w\.pth: holds posix\.mkdir, and only tensors"):
        loaded(tmp_path / "w.pth")
    assert not (tmp_path / "marker").exists()


def test_what_torch_lets_in_is_afterwards_what_it_was(state: State, tmp_path: Path) -> None:
    torch.save(CHECKPOINTS["options"](state), tmp_path / "w.pth")
    before = torch.serialization.get_safe_globals()
    with ThreadPoolExecutor(max_workers=4) as threads:
        for body in threads.map(lambda _: loaded(tmp_path / "w.pth"), range(8)):
            assert_loaded(body, features_of(state))
    assert set(torch.serialization.get_safe_globals()) == set(before)
    with torch.serialization.safe_globals([argparse.Namespace]):  # somebody's own
        loaded(tmp_path / "w.pth")
        assert argparse.Namespace in torch.serialization.get_safe_globals()


@pytest.mark.parametrize("name", ["X.SAFETENSORS", "x.pth", "x"])
def test_a_file_is_what_it_holds_whatever_its_name(state: State, name: str, tmp_path: Path) -> None:
    safetensors.torch.save_file(state, tmp_path / name)
    assert_loaded(loaded(tmp_path / name), features_of(state))


def test_several_weights_that_fit_are_named_and_one_is_taken_by_name(state: State, tmp_path: Path) -> None:
    path, teacher = tmp_path / "ssl.pth", moved(state, 1)
    torch.save({"student": below("module.", state), "teacher": below("backbone.", teacher), "epoch": 3}, path)
    with pytest.raises(
        WeightsMismatch, match=r"fit resnet18: #student\.module, #teacher\.backbone; say which, as in .*ssl"
    ) as met:
        loaded(path)
    (request,) = re.findall(r"--weights '(.*)'", str(met.value))
    assert_loaded(load(RESNET18, locate(RESNET18, request)), features_of(state))  # the advice is good
    found = locate(RESNET18, f"{path}#teacher.backbone")
    assert (found.label, found.origin) == ("file#teacher.backbone", f"{path}#teacher.backbone")
    assert found.sha256 == locate(RESNET18, request).sha256
    assert_loaded(load(RESNET18, found), features_of(teacher))


def test_weights_without_a_prefix_have_an_empty_name(state: State, tmp_path: Path) -> None:
    torch.save({**state, **below("ema.", moved(state, 1))}, tmp_path / "w.pth")
    with pytest.raises(WeightsMismatch, match="several weights in it fit resnet18: #, #ema; say which"):
        loaded(tmp_path / "w.pth")
    assert_loaded(load(RESNET18, locate(RESNET18, f"{tmp_path / 'w.pth'}#")), features_of(state))


@pytest.mark.parametrize(
    ("member", "message"),
    [
        (
            "teacher",
            r"no parameter of resnet18 has a name that begins with 'teacher\.'; what fits resnet18 in the file: #student",
        ),
        ("other", r"lacks bn1\.weight, .* of resnet18 below 'other\.'; what fits resnet18 in the file: #student"),
    ],
)
def test_a_name_that_does_not_fit_is_answered_with_those_that_do(
    state: State, member: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "w.pth"
    torch.save({"student": state, "other": {"conv1.weight": state["conv1.weight"]}}, path)
    with pytest.raises(WeightsMismatch, match=rf"w\.pth#{member}: {message}"):
        load(RESNET18, locate(RESNET18, f"{path}#{member}"))


def test_a_file_whose_own_name_has_the_mark_is_a_file(state: State, tmp_path: Path) -> None:
    torch.save(state, tmp_path / "run#3.pth")
    found = locate(RESNET18, str(tmp_path / "run#3.pth"))
    assert (found.label, found.member) == ("file", None)
    assert_loaded(load(RESNET18, found), features_of(state))


def test_what_else_a_file_holds_is_said(state: State, tmp_path: Path) -> None:
    path, said = tmp_path / "w.pth", list[str]()
    torch.save(
        {"state_dict": {**below("module.", state), "module.prototypes.weight": torch.zeros(2)}, "o": OPTIMISER}, path
    )
    load(RESNET18, locate(RESNET18, str(path)), said.append)
    taken = len(features_of(state))
    (line,) = said
    assert line.endswith(
        f"took the {taken} tensors of resnet18; unwrapped 'state_dict', stripped 'module.' from the names; "
        "not used: state_dict.module.prototypes, o"
    )
    torch.save(state, path)
    load(RESNET18, locate(RESNET18, str(path)), said.append)
    assert len(said) == 1  # the classifier is no news


def test_a_deeper_network_does_not_pass_for_a_shallower_one(tmp_path: Path) -> None:
    torch.save(below("model.", torchvision.models.resnet34().state_dict()), tmp_path / "w.pth")
    with pytest.raises(WeightsMismatch, match=r"has layer1\.2\.conv1\.weight, .* below 'model\.', which resnet18 has not"):
        loaded(tmp_path / "w.pth")


def test_names_of_another_kind_are_shown_beside_those_expected(tmp_path: Path) -> None:
    torch.save({"model": {"blocks.0.norm1.weight": torch.zeros(1), "patch_embed.bias": torch.zeros(1)}}, tmp_path / "w.pth")
    with pytest.raises(WeightsMismatch, match=r"its names begin with 'model\.'; expected conv1\.weight, .* for resnet18"):
        loaded(tmp_path / "w.pth")


def test_what_is_missing_is_said_with_the_prefix(state: State, tmp_path: Path) -> None:
    torch.save(below("model.", without(state, "layer4.1.conv2.weight")), tmp_path / "w.pth")
    with pytest.raises(WeightsMismatch, match=r"lacks layer4\.1\.conv2\.weight of resnet18 below 'model\.'"):
        loaded(tmp_path / "w.pth")


def test_one_name_twice_is_refused(state: State, tmp_path: Path) -> None:
    torch.save({**state, "_orig_mod.conv1.weight": state["conv1.weight"] + 1}, tmp_path / "w.pth")
    with pytest.raises(WeightsMismatch, match=r"holds conv1\.weight twice"):
        loaded(tmp_path / "w.pth")


@dataclasses.dataclass(frozen=True)
class Bad:
    """Numbers that no features can come from."""

    id: str
    name: str
    value: float
    message: str


@pytest.mark.parametrize(
    "case",
    [
        Bad("nan", "layer1.0.conv1.weight", float("nan"), "1 of its 36,864 values are NaN or infinite in float32"),
        Bad("inf", "layer4.1.bn2.bias", float("inf"), "1 of its 512 values are NaN or infinite"),
        Bad("too large", "conv1.weight", 1e300, "1 of its 9,408 values are NaN or infinite in float32"),
        Bad("variance", "bn1.running_var", -0.5, "it has negative values, which no variance can have"),
    ],
    ids=lambda case: case.id,
)
def test_a_damaged_parameter_is_named_when_it_is_loaded(state: State, case: Bad, tmp_path: Path) -> None:
    damaged = {name: value.double() if value.is_floating_point() else value for name, value in state.items()}
    damaged[case.name].view(-1)[0] = case.value
    torch.save({"model": damaged}, tmp_path / "w.pth")
    message = rf"w\.pth: model\.{re.escape(case.name)} is damaged: {case.message}.*; give other weights with --weights"
    with pytest.raises(WeightsMismatch, match=message):
        loaded(tmp_path / "w.pth")


def test_tensors_without_numbers_are_refused(state: State, tmp_path: Path) -> None:
    torch.save({**state, "conv1.weight": torch.empty(64, 3, 7, 7, device="meta")}, tmp_path / "w.pth")
    with pytest.raises(WeightsMismatch, match=r"conv1\.weight is a meta tensor of torch\.float32, expected a plain tensor"):
        loaded(tmp_path / "w.pth")


def scripted(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit is deprecated, its files are still about
        torch.jit.save(torch.jit.script(torchvision.models.resnet18()), path)


def test_a_torchscript_archive_is_named_and_the_advice_is_good(tmp_path: Path) -> None:
    path = tmp_path / "it's.pt"
    scripted(path)
    with pytest.raises(WeightsMismatch, match="is a TorchScript archive, a program; where you trust it, `python -c") as met:
        loaded(path)
    (command,) = re.findall(r"`(python -c .*)`", str(met.value))
    with warnings.catch_warnings(), contextlib.chdir(tmp_path):
        warnings.simplefilter("ignore")
        exec(shlex.split(command)[2], {})
    loaded(tmp_path / "weights.pth")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 46830571\n",
            "is a pointer of Git LFS, not the file",
        ),
        (b"\n<!DOCTYPE html><html>not found</html>", "is a web page; download the file itself"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "is an HDF5 file, as Keras writes them"),
        (b"PK\x03\x04" + bytes(100), r"is a damaged archive \(File is not a zip file\); get it again"),
    ],
    ids=["lfs", "html", "hdf5", "zip"],
)
def test_files_that_are_no_weights_are_called_what_they_are(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "w.pth").write_bytes(content)
    with pytest.raises(WeightsMismatch, match=rf"w\.pth: {message}"):
        loaded(tmp_path / "w.pth")


def test_an_archive_of_another_program_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "w.npz", weight=np.zeros(3))
    with pytest.raises(WeightsMismatch, match=r"is an archive that torch\.save did not write; expected"):
        loaded(tmp_path / "w.npz")


def test_a_whole_pickled_model_is_refused_in_plain_words(tmp_path: Path) -> None:
    torch.save(torchvision.models.resnet18(), tmp_path / "w.pth")
    with pytest.raises(
        WeightsMismatch, match=r"holds torchvision\.models\.resnet\.ResNet, .* `torch\.save\(model\."
    ) as met:
        loaded(tmp_path / "w.pth")
    assert str(met.value).isprintable()  # torch's own text would move the cursor


def test_a_path_is_kept_whole(state: State, tmp_path: Path) -> None:
    torch.save(state, tmp_path / "w.pth")
    with contextlib.chdir(tmp_path):
        found = locate(RESNET18, "w.pth")
    assert (found.path, found.origin) == (tmp_path / "w.pth", str(tmp_path / "w.pth"))


def test_densenets_old_parameter_names_are_understood(tmp_path: Path) -> None:
    backbone = get_backbone("densenet169")
    new = load(backbone, locate(backbone, "random:0")).state_dict()
    old = {
        name.replace("norm1.", "norm.1.")
        .replace("norm2.", "norm.2.")
        .replace("conv1.", "conv.1.")
        .replace("conv2.", "conv.2."): v
        for name, v in new.items()
    }
    assert len(old.keys() - new.keys()) > 500
    torch.save(old, tmp_path / "w.pth")
    assert_loaded(loaded(tmp_path / "w.pth", backbone), new)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("resnet18", "resnet18-pqf.safetensors"),
        ("resnet50", "resnet50-pqf.safetensors"),
        ("densenet169", "densenet169-features.safetensors"),
    ],
)
def test_the_trained_weights_beside_the_project_load(shared: Path, name: str, file: str) -> None:
    body = loaded(shared / "weights" / file, get_backbone(name))
    assert all(value.dtype == torch.float32 for value in body.parameters())


# ---- published files


def with_file(server: Path, name: str, digits: str) -> Backbone:
    """ResNet18 with one checkpoint, which is called `name` on the server and whose SHA-256 begins with `digits`."""
    return dataclasses.replace(RESNET18, checkpoints={"IMAGENET1K_V1": WeightFile((server / name).as_uri(), digits)})


def published(server: Path, state: State, digits: str | None = None) -> Backbone:
    """The same with a checkpoint that lies on the server, with its own SHA-256 or `digits` in its place."""
    torch.save(state, server / "upload.pth")
    return with_file(server, "upload.pth", digits or sha256_file(server / "upload.pth"))


def test_published_weights_are_downloaded_checked_and_kept(state: State, torch_home: Path) -> None:
    backbone = published(torch_home, state)
    found = locate(backbone, "IMAGENET1K_V1")
    assert (found.label, found.origin) == ("IMAGENET1K_V1", (torch_home / "upload.pth").as_uri())
    assert found.path == checkpoint_folder() / "upload.pth"
    assert found.sha256 == sha256_file(torch_home / "upload.pth")
    assert_loaded(load(backbone, found), features_of(state))
    shutil.rmtree(torch_home)
    assert locate(backbone, "IMAGENET1K_V1") == found  # from TORCH_HOME, not from the server


def test_default_is_the_newest_of_the_published_weights(state: State, torch_home: Path) -> None:
    newest = published(torch_home, state).checkpoints["IMAGENET1K_V1"]
    oldest = WeightFile("https://example.org/r-00000000.pth", "00000000")
    backbone = dataclasses.replace(RESNET18, checkpoints={"IMAGENET1K_V1": oldest, "IMAGENET1K_V2": newest})
    assert locate(backbone, "DEFAULT").label == "IMAGENET1K_V2"


@pytest.mark.parametrize("known", [8, 64])
def test_a_download_with_another_hash_is_not_kept(known: int, state: State, torch_home: Path) -> None:
    torch.save(state, torch_home / "upload.pth")
    digest = sha256_file(torch_home / "upload.pth")
    expected = digest[: known - 1] + ("0" if digest[known - 1] != "0" else "1")
    with pytest.raises(WeightsNotFound, match=rf'invalid hash value \(expected "{expected}", got "{digest}"\)'):
        locate(published(torch_home, state, expected), "IMAGENET1K_V1")
    assert list(checkpoint_folder().iterdir()) == []


@pytest.mark.parametrize("known", [8, 64])
def test_an_altered_file_in_torchs_folder_is_refused(known: int, torch_home: Path) -> None:
    path = checkpoint_folder() / "kept.pth"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"something")
    digest = sha256_file(path)
    assert locate(with_file(torch_home, "kept.pth", digest[:known]), "IMAGENET1K_V1").sha256 == digest
    expected = digest[: known - 1] + ("0" if digest[known - 1] != "0" else "1")
    with pytest.raises(
        WeightsMismatch, match=rf"kept\.pth: SHA-256 is {digest}, expected {expected}; remove the file to download it"
    ):
        locate(with_file(torch_home, "kept.pth", expected), "IMAGENET1K_V1")


def test_without_network_the_three_ways_out_are_named(torch_home: Path) -> None:
    out = r"put the file there by hand; give .* with --weights PATH; or use untrained weights with --weights random:0"
    with pytest.raises(WeightsNotFound, match=rf"none\.pth: not there, and downloading .* failed .*{out}"):
        locate(with_file(torch_home, "none.pth", "0123abcd"), "IMAGENET1K_V1")


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(WeightsNotFound, match="is a folder, not a file, and resnet18 knows only"):
        locate(RESNET18, str(tmp_path))


@pytest.mark.parametrize(
    "request_", ["IMAGENET1K_V3", "imagenet", "random:x", "random:", "no/such/file.pth", "no.pth#teacher"]
)
def test_an_unknown_request_is_answered_with_the_choices(request_: str) -> None:
    with pytest.raises(
        WeightsNotFound, match=r"no such file, and resnet50 knows only IMAGENET1K_V1, IMAGENET1K_V2, DEFAULT, rand"
    ):
        locate(get_backbone("resnet50"), request_)


@pytest.mark.parametrize(
    "variables",
    [{}, {"XDG_CACHE_HOME": "/x"}, {"TORCH_HOME": "/t"}, {"TORCH_HOME": "~/t", "XDG_CACHE_HOME": "/x"}],
    ids=str,
)
def test_the_checkpoint_folder_is_torch_hubs(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TORCH_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert checkpoint_folder() == Path(torch.hub.get_dir()) / "checkpoints"


def test_weights_of_another_backbone_are_said_to_be_so(tmp_path: Path) -> None:
    other = get_backbone("resnet50")
    torch.save(load(other, locate(other, "random:0")).state_dict(), tmp_path / "w.pth")
    with pytest.raises(WeightsMismatch, match=r"; these look like weights of resnet50, which -m resnet50 takes$"):
        load(RESNET18, locate(RESNET18, str(tmp_path / "w.pth")))


def test_a_name_in_a_file_without_names_is_one_too_many(state: State, tmp_path: Path) -> None:
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(WeightsMismatch, match=r"; the file as a whole fits resnet18: leave #teacher out$"):
        load(RESNET18, locate(RESNET18, f"{tmp_path / 'w.pth'}#teacher"))


def test_what_is_lacking_is_said_and_not_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    file = RESNET18.checkpoints["IMAGENET1K_V1"]
    for request_ in ("IMAGENET1K_V1", "DEFAULT"):
        found = lacking(RESNET18, request_)
        assert found is not None
        assert (found.url, found.path) == (file.url, tmp_path / "hub" / "checkpoints" / file.name)
    assert lacking(RESNET18, "random:0") is lacking(RESNET18, "no/such/file.pth") is None
    found.path.parent.mkdir(parents=True)
    found.path.touch()
    assert lacking(RESNET18, "DEFAULT") is None
