"""`headstart similar`: the pictures of a data set that are most like pictures from anywhere."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from headstart import training
from headstart.auditing.request import SimilarRequest
from headstart.core.cache.errors import FeaturesAmbiguous
from headstart.core.cache.text import listed
from headstart.core.extract.config import ExtractConfig
from headstart.core.extract.featurise import expand, featurise, outside
from headstart.core.extract.network.extractor import FeatureExtractor
from headstart.core.extract.pictures.files import printable
from headstart.core.extract.restore import restore
from headstart.core.heads.data import Pair
from headstart.core.heads.neighbours.search import Search
from headstart.extraction import warn_if_untrained
from headstart.observer import Observer
from headstart.requests import TrainingRequest
from headstart.serve.neighbours.learned import Learned, Part, located
from headstart.workspace import Workspace

IN_MEMORY = 2**31
"""Bytes of features, as float32, up to which they are kept in memory; more are read from the disk for each block."""


@dataclasses.dataclass(frozen=True)
class Like:
    """A picture of the data set: its split, id and label (None where it has none), and the cosine, -1 to 1, of its features
    to those of the picture asked about."""

    split: str
    id: str
    label: str | None
    cosine: float


@dataclasses.dataclass(frozen=True)
class Asked:
    """A picture asked about, and those most like it, the nearest first; or why it can't be read."""

    picture: str
    like: tuple[Like, ...] = ()
    error: str | None = None


@dataclasses.dataclass(frozen=True)
class Similar:
    """What was asked, of which data set, by which backbone, among so many rows."""

    dataset: str
    model: str
    rows: int
    asked: tuple[Asked, ...]


def similar(workspace: Workspace, request: SimilarRequest, observer: Observer) -> Similar:
    """The nearest pictures by the cosine of their features, found exactly, of all splits.

    Raises DataNotFound for pictures that are not there, FeaturesNotFound, FeaturesAmbiguous, FeaturesDamaged,
    FeaturesInvalid, WeightsMismatch, WeightsNotFound, DeviceUnavailable, OutOfMemory.
    """
    files = expand(request.pictures, observer.note)
    pair = _one(workspace, request)
    rows = located(tuple(Part(source, source.manifest.row_numbers()) for source in pair.sets))
    search = Search(rows.rows, keep=len(rows.ids) * rows.rows.dim * 4 <= IN_MEMORY)
    extractor = _extractor(workspace, pair, observer)
    found = [Asked(printable(str(file))) for file in files]
    for block in featurise(outside(files), extractor, ExtractConfig.workers, None, observer.note):
        for image in block.skipped:
            found[image.row] = Asked(printable(str(files[image.row])), error=image.reason)
        if block.rows:
            places, cosines = search.nearest(np.stack(block.features), request.count)
            for row, own, near in zip(block.rows, places.tolist(), cosines.tolist(), strict=True):
                found[row] = Asked(printable(str(files[row])), _like(rows, pair, own, near))
    return Similar(pair.key.dataset, pair.key.backbone, len(rows.ids), tuple(found))


def _one(workspace: Workspace, request: SimilarRequest) -> Pair:
    meant = training.meant(workspace, TrainingRequest(request.models, request.dataset, request.choice))
    if len(meant) > 1:
        words = listed(f"-m {pair.key.backbone} --dataset {pair.key.dataset}" for pair, _ in meant)
        raise FeaturesAmbiguous(f"features of several backbones or data sets are there; say which is meant: {words}")
    return meant[0][0]


def _extractor(workspace: Workspace, pair: Pair, observer: Observer) -> FeatureExtractor:
    warn_if_untrained(pair.key, observer)
    origin = pair.train.manifest.provenance.weights_from
    extractor = restore(pair.key, origin, None, workspace.device, None)
    for remark in extractor.device.notes:
        observer.remark(remark)
    return extractor


def _like(rows: Learned, pair: Pair, places: Sequence[int], cosines: Sequence[float]) -> tuple[Like, ...]:
    classes, found = pair.key.classes, []
    for place, cosine in zip(places, cosines, strict=True):
        label = int(rows.rows.labels[place])
        name = printable(bytes(rows.ids[place]).decode("utf-8", "surrogateescape"))
        split = rows.place(place)[0].manifest.split
        found.append(Like(split, name, classes[label] if 0 <= label < len(classes) else None, cosine))
    return tuple(found)
