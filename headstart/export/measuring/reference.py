"""What `predict` gives for pictures: the probabilities that an exported file is held against."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from headstart.core.cache.errors import ImageUnreadable
from headstart.core.extract.featurise import featurise, outside
from headstart.core.extract.images import Images
from headstart.core.extract.network.extractor import FeatureExtractor
from headstart.core.extract.stages import stages
from headstart.core.heads.checkpoint import Checkpoint
from headstart.core.heads.predict import calibrated
from headstart.core.heads.training.train import scores
from headstart.inference.trained import TrainedHead, restore, restore_again
from headstart.observer import Observer
from headstart.workspace import Workspace

Shares = npt.NDArray[np.float32]
WORKERS = 2


@dataclasses.dataclass(frozen=True)
class Reference:
    """A head behind its backbone, in one precision."""

    head: Checkpoint
    extractor: FeatureExtractor

    def of_files(self, files: Sequence[Path], note: Callable[[str], None]) -> Shares:
        """Probabilities (N, C) of picture files, as `predict` computes them. Raises ImageUnreadable, OutOfMemory."""
        rows: dict[int, npt.NDArray[np.float32]] = {}
        for block in featurise(outside(files), self.extractor, WORKERS, None, note):
            for image in block.skipped:
                raise ImageUnreadable(f"{files[image.row]}: {image.reason}; leave it out")
            rows |= dict(zip(block.rows, block.features, strict=True))
        return self._shares(np.stack([rows[place] for place in range(len(files))]))

    def of_rows(self, images: Images, rows: int, advance: Callable[[int], None]) -> Shares:
        """Probabilities (N, C) of the first rows of a data set, as an extraction and its head give them; `advance` is told
        of each batch. Raises ImageUnreadable, OutOfMemory."""
        found = []
        for features in stages(images, self.extractor, WORKERS).stream(rows):
            found.append(features)
            advance(len(features))
        return self._shares(np.concatenate(found))

    def _shares(self, features: npt.NDArray[np.float32]) -> Shares:
        return calibrated(self.head, scores(self.head.head, features, "cpu").numpy())


def exact(workspace: Workspace, head: TrainedHead, weights: Sequence[str], observer: Observer) -> Reference:
    """The head behind its backbone in fp32 on the processor, whatever its features were computed in and on. Raises what
    `inference.trained.restore` raises."""
    key = dataclasses.replace(head.checkpoint.key, precision="fp32")
    there = dataclasses.replace(head, checkpoint=dataclasses.replace(head.checkpoint, key=key))
    found = restore(dataclasses.replace(workspace, device="cpu"), there, weights, None, observer)
    return Reference(head.checkpoint, found)


def own(workspace: Workspace, head: TrainedHead, weights: Sequence[str], observer: Observer) -> Reference | None:
    """The same, once more, in the precision of the features that the head learned from; None where that is fp32, or the
    device has not got it."""
    if head.checkpoint.key.precision == "fp32":
        return None
    found = restore_again(workspace, head, weights, None, observer)
    return Reference(head.checkpoint, found) if found.device.precision == head.checkpoint.key.precision else None
