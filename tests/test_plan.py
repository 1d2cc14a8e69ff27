"""From words to work: which jobs a command line asks for, with which weights and in which precision."""

import dataclasses

import numpy as np
import numpy.typing as npt
import pytest
from extract_samples import digits_jobs

from headstart.core.cache import limits
from headstart.core.cache.errors import ArgumentInvalid, WeightsMismatch
from headstart.core.extract import plan as jobs
from headstart.core.extract.config import STUDY_MODELS
from headstart.core.extract.job import Job
from headstart.core.extract.network.devices import Device
from headstart.core.extract.network.loaded import NetworkSpec
from headstart.core.extract.tuning import precision as looked_at


def test_one_job_for_each_model_and_split_in_the_order_asked() -> None:
    found = [(job.backbone.name, job.images.split) for job in digits_jobs("resnet50", "vgg16")]
    assert found == [("resnet50", "train"), ("resnet50", "test"), ("vgg16", "train"), ("vgg16", "test")]


def test_all_stands_for_the_studys_four_and_nothing_is_done_twice() -> None:
    assert jobs.expand_models(["all", "vgg16", "resnet18"]) == [*STUDY_MODELS, "resnet18"]


@pytest.mark.parametrize(
    ("requests", "expected"),
    [
        ((), None),
        (("random:1",), "random:1"),
        (("resnet18=random:2", "random:1"), "random:2"),
        (("random:1", "resnet50=random:2"), "random:1"),
        (("resnet50=random:2",), None),
        (("resnet18=a/file.pth", "random:3", "resnet18=b/file.pth"), "b/file.pth"),
        (("folder/a=b.pth",), "folder/a=b.pth"),
    ],
)
def test_weights_for_a_model_come_before_those_for_all(requests: tuple[str, ...], expected: str | None) -> None:
    assert jobs.weights_asked("resnet18", requests) == expected


def test_a_model_that_no_weights_concern_gets_those_of_the_settings() -> None:
    (job,) = digits_jobs("resnet18", requests=("resnet50=random:2",), split="test", weights="random:1")
    assert (job.weights.label, job.config.weights) == ("random:1", "random:1")


def test_weights_for_a_model_that_does_not_exist_are_refused() -> None:
    with pytest.raises(WeightsMismatch, match="model 'resnet51' is unknown"):
        jobs.weights_asked("resnet18", ["resnet51=random:0"])


def test_auto_is_fp32_for_a_backbone_that_bf16_changes_too_much() -> None:
    assert {job.device.precision for job in digits_jobs("densenet169")} == {"fp32"}
    assert {job.device.precision for job in digits_jobs("densenet169", precision="bf16")} == {"bf16"}


def test_weights_for_a_model_that_the_command_does_not_use_are_refused() -> None:
    jobs.check_weights_asked(["resnet18", "vgg16"], ["vgg16=random:1", "random:0", "a/b=c.pth"])
    with pytest.raises(WeightsMismatch, match="this command uses resnet18, not vgg16; leave it out or add -m vgg16"):
        jobs.check_weights_asked(["resnet18"], ["random:0", "vgg16=random:1"])


def test_an_equals_sign_with_nothing_behind_it_is_refused() -> None:
    with pytest.raises(
        WeightsMismatch, match="--weights resnet18=: nothing follows the equals sign, expected MODEL=WEIGHTS"
    ):
        jobs.weights_asked("resnet18", ["random:1", "resnet18="])


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
    monkeypatch.setattr(looked_at, "load_network", lambda *_: Numbers(value))
    return digits_jobs("resnet18", precision=precision)


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


# ---- low precision of a network that nobody compared


@dataclasses.dataclass(frozen=True)
class Turned:
    """A network whose features of every image are a unit vector with this cosine to (1, 0)."""

    cosine: float

    def __call__(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        row = [self.cosine, (1 - self.cosine**2) ** 0.5]
        return np.repeat(np.array([row], dtype=np.float32), len(images), axis=0)


def plan_with_bf16(monkeypatch: pytest.MonkeyPatch, model: str, cosine: float, **config: object) -> list[Job]:
    """The plan on a device with bf16, in which features are turned away from those in fp32."""
    fast = Device("cpu", "bf16", "Fake CPU", ("said before",))

    def resolved(device: str, asked: str) -> Device:
        return dataclasses.replace(fast, precision={"auto": "bf16"}.get(asked, asked))

    def load(spec: NetworkSpec, *_: object) -> Turned:
        return Turned(1.0 if spec.device.precision == "fp32" else cosine)

    monkeypatch.setattr(jobs, "resolve", resolved)
    monkeypatch.setattr(looked_at, "load_network", load)
    return digits_jobs(model, split="test", **config)


@pytest.mark.parametrize(("cosine", "precision"), [(0.9985, "bf16"), (0.9975, "fp32"), (float("nan"), "fp32")])
def test_low_precision_is_kept_where_features_point_the_same_way(
    monkeypatch: pytest.MonkeyPatch, cosine: float, precision: str
) -> None:
    (job,) = plan_with_bf16(monkeypatch, "resnet34", cosine)
    assert (job.device.precision, job.key.precision) == (precision, precision)
    said = job.device.notes[1:]
    if cosine == 0.9975:
        words = "resnet34's features in bf16 have a cosine of 0.9975 with those in fp32 here, less than 0.998: fp32 is used"
        assert said == (f"{words}; --precision says another",)
    assert len(said) == (precision == "fp32")


def test_low_precision_that_is_asked_for_is_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    (job,) = plan_with_bf16(monkeypatch, "resnet34", 0.5, precision="bf16")
    assert job.key.precision == "bf16"


def test_networks_that_were_compared_before_are_not_again_but_where_pooled_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert plan_with_bf16(monkeypatch, "resnet18", 0.5)[0].key.precision == "bf16"
    assert plan_with_bf16(monkeypatch, "resnet18", 0.5, pool="max")[0].key.precision == "fp32"


def test_shards_that_nobody_could_read_are_refused_before_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "most_shards", lambda _: 3)  # as for 10^8 rows, of which no test has so many
    with pytest.raises(ArgumentInvalid, match=r"^resnet18 digits train: --shard-rows 2: .* use --shard-rows \d+$"):
        digits_jobs("resnet18", shard_rows=2)
    assert digits_jobs("resnet18", shard_rows=2, limit=6)
