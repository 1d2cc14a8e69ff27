"""The backbone of a head is the one that made its features, or what is wrong is named."""

import dataclasses
import re
from pathlib import Path

import pytest
import torch
from extract_samples import digits_jobs, offline

from headstart.core.cache.errors import DeviceUnavailable, WeightsMismatch, WeightsNotFound
from headstart.core.extract import weights
from headstart.core.extract.backbones import get_backbone
from headstart.core.extract.network import loaded
from headstart.core.extract.pictures.preprocess import Preprocessing
from headstart.core.extract.plan import load
from headstart.core.extract.restore import restore


@dataclasses.dataclass(frozen=True)
class Wrong:
    """A field of a head's key that this version can't honour."""

    field: str
    value: object
    message: str


@pytest.mark.parametrize(
    "case",
    [
        Wrong("pooling", "max", "pooling is global average, the head's features were made with max"),
        Wrong("feature_version", 99, "feature_version is 1, the head's features were made with 99"),
        Wrong(
            "interpolation",
            "lanczos",
            "interpolation is 'lanczos', expected one of bilinear, bicubic, in the head's features",
        ),
        Wrong("weights_sha256", "ab" * 32, "weights_sha256 of random:0 .* made with abab.*; other versions of torch"),
        Wrong("backbone", "resnet51", "model 'resnet51' is unknown"),
    ],
    ids=lambda case: case.field,
)
def test_a_backbone_that_would_give_other_features_is_refused_by_field(case: Wrong) -> None:
    key = dataclasses.replace(digits_jobs("resnet18", split="test")[0].key, **{case.field: case.value})
    with pytest.raises(WeightsMismatch, match=case.message):
        restore(key, "nowhere", None, "cpu", None)


def test_a_restored_backbone_is_the_one_that_made_the_features() -> None:
    (job,) = digits_jobs("resnet18", split="test", precision="fp32")
    pixels = job.images.read(0, 3, Preprocessing(32), 1).pixels
    made, restored = load(job), restore(job.key, job.weights.origin, None, "cpu", job.device.batch_size(None))
    assert (made(pixels) == restored(pixels)).all()


def test_a_device_that_is_not_here_is_said_whatever_the_head_needs() -> None:
    key = dataclasses.replace(digits_jobs("resnet18", split="test")[0].key, precision="tf32")
    with pytest.raises(DeviceUnavailable, match="--device tpu: unknown"):
        restore(key, "nowhere", None, "tpu", None)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with two networks."""
    path = tmp_path_factory.mktemp("weights") / "ssl.pth"
    student, teacher = (
        weights.load(get_backbone("resnet18"), weights.locate(get_backbone("resnet18"), r))
        for r in ("random:1", "random:2")
    )
    torch.save({"student": student.state_dict(), "teacher": teacher.state_dict()}, path)
    return path


def test_a_head_finds_its_weights_from_another_folder_and_after_they_moved(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = tmp_path / "there"
    there.mkdir()
    (there / "w.pth").symlink_to(checkpoint)
    monkeypatch.chdir(there)
    (job,) = digits_jobs("resnet18", split="test", requests=("w.pth#teacher",), precision="fp32")
    assert (job.key.weights, job.weights.origin) == ("file#teacher", f"{there}/w.pth#teacher")
    monkeypatch.chdir(tmp_path)
    recorded, made = job.weights.origin, load(job)
    assert restore(job.key, recorded, None, "cpu", None).parameters == made.parameters
    (there / "w.pth").rename(tmp_path / "moved.pth")
    message = (
        rf"{re.escape(recorded)}: not there; the head's weights were at .* \(SHA-256 .*; say where they are with --weights"
    )
    with pytest.raises(WeightsNotFound, match=message):
        restore(job.key, recorded, None, "cpu", None)
    for request in ("moved.pth", "moved.pth#teacher"):  # which of the two, the head knows
        assert restore(job.key, recorded, request, "cpu", None).parameters == made.parameters
    with pytest.raises(
        WeightsMismatch, match=r"weights in .*moved\.pth is student, the head's features were made with teacher"
    ):
        restore(job.key, recorded, "moved.pth#student", "cpu", None)


def test_two_networks_of_one_file_have_keys_of_their_own(checkpoint: Path) -> None:
    (one,), (other,) = (
        digits_jobs("resnet18", split="test", requests=(f"{checkpoint}#{name}",)) for name in ("student", "teacher")
    )
    assert one.key.digest != other.key.digest


def test_published_weights_that_a_head_needs_have_one_way_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    key = dataclasses.replace(digits_jobs("resnet18", split="test")[0].key, weights="IMAGENET1K_V1")
    with pytest.raises(WeightsNotFound, match=r"downloading .* failed \(.*\); say where it is with --weights PATH$"):
        restore(key, "nowhere", None, "cpu", None)


def test_both_splits_and_whoever_comes_next_share_one_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loaded, "NETWORKS", loaded.Networks())
    train, test = digits_jobs("resnet18", precision="fp32")
    first = load(train)
    assert load(test).body is first.body
    assert restore(train.key, train.weights.origin, None, "cpu", 3).body is first.body
    assert load(digits_jobs("resnet50")[0]).body is not first.body


@pytest.mark.parametrize("precision", ["fp16", "tf32"])
def test_a_head_of_features_that_a_cpu_cannot_make_is_used_there_in_fp32_and_that_is_said(precision: str) -> None:
    (job,) = digits_jobs("resnet18", split="test", precision="fp32")
    key = dataclasses.replace(job.key, precision=precision)
    found = restore(key, job.weights.origin, None, "cpu", None)
    assert found.device.precision == "fp32"
    assert found.device.notes == (
        f"the head learned from {precision} features, which cpu has not got: its features here are of fp32",
    )
