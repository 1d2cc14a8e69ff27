"""Each executor beside `local`: what it costs with as many threads, and how much faster two workers are than one.

    .venv/bin/python benchmarks/executors.py --weights ../shared/data/weights/resnet18-pqf.safetensors \
        --dataset cifar10 --data-dir ../shared/data --limit 6144 --json executors.json

Every run is a command of its own into an empty directory; the ways take turns, and a figure is the median over the turns.
`pass_s` are the seconds from the first image on, as the command itself reports them (of tasks side by side the longest);
`total_s` are those of the whole command, with imports and, for Ray, the start of a cluster. The shards are compared.
Without options: untrained weights and scikit-learn's digits, so that it runs anywhere.
"""

from __future__ import annotations

import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click
from hardware import hardware

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from headstart.core.cache.errors import HeadstartError
from headstart.core.cache.files import pretty_json, sha256, write_durably

ROOT = Path(__file__).resolve().parents[1]


@dataclasses.dataclass(frozen=True)
class Way:
    """Commands that run at once and make one set: their own options, workers and threads in all. `beside` is the way that
    has as many threads and one process."""

    name: str
    commands: tuple[tuple[str, ...], ...]
    workers: int
    threads: int
    beside: str


def ways(cores: int) -> list[Way]:
    """One worker with all cores and two with half of them each."""
    half, all_of = max(1, cores // 2), max(2, cores)
    ray = ("--executor", "ray", "--address", "local")
    return [
        Way("local, half the threads", ((),), 1, half, "local, half the threads"),
        Way("local", ((),), 1, all_of, "local"),
        Way("processes 1", (("--executor", "processes", "--num", "1"),), 1, all_of, "local"),
        Way("processes 2", (("--executor", "processes", "--num", "2"),), 2, all_of, "local"),
        Way("array 1", (("--executor", "array", "--task", "1/1"),), 1, all_of, "local"),
        Way("array 2", tuple(("--executor", "array", "--task", f"{i}/2") for i in (1, 2)), 2, all_of, "local"),
        Way("ray 1", ((*ray, "--num", "1"),), 1, all_of, "local"),
        Way("ray 2", ((*ray, "--num", "2"),), 2, all_of, "local"),
    ]


@dataclasses.dataclass(frozen=True)
class Run:
    """What one turn of a way took in seconds, and a digest of the shards that it made."""

    pass_s: float
    total_s: float
    shards: str


def measure(way: Way, words: tuple[str, ...]) -> Run:
    """Run a way's commands at once in an empty directory. Raises HeadstartError for one that fails."""
    threads = str(way.threads // len(way.commands))
    with tempfile.TemporaryDirectory() as place:
        started = time.perf_counter()
        running = [
            subprocess.Popen(
                [sys.executable, str(ROOT / "cli.py"), "extract", *words, *own, "--json", "--features-dir", place],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                # Ray gives its workers a low priority, which on a machine that others use would be measured instead
                env={**os.environ, "OMP_NUM_THREADS": threads, "PYTHONPATH": str(ROOT), "RAY_worker_niceness": "0"},
            )
            for own in way.commands
        ]
        said = [process.communicate() for process in running]
        total_s = time.perf_counter() - started
        for process, (_, error) in zip(running, said, strict=True):
            if process.returncode:
                raise HeadstartError(f"{way.name}: status {process.returncode}: {error.strip().splitlines()[-1]}")
        found = [json.loads(out.splitlines()[-1])[0]["elapsed_s"] for out, _ in said]
        files = sorted(Path(place).glob("*/shard-*.h5"))
        return Run(max(found), total_s, sha256(*(sha256(path.read_bytes()).encode() for path in files)))


def figures(way: Way, runs: dict[str, list[Run]], rows: int) -> dict[str, Any]:
    """The medians of a way, its overhead beside one process with as many threads, and its speed-up over half of them."""
    own, beside, half = (statistics.median(run.pass_s for run in runs[name]) for name in (way.name, way.beside, _HALF))
    return {
        "way": way.name,
        "workers": way.workers,
        "threads": way.threads,
        "pass_s": [run.pass_s for run in runs[way.name]],
        "images_per_s": rows / own,
        "total_s": statistics.median(run.total_s for run in runs[way.name]),
        "overhead": own / beside - 1,
        "speed_up": half / own,
    }


_HALF = "local, half the threads"


@click.command()
@click.option("-m", "--model", default="resnet18", show_default=True)
@click.option("--weights", default="random:0", show_default=True)
@click.option("--dataset", default="digits", show_default=True)
@click.option("--data-dir", default="data", show_default=True)
@click.option("--limit", type=click.IntRange(1), default=1024, show_default=True)
@click.option("--image-size", type=click.IntRange(32), default=224, show_default=True)
@click.option("--shard-rows", type=click.IntRange(1), default=512, show_default=True)
@click.option("--repeats", type=click.IntRange(1), default=3, show_default=True)
@click.option("--only", multiple=True, help="Ways to measure beside the two of local; all by default.")
@click.option("--json", "output", type=click.Path(path_type=Path))
def main(only: tuple[str, ...], repeats: int, output: Path | None, **given: Any) -> None:
    """Time every executor on one training split."""
    words = (
        *("-m", given["model"], "--weights", given["weights"], "--dataset", given["dataset"], "--split", "train"),
        *("--data-dir", given["data_dir"], "--limit", str(given["limit"]), "--image-size", str(given["image_size"])),
        *("--shard-rows", str(given["shard_rows"]), "--engine", "eager", "--batch-size", "16", "--device", "cpu"),
    )
    machine = hardware()
    chosen = [way for way in ways(machine["cores"]) if not only or way.name in (*only, "local", _HALF)]
    runs: dict[str, list[Run]] = {way.name: [] for way in chosen}
    for turn in range(repeats):
        for way in [*chosen[turn % len(chosen) :], *chosen[: turn % len(chosen)]]:
            try:
                runs[way.name].append(measure(way, words))
            except HeadstartError as error:
                raise click.ClickException(str(error)) from error
            click.echo(f"turn {turn + 1} of {repeats}: {way.name}: {runs[way.name][-1].pass_s:.2f} s", err=True)
    found = [figures(way, runs, given["limit"]) for way in chosen]
    same = len({run.shards for own in runs.values() for run in own}) == 1
    click.echo(f"{given['model']}, {given['limit']:,} images of {given['dataset']}, shards of {given['shard_rows']}")
    for one in found:
        click.echo(
            f"  {one['way']:<24} {one['images_per_s']:7.1f} images/s   overhead {one['overhead']:+7.1%}   "
            f"speed-up {one['speed_up']:.2f}   {one['total_s']:.1f} s with start-up"
        )
    click.echo(f"all shards are {'the same' if same else 'NOT THE SAME'}")
    if output:
        write_durably(output, pretty_json({"machine": machine, "settings": given, "same": same, "ways": found}))


if __name__ == "__main__":
    main()
