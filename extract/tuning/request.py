"""What is asked of the engines for a run: as the user says, as the set was begun, as the other split was made, or open.

The rows that a head learns from and those that it is tested on should come from one engine. Imports no torch.
"""

import dataclasses
from collections.abc import Callable, Sequence

from headstart.core.cache.execution import Execution
from headstart.core.cache.store import FeatureStore
from headstart.core.extract.config import ENGINES, SPLITS
from headstart.core.extract.job import Job
from headstart.core.extract.reuse import rows_to_compute
from headstart.core.extract.tuning.trials import EngineRequest


def engine_request(
    job: Job,
    store: FeatureStore,
    recorded: Execution | None,
    rows: tuple[int, int],
    later: Sequence[Job],
    note: Callable[[str], None],
) -> EngineRequest:
    """How to compute a job's missing rows.

    `recorded` is how its set was begun; `rows` are those missing and those of the whole plan; `later` are the jobs that the
    same command does afterwards, whose missing rows count where they go through the same network. A view is computed as the
    pictures as they are were.
    """
    engine, batch_size, (missing, planned) = job.config.engine, job.config.batch_size, rows
    if engine != "auto" and batch_size is not None:
        return EngineRequest(missing, engine, batch_size, planned)
    found = recorded if recorded and _holds(recorded, job) and recorded.rows >= planned else None
    if found is None and job.preprocessing.view:  # a head learns from both
        plain = store.execution(dataclasses.replace(job.named, view=""), job.images.split)
        found = plain if plain and _holds(plain, job) else None
    if found is None and (other := _other_split(job, store, later)) is not None:
        split, found = other
        note(
            f"{job.title}: computed as {split} was, {found.engine} in batches of {found.batch_size}; "
            f"--engine and --batch-size say another way"
        )
    if found is not None:
        most = max(planned, found.batch_size)
        return EngineRequest(missing, found.engine if engine == "auto" else engine, batch_size or found.batch_size, most)
    together = sum(rows_to_compute(other, store) for other in later if other.network.is_same(job.network))
    return EngineRequest(missing + together, engine, batch_size, planned)


def _holds(recorded: Execution, job: Job) -> bool:
    """Whether a record is of this device, and of an engine that we know: a later headstart may have more."""
    return recorded.engine in ENGINES and recorded.device == job.device.description


def _other_split(job: Job, store: FeatureStore, later: Sequence[Job]) -> tuple[str, Execution] | None:
    """Another split in the same key and how it was made, but for one that will be decided on anew, together with this."""
    planned = {other.images.split: other for other in later if (other.key, other.images.name) == (job.key, job.images.name)}
    for split in SPLITS:
        recorded = store.execution(job.named, split) if split != job.images.split else None
        if recorded is None or not _holds(recorded, job):
            continue
        other = planned.get(split)
        if other is None or not (other.config.force or recorded.rows < other.rows):
            return split, recorded
    return None
