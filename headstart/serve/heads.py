"""The heads that the service answers with: chosen, named, described, and their backbones restored."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from headstart.core.cache.errors import RunNotFound
from headstart.core.cache.files import sha256_file
from headstart.core.cache.key import FeatureKey
from headstart.core.extract.backbones import get_backbone
from headstart.core.extract.network.interface import Extractor
from headstart.core.extract.weights.licences import caution, licence
from headstart.core.heads import checkpoint
from headstart.core.heads.predict import caveat, shortage
from headstart.inference.trained import TrainedHead, called, choose, restore, titles
from headstart.observer import Observer
from headstart.requests import InferenceOptions
from headstart.serve.neighbours.neighbourhood import neighbourhoods
from headstart.serve.settings import COVERAGE, Settings
from headstart.workspace import Workspace

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


class Nearest(Protocol):
    """Where a head's training pictures are at hand: those whose features are most like a new picture's."""

    def nearest(self, features: npt.NDArray[np.float32], count: int) -> list[dict[str, Any]] | None:
        """Of features (D,) the `count` nearest as JSON objects, the most similar first: `id`, `label`, `cosine` and
        `thumbnail`; None where they can't be read any more."""
        ...


@dataclasses.dataclass(frozen=True)
class Served:
    """A head in the service. `name` tells it from the others in requests, `title` in words; `digest` is the SHA-256 of its
    file. `nearest` is None where its training pictures are not at hand."""

    trained: TrainedHead
    name: str
    title: str
    digest: str
    nearest: Nearest | None = None

    @property
    def calibrated(self) -> bool:
        """Whether it can make prediction sets."""
        return self.trained.checkpoint.confidence is not None


@dataclasses.dataclass(frozen=True)
class Shared:
    """A backbone and the heads that learned from its features."""

    extractor: Extractor
    heads: tuple[Served, ...]


def load(
    workspace: Workspace, names: Sequence[str], settings: Settings, weights: Sequence[str], observer: Observer
) -> list[Shared]:
    """The heads that users name and their backbones, each restored once. Raises RunNotFound, RunDamaged, WeightsMismatch,
    WeightsNotFound, DeviceUnavailable, OutOfMemory."""
    options = InferenceOptions(tuple(weights), settings.batch_size, settings.workers)
    found = named(choose(workspace, called(workspace, names), options, observer))
    near = (
        neighbourhoods(workspace, {head.name: head.trained.run for head in found}, observer.note) if settings.near else {}
    )
    sharing: dict[FeatureKey, list[Served]] = {}
    for head in (dataclasses.replace(head, nearest=near.get(head.name)) for head in found):
        sharing.setdefault(head.trained.checkpoint.key.feature_key, []).append(head)
    return [
        Shared(restore(workspace, heads[0].trained, weights, settings.batch_size, observer), tuple(heads))
        for heads in sharing.values()
    ]


def named(heads: Sequence[TrainedHead]) -> list[Served]:
    """The heads with names that can be shown to anybody: their runs' or, of a file without a record, its folder's or its
    own. Where two have one name, the digests tell them apart."""
    headings = titles(heads)
    digests = [_digest(head) for head in heads]
    plain = [head.run.name if head.run else _file_name(Path(head.name)) for head in heads]
    names = [
        name if plain.count(name) == 1 else f"{name}-{digest[:8]}" for name, digest in zip(plain, digests, strict=True)
    ]
    return [
        Served(head, name, headings[head.name] if headings[head.name] != head.name else name, digest)
        for head, name, digest in zip(heads, names, digests, strict=True)
    ]


def _digest(head: TrainedHead) -> str:
    if head.run is not None:
        return head.run.head_sha256
    path = Path(head.name)
    return sha256_file(path / checkpoint.NAME if path.is_dir() else path)


def _file_name(path: Path) -> str:
    place = path.resolve()
    return place.parent.name if place.name == checkpoint.NAME else place.name.removesuffix(".safetensors")


def coverage_of(heads: Sequence[Served], asked: float | None) -> float | None:
    """The coverage of requests that name none: the one asked for, else the usual one where all heads can make prediction
    sets, else None. Raises RunNotFound where one was asked for that a head can't give."""
    if asked is None:
        return COVERAGE if all(head.calibrated for head in heads) else None
    for head in heads:
        try:
            shortage(head.trained.checkpoint, asked)
        except RunNotFound as error:
            raise RunNotFound(f"{head.name}: {error}") from error
    return asked


def described(head: Served, precision: str, coverage: float | None) -> dict[str, Any]:
    """What a client is told of a head; `precision` is that of its backbone here."""
    found = head.trained.checkpoint
    key = found.key
    return {
        "name": head.name,
        "title": head.title,
        "digest": head.digest,
        "backbone": key.backbone,
        "dataset": key.dataset,
        "classes": list(found.classes),
        "image_size": key.image_size,
        "precision": precision,
        "accuracy": _accuracy(head.trained),
        "without_twins": _without_twins(head.trained),
        "calibrated": head.calibrated,
        "licence": _licence(head.trained),
        "caveats": _caveats(head.trained, coverage),
        "neighbours": head.nearest is not None,
    }


def _accuracy(head: TrainedHead) -> Mapping[str, Any] | None:
    if head.run is None:
        return None
    score = head.run.evaluation.overall
    if math.isnan(score.accuracy):
        return None
    low, high = score.interval
    by = "cross-validation" if head.run.evaluated_by.cross_validated else "test"
    return {"value": score.accuracy, "low": low, "high": high, "rows": score.total, "by": by}


def _without_twins(head: TrainedHead) -> Mapping[str, Any] | None:
    """The accuracy without test pictures that have a twin in training, null where none is left; None where none is known
    to have one."""
    found = None if head.run is None else head.run.apart
    if found is None:
        return None
    low, high = found.interval or (None, None)
    score = {"value": found.accuracy, "low": low, "high": high, "rows": found.test_rows - found.leaked}
    return {**score, "leaked": found.leaked, "audited": found.audited, "sentence": found.sentence()}


def _licence(head: TrainedHead) -> str:
    """As the head recorded it, else as the backbone's weights are known."""
    key = head.checkpoint.key
    return head.checkpoint.licence or licence(get_backbone(key.backbone), key.weights)


def _caveats(head: TrainedHead, coverage: float | None) -> list[str]:
    """What must be said beside the head's answers."""
    found, key = head.checkpoint, head.checkpoint.key
    said = (
        [f"{key.backbone} has untrained weights ({key.weights}): good for trying things out only"] if key.untrained else []
    )
    doubts = [caveat(found), None if coverage is None or found.confidence is None else shortage(found, coverage)]
    terms = None if key.untrained or key.weights.partition("#")[0] == "file" else caution(_licence(head))
    notes = head.run.notes if head.run else ()
    return list(dict.fromkeys([*said, *(doubt for doubt in (*doubts, terms) if doubt), *notes]))
