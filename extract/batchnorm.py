"""What BatchNorm left in training mode costs: the published study's loop imitated on a few images, beside the right one.

The study set `requires_grad=False` and called `model.train()`. That leaves every BatchNorm layer normalising by the batch
and updating its running statistics; the test then used the drifted statistics in `eval()`. Cached features can't have this
fault, so the backbone runs here over every batch of every epoch, as it did there.

fp32 is exact. In bf16 and fp16 the convolutions alone are cast: BatchNorm keeps its statistics, sums and arithmetic in
float32 and is not folded, in both modes, so that they differ in nothing but the mode.
"""

from __future__ import annotations

import copy
import dataclasses
import time
from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from headstart.core.cache.errors import DataInvalid, ImageUnreadable, OutOfMemory, WeightsMismatch
from headstart.core.extract import weights
from headstart.core.extract.backbones import Backbone, names
from headstart.core.extract.images import Labels, Pixels, inputs_digest
from headstart.core.extract.job import Job
from headstart.core.extract.network.extractor import FeatureExtractor, state_digest
from headstart.core.extract.network.memory import is_out_of_memory
from headstart.core.extract.weights import Weights
from torch import Tensor, nn

Features = npt.NDArray[np.float32]

FOLDED = 1e-3
"""How near 1 a whole layer's running variance is where it was folded away: at 1 less BatchNorm's epsilon, 1e-5 to 1e-3."""

_LOW = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Learner(Protocol):
    """The head's side of the loop: one optimisation step for each batch, and labels at the end."""

    def learn(self, features: Features, labels: Labels) -> None:
        """One step on a batch: float32 features (n, D), int64 class indices (n,)."""

    def predict(self, features: Features) -> Labels:
        """Features (n, D) to class indices (n,) int64."""
        ...


NewLearner = Callable[[int, int, int], Learner]
"""A learner that knows nothing yet, for features of so many dimensions, so many classes, and a seed."""


@dataclasses.dataclass(frozen=True)
class Imitation:
    """How much of the study's protocol is run: the first `train_images` and `test_images` rows, in shuffled batches, one
    run for each seed. The batch is part of the protocol: its statistics are what the layers normalise by."""

    train_images: int = 1000
    test_images: int = 600
    epochs: int = 5
    batch_size: int = 64
    seeds: tuple[int, ...] = (0,)


@dataclasses.dataclass(frozen=True)
class Drift:
    """How far running means and variances moved: |new - old| / |old| of each layer (Euclidean), averaged over layers."""

    mean: float
    var: float


@dataclasses.dataclass(frozen=True)
class BatchNormCost:
    """Test accuracies in [0, 1] for each seed, with the backbone in `eval()` and left in `train()`, and the statistics'
    drift in the latter. `device` is a name for people, `elapsed_s` the time of everything in seconds."""

    model: str
    weights: str
    train_images: int
    test_images: int
    image_size: int
    epochs: int
    seeds: tuple[int, ...]
    accuracy_eval: tuple[float, ...]
    accuracy_train: tuple[float, ...]
    drift: tuple[Drift, ...]
    precision: str
    device: str
    elapsed_s: float


@dataclasses.dataclass(frozen=True)
class _Rows:
    """uint8 pixels (n, H, W, 3) and class indices (n,)."""

    pixels: Pixels
    labels: Labels


def rows_digest(job: Job, count: int) -> str:
    """The SHA-256 of the first `count` rows' ids, labels and content: what the experiment's result depends on."""
    span = (0, min(job.rows, count))
    return inputs_digest(job.images.ids(*span), job.images.labels(*span), job.images.fingerprints(*span))


def passes(train: Job, test: Job, plan: Imitation) -> int:
    """How many images `measure` gives to the backbone in all: what its `advance` adds up to."""
    learned, tested = min(train.rows, plan.train_images), min(test.rows, plan.test_images)
    return learned * (1 + plan.epochs * len(plan.seeds)) + tested * (1 + len(plan.seeds))


