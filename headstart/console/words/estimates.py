"""What is said of what an extraction would take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headstart.console.progress import clock
from headstart.core.cache.text import volume

if TYPE_CHECKING:
    from headstart.core.extract.config import ExecutorConfig
    from headstart.estimating.estimate import Estimate


def estimate(found: Estimate, executor: ExecutorConfig) -> str:
    """Shards, bytes, device hours and decoding cores of a job, and what they mean for who is to compute it."""
    size, rates = found.size, found.rates
    shards = "1 shard" if size.shards == 1 else f"{size.shards:,} shards"
    said = [
        f"{found.title}: {shards}, {volume(size.nbytes)} with labels, ids and digests, {volume(size.manifest_bytes)} of "
        f"manifest"
    ]
    if found.device_hours is None or rates.images_per_s is None:
        return "\n".join([*said, "  device hours: not known, since the backbone can't be run here"])
    said += [
        f"  device hours: {number(found.device_hours)} for {found.computed:,} images at {rates.images_per_s:,.1f} a second "
        f"({rates.device_from})",
        f"  decode cores: {number(found.decode_cores or 0.0)} feed one device; a core decodes {rates.decoded_per_s:,.1f} "
        f"pictures a second ({rates.decode_from})",
    ]
    return "\n".join([*said, f"  {executor.name}: {_means(found, executor)}"])


def _means(found: Estimate, executor: ExecutorConfig) -> str:
    """What the rates mean for an executor."""
    cores, needed, rates = found.rates.cores, found.whole_cores or 1, found.rates
    own = _cores(cores)
    if executor.name in ("array", "ray"):
        worker = "task" if executor.name == "array" else "actor"
        hours = found.hours(1, cores if rates.shared else needed) or 0.0
        feeds = "cores as here" if rates.shared else f"a device and {_cores(needed)}"
        count = executor.num or (executor.task[1] if executor.task else None)
        share = "N take an N-th of that" if count is None else f"{count:,} take {_time(hours / count)} each"
        return f"each {worker} needs {feeds}; one takes {_time(hours)}, {share}"
    spent = _time(found.hours(1, cores) or 0.0)
    if rates.shared:
        return f"{spent} on the {own} here, which decode and compute; more processes share them and are no faster"
    devices = cores * rates.decoded_per_s / (rates.images_per_s or 1.0)
    if executor.name == "processes":
        return f"the {own} here feed {number(devices)} devices; one takes {spent}"
    held = "" if devices >= 1 else f", held back by reading: it needs {_cores(needed)}"
    return f"one device takes {spent} with the {own} here{held}"


def _time(hours: float) -> str:
    return "under a second" if hours * 3600 < 1 else clock(hours * 3600)


def _cores(count: int) -> str:
    return "1 core" if count == 1 else f"{count:,} cores"


def number(value: float) -> str:
    """A number to two digits that mean something, with all before the point."""
    if 0 < value < 0.01:
        return "under 0.01"
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2g}"


def estimate_json(found: Estimate, executor: ExecutorConfig) -> dict[str, Any]:
    """The same as JSON values."""
    rates, size = found.rates, found.size
    return {
        "estimate": found.title,
        "executor": executor.name,
        "rows": size.rows,
        "rows_to_compute": found.computed,
        "shards": size.shards,
        "bytes": size.nbytes,
        "manifest_bytes": size.manifest_bytes,
        "device_hours": found.device_hours,
        "images_per_s": rates.images_per_s,
        "images_per_s_from": rates.device_from,
        "decode_cores": found.decode_cores,
        "decoded_per_core_s": rates.decoded_per_s,
        "decoded_from": rates.decode_from,
        "cores": rates.cores,
    }
