"""Labels for features from outside: the most probable classes of each row, and the classes that it may be of."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from headstart.core.cache.errors import ArgumentInvalid, FeaturesInvalid, RunNotFound
from headstart.core.heads.checkpoint import Checkpoint
from headstart.core.heads.confidence import Confidence
from headstart.core.heads.statistics import conformal
from headstart.core.heads.training.averaging import averaged
from headstart.core.heads.training.train import scores

Labels = tuple[tuple[str, float], ...]
"""Class names with their probabilities, the most probable first."""
_MOST_NAMES = 5
"""A longer list of classes says less than their number."""


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What is asked of a picture: so many labels and, with a `coverage` in (0, 1), the classes that it may be of. With
    `views` probabilities are means over the picture and the views that the head was trained with.

    Raises ValueError for another coverage, ArgumentInvalid for one of means.
    """

    topk: int = 3
    coverage: float | None = None
    views: bool = False

    def __post_init__(self) -> None:
        if self.coverage is None:
            return
        conformal.check_coverage(self.coverage)
        if self.views:
            raise ArgumentInvalid(
                f"--coverage {self.coverage:g}: prediction sets were learned from single pictures, not from means over "
                f"views; leave --coverage or --views out"
            )


@dataclasses.dataclass(frozen=True)
class Possible:
    """A conformal prediction set: the `names` of the classes that a picture may be of, the most probable first, out of `of`
    classes that the head knows."""

    names: tuple[str, ...]
    of: int

    @property
    def unsure(self) -> bool:
        """Whether the set tells little: it is empty, leaves no class out, or has more than half of the classes where these
        are more than three names, or more than five names."""
        count = len(self.names)
        return not count or count == self.of > 1 or count > max(3, min(_MOST_NAMES, self.of / 2))


@dataclasses.dataclass(frozen=True)
class Photo:
    """A picture and what each head, by name, says of it: its labels and, where asked for, the classes that it may be of; or
    why it could not be read. `averaged_over` are, by head, the versions that its probabilities are means over."""

    name: str
    labels: Mapping[str, Labels]
    error: str | None = None
    possible: Mapping[str, Possible] = dataclasses.field(default_factory=dict)
    averaged_over: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """With `sets` where they were asked for, the names of the possible classes by head, and `averaged_over` where views
        were."""
        sets = {head: list(found.names) for head, found in self.possible.items()}
        labels = {head: [list(label) for label in found] for head, found in self.labels.items()}
        over = {head: list(words) for head, words in self.averaged_over.items()}
        more = {name: value for name, value in (("sets", sets), ("averaged_over", over)) if value}
        return {"name": self.name, "labels": labels, "error": self.error, **more}


