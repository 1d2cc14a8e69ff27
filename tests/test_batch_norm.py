"""BatchNorm left in training mode: the study's loop, the loop it should have been, and who can't show the difference."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from extract_samples import array_images, file_images, noise
from heads_samples import one_thread as one_thread
from safetensors.torch import save_file
from torch import nn

from headstart.core.cache.errors import DataInvalid, ImageUnreadable, OutOfMemory, WeightsMismatch
from headstart.core.extract import weights
from headstart.core.extract.backbones import get_backbone
from headstart.core.extract.config import ExtractConfig
from headstart.core.extract.datasets import open_split
from headstart.core.extract.images import Images
from headstart.core.extract.images.arrays import ArrayImages
from headstart.core.extract.job import Job
from headstart.core.extract.network.devices import Device
from headstart.core.extract.network.extractor import FeatureExtractor, state_digest
from headstart.core.extract.pictures import preprocess
from headstart.core.extract.pictures.preprocess import Preprocessing
from headstart.core.heads.config import RECIPES
from headstart.core.heads.study.results import BatchNormResults
from headstart.core.heads.training.online import OnlineHead
from headstart.study.batch_norm import experiment, layers, loops
from headstart.study.batch_norm.protocol import Imitation

SMALL = Imitation(train_images=40, test_images=12, epochs=2, batch_size=16, seeds=(0, 1))
FP32 = Device("cpu", "fp32", "a computer")


def coloured(rows: int, seed: int) -> npt.NDArray[np.uint8]:
    """Noise (rows, 16, 16, 3) with more of the channel that the row's label names, labels in turn."""
    pixels = noise(rows, 16, seed) // 2
    pixels[np.arange(rows), ..., np.arange(rows) % 3] += 60
    return pixels


def trained(path: Path) -> Path:
    """A ResNet18 as a file, drawn at random, with the true running statistics of some images."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        body = get_backbone("resnet18").body().train()
    pixels = preprocess.resize(torch.from_numpy(coloured(16, 9)), 32)
    with torch.no_grad():
        for _ in range(30):
            body(preprocess.normalise(pixels, Preprocessing(image_size=32)))
    save_file({name: value.contiguous() for name, value in body.state_dict().items()}, path)
    return path


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("weights") / "resnet18.safetensors")


@pytest.fixture(scope="module")
def found(checkpoint: Path) -> BatchNormResults:
    """The small plan, measured once for all that ask it no more than what it found."""
    return measured(checkpoint)


@pytest.fixture(scope="module")
def made(checkpoint: Path) -> "list[Notebook]":
    """What learners were given by the small plan."""
    return notebooks(checkpoint, SMALL)


@pytest.fixture(scope="module")
def published(checkpoint: Path) -> "dict[tuple[bool, int], tuple[float, nn.Module]]":
    """The study's loop in `eval()` and in `train()`, for each seed."""
    job = make_jobs(checkpoint)[0]
    return {
        (training, seed): published_loop(weights.load(job.backbone, job.weights), training, seed)
        for training in (False, True)
        for seed in SMALL.seeds
    }


def make_job(request: object, images: Images, model: str = "resnet18", device: Device = FP32, size: int = 32) -> Job:
    backbone = get_backbone(model)
    found = weights.locate(backbone, str(request))
    return Job(images, backbone, found, Preprocessing(image_size=size), device, ExtractConfig())


def make_jobs(request: object, device: Device = FP32) -> tuple[Job, Job]:
    train, test = array_images(coloured(60, 1)), array_images(coloured(30, 2))
    return make_job(request, train, device=device), make_job(request, test, device=device)


def silent(rows: int) -> None:
    """An `advance` that nobody watches."""


def study_head(dim: int, classes: int, seed: int) -> OnlineHead:
    return OnlineHead(dim, classes, RECIPES["study"], seed)


def measured(
    request: object, plan: Imitation = SMALL, advance: Callable[[int], None] = silent, device: Device = FP32
) -> BatchNormResults:
    return experiment.measure(*make_jobs(request, device), plan, study_head, advance)