def measure(
    train: Job, test: Job, plan: Imitation, new_learner: NewLearner, advance: Callable[[int], None]
) -> BatchNormCost:
    """Both loops over the same images in the same order. `advance` is told of images that went through the backbone.

    Both jobs are of one backbone on one device. The same seeds on the same device give the same result. Raises
    WeightsMismatch for a backbone that can't show it, DataInvalid, ImageUnreadable, OutOfMemory.
    """
    started = time.perf_counter()
    body = _load(train.backbone, train.weights)
    learned, tested = _read(train, plan.train_images), _read(test, plan.test_images)
    _check_rows(train, learned, plan)
    classes = len(train.images.classes)

    def fresh(seed: int) -> Learner:
        return new_learner(train.backbone.feature_dim, classes, seed)

    right = _frozen(body, train, learned, tested, plan, fresh, advance)
    wrong = [_drifting(body, train, learned, tested, plan, seed, fresh(seed), advance) for seed in plan.seeds]
    return BatchNormCost(
        model=train.backbone.name,
        weights=train.weights.label,
        train_images=len(learned.labels),
        test_images=len(tested.labels),
        image_size=train.preprocessing.image_size,
        epochs=plan.epochs,
        seeds=plan.seeds,
        accuracy_eval=tuple(right),
        accuracy_train=tuple(accuracy for accuracy, _ in wrong),
        drift=tuple(drift for _, drift in wrong),
        precision=train.device.precision,
        device=train.device.description,
        elapsed_s=time.perf_counter() - started,
    )


def check(backbone: Backbone, found: Weights, body: nn.Module) -> None:
    """Raises WeightsMismatch for a backbone without BatchNorm, or without running statistics of real images."""
    norms = _norms(body)
    if not norms:
        able = ", ".join(name for name in names() if not name.startswith("vgg"))
        raise WeightsMismatch(
            f"{backbone.name}: has no BatchNorm layer, expected some, since training mode changes nothing else; use {able}"
        )
    if found.path is None:
        raise WeightsMismatch(
            f"{backbone.name}: the weights {found.label} are untrained, expected BatchNorm statistics of real images; "
            f"give --weights IMAGENET1K_V1 or a file of trained ones"
        )
    if folded := [norm for norm in norms if _is_identity(norm)]:
        raise WeightsMismatch(
            f"{found.origin}: {len(folded)} of {len(norms)} BatchNorm layers of {backbone.name} have the running mean 0 "
            f"and variance 1 (folded away), expected statistics of real images; give other --weights or use densenet169"
        )


def _load(backbone: Backbone, found: Weights) -> nn.Module:
    body = weights.load(backbone, found)
    check(backbone, found, body)
    return body


def _norms(body: nn.Module) -> list[nn.BatchNorm2d]:
    return [module for module in body.modules() if isinstance(module, nn.BatchNorm2d)]


