"""What a change of a folder costs, beside a full extraction in the same run: seconds, and pictures through the backbone.

    .venv/bin/python benchmarks/changes.py --model resnet50 --weights ../shared/data/weights/resnet50-pqf.safetensors \
        --data-dir ../shared/data --json changes.json --into docs/performance.md

Training images of a data set become a folder of PNG files. Each change is made on a copy of the folder and of its features,
as often as `--turns` says; its time is the median. And the look-up of a million known digests, synthetic, with the memory
that it takes. `--into` replaces the table of a document.
"""

from __future__ import annotations

import dataclasses
import shutil
import statistics
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
from hardware import hardware
from PIL import Image
from table import replaced

from headstart import extraction
from headstart.core.cache.digests import Wanted
from headstart.core.cache.files import pretty_json, write_durably
from headstart.core.extract import datasets
from headstart.core.extract.config import ExtractConfig, ExtractionRequest
from headstart.core.extract.pictures.preprocess import Preprocessing
from headstart.observer import Observer
from headstart.workspace import Workspace


@dataclasses.dataclass(frozen=True)
class Cost:
    """A change: seconds, as a share of the full extraction, and pictures that were computed."""

    change: str
    elapsed_s: float
    share: float
    computed: int


def write_folder(top: Path, rows: int, dataset: str, data_dir: Path) -> None:
    """The first rows of a data set and some more beside it, which are added later."""
    images = datasets.open_split(dataset, "train", data_dir)
    more = rows + max(1, rows // 100)
    pixels, labels = images.read(0, more, Preprocessing(32), 1).pixels, images.labels(0, more)
    for row in range(more):
        path = top / ("new" if row >= rows else "photos") / images.classes[labels[row]] / f"{row:05d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels[row]).save(path)


def added(top: Path) -> None:
    """1 % more pictures."""
    shutil.copytree(top / "new", top / "photos", dirs_exist_ok=True)


def nothing(top: Path) -> None:
    """Nothing changed."""


def class_renamed(top: Path) -> None:
    """A class renamed."""
    first = min((top / "photos").iterdir())
    first.rename(first.with_name("another"))


def relabelled(top: Path) -> None:
    """1 % of the labels corrected."""
    for path in sorted(top.glob("photos/*/*.png"))[::100]:
        path.rename(max((top / "photos").iterdir()) / f"moved-{path.name}")


def moved(top: Path) -> None:
    """The folder moved and renamed."""
    (top / "photos").rename(top / "pictures")


def halved(top: Path) -> None:
    """Half of the pictures removed."""
    for path in sorted(top.glob("photos/*/*.png"))[::2]:
        path.unlink()


def divided(top: Path) -> None:
    """Divided anew into train and test."""
    for place, path in enumerate(sorted(top.glob("photos/*/*.png"))):
        new = top / "divided" / ("test" if place % 5 == 0 else "train") / path.parent.name / path.name
        new.parent.mkdir(parents=True, exist_ok=True)
        path.rename(new)


CHANGES: tuple[Callable[[Path], None], ...] = (nothing, added, class_renamed, relabelled, moved, halved, divided)


@dataclasses.dataclass(frozen=True)
class Bench:
    """What is extracted, and where the pictures come from."""

    model: str
    weights: str
    config: ExtractConfig
    dataset: str
    data_dir: Path

    def run(self, top: Path) -> tuple[float, int]:
        """Extract what is there: seconds and pictures computed."""
        (place,) = (path for name in ("photos", "pictures", "divided") if any((path := top / name).rglob("*.png")))
        request = ExtractionRequest((self.model,), f"folder:{place}", weights=(self.weights,), config=self.config)
        started = time.perf_counter()
        workspace = Workspace(top / "features", top / "runs", self.data_dir, "auto")
        outcomes = extraction.extract(workspace, request, Observer())
        return time.perf_counter() - started, sum(outcome.computed for outcome in outcomes)

    def costs(self, folder: Path, rows: int, turns: int) -> list[Cost]:
        """Everything, then each change of it."""
        first = folder / "first"
        write_folder(first, rows, self.dataset, self.data_dir)
        full_s, computed = self.run(first)
        costs = [Cost("everything computed", full_s, 1.0, computed)]
        for change in CHANGES:
            found = [self.changed(first, folder / "now", change) for _ in range(turns)]
            elapsed_s = statistics.median(seconds for seconds, _ in found)
            told = (change.__doc__ or "").rstrip(".")
            costs.append(Cost(told[0].lower() + told[1:], elapsed_s, elapsed_s / full_s, max(count for _, count in found)))
        return costs

    def changed(self, first: Path, top: Path, change: Callable[[Path], None]) -> tuple[float, int]:
        """One change of a copy: seconds and pictures computed."""
        first.rename(top)
        self.run(shutil.copytree(top, first))  # the copy has other inodes, and becomes known by them
        change(top)
        found = self.run(top)
        shutil.rmtree(top)
        return found


def look_up(rows: int = 1_000_000) -> tuple[float, float]:
    """Seconds for the look-up of so many digests that are all known, in parts of a shard's size, and peak megabytes."""
    rng = np.random.default_rng(0)
    wanted, kept = (rng.integers(0, 256, (rows, 32), dtype=np.uint8) for _ in range(2))
    kept[rng.permutation(rows)] = wanted
    started = time.perf_counter()
    found = Wanted.of(wanted)
    for start in range(0, rows, 2048):
        found.look_in(kept[start : start + 2048], start // 2048)
    elapsed_s = time.perf_counter() - started
    assert bool(found.found.all())
    tracemalloc.start()
    Wanted.of(wanted)
    peak = tracemalloc.get_traced_memory()[1] + wanted.nbytes
    tracemalloc.stop()
    return elapsed_s, peak / 1e6


def markdown(costs: list[Cost], found: tuple[float, float], what: str) -> str:
    """The table and what it was made on."""
    head = "| change | seconds | of a full extraction | through the backbone |\n|---|---|---|---|"
    rows = [f"| {one.change} | {one.elapsed_s:.2f} | {one.share:.1%} | {one.computed:,} |" for one in costs]
    looked = f"A million known digests are looked up in {found[0]:.2f} s, in {found[1]:.0f} MB."
    return "\n".join([head, *rows, "", f"- {what}", f"- {looked}"])


@click.command(help=__doc__)
@click.option("--rows", default=2000, show_default=True)
@click.option("--turns", default=3, show_default=True)
@click.option("--model", default="resnet50", show_default=True)
@click.option("--weights", default="IMAGENET1K_V1", show_default=True)
@click.option("--precision", default="auto", show_default=True)
@click.option("--image-size", default=224, show_default=True)
@click.option("--dataset", default="cifar10", show_default=True)
@click.option("--data-dir", type=click.Path(path_type=Path), default="data", show_default=True)
@click.option("--json", "path", type=click.Path(path_type=Path))
@click.option("--into", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def main(
    rows: int,
    turns: int,
    model: str,
    weights: str,
    precision: str,
    image_size: int,
    dataset: str,
    data_dir: Path,
    path: Path | None,
    into: Path | None,
) -> None:
    """Measure, print, and keep what was found."""
    bench = Bench(model, weights, ExtractConfig(precision=precision, image_size=image_size), dataset, data_dir)
    with tempfile.TemporaryDirectory() as folder:
        costs = bench.costs(Path(folder), rows, turns)
    found, machine = look_up(), hardware()
    what = f"{model}, {rows:,} pictures of {dataset} at {image_size} px; medians of {turns} turns"
    what += f"; {machine['cpu']}, {machine['cores']} cores"
    table = markdown(costs, found, what)
    click.echo(table)
    if path is not None:
        facts = {"hardware": machine, "costs": [dataclasses.asdict(one) for one in costs], "look_up": found}
        write_durably(path, pretty_json(facts))
    if into is not None:
        into.write_text(replaced(into.read_text(encoding="utf-8"), "changes", table, into), encoding="utf-8")


if __name__ == "__main__":
    main()