@dataclasses.dataclass
class Notebook:
    """A learner that writes down what it is given and calls everything class 0."""

    learned: list[tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]] = dataclasses.field(default_factory=list)
    asked: list[npt.NDArray[np.float32]] = dataclasses.field(default_factory=list)

    def learn(self, features: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]) -> None:
        self.learned.append((features, labels))

    def predict(self, features: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
        self.asked.append(features)
        return np.zeros(len(features), dtype=np.int64)


def notebooks(request: object, plan: Imitation) -> list[Notebook]:
    """One of each seed for `eval()`, then one of each seed for `train()`."""
    made: list[Notebook] = []

    def new_learner(dim: int, classes: int, seed: int) -> Notebook:
        made.append(Notebook())
        return made[-1]

    experiment.measure(*make_jobs(request), plan, new_learner, silent)
    return made


def plain_features(body: nn.Module, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """What the body makes of a batch, in the mode that it is in."""
    with torch.no_grad():
        inputs = preprocess.normalise(preprocess.resize(torch.from_numpy(pixels), 32), Preprocessing(image_size=32))
        found: npt.NDArray[np.float32] = body(inputs).mean(dim=(2, 3)).numpy()
    return found


def published_loop(body: nn.Module, training: bool, seed: int) -> tuple[float, nn.Module]:
    """The study's loop as it wrote it, the backbone run in every epoch."""
    train, test, rng = coloured(60, 1)[:40], coloured(30, 2)[:12], np.random.default_rng(seed)
    head = study_head(512, 3, seed)
    body.train(training)
    for _ in range(SMALL.epochs):
        order = rng.permutation(40)
        for batch in (order[:16], order[16:32], order[32:]):
            head.learn(plain_features(body, train[batch]), batch % 3)
    body.eval()
    return float((head.predict(plain_features(body, test)) == np.arange(12) % 3).mean()), body


@pytest.mark.parametrize("seed", SMALL.seeds)
def test_both_accuracies_are_those_of_the_loop_that_runs_the_backbone_in_every_epoch(
    checkpoint: Path, found: BatchNormResults, published: dict[tuple[bool, int], tuple[float, nn.Module]], seed: int
) -> None:
    (right, _), (wrong, drifted) = published[False, seed], published[True, seed]
    job = make_jobs(checkpoint)[0]
    assert found.accuracy_eval[seed] == right
    assert found.accuracy_train[seed] == wrong
    before = weights.load(job.backbone, job.weights).get_buffer("bn1.running_mean")
    assert not torch.allclose(drifted.get_buffer("bn1.running_mean"), before, rtol=0.01)


def test_in_eval_the_head_learns_from_features_that_do_not_depend_on_their_batch(
    checkpoint: Path, made: list[Notebook]
) -> None:
    job = make_jobs(checkpoint)[0]
    body, rng = weights.load(job.backbone, job.weights), np.random.default_rng(1)
    order = np.concatenate([rng.permutation(40), rng.permutation(40)])
    features = np.concatenate([features for features, _ in made[1].learned])
    labels = np.concatenate([labels for _, labels in made[1].learned])
    assert np.array_equal(labels, order % 3)
    np.testing.assert_allclose(features, plain_features(body, coloured(60, 1)[order]), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(made[1].asked[0], plain_features(body, coloured(30, 2)[:12]), rtol=1e-4, atol=1e-5)


def test_in_train_the_head_learns_from_features_normalised_by_their_batch_in_the_same_order(
    checkpoint: Path, made: list[Notebook]
) -> None:
    right, _, wrong, _ = made
    job = make_jobs(checkpoint)[0]
    body, order = weights.load(job.backbone, job.weights).train(), np.random.default_rng(0).permutation(40)
    assert [len(labels) for _, labels in wrong.learned] == [16, 16, 8] * 2  # the last batch is short, and not padded
    for start, (features, _) in zip((0, 16, 32), wrong.learned, strict=False):
        batch = order[start : start + 16]
        np.testing.assert_allclose(features, plain_features(body, coloured(60, 1)[batch]), rtol=1e-3, atol=1e-4)
    assert all(np.array_equal(a, b) for (_, a), (_, b) in zip(right.learned, wrong.learned, strict=True))
    assert not np.allclose(right.asked[0], wrong.asked[0], rtol=0.01)


@pytest.mark.parametrize("seed", SMALL.seeds)
def test_after_train_the_test_uses_the_drifted_statistics_in_eval(
    made: list[Notebook], published: dict[tuple[bool, int], tuple[float, nn.Module]], seed: int
) -> None:
    _, drifted = published[True, seed]
    expected = plain_features(drifted, coloured(30, 2)[:12])
    np.testing.assert_allclose(made[2 + seed].asked[0], expected, rtol=1e-3, atol=1e-4)


def test_the_copys_statistics_change_and_the_originals_do_not(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bodies: list[tuple[nn.Module, str]] = []
    copies: list[FeatureExtractor] = []
    load, extractor = weights.load, loops.extractor_of

    def loading(*args: object) -> nn.Module:
        body = load(*args)
        bodies.append((body, state_digest(body)))
        return body

    def extracting(*args: object) -> FeatureExtractor:
        copies.append(extractor(*args))
        return copies[-1]

    monkeypatch.setattr(weights, "load", loading)
    monkeypatch.setattr(loops, "extractor_of", extracting)
    found = measured(checkpoint)
    ((body, digest),) = bodies
    assert state_digest(body) == digest
    frozen, *drifted = copies
    frozen.check_frozen()
    for copy, drift in zip(drifted, found.drift, strict=True):
        own, other = dict(body.named_parameters()), dict(copy.body.named_parameters())
        assert all(torch.equal(value, other[name]) for name, value in own.items())
        assert all(one is not another for one, another in zip(own.values(), other.values(), strict=True))
        changed = [not torch.equal(a, b) for a, b in zip(body.buffers(), copy.body.buffers(), strict=True)]
        assert all(changed)
        assert int(copy.body.get_buffer("bn1.num_batches_tracked")) == 30 + 6
        assert drift.mean > 0
        assert drift.var > 0


def test_the_drift_is_the_mean_over_layers_of_the_relative_change() -> None:
    before, after = (nn.Sequential(nn.BatchNorm2d(2), nn.BatchNorm2d(2)) for _ in range(2))
    for body, means in ((before, ([3.0, 4.0], [0.0, 2.0])), (after, ([3.0, 9.0], [0.0, 2.0]))):
        for name, mean in zip("01", means, strict=True):
            body.get_buffer(f"{name}.running_mean").copy_(torch.tensor(mean))
    after.get_buffer("1.running_var").mul_(3)
    found = layers.drift(before, after)
    assert found.mean == pytest.approx(0.5)  # a change of 5 in a mean of length 5, and none
    assert found.var == pytest.approx(1.0)  # none, and twice as much


def test_the_result_says_what_was_measured(checkpoint: Path) -> None:
    rows: list[int] = []
    found, jobs = measured(checkpoint, advance=rows.append), make_jobs(checkpoint)
    assert sum(rows) == experiment.passes(*jobs, SMALL) == 40 * (1 + 2 * 2) + 12 * 3
    assert (found.model, found.weights, found.precision, found.device) == ("resnet18", "file", "fp32", "a computer")
    assert (found.train_images, found.test_images, found.image_size, found.epochs) == (40, 12, 32, 2)
    assert found.seeds == (0, 1)
    assert found.elapsed_s > 0


def test_more_rows_than_there_are_means_all(checkpoint: Path) -> None:
    plan, rows = Imitation(train_images=1000, test_images=1000, epochs=1, batch_size=16), list[int]()
    found = measured(checkpoint, plan, rows.append)
    assert (found.train_images, found.test_images) == (60, 30)
    assert sum(rows) == experiment.passes(*make_jobs(checkpoint), plan)


def test_the_same_seeds_give_the_same_result(checkpoint: Path, found: BatchNormResults) -> None:
    torch.rand(3)
    second = measured(checkpoint)
    assert dataclasses.replace(found, elapsed_s=second.elapsed_s) == second
    assert found.drift[0] != found.drift[1]  # another seed is another order


def test_in_bf16_the_statistics_stay_in_float32_and_near_those_of_fp32(checkpoint: Path, found: BatchNormResults) -> None:
    exact, low = found, measured(checkpoint, device=Device("cpu", "bf16", "a computer"))
    assert low.precision == "bf16"
    assert low.drift[0].mean == pytest.approx(exact.drift[0].mean, rel=0.05)
    assert low.drift[0].var == pytest.approx(exact.drift[0].var, rel=0.05)
    job = make_jobs(checkpoint, Device("cpu", "bf16", "a computer"))[0]
    body = loops.extractor_of(weights.load(job.backbone, job.weights), job, SMALL).body
    kinds = {
        type(module).__name__: next(module.parameters()).dtype for module in body.modules() if list(module.parameters())
    }
    assert kinds["Conv2d"] == torch.bfloat16
    assert kinds["BatchNorm2d"] == torch.float32
    assert len(layers.norms_of(body)) == 20  # not one was folded


def test_a_backbone_without_batchnorm_is_refused() -> None:
    backbone = get_backbone("vgg16")
    with torch.device("meta"):
        body = backbone.body()
    found = weights.locate(backbone, "random:0")
    with pytest.raises(
        WeightsMismatch, match=r"vgg16: has no BatchNorm layer, expected some.*use resnet18, .*densenet169$"
    ):
        layers.check_norms(backbone, found, body)


def test_untrained_weights_are_refused() -> None:
    with pytest.raises(WeightsMismatch, match=r"resnet18: the weights random:3 are untrained, expected .*IMAGENET1K_V1"):
        measured("random:3")


@pytest.mark.parametrize("below", [0.0, 1.0013580322265625e-05])
def test_statistics_that_were_folded_away_are_refused(below: float, tmp_path: Path) -> None:
    state = get_backbone("resnet18").body().state_dict()
    folded = {name: value - below if name.endswith("running_var") else value for name, value in state.items()}
    save_file(folded, tmp_path / "folded.safetensors")
    words = (
        r"folded\.safetensors: 20 of 20 BatchNorm layers of resnet18 have the running mean 0 and variance 1 \(folded away\)"
    )
    with pytest.raises(WeightsMismatch, match=words):
        measured(tmp_path / "folded.safetensors")


def test_one_layer_that_was_folded_away_is_enough_to_refuse(checkpoint: Path) -> None:
    job = make_jobs(checkpoint)[0]
    body = weights.load(job.backbone, job.weights)
    layers.check_norms(job.backbone, job.weights, body)
    body.get_buffer("bn1.running_mean").zero_()
    layers.check_norms(job.backbone, job.weights, body)  # centred by itself, with a variance of its own
    body.get_buffer("bn1.running_var").fill_(1)
    with pytest.raises(WeightsMismatch, match="1 of 20 BatchNorm layers of resnet18 have the running mean 0"):
        layers.check_norms(job.backbone, job.weights, body)


@pytest.mark.parametrize(("model", "norms"), [("resnet18", 20), ("resnet50", 53)])
def test_the_folded_checkpoints_at_hand_are_refused(model: str, norms: int, shared: Path) -> None:
    backbone = get_backbone(model)
    found = weights.locate(backbone, str(shared / f"weights/{model}-pqf.safetensors"))
    with pytest.raises(WeightsMismatch, match=f"{norms} of {norms} BatchNorm layers of {model} have the running mean 0"):
        layers.check_norms(backbone, found, weights.load(backbone, found))


def test_a_densenet_with_true_statistics_shows_the_drift(shared: Path) -> None:
    path, plan = shared / "weights/densenet169-features.safetensors", Imitation(8, 4, epochs=1, batch_size=4)
    train, test = (
        make_job(path, open_split("cifar10", split, shared), "densenet169", Device("cpu", "bf16", "a computer"), 64)
        for split in ("train", "test")
    )
    found = experiment.measure(train, test, plan, study_head, silent)
    assert (found.model, found.train_images, found.test_images) == ("densenet169", 8, 4)
    assert found.drift[0].mean > 0.01
    assert found.drift[0].var > 0.01


def test_images_without_labels_are_refused(checkpoint: Path) -> None:
    pixels = coloured(20, 1)
    unlabelled = ArrayImages("tiny", "train", (), 20, "memory", lambda a, b: (pixels[a:b], np.full(b - a, -1)))
    train, test = make_job(checkpoint, unlabelled), make_jobs(checkpoint)[1]
    with pytest.raises(DataInvalid, match="memory: 20 of 20 images of train have no label, expected labelled ones"):
        experiment.measure(train, test, SMALL, study_head, silent)


def test_a_subset_of_one_class_is_refused(checkpoint: Path) -> None:
    train, test = make_job(checkpoint, array_images(coloured(20, 1), ("only",))), make_jobs(checkpoint)[1]
    with pytest.raises(DataInvalid, match="memory: the first 20 images are of 1 class, expected 2 or more; take more"):
        experiment.measure(train, test, SMALL, study_head, silent)


def test_a_last_batch_of_one_image_is_refused(checkpoint: Path) -> None:
    plan = dataclasses.replace(SMALL, train_images=33)
    with pytest.raises(DataInvalid, match=r"memory: 33 images leave a last batch of one, expected 2 or more .*; take 32"):
        measured(checkpoint, plan)


def test_a_picture_that_cannot_be_read_is_refused_by_name(checkpoint: Path, tmp_path: Path) -> None:
    train, test = make_job(checkpoint, file_images(tmp_path, 3)), make_jobs(checkpoint)[1]
    (tmp_path / "01.png").write_bytes(b"broken")
    with pytest.raises(ImageUnreadable, match=r"/01\.png: can't be decoded"):
        experiment.measure(train, test, SMALL, study_head, silent)


@pytest.mark.parametrize(("error", "expected"), [("out of memory", OutOfMemory), ("another fault", RuntimeError)])
def test_memory_that_runs_out_is_told_with_the_way_out(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch, error: str, expected: type[Exception]
) -> None:
    def fail(self: FeatureExtractor, pixels: torch.Tensor) -> torch.Tensor:
        raise RuntimeError(error)

    monkeypatch.setattr(FeatureExtractor, "pool", fail)
    words = (
        "cpu: out of memory with the 16 images at once .*use a smaller --image-size" if expected is OutOfMemory else error
    )
    with pytest.raises(expected, match=words):
        measured(checkpoint)