def _statistics(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    mean, var = norm.running_mean, norm.running_var
    assert mean is not None  # torchvision's layers all keep theirs
    assert var is not None
    return mean.cpu().double(), var.cpu().double()


def _is_identity(norm: nn.BatchNorm2d) -> bool:
    mean, var = _statistics(norm)
    return not bool(mean.any()) and float((var - 1).abs().max()) <= FOLDED


def _read(job: Job, rows: int) -> _Rows:
    """The first rows of a split. Raises ImageUnreadable where one can't be decoded, DataInvalid where one has no label."""
    count = min(job.rows, rows)
    batch = job.images.read(0, count, job.preprocessing.image_size, job.config.workers)
    if batch.skipped:
        raise ImageUnreadable(f"{job.images.source}/{batch.skipped[0].id}: {batch.skipped[0].reason}")
    labels = job.images.labels(0, count)
    if not count or labels.min() < 0:
        raise DataInvalid(
            f"{job.images.source}: {int((labels < 0).sum())} of {count} images of {job.images.split} have no label, "
            f"expected labelled ones; give a data set with one sub-folder for each class"
        )
    return _Rows(batch.pixels, labels)


def _check_rows(job: Job, rows: _Rows, plan: Imitation) -> None:
    count, kinds = len(rows.labels), len(np.unique(rows.labels))
    if kinds < 2:
        raise DataInvalid(
            f"{job.images.source}: the first {count} images are of {kinds} class, expected 2 or more; take more"
        )
    if count % plan.batch_size == 1:
        raise DataInvalid(
            f"{job.images.source}: {count} images leave a last batch of one, expected 2 or more to normalise by; "
            f"take {count - 1}"
        )


def _orders(rows: int, plan: Imitation, seed: int) -> Iterator[npt.NDArray[np.int64]]:
    """The row numbers of every batch of every epoch, shuffled anew in each."""
    generator = np.random.default_rng(seed)
    for _ in range(plan.epochs):
        order = generator.permutation(rows)
        yield from (order[start : start + plan.batch_size] for start in range(0, rows, plan.batch_size))


def _frozen(
    body: nn.Module,
    job: Job,
    learned: _Rows,
    tested: _Rows,
    plan: Imitation,
    fresh: Callable[[int], Learner],
    advance: Callable[[int], None],
) -> list[float]:
    """The accuracy for each seed with the backbone in `eval()`, where its features need be computed but once."""
    extractor = _extractor(body, job, plan)
    known, asked = (_all_features(extractor, rows.pixels, advance) for rows in (learned, tested))
    extractor.check_frozen()
    found = []
    for seed in plan.seeds:
        learner = fresh(seed)
        for batch in _orders(len(known), plan, seed):
            learner.learn(known[batch], learned.labels[batch])
        found.append(_accuracy(learner, asked, tested.labels))
    return found


def _drifting(
    body: nn.Module,
    job: Job,
    learned: _Rows,
    tested: _Rows,
    plan: Imitation,
    seed: int,
    learner: Learner,
    advance: Callable[[int], None],
) -> tuple[float, Drift]:
    """The accuracy of one seed with the backbone in `train()` while the head learns, as published, and the drift."""
    extractor = _extractor(body, job, plan)
    extractor.body.train()
    for batch in _orders(len(learned.labels), plan, seed):
        learner.learn(_features(extractor, learned.pixels[batch]), learned.labels[batch])
        advance(len(batch))
    extractor.body.eval()
    accuracy = _accuracy(learner, _all_features(extractor, tested.pixels, advance), tested.labels)
    return accuracy, _drift(body, extractor.body)


def _extractor(body: nn.Module, job: Job, plan: Imitation) -> FeatureExtractor:
    """A copy of the body on the job's device, in its precision, with every BatchNorm where it was."""
    own = copy.deepcopy(body)
    if (dtype := _LOW.get(job.device.precision)) is not None:
        for module in own.modules():
            if isinstance(module, nn.Conv2d):
                module.to(dtype)
    if job.device.precision != "fp32":
        own = own.to(memory_format=torch.channels_last)
    own = own.to(job.device.name)
    digest = state_digest(own)
    return FeatureExtractor(
        body=own,
        preprocessing=job.preprocessing,
        device=job.device,
        batch_size=plan.batch_size,
        parameters=digest,
        frozen=digest,
        network=own,
    )


def _all_features(extractor: FeatureExtractor, pixels: Pixels, advance: Callable[[int], None]) -> Features:
    found = []
    for start in range(0, len(pixels), extractor.batch_size):
        found.append(_features(extractor, pixels[start : start + extractor.batch_size]))
        advance(len(found[-1]))
    return np.concatenate(found)


def _features(extractor: FeatureExtractor, pixels: Pixels) -> Features:
    """uint8 (n, H, W, 3) to float32 features (n, D). Never padded: in training mode the padding would be in the batch's
    statistics."""
    images = torch.from_numpy(np.require(pixels, requirements=("C", "W")))
    try:
        with torch.inference_mode():
            found: Features = extractor.pool(extractor.preprocess(images.to(extractor.device.name))).cpu().numpy()
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemory(
            f"{extractor.device.name}: out of memory with the {len(pixels)} images at once that the study's batch has; "
            f"use a smaller --image-size or --device cpu"
        ) from error
    return found


def _accuracy(learner: Learner, features: Features, labels: Labels) -> float:
    return float((learner.predict(features) == labels).mean())


def _drift(before: nn.Module, after: nn.Module) -> Drift:
    changes = [
        [_relative(old, new) for old, new in zip(_statistics(first), _statistics(last), strict=True)]
        for first, last in zip(_norms(before), _norms(after), strict=True)
    ]
    mean, var = np.mean(changes, axis=0)
    return Drift(float(mean), float(var))


def _relative(old: Tensor, new: Tensor) -> float:
    return float((new - old).norm() / old.norm().clamp_min(torch.finfo(torch.float32).tiny))
