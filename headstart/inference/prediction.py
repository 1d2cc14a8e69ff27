"""Pictures through trained heads: one pass of each backbone, however many heads learned from its features."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from headstart.core.cache.key import FeatureKey
from headstart.core.extract.featurise import expand, featurise, outside
from headstart.core.heads.predict import Labels, Photo, caveat, label
from headstart.inference.trained import TrainedHead, choose, restore, titles
from headstart.observer import Observer
from headstart.requests import HeadChoice, InferenceOptions
from headstart.workspace import Workspace


@dataclasses.dataclass(frozen=True)
class Predictions:
    """What heads say of pictures: the `titles` of the heads by their names, and what must be said of their
    probabilities."""

    photos: tuple[Photo, ...]
    titles: dict[str, str]
    caveats: tuple[str, ...]

    @property
    def unreadable(self) -> tuple[Photo, ...]:
        """The pictures that could not be read, which have no labels."""
        return tuple(photo for photo in self.photos if photo.error)


def predict(
    workspace: Workspace,
    pictures: Sequence[str],
    choice: HeadChoice,
    options: InferenceOptions,
    topk: int,
    observer: Observer,
) -> Predictions:
    """The `topk` most probable labels of pictures (files, folders and patterns) by the heads chosen.

    Transform, class names and weights are those that each head recorded. Raises DataNotFound, RunNotFound, RunDamaged,
    WeightsMismatch, WeightsNotFound, DeviceUnavailable, OutOfMemory.
    """
    files = expand(pictures, observer.note)
    heads = choose(workspace, choice, options, observer)
    photos = label_files(workspace, heads, files, options, topk, observer)
    doubts = (doubt for head in heads if (doubt := caveat(head.checkpoint.head)))
    return Predictions(tuple(photos), titles(heads), tuple(dict.fromkeys(doubts)))


def label_files(
    workspace: Workspace,
    heads: Sequence[TrainedHead],
    files: Sequence[Path],
    options: InferenceOptions,
    topk: int,
    observer: Observer,
) -> list[Photo]:
    """Every picture through every head; heads on the same features share a pass of the backbone."""
    sharing: dict[FeatureKey, list[TrainedHead]] = {}
    for head in heads:  # whatever their data sets: a feature does not depend on them
        sharing.setdefault(dataclasses.replace(head.checkpoint.key, dataset="", classes=()), []).append(head)
    labels: list[dict[str, Labels]] = [{} for _ in files]
    errors: dict[int, str] = {}
    for group in sharing.values():
        extractor = restore(workspace, group[0], options.weights, options.batch_size, observer)
        for block in featurise(outside(files), extractor, options.workers, options.batch_size, observer.note):
            errors |= {image.row: image.reason for image in block.skipped}
            for head in group:
                for row, best in zip(block.rows, label(head.checkpoint, block.features, "cpu", topk), strict=True):
                    labels[row][head.name] = best
    return [Photo(str(file), labels[row], errors.get(row)) for row, file in enumerate(files)]
