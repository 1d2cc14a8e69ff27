"""From a request to backbones compared on one sample. Only training rows are read: none that heads are tested on later."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from headstart import extraction
from headstart.choosing.candidate import Candidate, speed_of
from headstart.choosing.recommendation import Recommendation, recommend
from headstart.commands import made_by
from headstart.core.cache.errors import DataInvalid, DataNotFound, FeaturesInvalid, FeaturesStale
from headstart.core.cache.text import listed, safe
from headstart.core.extract import datasets
from headstart.core.extract.config import ExtractionRequest
from headstart.core.extract.images import Images
from headstart.core.extract.job import Job
from headstart.core.extract.network.devices import resolve
from headstart.core.extract.network.summary import summarise
from headstart.core.extract.run import Outcome
from headstart.core.heads import data
from headstart.core.heads.config import RECIPES
from headstart.core.heads.data import Labelled
from headstart.core.heads.selection import procedure
from headstart.core.heads.selection.procedure import Fitted
from headstart.core.heads.sessions.cross_validation import cross_validate, fold_count
from headstart.core.heads.sessions.place import UNTRAINED
from headstart.core.heads.training.epoch import Epoch
from headstart.observer import Observer
from headstart.requests import ChoosingRequest
from headstart.training import folds_told
from headstart.workspace import Workspace

NO_TEST_SPLIT = (
    "the data set has no test split: a backbone chosen by these images does a little better on them than on others"
)
UNKNOWN_ORDER = "the order of the images is unknown: the first of them may be no sample of all"


@dataclasses.dataclass(frozen=True, eq=False)
class Chosen:
    """Backbones compared on the first `images` of `split_rows` images of a split, which are a sample of it: the candidates,
    the best first, judged in so many `folds`. `rows` could be read. `by_speed`: what a candidate costs is the time for an
    image; else, where that was not measured of all on one device by this command, or before it, its operations.
    `next_options` are those of the `extract` that makes the features of all images by the one that is recommended."""

    dataset: str
    split: str
    classes: int
    images: int
    rows: int
    split_rows: int
    folds: int
    candidates: tuple[Candidate, ...]
    recommendation: Recommendation
    by_speed: bool
    notes: tuple[str, ...]
    next_options: tuple[str, ...]


def choose(workspace: Workspace, request: ChoosingRequest, observer: Observer) -> Chosen:
    """Compare backbones on a sample: features of its rows are computed and kept, as `extract --limit` keeps them, and the
    `auto` head is cross-validated on each backbone's, on the same folds. Copies of a picture are never apart.

    Raises DataInvalid, before anything is computed, for rows that no head can learn from; what `extraction.extract` raises;
    FeaturesInvalid for rows that no folds can be dealt of, FeaturesStale where pictures change meanwhile.
    """
    asked = ExtractionRequest(
        request.models,
        request.dataset,
        split_to_read(request, workspace.data_dir),
        request.weights,
        request.no_splits,
        dataclasses.replace(request.config, limit=request.sample),
    )
    jobs = extraction.checked(workspace, asked, observer)
    check_labels(jobs[0].images, jobs[0].rows)
    outcomes = extraction.run(workspace, jobs, observer)
    several = _alike([data.first(one.features, jobs[0].rows, request.group_by) for one in outcomes])
    judged = [_judged(*each, workspace, observer) for each in zip(jobs, outcomes, several, strict=True)]
    return _chosen(request, jobs[0], several, judged)


def split_to_read(request: ChoosingRequest, data_dir: Path) -> str:
    """The split of the training rows: `train`, or `all` where the data set has none. Raises DataNotFound, DataInvalid."""
    name = datasets.undivided(request.dataset) if request.no_splits else request.dataset
    there = datasets.splits(name, None, data_dir)
    for split in ("train", "all"):
        if split in there:
            return split
    raise DataNotFound(f"{safe(request.dataset)}: has only {listed(there)} rows; expected training rows to choose by")


def check_labels(images: Images, rows: int) -> None:
    """Raise DataInvalid where no head can be cross-validated on the first `rows` images."""
    labels = images.labels(0, rows)
    if unknown := int((labels < 0).sum()):
        raise DataInvalid(
            f"{images.source}: {unknown:,} of {rows:,} pictures have no label; expected a sub-folder for each class"
        )
    counts = np.bincount(labels)
    filled = counts[counts > 0]
    more = f"use --sample {min(5 * rows, images.rows)}" if rows < images.rows else "add pictures"
    if len(filled) < 2:
        raise DataInvalid(f"{images.source}: all {rows:,} pictures of the sample are of one class, expected two; {more}")
    if filled.max() < 2 or (len(filled) == 2 and filled.min() < 2):
        what = "no class" if filled.max() < 2 else "only one of two classes"
        raise DataInvalid(f"{images.source}: {what} has two of the {rows:,} pictures of the sample; {more}")


def _alike(several: Sequence[Labelled]) -> list[Labelled]:
    """The rows of all backbones with the same groups: pictures are apart only where no backbone's features are equal.
    Raises FeaturesStale where they are not the same rows."""
    first = several[0]
    for other in several[1:]:
        if not all(np.array_equal(getattr(first, name), getattr(other, name)) for name in ("rows", "labels", "ids")):
            raise FeaturesStale("pictures changed while they were read; run the command again, with the pictures at rest")
    groups = [one.groups for one in several if one.groups is not None]
    if not groups:
        return list(several)
    joined = groups[0]
    for own in groups[1:]:
        joined = data.joined(joined, own)
    return [dataclasses.replace(one, groups=joined) for one in several]


def _judged(job: Job, outcome: Outcome, rows: Labelled, workspace: Workspace, observer: Observer) -> Candidate:
    """One backbone, by the whole way that `train-head` takes on each training side."""
    features, config = outcome.features, RECIPES["standard"]
    classes, device = len(features.manifest.classes), resolve(workspace.device, "fp32").name

    def fit(own: Labelled) -> list[Fitted]:
        return procedure.fit(own, classes, [config], device, _unheard, calibrated=False)

    try:
        with folds_told(observer, features.manifest.named) as on_fold:
            (found,) = cross_validate(rows, fit, 1, device, on_fold, repeated=False)
    except FeaturesInvalid as error:
        raise FeaturesInvalid(f"{features.folder}: {error}") from error
    counted = summarise(job.backbone, job.preprocessing.image_size)
    return Candidate(
        key=features.manifest.named,
        manifest=features.manifest,
        folder=str(features.folder),
        parameters=counted.parameters,
        flops=counted.flops,
        speed=speed_of(outcome),
        correct=found.outcomes.predicted == found.outcomes.labels,
    )


def _unheard(epoch: Epoch) -> None:
    """An `OnEpoch` for heads that are not kept."""


def _chosen(request: ChoosingRequest, job: Job, several: Sequence[Labelled], judged: Sequence[Candidate]) -> Chosen:
    speeds = [one.speed for one in judged if one.speed is not None]
    by_speed = len(speeds) == len(judged) and len({(speed.device, speed.recorded) for speed in speeds}) == 1
    costs = {one.model: 1 / one.speed.images_per_s if by_speed and one.speed else float(one.flops) for one in judged}
    found = recommend({one.model: one.correct for one in judged}, costs)
    by_model = {one.model: one for one in judged}
    to_take = by_model[found.recommended]
    options = made_by(to_take.key.feature_key, request.dataset, (to_take.manifest,), whole=True)
    return Chosen(
        dataset=job.images.name,
        split=job.images.split,
        classes=len(job.images.classes),
        images=job.rows,
        rows=len(several[0].labels),
        split_rows=job.images.rows,
        folds=fold_count(several[0]),
        candidates=tuple(by_model[name] for name in (found.best, *(one.second for one in found.against))),
        recommendation=found,
        by_speed=by_speed,
        notes=_notes(job, several, judged),
        next_options=(*options, *(["--no-splits"] if request.no_splits else [])),
    )


def _notes(job: Job, several: Sequence[Labelled], judged: Sequence[Candidate]) -> tuple[str, ...]:
    """What must be said beside the figures, each once."""
    untrained = [f"{one.model} is an {UNTRAINED}" for one in judged if one.key.untrained]
    order = [UNKNOWN_ORDER] if job.images.order == "unknown" and job.rows < job.images.rows else []
    split = [NO_TEST_SPLIT] if job.images.split == "all" else []
    return tuple(dict.fromkeys([*untrained, *(note for one in several for note in one.notes), *order, *split]))
