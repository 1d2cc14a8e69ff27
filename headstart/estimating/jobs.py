"""The estimates of a command's jobs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headstart.core.cache.store import FeatureStore
from headstart.core.extract.job import Job
from headstart.estimating.estimate import Estimate, Size
from headstart.estimating.rates import MOST_PICTURES, measured
from headstart.extraction import Survey
from headstart.observer import Observer
from headstart.workspace import Workspace


def estimates(workspace: Workspace, surveys: Sequence[Survey], observer: Observer) -> list[Estimate]:
    """What each job would take that has rows to compute, from rates measured here or kept with sets of the same network;
    nothing is kept. Raises DataNotFound, DataInvalid, ImageUnreadable, and what loading a network raises."""
    store = FeatureStore(workspace.features_dir)
    return [
        Estimate(
            title=survey.job.title,
            size=size(survey.job, survey.rows),
            computed=survey.rows - survey.rows_there,
            rates=measured(survey.job, store, observer.note),
        )
        for survey in surveys
        if survey.rows_there < survey.rows
    ]


def size(job: Job, rows: int) -> Size:
    """The size of a job's set of so many rows; how long an id is, some of them say."""
    numbers = np.linspace(0, rows - 1, min(MOST_PICTURES, rows)).astype(np.int64).tolist()
    longest = max(len(job.images.ids(number, number + 1)[0]) for number in numbers)
    return Size(rows, job.config.shard_rows, job.backbone.feature_dim, np.dtype(job.dtype).itemsize, longest)
