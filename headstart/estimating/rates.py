"""The rates that an estimate is made from: measured here on this data set, or by extractions of the same network."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

from headstart.core.cache.errors import ImageUnreadable
from headstart.core.cache.feature_set import FeatureSet
from headstart.core.cache.store import FeatureStore
from headstart.core.cache.verify import survey
from headstart.core.extract.job import Job
from headstart.core.extract.network.interface import EngineConfig
from headstart.core.extract.plan import load
from headstart.core.extract.reading import cores
from headstart.core.extract.tuning.trials import Trials
from headstart.estimating.estimate import Rates

MOST_PICTURES = 64
LEAST_S = 0.2
"""Processor time that pictures are decoded for at least; small arrays take microseconds."""
LEAST_ROWS = 1000
"""Rows from which an extraction's rate says more than a few batches do: engines and batch sizes are tried for long ones."""


def measured(job: Job, store: FeatureStore, note: Callable[[str], None]) -> Rates:
    """The rates of a job. The network is loaded only where no set says how fast it is on this device. Raises DataNotFound,
    DataInvalid, ImageUnreadable, and what loading a network raises."""
    decoded_per_s, decode_from = decoded(job)
    kept, here = by_sets(job, store), job.device.description
    if kept is None:
        rate, said, reading = images_per_s(job, note), f"two rounds of batches on {here}", False
    else:
        rate, said, reading = kept
    return Rates(rate, said, decoded_per_s, decode_from, cores(), job.device.kind == "cpu", reading)


def decoded(job: Job) -> tuple[float, str]:
    """Pictures of the job that one core reads, decodes and prepares in a second of its time, and how that was measured.

    Processor time on one thread: what a disk or a neighbour makes it wait for takes no cores. Raises ImageUnreadable where
    none can be decoded, DataNotFound, DataInvalid.
    """
    numbers = np.unique(np.linspace(0, job.rows - 1, min(MOST_PICTURES, job.rows)).astype(np.int64)).tolist()
    _decode(job, numbers[:1])  # Pillow's readers are imported late
    done, began = 0, time.process_time()
    while (spent := time.process_time() - began) < LEAST_S:
        readable = _decode(job, numbers)
        if not readable:
            raise ImageUnreadable(f"{job.images.source}: none of {len(numbers)} pictures that were tried can be decoded")
        done += readable
    return done / spent, f"{len(numbers)} of its pictures on one thread"


def _decode(job: Job, numbers: Sequence[int]) -> int:
    """How many of these pictures could be decoded, which was done."""
    return len(job.images.pick(numbers, job.preprocessing, 1).rows)


def by_sets(job: Job, store: FeatureStore) -> tuple[float, str, bool] | None:
    """Images per second of the longest extraction that is kept of the same network, precision, picture size and device, all
    of whose rows went through the network, one of the same data set before others; how that is known, and whether the
    pictures that were read meanwhile are this data set's. None where there is none of `LEAST_ROWS` rows."""
    found = [one.features for one in survey(store) if one.features is not None and _tells(job, one.features)]
    if not found:
        return None
    best = max(found, key=lambda one: (one.manifest.dataset == job.images.name, one.manifest.rows, one.folder.name))
    manifest, seconds = best.manifest, best.manifest.elapsed_s or 0.0
    said = f"{best.folder.name}: {manifest.rows:,} images in {seconds:,.1f} s on {job.device.description}, reading included"
    return manifest.rows / seconds, said, manifest.dataset == job.images.name


def _tells(job: Job, features: FeatureSet) -> bool:
    manifest, key = features.manifest, job.key
    same = ("backbone", "pooling", "image_size", "precision")
    if any(getattr(manifest.key, name) != getattr(key, name) for name in same):
        return False
    computed = manifest.change is None or not manifest.change.kept  # rows that were copied say nothing of the network
    there = manifest.provenance.device == job.device.description and manifest.rows >= LEAST_ROWS
    return computed and there and bool(manifest.elapsed_s)


def images_per_s(job: Job, note: Callable[[str], None]) -> float | None:
    """The rate of two rounds of batches, as many in each as are computed at once; None where they can't be run. `note` is
    told why."""
    extractor = load(job)
    config = EngineConfig(extractor.engine, extractor.batch_size)
    return Trials(extractor, note).measure(config) or None
