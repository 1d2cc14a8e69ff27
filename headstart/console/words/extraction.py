"""What is said of an extraction: what it would do, what it left behind, and what that cost."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from headstart.console.words.sets import changed, key_facts, shape
from headstart.core.cache.text import megabytes

if TYPE_CHECKING:
    from headstart.core.cache.assembly import Missing
    from headstart.core.extract.config import Download
    from headstart.core.extract.executors.array import Share
    from headstart.core.extract.job import Job, ShardsDone
    from headstart.core.extract.run import Outcome
    from headstart.extraction import Prospect, Survey


def outcome(job: Job, done: Outcome) -> str:
    """What a run left behind and what it cost."""
    if done.change is not None:
        did = changed(done.change)
    elif done.computed:
        speed = done.computed / max(done.elapsed_s, 1e-9)  # some clocks stand still for a while
        did = f"{done.computed:,} images in {done.elapsed_s:.1f} s, {speed:.1f} images/s"
    else:
        did = "already there"
    return f"{job.title}: {shape(done.features)}; {did}; {done.features.folder}"


def shards(done: ShardsDone) -> str:
    """How far several workers are."""
    rates = ", ".join(f"{name} {rate:.1f}" for name, rate in sorted(done.rates.items()))
    lost = f", {done.lost} lost and made anew" if done.lost else ""
    return f"{done.done:,} of {done.total:,} shards{lost}; images/s: {rates}"


def shards_json(done: ShardsDone) -> dict[str, Any]:
    """The same as JSON values."""
    return {"event": "shards", **dataclasses.asdict(done)}


def share(done: Share) -> str:
    """What one task of an array has done, and what is left."""
    what = "shard" if done.made == 1 else "shards"
    did = f"{done.made:,} {what}, {done.rows:,} rows in {done.elapsed_s:.1f} s" if done.made else "nothing left to do"
    if done.features is not None:
        return f"{done.folder.name}: {did}; complete, {shape(done.features)}; {done.folder}"
    size = done.left.array_size or done.left.shards
    left = f"{len(done.left.parts):,} of {done.left.shards:,} shards left, for {_tasks(done.left.array)} of {size:,}"
    return f"{done.folder.name}: {did}; {left}; {done.folder}"


def share_json(done: Share) -> dict[str, Any]:
    """The same as JSON values."""
    own = {"folder": str(done.folder), "made": done.made, "rows": done.rows, "elapsed_s": done.elapsed_s}
    return {**own, "complete": done.features is not None, **missing_json(done.left)}


def missing(found: Missing) -> str:
    """What is left of a set that an array makes."""
    if not found.parts:
        return f"{found.folder.name}: all of its {found.shards:,} shards are there"
    size = found.array_size or found.shards
    return (
        f"{found.folder.name}: {len(found.parts):,} of {found.shards:,} shards missing; {_tasks(found.array)} of {size:,}"
    )


def _tasks(array: str) -> str:
    return f"{'task' if array.isdigit() else 'tasks'} {array}"


def missing_json(found: Missing) -> dict[str, Any]:
    """The same as JSON values."""
    shards = [part.index for part in found.parts]
    return {"missing": shards, "shards": found.shards, "tasks": found.tasks, "of": found.array_size or found.shards}


def outcome_json(done: Outcome) -> dict[str, Any]:
    """The same as JSON values."""
    manifest = done.features.manifest
    return {
        "folder": str(done.features.folder),
        "key": manifest.key.to_json(),
        "dataset": manifest.dataset,
        "classes": list(manifest.classes),
        "split": manifest.split,
        "rows": manifest.rows,
        "feature_dim": manifest.feature_dim,
        "dtype": manifest.dtype,
        "digest": manifest.digest,
        "computed": done.computed,
        "change": None if done.change is None else dataclasses.asdict(done.change),
        "elapsed_s": done.elapsed_s,
        "notes": list(manifest.provenance.notes),
    }


def survey(found: Survey) -> str:
    """What a run would do: rows, bytes, what is there, and the key."""
    job, rows, there = found.job, found.rows, found.rows_there
    shards = "1 shard" if found.outlook.shards == 1 else f"{found.outlook.shards} shards"
    size = f"{rows:,} x {job.backbone.feature_dim} {job.dtype}, {megabytes(found.nbytes)} in {shards}"
    key = (f"    {field} = {value}" for field, value in key_facts(job.key))
    will = f"{there:,} rows there, {rows - there:,} to compute"
    changed = found.outlook.changes
    news = [] if changed is None else [f"    another snapshot replaces the last one: {changed.words}"]
    return "\n".join([f"{job.title}: {size}; {will}; {found.outlook.folder}", *news, *key])


def download(found: Download) -> str:
    """What would be downloaded, from where, to where."""
    return f"would download {found.what} from {found.url} to {found.path}"


def download_json(found: Download) -> dict[str, Any]:
    """The same as JSON values."""
    return {"would_download": found.what, "url": found.url, "path": str(found.path)}


def prospect(found: Prospect) -> str:
    """What a command would do, and for which models that is known after a download only."""
    lines = [*map(download, found.downloads), *map(survey, found.surveys)]
    if found.waiting:
        rows = " and ".join(f"{count:,} {split} images" for split, count in found.images) or "images"
        waiting = ", ".join(found.waiting)
        lines.append(f"{waiting}: {rows} to run through it, key and what is there known once that is downloaded")
    return "\n".join(lines)


def prospect_json(found: Prospect) -> list[dict[str, Any]]:
    """The same as JSON values."""
    return [*map(download_json, found.downloads), *map(survey_json, found.surveys)]


def survey_json(found: Survey) -> dict[str, Any]:
    """The same as JSON values."""
    rows, key = {"rows": found.rows, "bytes": found.nbytes, "rows_there": found.rows_there}, found.job.key.to_json()
    changed = found.outlook.changes
    return {"folder": str(found.outlook.folder), "key": key, **rows, "changes": None if changed is None else changed.words}
