"""The two loops: a head learns while the backbone is in `eval()`, or was left in `train()`.

fp32 is exact. In bf16 and fp16 the convolutions alone are cast: BatchNorm keeps its statistics, sums and arithmetic in
float32 and is not folded, in both modes, so that they differ in nothing but the mode.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from headstart.core.cache.errors import OutOfMemory
from headstart.core.extract.images import Labels, Pixels
from headstart.core.extract.job import Job
from headstart.core.extract.network.extractor import FeatureExtractor, state_digest
from headstart.core.extract.network.memory import is_out_of_memory
from headstart.core.heads.study.results import Drift
from headstart.study.batch_norm.layers import drift
from headstart.study.batch_norm.protocol import Imitation
from headstart.study.batch_norm.rows import LabelledPixels

Features = npt.NDArray[np.float32]

_LOW = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Learner(Protocol):
    """The head's side of a loop: one optimisation step for each batch, and labels at the end."""

    def learn(self, features: Features, labels: Labels) -> None:
        """One step on a batch: float32 features (n, D), int64 class indices (n,)."""

    def predict(self, features: Features) -> Labels:
        """Features (n, D) to class indices (n,) int64."""
        ...


@dataclasses.dataclass(frozen=True)
class Loop:
    """What both loops run on: the network with its own statistics, how it is run, the rows to learn from and those to be
    tested on. `advance` is told of images that went through the backbone."""

    body: nn.Module
    job: Job
    plan: Imitation
    learned: LabelledPixels
    tested: LabelledPixels
    advance: Callable[[int], None]

    def in_eval(self, fresh: Callable[[int], Learner]) -> list[float]:
        """The accuracy for each seed with the backbone in `eval()`, where its features need be computed but once."""
        extractor = extractor_of(self.body, self.job, self.plan)
        known, asked = (self._all_features(extractor, rows.pixels) for rows in (self.learned, self.tested))
        extractor.check_frozen()
        found = []
        for seed in self.plan.seeds:
            learner = fresh(seed)
            for batch in self._orders(seed):
                learner.learn(known[batch], self.learned.labels[batch])
            found.append(self._accuracy(learner, asked))
        return found

    def in_train(self, seed: int, learner: Learner) -> tuple[float, Drift]:
        """The accuracy of one seed with the backbone in `train()` while the head learns, as published, and the drift."""
        extractor = extractor_of(self.body, self.job, self.plan)
        extractor.body.train()
        for batch in self._orders(seed):
            learner.learn(features_of(extractor, self.learned.pixels[batch]), self.learned.labels[batch])
            self.advance(len(batch))
        extractor.body.eval()
        accuracy = self._accuracy(learner, self._all_features(extractor, self.tested.pixels))
        return accuracy, drift(self.body, extractor.body)

    def _orders(self, seed: int) -> Iterator[npt.NDArray[np.int64]]:
        """The row numbers of every batch of every epoch, shuffled anew in each."""
        generator, rows, size = np.random.default_rng(seed), len(self.learned.labels), self.plan.batch_size
        for _ in range(self.plan.epochs):
            order = generator.permutation(rows)
            yield from (order[start : start + size] for start in range(0, rows, size))

    def _all_features(self, extractor: FeatureExtractor, pixels: Pixels) -> Features:
        found = []
        for start in range(0, len(pixels), extractor.batch_size):
            found.append(features_of(extractor, pixels[start : start + extractor.batch_size]))
            self.advance(len(found[-1]))
        return np.concatenate(found)

    def _accuracy(self, learner: Learner, features: Features) -> float:
        return float((learner.predict(features) == self.tested.labels).mean())


def extractor_of(body: nn.Module, job: Job, plan: Imitation) -> FeatureExtractor:
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


def features_of(extractor: FeatureExtractor, pixels: Pixels) -> Features:
    """uint8 (n, H, W, 3) to float32 features (n, D). Never padded: in training mode the padding would be in the batch's
    statistics. Raises OutOfMemory."""
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
