"""What reliability costs: an extraction beside a plain loop over the same network, and the opening of a checked set.

    .venv/bin/python benchmarks/overhead.py \
        --weights ../shared/data/weights/resnet18-pqf.safetensors --data-dir ../shared/data --json overhead.json

Without options: untrained weights and scikit-learn's digits, so that it runs anywhere. Times are wall-clock seconds. The
two ways of extracting take turns, because clocks and neighbours change; a figure is the median over all turns.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.metadata
import itertools
import multiprocessing
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import h5py
import numpy as np

from headstart.core.cache.digests import inputs_digest
from headstart.core.cache.feature_set import FeatureSet
from headstart.core.cache.files import pretty_json, sha256, sha256_file, write_durably
from headstart.core.cache.shard import Rows, Shard, decode_shard, encode_shard
from headstart.core.cache.shard_plan import plan
from headstart.core.cache.store import FeatureStore
from headstart.core.extract import plan as jobs
from headstart.core.extract.config import ExtractConfig, ExtractionRequest
from headstart.core.extract.job import Job, ShardsDone
from headstart.core.extract.run import extract

if TYPE_CHECKING:
    from headstart.core.extract.network.extractor import FeatureExtractor

Times = dict[str, list[float]]
SET_ROWS, SET_DIM = 122_880, 2048
"""Half a gigabyte in float16. The goal for opening it, every hash checked, is 1.5 s."""


class Silent:
    """An observer of the extraction run that says nothing."""

    def note(self, text: str) -> None: ...
    def begin(self, title: str, rows: int, done: int) -> None: ...
    def advance(self, rows: int) -> None: ...
    def shards(self, done: ShardsDone) -> None: ...
    def end(self) -> None: ...


def timed(work: Callable[[], object]) -> float:
    """Seconds until `work` is done; what it returns is freed afterwards."""
    started = time.perf_counter()
    kept = work()
    elapsed = time.perf_counter() - started
    del kept
    return elapsed


def hash_weights(job: Job) -> None:
    """As often as a run hashes the file: when it is found, and when it is read."""
    for _ in range(2):
        if job.weights.path:
            sha256_file(job.weights.path)


def parameters_digest(extractor: FeatureExtractor) -> str:
    """What a run takes once of its network's parameters."""
    from headstart.core.extract.network.extractor import (
        state_digest,  # imports torch, which the processes that open a set do without
    )

    return state_digest(extractor.body)


def pairs(job: Job, extractor: FeatureExtractor, repeats: int, root: Path) -> tuple[Times, FeatureSet]:
    """Seconds of the plain loop and of `extract`, in turns, and the last set. Both have the network in memory."""
    pixels = job.images.read(0, job.rows, job.preprocessing, job.config.workers).pixels

    def plain() -> object:
        starts = range(0, job.rows, extractor.batch_size)
        return np.concatenate([extractor(pixels[start : start + extractor.batch_size]) for start in starts])

    def load(_: Job) -> FeatureExtractor:
        hash_weights(job)
        return dataclasses.replace(extractor, parameters=parameters_digest(extractor))

    stores = [FeatureStore(root / str(turn)) for turn in range(repeats + 1)]
    turns = [(timed(plain), timed(functools.partial(extract, job, load, store, Silent()))) for store in stores]
    plains, extracts = zip(*turns[1:], strict=True)  # the first turn warms up
    return {"plain": list(plains), "extract": list(extracts)}, stores[-1].sets()[0]


def parts(job: Job, extractor: FeatureExtractor, features: FeatureSet, repeats: int, root: Path) -> Times:
    """Seconds of each thing that `extract` does and the plain loop does not, alone and over the same rows."""
    images, shards = job.images, [features.read(index) for index in range(len(features.manifest.shards))]
    spans = [(shard.start, shard.stop) for shard in shards]
    marks = [images.fingerprints(*span) for span in spans]
    computed = [shard.rows.features.astype(np.float32) for shard in shards]
    contents = [encode_shard(shard) for shard in shards]
    count = itertools.count()

    def lock() -> None:
        with FeatureStore(root / f"lock-{next(count)}").writing(job.named, images.split, lambda: None):
            pass

    def write() -> None:
        for content in contents:
            write_durably(root / "shard.h5", content)

    def manifest() -> None:
        write_durably(root / "manifest.json", features.manifest.to_bytes())

    work: dict[str, Callable[[], object]] = {
        "weights hashed twice": lambda: hash_weights(job),
        "parameters hashed": lambda: parameters_digest(extractor),
        "lock and folder": lock,
        "fingerprints of the images": lambda: [images.fingerprints(*span) for span in spans],
        "digest of the inputs": lambda: [
            inputs_digest(images.ids(*span), images.labels(*span), mark) for span, mark in zip(spans, marks, strict=True)
        ],
        "finite in the set's dtype": lambda: [np.isfinite(rows.astype(job.dtype)).all(axis=1) for rows in computed],
        "shards encoded": lambda: [encode_shard(shard) for shard in shards],
        "shards hashed": lambda: [sha256(content) for content in contents],
        "shards written, fsync": write,
        "manifest written, fsync": manifest,
    }
    return {name: [timed(step) for _ in range(repeats)] for name, step in work.items()}


def build_set(root: Path, rows: int, dim: int, like: FeatureSet) -> FeatureSet:
    """A set of random float16 features (rows, dim) in shards of the usual size, by the real writer."""
    manifest, rng = like.manifest, np.random.default_rng(0)
    with FeatureStore(root).writing(manifest.named, manifest.split, lambda: None) as writer:
        records = []
        for part in plan(rows, {}):
            ids = np.arange(part.start, part.stop).astype("S")
            data = Rows(rng.random((part.rows, dim), np.float32).astype(np.float16), np.zeros(part.rows, np.int64), ids)
            shard = Shard(manifest.key.digest, sha256(b""), part.start, part.stop, data)
            records.append(writer.put(shard, part.index, None, 0.0))
        return writer.commit(records, dim, "float16", manifest.provenance)


