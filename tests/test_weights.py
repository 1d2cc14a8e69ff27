"""A backbone's weights: reproducible draws, every accepted file form, and a refusal by name for everything else."""

import dataclasses
import hashlib
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
import torchvision
from torch import Tensor, nn

from cache.errors import WeightsMismatch, WeightsNotFound
from cache.files import sha256_file
from extract import weights
from extract.backbones import Backbone, get_backbone
from extract.pooled import state_digest
from extract.weights import checkpoint_folder, load, locate

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
    monkeypatch.setattr(weights, "BASE_URL", f"{server.as_uri()}/")
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
        (lambda _: {}, r"lacks conv1\.weight, .* and \d+ more of resnet18"),
        (lambda state: {**state, "conv1.weight": "none"}, r"conv1\.weight"),
        (lambda state: {**state, 3: torch.zeros(1)}, r"3"),
    ],
    ids=["missing", "missing statistics", "extra", "shape", "empty", "no tensor", "no name"],
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
    with pytest.raises(WeightsMismatch, match="can't be read as plain weights"):
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


# ---- torchvision's published files


def published(server: Path, state: State, prefix: str | None = None) -> Backbone:
    """ResNet18 with one checkpoint, which lies on the server under a name with its hash (or `prefix` in its place)."""
    torch.save(state, server / "upload")
    file = f"resnet18-{prefix or sha256_file(server / 'upload')[:8]}.pth"
    (server / "upload").rename(server / file)
    return dataclasses.replace(RESNET18, checkpoints={"IMAGENET1K_V1": file})


def test_published_weights_are_downloaded_checked_and_kept(state: State, torch_home: Path) -> None:
    backbone = published(torch_home, state)
    found = locate(backbone, "IMAGENET1K_V1")
    file = backbone.checkpoints["IMAGENET1K_V1"]
    assert (found.label, found.origin) == ("IMAGENET1K_V1", weights.BASE_URL + file)
    assert found.sha256 == sha256_file(torch_home / file)
    assert_loaded(load(backbone, found), features_of(state))
    shutil.rmtree(torch_home)
    assert locate(backbone, "IMAGENET1K_V1") == found  # from TORCH_HOME, not from the server


def test_default_is_the_newest_of_the_published_weights(state: State, torch_home: Path) -> None:
    newest = published(torch_home, state).checkpoints["IMAGENET1K_V1"]
    backbone = dataclasses.replace(RESNET18, checkpoints={"IMAGENET1K_V1": "r-00000000.pth", "IMAGENET1K_V2": newest})
    assert locate(backbone, "DEFAULT").label == "IMAGENET1K_V2"


def test_a_download_with_another_hash_than_its_name_is_not_kept(state: State, torch_home: Path) -> None:
    backbone = published(torch_home, state, prefix="0123abcd")
    with pytest.raises(WeightsNotFound, match=r'invalid hash value \(expected "0123abcd"'):
        locate(backbone, "IMAGENET1K_V1")
    assert list(checkpoint_folder().iterdir()) == []


def test_a_download_that_meets_only_the_digits_in_its_name_is_not_kept(
    state: State, torch_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = published(torch_home, state)
    file = backbone.checkpoints["IMAGENET1K_V1"]
    digest = sha256_file(torch_home / file)
    monkeypatch.setattr(weights, "SHA256", {file: digest[:-1] + "x"})
    with pytest.raises(WeightsNotFound, match=rf'invalid hash value \(expected "{digest[:-1]}x", got "{digest}"\)'):
        locate(backbone, "IMAGENET1K_V1")
    assert list(checkpoint_folder().iterdir()) == []


def kept(file: str, content: bytes = b"something else") -> Path:
    """A file in torch's folder under a published name."""
    path = checkpoint_folder() / file
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    return path


def test_a_tampered_file_in_torchs_folder_is_refused(torch_home: Path) -> None:
    path = kept("resnet18-f37072fd.pth")
    full = r"f37072fd\w{56}"
    with pytest.raises(
        WeightsMismatch, match=rf"d\.pth: SHA-256 is {sha256_file(path)}, expected {full}; remove the file to download it"
    ):
        locate(RESNET18, "IMAGENET1K_V1")


def test_a_tampered_file_is_refused_by_its_name_where_no_more_is_known(torch_home: Path) -> None:
    path = kept("densenet169-b2777c0a.pth")
    with pytest.raises(WeightsMismatch, match=rf"SHA-256 is {sha256_file(path)}, expected b2777c0a; remove the file"):
        locate(get_backbone("densenet169"), "IMAGENET1K_V1")


def test_a_file_that_meets_only_the_digits_in_its_name_is_refused(
    torch_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = b"made to begin with the right digits"
    digest = hashlib.sha256(content).hexdigest()
    path = kept(f"resnet18-{digest[:8]}.pth", content)
    backbone = dataclasses.replace(RESNET18, checkpoints={"IMAGENET1K_V1": path.name})
    assert locate(backbone, "IMAGENET1K_V1").sha256 == digest  # the name alone would let it in
    real = digest[:8] + "0" * 56
    monkeypatch.setattr(weights, "SHA256", {path.name: real})
    with pytest.raises(WeightsMismatch, match=f"SHA-256 is {digest}, expected {real}; remove the file to download it"):
        locate(backbone, "IMAGENET1K_V1")


def test_without_network_the_three_ways_out_are_named(torch_home: Path) -> None:
    out = r"put the file there by hand; give .* with --weights PATH; or use untrained weights with --weights random:0"
    with pytest.raises(WeightsNotFound, match=rf"resnet18-f37072fd\.pth: not there, and downloading .* failed .*{out}"):
        locate(RESNET18, "IMAGENET1K_V1")


@pytest.mark.parametrize("request_", ["IMAGENET1K_V3", "imagenet", "random:x", "random:", "no/such/file.pth", "."])
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