def calibrated(head: Checkpoint, found: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Scores (N, C) to probabilities (N, C): the softmax of the scores over the head's temperature, 1 where it has none."""
    temperature = head.confidence.temperature if head.confidence else 1.0
    shares: npt.NDArray[np.float32] = (torch.from_numpy(found) / temperature).softmax(dim=1).numpy()
    return shares


def label(head: Checkpoint, features: Sequence[npt.NDArray[np.float32]], device: str, topk: int) -> list[Labels]:
    """The `topk` classes of the highest scores for each of the features (D,), with calibrated probabilities; none that had
    no training row. Raises FeaturesInvalid where D is not the head's."""
    return [labels for labels, _ in answers(head, features, device, Wanted(topk))]


def answers(
    head: Checkpoint, features: Sequence[npt.NDArray[np.float32]], device: str, wanted: Wanted
) -> list[tuple[Labels, Possible | None]]:
    """The labels of each of the features (D,), as `label`, and where a coverage is wanted the classes that it may be of.

    Raises FeaturesInvalid where D is not the head's, and RunNotFound for a coverage where the head has no calibration.
    """
    if not features:
        return []
    stacked = np.stack(features)
    _check_dim(head, stacked)
    found = scores(head.head.to(device), stacked, device).numpy()
    shares, known = calibrated(head, found), len(head.classes) - len(head.head.absent)
    # by scores: probabilities rounded to float32 may be equal where scores are not; absent classes have the lowest
    order = np.argsort(-found, axis=1, kind="stable")[:, :known]
    labels = _labels(head, shares, order, wanted.topk)
    if wanted.coverage is None:
        return [(own, None) for own in labels]
    return list(zip(labels, _possible(head, shares, order, wanted.coverage), strict=True))


def averaged_labels(head: Checkpoint, versions: Sequence[npt.NDArray[np.float32]], device: str, topk: int) -> list[Labels]:
    """The `topk` classes with the highest means of calibrated probabilities over several versions (n, D) of the same
    pictures; none that had no training row. Raises FeaturesInvalid where D is not the head's."""
    if not len(versions[0]):
        return []
    shares = mean_shares(head, versions, device)
    ranked = shares.copy()
    ranked[:, list(head.head.absent)] = -1
    order = np.argsort(-ranked, axis=1, kind="stable")[:, : len(head.classes) - len(head.head.absent)]
    return _labels(head, shares, order, topk)


def mean_shares(head: Checkpoint, versions: Sequence[npt.NDArray[np.float32]], device: str) -> npt.NDArray[np.float32]:
    """The means (n, C) of calibrated probabilities over several versions (n, D) of the same pictures. Raises
    FeaturesInvalid where D is not the head's."""
    for features in versions:
        _check_dim(head, features)
    return averaged(head.head.to(device), versions, device, head.confidence.temperature if head.confidence else 1.0)


def _check_dim(head: Checkpoint, features: npt.NDArray[np.float32]) -> None:
    if features.shape[1] != head.head.dim:
        raise FeaturesInvalid(f"features have {features.shape[1]} numbers, the head expects {head.head.dim}")


def _labels(head: Checkpoint, shares: npt.NDArray[np.float32], order: npt.NDArray[np.int64], topk: int) -> list[Labels]:
    return [tuple((head.classes[i], float(row[i])) for i in best[:topk]) for row, best in zip(shares, order, strict=True)]


def prediction_sets(
    head: Checkpoint, features: npt.NDArray[np.float32], device: str, coverage: float
) -> list[tuple[str, ...]]:
    """The names of the classes that each of the features (N, D) may be of, the most probable first.

    Raises ValueError for a coverage that is none, and what `answers` raises.
    """
    found = answers(head, list(features), device, Wanted(1, coverage))
    return [possible.names for _, possible in found if possible is not None]


def confidence(head: Checkpoint) -> Confidence:
    """What prediction sets need. Raises RunNotFound where the head has none."""
    if head.confidence is None:
        raise RunNotFound(
            f"the {head.head.config.recipe} {head.head.kind} head on {head.key.backbone} features has no calibration, "
            f"which prediction sets need; `headstart train-head -m {head.key.backbone}` makes one that has it"
        )
    return head.confidence


def shortage(head: Checkpoint, coverage: float) -> str | None:
    """What must be said where a head's calibration has too few rows for a coverage; None where it has enough. Raises
    RunNotFound, ValueError."""
    rows, needed = confidence(head).rows, conformal.rows_needed(coverage)
    if rows >= needed:
        return None
    return f"a coverage of {coverage} needs {needed:,} rows of calibration, the head has {rows:,}: no class is left out"


def caveat(head: Checkpoint) -> str | None:
    """What must be said of a head's probabilities, in one sentence; None where they are calibrated, or can be read as they
    are."""
    if head.confidence is not None:
        return None
    if head.head.caveat is not None:
        return head.head.caveat
    if head.head.config.sigmoid:
        most = math.e / (math.e + head.head.classes - 1)
        return f"with the study recipe's sigmoid no probability can exceed {most:.0%}"
    return None


def _possible(
    head: Checkpoint, shares: npt.NDArray[np.float32], order: npt.NDArray[np.int64], coverage: float
) -> list[Possible]:
    least = conformal.threshold(confidence(head), coverage)
    inside, known = conformal.members(shares, least, head.head.absent), order.shape[1]
    return [
        Possible(tuple(head.classes[i] for i in best if row[i]), known) for row, best in zip(inside, order, strict=True)
    ]
