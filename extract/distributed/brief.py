"""What a worker is told of a job: the request, from which it plans the job itself, and what has to come out of that.

A job is not sent as it is: its images may hold whole arrays, or files that are open here.
"""

import dataclasses
import importlib.metadata
from collections.abc import Mapping
from pathlib import Path

from headstart.core.cache.errors import ArgumentInvalid, DataInvalid, DeviceUnavailable
from headstart.core.cache.files import sha256
from headstart.core.cache.manifest import Order
from headstart.core.extract.config import ExtractionRequest
from headstart.core.extract.images import Images
from headstart.core.extract.job import Job
from headstart.core.extract.naming import called
from headstart.core.extract.plan import plan

PACKAGES = ("headstart", "torch", "torchvision", "numpy", "pillow")
"""What a feature's last bits depend on beside the backbone's own packages."""
_BLOCK = 65_536


@dataclasses.dataclass(frozen=True)
class Brief:
    """`request` is of one model, split and kind of views, `view` the one that is meant. `cwd` is the folder that relative
    paths start from. `name` and `order` are what the features call the data set and how its rows follow each other; `key`,
    `rows` and `images` (a digest of ids, labels and class names) must be the same in the worker."""

    request: ExtractionRequest
    view: str
    data_dir: Path
    cwd: Path
    name: str
    order: Order
    key: str
    rows: int
    images: str
    versions: Mapping[str, str]


def brief_of(job: Job) -> Brief:
    """What workers are told of a job. Raises ArgumentInvalid for one whose images are in this process alone."""
    asked = job.asked
    if asked is None:
        raise ArgumentInvalid(
            f"{job.title}: its images are in this process alone, so no other can compute it; use the executor local"
        )
    return Brief(
        request=asked.request,
        view=job.preprocessing.view,
        data_dir=asked.data_dir,
        cwd=Path.cwd(),
        name=job.images.name,
        order=job.images.order,
        key=job.key.digest,
        rows=job.rows,
        images=images_digest(job.images, job.rows),
        versions=_versions(job),
    )


def job_of(brief: Brief, device: str | None = None) -> Job:
    """The job again, in a worker, on its `device` where that is another. Relative paths start from the current folder.
    Raises DataInvalid and DeviceUnavailable where it would be another job, and what planning raises."""
    request = brief.request
    config = dataclasses.replace(request.config, device=device or request.config.device)
    jobs = plan(dataclasses.replace(request, config=config), brief.data_dir)
    (found,) = (job for job in jobs if (job.images.split, job.preprocessing.view) == (request.split, brief.view))
    job = dataclasses.replace(found, images=called(found.images, brief.name).in_order(brief.order))
    if (versions := _versions(job)) != brief.versions:
        ours = {name: value for name, value in versions.items() if brief.versions.get(name) != value}
        theirs = {name: brief.versions.get(name) for name in ours}
        raise DeviceUnavailable(f"this worker has {_listed(ours)}, the driver {_listed(theirs)}; install the same in both")
    if job.key.digest != brief.key:
        raise DataInvalid(f"{job.title}: this worker would compute other features than the driver; are weights the same?")
    if job.rows != brief.rows or images_digest(job.images, job.rows) != brief.images:
        raise DataInvalid(
            f"{job.images.source}: this worker sees other pictures there than the driver ({job.rows:,} rows, expected "
            f"{brief.rows:,}); put them where all see the same, and leave them alone while the command runs"
        )
    return job


def images_digest(images: Images, rows: int) -> str:
    """The SHA-256 of the ids and labels of the first rows, and of the class names."""
    parts = [name.encode() + b"\0" for name in images.classes]
    for start in range(0, rows, _BLOCK):
        stop = min(rows, start + _BLOCK)
        parts += [sha256(*(name + b"\0" for name in images.ids(start, stop))).encode()]
        parts += [images.labels(start, stop).tobytes()]
    return sha256(*parts)


def _versions(job: Job) -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in dict.fromkeys((*PACKAGES, *job.backbone.packages))}


def _listed(versions: Mapping[str, str | None]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())
