"""The experiment: both loops over the same images in the same order, and what they measured."""

from __future__ import annotations

import time
from collections.abc import Callable

from headstart.core.extract import weights
from headstart.core.extract.job import Job
from headstart.core.heads.study.results import BatchNormResults
from headstart.study.batch_norm.layers import check_norms
from headstart.study.batch_norm.loops import Learner, Loop
from headstart.study.batch_norm.protocol import Imitation
from headstart.study.batch_norm.rows import check_rows, read_rows

NewLearner = Callable[[int, int, int], Learner]
"""A learner that knows nothing yet, for features of so many dimensions, so many classes, and a seed."""


def passes(train: Job, test: Job, plan: Imitation) -> int:
    """How many images `measure` gives to the backbone in all: what its `advance` adds up to."""
    learned, tested = min(train.rows, plan.train_images), min(test.rows, plan.test_images)
    return learned * (1 + plan.epochs * len(plan.seeds)) + tested * (1 + len(plan.seeds))


def measure(
    train: Job, test: Job, plan: Imitation, new_learner: NewLearner, advance: Callable[[int], None]
) -> BatchNormResults:
    """Both loops over the same images in the same order. `advance` is told of images that went through the backbone.

    Both jobs are of one backbone on one device. The same seeds on the same device give the same result. Raises
    WeightsMismatch for a backbone that can't show it, DataInvalid, ImageUnreadable, OutOfMemory.
    """
    started = time.perf_counter()
    body = weights.load(train.backbone, train.weights)
    check_norms(train.backbone, train.weights, body)
    learned, tested = read_rows(train, plan.train_images), read_rows(test, plan.test_images)
    check_rows(train, learned, plan)
    classes, size, device = len(train.images.classes), train.preprocessing.image_size, train.device

    def fresh(seed: int) -> Learner:
        return new_learner(train.backbone.feature_dim, classes, seed)

    loop = Loop(body, train, plan, learned, tested, advance)
    right = loop.in_eval(fresh)
    wrong = [loop.in_train(seed, fresh(seed)) for seed in plan.seeds]
    return BatchNormResults(
        model=train.backbone.name,
        weights=train.weights.label,
        train_images=len(learned.labels),
        test_images=len(tested.labels),
        image_size=size,
        epochs=plan.epochs,
        seeds=plan.seeds,
        accuracy_eval=tuple(right),
        accuracy_train=tuple(accuracy for accuracy, _ in wrong),
        drift=tuple(drift for _, drift in wrong),
        precision=device.precision,
        device=device.description,
        elapsed_s=time.perf_counter() - started,
        note=f"{plan.epochs} epochs, {size} px, {device.precision}, on {device.description}",
    )
