"""What grows with a data set: a manifest with its shards, a shard with its rows, and what the rows of a data set take in
memory. Each is measured in a process of its own; docs/scale.md has the results.

    .venv/bin/python benchmarks/sizes.py manifest --shards 10000 --shards 100000 --shards 500000
    .venv/bin/python benchmarks/sizes.py shard --rows 2048 --rows 100000
    .venv/bin/python benchmarks/sizes.py pictures --rows 100000
"""

from __future__ import annotations

import gc
import hashlib
import importlib
import multiprocessing
import os
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
from fleet import KEY, Fleet, peak_bytes, provenance

from headstart.core.cache.digests import Wanted
from headstart.core.cache.feature_set import checked_bytes
from headstart.core.cache.files import MAX_JSON_BYTES
from headstart.core.cache.foreign import ForeignReader
from headstart.core.cache.known_files import KnownFiles
from headstart.core.cache.manifest import NAME, Manifest, ShardRecord, read_manifest
from headstart.core.cache.shard import Rows, Shard, decode_shard, encode_shard
from headstart.core.cache.shard_plan import Part, plan
from headstart.core.cache.writer import SetWriter
from headstart.core.extract import datasets
from headstart.core.extract.images.contents import Contents

SHARD_ROWS = 100_000


class Watch:
    """Seconds and Python's own memory of some steps, a line each."""

    def __init__(self, title: str, count: int) -> None:
        self.title, self.count = title, count

    def __call__(self, what: str, work: Callable[[], Any], memory: bool = True) -> Any:
        """What `work` gives. Seconds are taken without the memory's tracer, which slows everything; it runs twice then."""
        started = time.perf_counter()
        found = work()
        seconds = time.perf_counter() - started
        said = f"{self.title}: {what} {seconds:.3f} s"
        if memory:
            del found
            gc.collect()
            tracemalloc.start()
            before = tracemalloc.get_traced_memory()[0]
            found = work()
            now, peak = (size - before for size in tracemalloc.get_traced_memory())
            tracemalloc.stop()
            said += f", keeps {now / 1e6:,.1f} MB ({now / self.count:,.0f} bytes each), at most {peak / 1e6:,.1f} MB"
        click.echo(said)
        return found


def alone(work: Callable[..., None], *given: object) -> None:
    """Run it in a new process. Raises click.ClickException where that fails."""
    process = multiprocessing.get_context("spawn").Process(target=work, args=given)
    process.start()
    process.join()
    if process.exitcode:
        raise click.ClickException(f"{work.__name__} ended with status {process.exitcode}")


def manifest_of(shards: int) -> Manifest:
    """A manifest of so many shards, with digests that differ."""

    def digest(number: float) -> str:
        return hashlib.sha256(str(number).encode()).hexdigest()

    parts = plan(shards * SHARD_ROWS, {}, SHARD_ROWS)
    records = tuple(
        ShardRecord(part.file, part.start, part.stop, part.rows, digest(i), digest(-i - 1), digest(i + 0.5), 123.456789)
        for i, part in enumerate(parts)
    )
    fleet = Fleet(shards, SHARD_ROWS, 2048, 0, 0, 0, 1, 0)
    return Manifest(KEY.feature_key, KEY.dataset, KEY.classes, "train", 2048, "float16", records, provenance(fleet))


def measure_manifest(shards: int) -> None:
    """Plan, manifest, its bytes and what reads them."""
    watch, rows = Watch(f"{shards:,} shards", shards), shards * SHARD_ROWS
    watch("plan of nothing", lambda: plan(rows, {}, SHARD_ROWS))
    there = {part.index: (part.start, part.stop) for part in plan(rows, {}, SHARD_ROWS) if part.index % 20}
    watch("plan where a 20th is missing", lambda: plan(rows, there, SHARD_ROWS))
    whole = manifest_of(shards)
    content = watch("to bytes", whole.to_bytes)
    click.echo(f"{shards:,} shards: manifest {len(content):,} bytes, {len(content) / shards:.1f} each")
    watch("digest", lambda: whole.digest)
    watch("images digest", lambda: whole.images_digest)
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / NAME).write_bytes(content)
        if len(content) <= MAX_JSON_BYTES:
            watch("read", lambda: read_manifest(Path(name)))
        else:
            click.echo(f"{shards:,} shards: more than readers take")
    few = Manifest(**{**vars(whole), "shards": whole.shards[:100]})
    Watch(f"{few.stop:,} rows", few.stop)("row numbers", few.row_numbers)