STEPS = ("load", "read", "sha256", "decode", "concatenate")
"""Loading a set, and what it consists of."""


def open_step(step: str, folder: Path) -> float:
    """Seconds of one of the steps over the set in `folder`."""
    if step == "load":
        return timed(lambda: FeatureStore(folder.parent).get(folder.name).load())
    paths = sorted(folder.glob("shard-*.h5"))
    if step == "read":
        return timed(lambda: [path.read_bytes() for path in paths])
    contents = [path.read_bytes() for path in paths]
    if step == "sha256":
        return timed(lambda: [sha256(content) for content in contents])
    if step == "decode":
        return timed(lambda: [decode_shard(content, "") for content in contents])
    features = [decode_shard(content, "").rows.features for content in contents]
    return timed(lambda: np.concatenate(features))


def openings(features: FeatureSet, repeats: int) -> Times:
    """Seconds of each step, each time in a fresh process, with the files in the page cache."""
    found: Times = {step: [] for step in STEPS}
    for _, step in itertools.product(range(repeats), STEPS):
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
            found[step].append(process.submit(open_step, step, features.folder).result())
    return found


def environment(job: Job) -> dict[str, Any]:
    """What the figures depend on."""
    import torch

    packages = ("headstart", "torch", "torchvision", "h5py", "numpy")
    versions = {name: importlib.metadata.version(name) for name in packages}
    return {
        "hardware": job.device.description,
        "threads": torch.get_num_threads(),
        "load_average": os.getloadavg(),
        "system": platform.platform(),
        "versions": {"python": platform.python_version(), **versions, "hdf5": h5py.version.hdf5_version},
    }


def line(name: str, seconds: Sequence[float], whole: float) -> str:
    """A row of a table: the median, its part of `whole`, and the range."""
    middle = statistics.median(seconds)
    return f"  {name:<28}{middle:9.4f} s {100 * middle / whole:7.2f} %   {min(seconds):.4f} to {max(seconds):.4f}"


def show(report: Mapping[str, Any]) -> None:
    """The report in lines for people."""
    where, run, opened = report["environment"], report["extraction"], report["opening"]
    click.echo(f"{where['hardware']}, {where['threads']} threads, load average {where['load_average'][0]:.2f} at the start")
    click.echo(
        f"\nresnet18, {run['rows']:,} images of {run['dataset']}, {run['precision']}, batches of {run['batch_size']}"
    )
    plain = statistics.median(run["times_s"]["plain"])
    for name, seconds in {**run["times_s"], **run["parts_s"]}.items():
        click.echo(line(name, seconds, plain))
    click.echo(line("all parts together", [sum(statistics.median(part) for part in run["parts_s"].values())], plain))
    low, middle, high = (100 * (pick(run["ratios"]) - 1) for pick in (min, statistics.median, max))
    click.echo(f"  overhead {middle:+.2f} %, the median of {len(run['ratios'])} pairs ({low:+.2f} to {high:+.2f} %)")
    click.echo(f"\nopening {opened['rows']:,} x {opened['feature_dim']} float16, {opened['bytes'] / 1e6:,.0f} MB")
    for name, seconds in opened["times_s"].items():
        click.echo(line(name, seconds, statistics.median(opened["times_s"]["load"])))


@click.command(help="Time what reliability costs.")
@click.option("--weights", default="random:0", show_default=True, help="As for `headstart extract`, for ResNet18.")
@click.option("--data-dir", type=click.Path(path_type=Path), help="Where CIFAR-10 lies; without it, digits.")
@click.option("--rows", type=click.IntRange(1), default=1024, show_default=True, help="Images to extract.")
@click.option("--set-rows", type=click.IntRange(1), default=SET_ROWS, show_default=True, help="Rows of the set to open.")
@click.option("--repeats", type=click.IntRange(1), default=5, show_default=True)
@click.option("--json", "target", type=click.Path(path_type=Path), help="Write everything measured there.")
def main(weights: str, data_dir: Path | None, rows: int, set_rows: int, repeats: int, target: Path | None) -> None:
    """Measure, show, and write the JSON document."""
    dataset, config = "cifar10" if data_dir else "digits", ExtractConfig(device="cpu", limit=rows)
    [job] = jobs.plan(ExtractionRequest(("resnet18",), dataset, "train", (weights,), config=config), data_dir or Path())
    where, extractor = environment(job), jobs.load(job)
    with tempfile.TemporaryDirectory(prefix="overhead-", dir=".") as name:  # not /tmp: in memory an fsync costs nothing
        root = Path(name)
        times, features = pairs(job, extractor, repeats, root)
        extraction = {
            "rows": job.rows,
            "dataset": dataset,
            "weights": job.weights.origin,
            "image_size": job.preprocessing.image_size,
            "precision": job.device.precision,
            "batch_size": extractor.batch_size,
            "times_s": times,
            "ratios": [b / a for a, b in zip(times["plain"], times["extract"], strict=True)],
            "parts_s": parts(job, extractor, features, repeats, root),
        }
        large = build_set(root / "opening", set_rows, SET_DIM, features)
        sizes = {"rows": large.manifest.rows, "feature_dim": SET_DIM, "bytes": large.manifest.nbytes}
        opening = {**sizes, "times_s": openings(large, repeats)}
    report = {"environment": where, "repeats": repeats, "extraction": extraction, "opening": opening}
    show(report)
    if target:
        write_durably(target, pretty_json(report))


if __name__ == "__main__":
    main()
