"""Ten thousand fake shards through the real plan, shard and manifest code, with failures, duplicates and a killed driver.

    .venv/bin/python benchmarks/scale.py --shards 10000 --fail 0.05 --duplicates 0.01 --kills 3 --folder /dev/shm

The driver is a process that is killed (SIGKILL) at random moments, the last time while it writes the manifest, and started
again. It ends with a complete set, of which every shard, row and digest is checked. docs/scale.md says what is fake.
"""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import signal
import tempfile
import time
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import click
import numpy as np
from fleet import FATES, KEY, LINE, SPLIT, Fleet, digests, drive, events, features, peak_bytes, shard

from headstart.core.cache.manifest import NAME
from headstart.core.cache.shard_plan import plan
from headstart.core.cache.store import FeatureStore


def live(root: Path, fleet: Fleet, kills: int) -> int:
    """Drivers one after the other until one is done, the first ones killed; how many were. Raises RuntimeError for one
    that ended otherwise."""
    rng, journal = np.random.default_rng(fleet.seed), root / "journal"
    moments = [*sorted(rng.integers(1, fleet.shards, size=max(0, kills - 1)).tolist()), None]
    for turn in range(kills + 1):
        process = multiprocessing.get_context("spawn").Process(target=drive, args=(root, fleet, turn))
        process.start()
        if turn < kills:
            _wait(journal, moments[turn], events(journal)["commit"], process)
            process.join(rng.random() * 0.05)
            process.kill()
        process.join()
        if process.exitcode == 0:
            return turn
        if process.exitcode != -signal.SIGKILL:
            raise RuntimeError(f"the driver ended with status {process.exitcode}")
    raise RuntimeError("the last driver was killed by somebody else")


def _wait(journal: Path, moment: int | None, before: int, process: BaseProcess) -> None:
    """Until so many things happened in all; or, with None, until the driver begins to write the manifest."""
    while process.is_alive():
        size = journal.stat().st_size // LINE if journal.exists() else 0
        if (moment is not None and size >= moment) or (moment is None and events(journal)["commit"] > before):
            return
        time.sleep(0.005)


def verify(root: Path, fleet: Fleet) -> int:
    """The bytes of the manifest of the set, whose every shard and row was found right. Raises AssertionError, or what
    reading a set raises."""
    found = FeatureStore(root / "features").open(KEY, SPLIT)
    if found is None:
        raise AssertionError("no complete set is there")
    found.check()
    parts, rows, stop = plan(fleet.images, {}, fleet.rows), found.load(), fleet.images
    content = (found.folder / NAME).read_bytes()
    checks = {
        "the manifest's shards are those of the plan": [one.part for one in found.manifest.shards] == parts,
        "its shards' inputs are those of their rows": all(
            one.inputs == shard(fleet, one.part).inputs for one in found.manifest.shards[:: max(1, len(parts) // 100)]
        ),
        "no row is lost, doubled or elsewhere": np.array_equal(rows.ids.astype(np.int64), np.arange(stop)),
        "the features are the backbone's": np.array_equal(rows.features, features(fleet, 0, stop)),
        "the digests are the pictures'": np.array_equal(rows.digests, digests(0, stop)),
        "the manifest reads as it was written": found.manifest.to_bytes() == content,
        "the files are the plan's": sorted(path.name for path in found.folder.glob("*.h5"))
        == sorted(p.file for p in parts),
    }
    if wrong := [what for what, right in checks.items() if not right]:
        raise AssertionError(f"not so: {'; '.join(wrong)}")
    return len(content)


def report(fleet: Fleet, killed: int, happened: dict[str, int], last: dict[str, Any], facts: dict[str, float]) -> str:
    """What happened, in words."""
    failures = {fate: happened.get(fate, 0) for fate in FATES}
    attempts = sum(failures.values()) + happened["made"] + happened.get("again", 0)
    kinds = ", ".join(f"{count:,} {fate}" for fate, count in failures.items())
    return "\n".join(
        [
            f"{fleet.shards:,} shards of {fleet.rows} x {fleet.dim}, {fleet.images:,} rows, {fleet.workers} workers",
            f"attempts             {attempts:,}",
            f"failures             {sum(failures.values()):,} ({kinds})",
            f"made again           {happened.get('again', 0):,} (delivered twice, late, or a straggler's)",
            f"driver               killed {killed} times; the last one found {last['missing']:,} shards missing",
            f"simulated time       {last['makespan']:.0f} shard times of the last driver; its attempts alone "
            f"{last['work'] / fleet.workers:.0f} on all workers",
            f"seconds              {facts['seconds']:.1f} in all; of the last driver {last['seconds']:.1f}, of which "
            f"{last['look_s']:.1f} to check what is there, {last['commit_s']:.2f} for the manifest",
            f"manifest             {facts['manifest_bytes']:,} bytes, verified with every row in {facts['verify_s']:.1f} s",
            f"peak memory          driver {last['peak'] / 1e6:.0f} MB, verification {facts['peak'] / 1e6:.0f} MB",
        ]
    )


@click.command()
@click.option("--shards", type=click.IntRange(min=2), default=10_000, show_default=True)
@click.option("--rows", type=click.IntRange(min=2), default=8, show_default=True, help="Rows of a shard.")
@click.option("--dim", type=click.IntRange(min=1), default=4, show_default=True, help="D.")
@click.option("--fail", type=click.FloatRange(0, 0.9), default=0.05, show_default=True, help="Share of attempts that fail.")
@click.option("--duplicates", type=click.FloatRange(0, 1), default=0.01, show_default=True, help="Share delivered twice.")
@click.option("--stragglers", type=click.FloatRange(0, 1), default=0.01, show_default=True, help="Share 20 times as slow.")
@click.option("--kills", type=click.IntRange(min=0), default=3, show_default=True, help="How often the driver is killed.")
@click.option("--workers", type=click.IntRange(min=1), default=64, show_default=True)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--folder", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Where; removed afterwards.")
@click.option("--json", "document", is_flag=True, help="The same as one line of JSON.")
def main(kills: int, folder: Path | None, document: bool, **given: Any) -> None:
    """Simulate an extraction of many shards on workers that fail, with a driver that is killed."""
    fleet = Fleet(**given)
    with tempfile.TemporaryDirectory(prefix="scale-", dir=folder) as name:
        root, started = Path(name), time.perf_counter()
        killed = live(root, fleet, kills)
        happened, last = dict(events(root / "journal")), json.loads((root / "last.json").read_text())
        checking = time.perf_counter()
        size = verify(root, fleet)
        now = time.perf_counter()
        facts = {"seconds": now - started, "verify_s": now - checking, "manifest_bytes": size, "peak": peak_bytes()}
    click.echo(report(fleet, killed, happened, last, facts))
    if document:
        found = {"fleet": dataclasses.asdict(fleet), "killed": killed, "events": happened, "last": last, **facts}
        click.echo(json.dumps(found))


if __name__ == "__main__":
    main()
