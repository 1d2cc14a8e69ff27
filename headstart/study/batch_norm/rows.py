"""The images of the experiment: the first rows of a split, in memory, each with a label."""

import dataclasses

import numpy as np

from headstart.core.cache.digests import inputs_digest
from headstart.core.cache.errors import DataInvalid, ImageUnreadable
from headstart.core.extract.images import Labels, Pixels
from headstart.core.extract.job import Job
from headstart.study.batch_norm.protocol import Imitation


@dataclasses.dataclass(frozen=True)
class LabelledPixels:
    """uint8 pixels (n, H, W, 3) and int64 class indices (n,)."""

    pixels: Pixels
    labels: Labels


def rows_digest(job: Job, count: int) -> str:
    """The SHA-256 of the first `count` rows' ids, labels and content: what the experiment's result depends on."""
    span = (0, min(job.rows, count))
    return inputs_digest(job.images.ids(*span), job.images.labels(*span), job.images.fingerprints(*span))


def read_rows(job: Job, rows: int) -> LabelledPixels:
    """The first rows of a split. Raises ImageUnreadable where one can't be decoded, DataInvalid where one has no label."""
    count = min(job.rows, rows)
    batch = job.images.read(0, count, job.preprocessing, job.config.workers)
    if batch.skipped:
        raise ImageUnreadable(f"{job.images.source}/{batch.skipped[0].id}: {batch.skipped[0].reason}")
    labels = job.images.labels(0, count)
    if not count or labels.min() < 0:
        raise DataInvalid(
            f"{job.images.source}: {int((labels < 0).sum())} of {count} images of {job.images.split} have no label, "
            f"expected labelled ones; give a data set with one sub-folder for each class"
        )
    return LabelledPixels(batch.pixels, labels)


def check_rows(job: Job, rows: LabelledPixels, plan: Imitation) -> None:
    """Raises DataInvalid where the rows are of one class, or leave a last batch of one image."""
    count, kinds = len(rows.labels), len(np.unique(rows.labels))
    if kinds < 2:
        raise DataInvalid(
            f"{job.images.source}: the first {count} images are of {kinds} class, expected 2 or more; take more"
        )
    if count % plan.batch_size == 1:
        raise DataInvalid(
            f"{job.images.source}: {count} images leave a last batch of one, expected 2 or more to normalise by; "
            f"take {count - 1}"
        )
