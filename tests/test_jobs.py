"""From words to work: which jobs a command line asks for, and which backbone a head needs."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from extract_samples import file_images, offline
from headstart.core.cache.errors import DataNotFound, DeviceUnavailable, ImageUnreadable, WeightsMismatch, WeightsNotFound
from headstart.core.extract import plan as jobs
from headstart.core.extract import weights
from headstart.core.extract.backbones import get_backbone
from headstart.core.extract.config import STUDY_MODELS, ExtractConfig
from headstart.core.extract.job import Job
from headstart.core.extract.network.devices import Device
from headstart.core.extract.network.extractor import FeatureExtractor, build
from headstart.core.extract.network.loaded import NETWORKS
from headstart.core.extract.pictures.preprocess import Preprocessing

SMALL = ExtractConfig(image_size=32, device="cpu")


def plan(*models: str, requests: tuple[str, ...] = ("random:0",), split: str | None = None, **config: object) -> list[Job]:
    """Jobs over the digits."""
    settings = dataclasses.replace(SMALL, **config)  # type: ignore[arg-type]
    return jobs.plan(models, "digits", split, requests, settings, Path("nowhere"))


def test_one_job_for_each_model_and_split_in_the_order_asked() -> None:
    found = [(job.backbone.name, job.images.split) for job in plan("resnet50", "vgg16")]
    assert found == [("resnet50", "train"), ("resnet50", "test"), ("vgg16", "train"), ("vgg16", "test")]


def test_all_stands_for_the_studys_four_and_nothing_is_done_twice() -> None:
    assert jobs.expand_models(["all", "vgg16", "resnet18"]) == [*STUDY_MODELS, "resnet18"]


@pytest.mark.parametrize(
    ("requests", "expected"),
    [
        ((), "IMAGENET1K_V1"),
        (("random:1",), "random:1"),
        (("resnet18=random:2", "random:1"), "random:2"),
        (("random:1", "resnet50=random:2"), "random:1"),
        (("resnet50=random:2",), "IMAGENET1K_V1"),
        (("folder/a=b.pth",), "folder/a=b.pth"),
    ],
)
def test_weights_for_a_model_come_before_those_for_all(requests: tuple[str, ...], expected: str) -> None:
    assert jobs.weights_for("resnet18", requests) == expected


def test_weights_for_a_model_that_does_not_exist_are_refused() -> None:
    with pytest.raises(WeightsMismatch, match="model 'resnet51' is unknown"):
        jobs.weights_for("resnet18", ["resnet51=random:0"])


def test_auto_is_fp32_for_a_backbone_that_bf16_changes_too_much() -> None:
    assert {job.device.precision for job in plan("densenet169")} == {"fp32"}
    assert {job.device.precision for job in plan("densenet169", precision="bf16")} == {"bf16"}


def test_a_split_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(DataNotFound, match="--split validation: digits has only train, test"):
        jobs.plan(["resnet18"], "digits", "validation", ["random:0"], SMALL, Path("nowhere"))


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
        Wrong("interpolation", "bicubic", "interpolation is bilinear, the head's features were made with bicubic"),
        Wrong("weights_sha256", "ab" * 32, "weights_sha256 of random:0 .* made with abab.*; other versions of torch"),
        Wrong("backbone", "resnet51", "model 'resnet51' is unknown"),
    ],
    ids=lambda case: case.field,
)
def test_a_backbone_that_would_give_other_features_is_refused_by_field(case: Wrong) -> None:
    key = dataclasses.replace(plan("resnet18", split="test")[0].key, **{case.field: case.value})
    with pytest.raises(WeightsMismatch, match=case.message):
        jobs.restore(key, "nowhere", None, "cpu", None)


def test_a_restored_backbone_is_the_one_that_made_the_features() -> None:
    (job,) = plan("resnet18", split="test", precision="fp32")
    pixels = job.images.read(0, 3, 32, 1).pixels
    made, restored = jobs.load(job), jobs.restore(job.key, job.weights.origin, None, "cpu", job.device.batch_size(None))
    assert (made(pixels) == restored(pixels)).all()


def test_a_device_that_is_not_here_is_said_whatever_the_head_needs() -> None:
    key = dataclasses.replace(plan("resnet18", split="test")[0].key, precision="tf32")
    with pytest.raises(DeviceUnavailable, match="--device tpu: unknown"):
        jobs.restore(key, "nowhere", None, "tpu", None)


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
    (job,) = plan("resnet18", split="test", requests=("w.pth#teacher",), precision="fp32")
    assert (job.key.weights, job.weights.origin) == ("file#teacher", f"{there}/w.pth#teacher")
    monkeypatch.chdir(tmp_path)
    recorded, made = job.weights.origin, jobs.load(job)
    assert jobs.restore(job.key, recorded, None, "cpu", None).parameters == made.parameters
    (there / "w.pth").rename(tmp_path / "moved.pth")
    message = (
        rf"{re.escape(recorded)}: not there; the head's weights were at .* \(SHA-256 .*; say where they are with --weights"
    )
    with pytest.raises(WeightsNotFound, match=message):
        jobs.restore(job.key, recorded, None, "cpu", None)
    for request in ("moved.pth", "moved.pth#teacher"):  # which of the two, the head knows
        assert jobs.restore(job.key, recorded, request, "cpu", None).parameters == made.parameters
    with pytest.raises(
        WeightsMismatch, match=r"weights in .*moved\.pth is student, the head's features were made with teacher"
    ):
        jobs.restore(job.key, recorded, "moved.pth#student", "cpu", None)


def test_two_networks_of_one_file_have_keys_of_their_own(checkpoint: Path) -> None:
    (one,), (other,) = (
        plan("resnet18", split="test", requests=(f"{checkpoint}#{name}",)) for name in ("student", "teacher")
    )
    assert one.key.digest != other.key.digest


def test_weights_asked_for_one_model_say_nothing_of_another() -> None:
    requests = ["resnet50=a/file.pth", "random:3", "resnet50=b/file.pth"]
    assert jobs.weights_asked("resnet50", requests) == "b/file.pth"
    assert jobs.weights_asked("vgg16", requests) == "random:3"
    assert jobs.weights_asked("vgg16", ["resnet50=a/file.pth"]) is None
    assert jobs.weights_asked("vgg16", []) is None


def test_weights_for_a_model_that_the_command_does_not_use_are_refused() -> None:
    jobs.check_weights_asked(["resnet18", "vgg16"], ["vgg16=random:1", "random:0", "a/b=c.pth"])
    with pytest.raises(WeightsMismatch, match="this command uses resnet18, not vgg16; leave it out or add -m vgg16"):
        jobs.check_weights_asked(["resnet18"], ["random:0", "vgg16=random:1"])


def test_an_equals_sign_with_nothing_behind_it_is_refused() -> None:
    with pytest.raises(
        WeightsMismatch, match="--weights resnet18=: nothing follows the equals sign, expected MODEL=WEIGHTS"
    ):
        jobs.weights_asked("resnet18", ["random:1", "resnet18="])


def test_published_weights_that_a_head_needs_have_one_way_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    key = dataclasses.replace(plan("resnet18", split="test")[0].key, weights="IMAGENET1K_V1")
    with pytest.raises(WeightsNotFound, match=r"downloading .* failed \(.*\); say where it is with --weights PATH$"):
        jobs.restore(key, "nowhere", None, "cpu", None)


# ---- one network for all


def test_both_splits_and_whoever_comes_next_share_one_network() -> None:
    NETWORKS.forget()
    train, test = plan("resnet18", precision="fp32")
    first = jobs.load(train)
    assert jobs.load(test).body is first.body
    assert jobs.restore(train.key, train.weights.origin, None, "cpu", 3).body is first.body
    assert jobs.load(plan("resnet50")[0]).body is not first.body


# ---- fp16, whose range is small


@dataclasses.dataclass(frozen=True)
class Numbers:
    """A network whose features of every image are this number."""

    value: float

    def __call__(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        return np.full((len(images), 512), self.value, dtype=np.float32)


def plan_on_turing(monkeypatch: pytest.MonkeyPatch, value: float, precision: str = "auto") -> list[Job]:
    """The plan on a GPU without bf16, whose network gives this number."""
    turing = Device("cuda:0", "fp16", "Fake GPU", ("said before",))

    def resolved(device: str, asked: str) -> Device:
        return dataclasses.replace(turing, precision={"auto": "fp16"}.get(asked, asked))

    monkeypatch.setattr(jobs, "resolve", resolved)
    monkeypatch.setattr(jobs, "_network", lambda *_: Numbers(value))
    return plan("resnet18", precision=precision)


def test_fp16_is_kept_where_its_range_holds_the_first_images(monkeypatch: pytest.MonkeyPatch) -> None:
    found = plan_on_turing(monkeypatch, 60_000.0)
    assert {(job.device.precision, job.key.precision, job.device.notes) for job in found} == {
        ("fp16", "fp16", ("said before",))
    }


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_where_fp16_overflows_fp32_is_used_in_the_key_too_and_said(monkeypatch: pytest.MonkeyPatch, value: float) -> None:
    found = plan_on_turing(monkeypatch, value)
    remark = "resnet18's numbers are beyond fp16's range here: fp32 is used; --precision says another"
    assert {(job.device.precision, job.key.precision) for job in found} == {("fp32", "fp32")}
    assert {job.device.notes for job in found} == {("said before", remark)}


@pytest.mark.parametrize("precision", ["fp16", "fp32"])
def test_a_precision_that_was_asked_for_is_not_looked_into(monkeypatch: pytest.MonkeyPatch, precision: str) -> None:
    assert {job.device.precision for job in plan_on_turing(monkeypatch, float("inf"), precision)} == {precision}


@pytest.mark.parametrize("precision", ["fp16", "tf32"])
def test_a_head_of_features_that_a_cpu_cannot_make_is_used_there_in_fp32_and_that_is_said(precision: str) -> None:
    (job,) = plan("resnet18", split="test", precision="fp32")
    key = dataclasses.replace(job.key, precision=precision)
    found = jobs.restore(key, job.weights.origin, None, "cpu", None)
    assert found.device.precision == "fp32"
    assert found.device.notes == (
        f"the head learned from {precision} features, which cpu has not got: its features here are of fp32",
    )


# ---- the stages of inference


def untrained(batch_size: int) -> FeatureExtractor:
    body = get_backbone("resnet18").body()
    return build(body, Preprocessing(32), Device("cpu", "fp32", "this CPU"), batch_size)


def test_the_stream_gives_the_features_of_the_stages_batch_by_batch(tmp_path: Path) -> None:
    images, extractor = file_images(tmp_path, 7), untrained(3)
    side = jobs.stages(images, extractor, workers=1)
    found = list(side["stream"](5))
    assert [len(features) for features in found] == [3, 2]
    expected = [extractor(side["read"](start, stop)) for start, stop in ((0, 3), (3, 5))]
    for one, other in zip(found, expected, strict=True):
        assert np.abs(one - other).max() <= 1e-5 * np.abs(other).max()


def test_a_picture_that_can_not_be_read_ends_the_stream(tmp_path: Path) -> None:
    images = file_images(tmp_path, 7)
    (tmp_path / "04.png").write_bytes(b"text")
    stream = jobs.stages(images, untrained(3), workers=1)["stream"](7)
    with pytest.raises(ImageUnreadable, match=r"04\.png: can't be decoded \(.*\)$"):  # no option leaves it out here
        list(stream)