def measure_shard(rows: int, folder: Path) -> None:
    """A shard of `rows` x 2048 float16: made into bytes, written, read and checked in each way."""
    numbers, rng = np.empty((rows, 2048), np.float16), np.random.default_rng(0)
    for row in range(0, rows, 64):  # no more memory than the rows': the peak is to be the encoder's
        numbers[row : row + 64] = rng.standard_normal((min(64, rows - row), 2048), dtype=np.float32)
    ids, digests = np.array([b"%040d" % row for row in range(rows)]), np.zeros((rows, 32), np.uint8)
    shard = Shard(KEY.feature_key.digest, "5c" * 32, 0, rows, Rows(numbers, np.zeros(rows, np.int64), ids, digests))
    watch = Watch(f"{rows:,} x 2048", rows)
    before = peak_bytes()
    content = watch("encode", lambda: encode_shard(shard), memory=False)
    grown = (peak_bytes() - before) / 1e6
    click.echo(f"{rows:,} x 2048: file {len(content):,} bytes, encoding took {grown:,.0f} MB beside the rows")
    with tempfile.TemporaryDirectory(dir=folder) as name:
        writer = SetWriter(Path(name), KEY, "train")
        record = watch("put, with two fsyncs", lambda: writer.put(shard, 0, None, 1.0), memory=False)
        path = Path(name) / Part(0, 0, rows).file
        watch("read and hash", lambda: checked_bytes(path, record), memory=False)
        watch("decode", lambda: decode_shard(content, ""), memory=False)
        with ForeignReader() as foreign:
            foreign.read(content, "")
            watch("checked by a child", lambda: foreign.read(path.read_bytes(), ""), memory=False)


def measure_pictures(kind: str, rows: int, folder: Path) -> None:
    """What the rows of a data set of empty files take: its index, and what a run knows of each picture."""
    watch = Watch(f"{kind}, {rows:,} pictures", rows)
    argument = MAKE[kind](folder, rows)
    split = datasets.splits(argument, None, folder)[0]

    def opened() -> Any:
        for value in vars(importlib.import_module(f"headstart.core.extract.datasets.{kind}")).values():
            getattr(value, "cache_clear", lambda: None)()  # what is read once in a process is to be read again
        return datasets.open_split(argument, split, folder)

    images = watch("opened", opened)
    if images.rows != rows:
        raise AssertionError(f"{images.rows} rows, expected {rows}")
    if kind != "folder":
        return
    contents = watch("contents", lambda: Contents(images))
    known = np.random.default_rng(0).integers(0, 256, (rows, 32), dtype=np.uint8)
    watch("wanted", lambda: Wanted.of(known))
    watch("ids", lambda: images.ids(0, rows))
    ids = images.ids(0, rows)
    files = watch("known files", lambda: KnownFiles.of(ids, contents._facts, known))
    click.echo(f"{kind}, {rows:,} pictures: known files on disk {len(files.to_bytes()) / rows:.0f} bytes each")


def tree(folder: Path, rows: int) -> Path:
    """Empty files of 100 classes."""
    root = folder / "tree"
    for row in range(rows):
        path = root / f"class{row % 100:03d}" / f"{row // 100:08d}.jpg"
        if row < 100:
            path.parent.mkdir(parents=True)
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
    return root


def make_list(folder: Path, rows: int) -> str:
    """A list of such files beside them."""
    root = tree(folder, rows)
    names = (f"class{row % 100:03d}/{row // 100:08d}.jpg,class{row % 100:03d}" for row in range(rows))
    (root / "list.csv").write_text("path,label\n" + "\n".join(names) + "\n")
    return f"list:{root}/list.csv"


def make_parquet(folder: Path, rows: int) -> str:
    """A file of pictures that are none, of 100 bytes each."""
    import pyarrow
    import pyarrow.parquet

    columns = {
        "image": pyarrow.array([b"x" * 100] * rows, pyarrow.binary()),
        "label": [f"class{i % 100}" for i in range(rows)],
    }
    pyarrow.parquet.write_table(pyarrow.table(columns), folder / "all.parquet", row_group_size=1000)
    return f"parquet:{folder}/all.parquet"


MAKE: dict[str, Callable[[Path, int], str]] = {
    "folder": lambda folder, rows: f"folder:{tree(folder, rows)}",
    "list": make_list,
    "parquet": make_parquet,
}
IN = click.option("--folder", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Where files are made.")


@click.group()
def main() -> None:
    """What grows with a data set."""


@main.command()
@click.option("--shards", multiple=True, type=click.IntRange(min=1), default=(10_000, 100_000, 500_000))
def manifest(shards: tuple[int, ...]) -> None:
    """A plan and a manifest of so many shards."""
    for count in shards:
        alone(measure_manifest, count)


@main.command()
@click.option("--rows", multiple=True, type=click.IntRange(min=1), default=(2048, 100_000))
@IN
def shard(rows: tuple[int, ...], folder: Path | None) -> None:
    """A shard of so many rows x 2048 float16."""
    for count in rows:
        alone(measure_shard, count, folder or Path(tempfile.gettempdir()))


@main.command()
@click.option("--rows", type=click.IntRange(min=100), default=100_000)
@click.option("--kind", multiple=True, type=click.Choice([*MAKE]), default=tuple(MAKE))
@IN
def pictures(rows: int, kind: tuple[str, ...], folder: Path | None) -> None:
    """Data sets of so many pictures."""
    for one in kind:
        with tempfile.TemporaryDirectory(dir=folder) as name:
            alone(measure_pictures, one, rows, Path(name))


if __name__ == "__main__":
    main()
