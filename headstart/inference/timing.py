"""Inference of trained heads timed end to end, from raw images to labels, and kept beside their runs."""

from __future__ import annotations

import datetime

import numpy as np
import numpy.typing as npt

from headstart.core.cache.corrected_sets import CORRECTED, as_made, by_digest
from headstart.core.cache.errors import DataNotFound
from headstart.core.cache.text import listed
from headstart.core.extract import datasets
from headstart.core.extract.images import Images
from headstart.core.extract.images.contents import same_images
from headstart.core.extract.network.devices import resolve
from headstart.core.extract.network.extractor import FeatureExtractor
from headstart.core.extract.network.interface import EngineConfig
from headstart.core.extract.stages import stages
from headstart.core.extract.tuning.trials import EngineRequest, tune
from headstart.core.heads import timings
from headstart.core.heads.config import BenchConfig
from headstart.core.heads.runs import Run
from headstart.core.heads.statistics.accuracy import evaluate
from headstart.core.heads.timings import Timing
from headstart.inference.measurement import Figures, measure
from headstart.inference.trained import TrainedHead, choose, restore
from headstart.observer import Observer, progress
from headstart.requests import HeadChoice, TimingRequest
from headstart.workspace import Workspace


def time_heads(workspace: Workspace, choice: HeadChoice, request: TimingRequest, observer: Observer) -> list[Timing]:
    """Time the heads chosen, one after the other. Raises what `trained.choose` and `time_head` raise."""
    heads = choose(workspace, choice, request.options, observer)
    return [time_head(workspace, head, request, observer) for head in heads]


def time_head(workspace: Workspace, head: TrainedHead, request: TimingRequest, observer: Observer) -> Timing:
    """Time one head on the last split of a data set, and keep the figures beside its run.

    Raises DataNotFound for a head of a folder of pictures where no data set is named, what `trained.restore` raises,
    ImageUnreadable, OutOfMemory, RunDamaged.
    """
    images = test_images(workspace, head, request.dataset)
    extractor = restore(workspace, head, request.options.weights, None, observer)
    rows, passes = min(images.rows, request.config.limit or images.rows), request.config.repeats
    asked = EngineRequest(rows * passes, *request.options.asked, most=rows)
    extractor = tune(extractor, asked, observer.note)
    head.checkpoint.head.to(extractor.device.name)
    both, workers = (extractor, extractor.running(EngineConfig(extractor.engine, 1))), request.options.workers
    batches, singles = (stages(images, made, workers) for made in both)
    for said in (_foreign(head, images, rows), as_given(head)):
        if said is not None:
            observer.remark(said)
    with progress(observer, f"{head.title}: inference", rows * passes) as advance:
        figures = measure(batches, singles, head.checkpoint.head, request.config, advance)
    timing = _timing(workspace, head, images, extractor, request, figures)
    observer.timed(head, timing)
    if head.run is not None and (workspace.runs_dir / head.run.name).is_dir():
        timings.add(workspace.runs_dir, head.run, timing)
    return timing


def _foreign(head: TrainedHead, images: Images, rows: int) -> str | None:
    """How many of the first rows are of classes that the head does not know, and so get a wrong label."""
    known, labels = set(head.checkpoint.classes), images.labels(0, rows)
    names = [name for name in images.classes if name not in known]
    lost = int(np.isin(labels, [images.classes.index(name) for name in names]).sum())
    if not lost:
        return None
    return f"{lost:,} of {rows:,} images are of classes that {head.title} does not know: {listed(names)}"


def as_given(head: TrainedHead) -> str | None:
    """What must be said of an accuracy by a data set's own labels, where the head was tested on corrected ones."""
    if head.run is None or not any(note.startswith(CORRECTED) for note in head.run.notes):
        return None
    return f"{head.title}: accuracy here is by the labels as they were given; the head was tested on corrected ones"


def test_images(workspace: Workspace, head: TrainedHead, dataset: str | None) -> Images:
    """The last split of the data set named, or of the head's own. Raises DataNotFound for a head of a folder of pictures
    where none is named."""
    own = head.checkpoint.key.dataset
    if dataset is None and (kind := datasets.kind_of(own)) is not None:
        what = "a folder of pictures" if kind == "folder" else f"the data set {own}"
        raise DataNotFound(f"{head.title} was trained on {what}; say where it is with --dataset {kind}:PATH")
    name = dataset or own
    split = datasets.splits(name, None, workspace.data_dir)[-1]
    return datasets.open_split(name, split, workspace.data_dir)


def _timing(
    workspace: Workspace,
    head: TrainedHead,
    images: Images,
    extractor: FeatureExtractor,
    request: TimingRequest,
    figures: Figures,
) -> Timing:
    device = extractor.device
    return Timing(
        head=head.name,
        dataset=images.name,
        split=images.split,
        images_digest=_images_digest(workspace, head, images),
        images=figures.images,
        split_rows=images.rows,
        way=timings.Way(device.description, device.precision, extractor.engine, figures.batch_size),
        asked=request.options.asked,
        repeats=figures.repeats,
        elapsed_s=figures.elapsed_s,
        images_per_s=figures.images_per_s,
        stages_s=figures.stages_s,
        latency_s=figures.latency_s,
        latency_images=figures.latency_images,
        accuracy=accuracy(head, images, figures.predicted),
        peak_memory_bytes=extractor.peak_memory(),
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds"),
    )


def accuracy(head: TrainedHead, images: Images, predicted: npt.NDArray[np.int64]) -> float | None:
    """The share of right labels, or None where it would be no test: images without labels, of other classes, of a split
    most of which was trained on, or of the data set of a head that was trained on all of it."""
    labels, checkpoint = images.labels(0, len(predicted)), head.checkpoint
    if images.split != "test" or images.classes != checkpoint.classes or (labels < 0).any():
        return None
    if head.run is not None and head.run.evaluated_by.cross_validated and images.name == checkpoint.key.dataset:
        return None
    return evaluate(predicted, labels, checkpoint.classes).overall.accuracy


def _images_digest(workspace: Workspace, head: TrainedHead, images: Images) -> str:
    """The images' digest where they are those that the run was tested on, by content; else nothing."""
    if head.run is None:
        return ""
    sets = by_digest(workspace.features_dir)
    features = sets.get(head.run.test.digest)
    if features is not None and same_images(images, as_made(features.manifest, sets)):
        return features.manifest.images_digest
    return ""


def is_timed(workspace: Workspace, run: Run, config: BenchConfig, asked: tuple[str, int | None]) -> bool:
    """Whether inference on the run's own test images was timed on this device, on as many of them as are asked for, with
    this engine and batch size asked for."""
    device = resolve(workspace.device, run.key.precision).description
    return any(
        found.images_digest == run.test.images
        and (found.asked, found.way.device) == (asked, device)
        and found.images >= min(config.limit or found.split_rows, found.split_rows)
        for found in timings.read(workspace.runs_dir, run)
    )
