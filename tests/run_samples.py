"""What the tests of the extraction run share: a small job, runs of it, and what its set should hold."""

import numpy as np
import numpy.typing as npt
from extract_samples import (
    QuarterMeans,
    RecordingObserver,
    array_images,
    no_body,
    noise,
)

from headstart.core.cache.shard import Rows
from headstart.core.cache.store import FeatureStore
from headstart.core.extract.backbones import Backbone
from headstart.core.extract.config import ExtractConfig
from headstart.core.extract.images import Images
from headstart.core.extract.job import Job
from headstart.core.extract.network.devices import Device
from headstart.core.extract.network.interface import Extractor
from headstart.core.extract.pictures.preprocess import Preprocessing
from headstart.core.extract.run import Outcome, extract
from headstart.core.extract.weights import Weights

SHARD_ROWS = 4
PIXELS = noise(18, 8)


def job(images: Images, precision: str = "fp32", weights: str = "file", **config: object) -> Job:
    """A job for the stand-in, in shards of four rows."""
    return Job(
        images=images,
        backbone=Backbone("quarters", 4, no_body),
        weights=Weights(weights, "0" * 64, "nowhere"),
        preprocessing=Preprocessing(16),
        device=Device("cpu", precision, "this CPU"),
        config=ExtractConfig(**{"shard_rows": SHARD_ROWS, "batch_size": 3, **config}),  # type: ignore[arg-type]
    )


def tiny(rows: int = 18, **config: object) -> Job:
    """A job over the first pictures in memory."""
    return job(array_images(PIXELS[:rows]), **config)  # type: ignore[arg-type]


def run(
    job: Job, store: FeatureStore, extractor: Extractor | None = None, observer: RecordingObserver | None = None
) -> Outcome:
    return extract(job, lambda job: extractor or QuarterMeans(device=job.device), store, observer or RecordingObserver())


def run_finding_all(job: Job, store: FeatureStore) -> Outcome:
    """A run in which nothing may be missing."""

    def load(_: Job) -> Extractor:
        raise AssertionError("the backbone was loaded")

    outcome = extract(job, load, store, RecordingObserver())
    assert (outcome.computed, outcome.elapsed_s) == (0, 0.0)
    return outcome


def files(store: FeatureStore) -> dict[str, tuple[bytes, int]]:
    """Every shard's bytes and modification time."""
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in sorted(store.root.glob("*/shard-*.h5"))}


def shards(store: FeatureStore) -> dict[str, bytes]:
    return {name: content for name, (content, _) in files(store).items()}


def assert_equal(found: Rows, expected: Rows) -> None:
    for name in ("features", "labels", "ids"):
        assert np.array_equal(getattr(found, name), getattr(expected, name)), name


def expected_rows(images: npt.NDArray[np.uint8]) -> Rows:
    """What the stand-in gives for whole pictures in memory, at once."""
    count = len(images)
    return Rows(QuarterMeans()(images), np.arange(count) % 3, np.array([b"%d" % i for i in range(count)]))
