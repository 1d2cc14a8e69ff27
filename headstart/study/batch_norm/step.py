"""The study's last step: what BatchNorm left in training mode cost it, measured once and kept."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import cast

from headstart import extraction
from headstart.core.cache.errors import HeadstartError
from headstart.core.cache.store import FeatureStore
from headstart.core.extract.config import ExtractionRequest, Precision
from headstart.core.extract.job import Job
from headstart.core.extract.network.devices import resolve
from headstart.core.heads.config import RECIPES
from headstart.core.heads.study.analysis_store import AnalysisStore, BatchNormKey
from headstart.core.heads.study.results import BatchNormResults
from headstart.core.heads.training.online import OnlineHead
from headstart.observer import Observer, progress
from headstart.requests import StudyRequest
from headstart.study.batch_norm import experiment
from headstart.study.batch_norm.protocol import Imitation
from headstart.study.batch_norm.rows import rows_digest
from headstart.workspace import Workspace


def measure_cost(workspace: Workspace, models: Sequence[str], request: StudyRequest, observer: Observer) -> None:
    """Measure the first model that can show it, unless its answer is there; a model that can't is told with the reason."""
    for model in models:
        try:
            _measure_model(workspace, request.extraction(model), request.batch_norm_images, observer)
        except HeadstartError as error:
            observer.note(f"{model}: no BatchNorm experiment: {error}")
        else:
            return


def _measure_model(workspace: Workspace, asked: ExtractionRequest, images: int, observer: Observer) -> None:
    """The experiment runs in the device's own precision, and its answer belongs to the test images of the features."""
    (model,), store = asked.models, AnalysisStore(workspace.runs_dir)
    device = resolve(workspace.device, "auto")
    kept = {job.images.split: job for job in extraction.plan(workspace, asked, observer)}
    config = dataclasses.replace(asked.config, precision=cast(Precision, device.precision))
    jobs = {
        job.images.split: job for job in extraction.plan(workspace, dataclasses.replace(asked, config=config), observer)
    }
    if not {"train", "test"} <= jobs.keys():
        observer.note(f"{model}: no BatchNorm experiment: {asked.dataset} has no test split")
        return
    train, test = jobs["train"], jobs["test"]
    features = FeatureStore(workspace.features_dir).open(kept["test"].named, "test")
    protocol = Imitation(train_images=images, test_images=min(images, Imitation.test_images))
    question = BatchNormKey(
        key=train.key.digest,
        train_rows=rows_digest(train, protocol.train_images),
        test_rows=rows_digest(test, protocol.test_images),
        images=features.manifest.images_digest if features else "",
        plan=repr(protocol),
        device=device.description,
    )
    if store.get(question) is None:
        store.put(question, _measured(train, test, protocol, observer))


def _measured(train: Job, test: Job, protocol: Imitation, observer: Observer) -> BatchNormResults:
    title = f"{train.backbone.name}: BatchNorm in training mode"
    with progress(observer, title, experiment.passes(train, test, protocol)) as advance:
        return experiment.measure(train, test, protocol, study_head, advance)


def study_head(dim: int, classes: int, seed: int) -> OnlineHead:
    """The study's head, for features (n, dim) that come batch by batch."""
    return OnlineHead(dim, classes, RECIPES["study"], seed)
