"""What a change of a folder costs, beside a full extraction in the same run: seconds, and pictures through the backbone.

    python benchmarks/changes.py --rows 2000 --model resnet50 --weights resnet50.safetensors [--data-dir data] [--json]

CIFAR-10's training images become a folder of PNG files. Each change is made on a copy of the folder and of its features.
And the look-up of a million known digests, synthetic, with the memory that it takes.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from headstart import extraction
from headstart.core.cache.digests import Wanted
from headstart.core.extract import datasets
from headstart.core.extract.config import ExtractConfig, ExtractionRequest
from headstart.observer import Observer
from headstart.workspace import Workspace


@dataclasses.dataclass(frozen=True)
class Cost:
    """A change: seconds, as a share of the full extraction, and pictures that were computed."""

    change: str
    elapsed_s: float
    share: float
    computed: int


def write_folder(top: Path, rows: int, data_dir: Path) -> None:
    """The first rows of CIFAR-10 and some more beside it, which are added later."""
    images = datasets.open_split("cifar10", "train", data_dir)
    more = rows + max(1, rows // 100)
    pixels, labels = images.read(0, more, 32, 1).pixels, images.labels(0, more)
    for row in range(more):
        path = top / ("new" if row >= rows else "photos") / images.classes[labels[row]] / f"{row:05d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels[row]).save(path)


def added(top: Path) -> None:
    """1 % more pictures."""
    shutil.copytree(top / "new", top / "photos", dirs_exist_ok=True)


def nothing(top: Path) -> None:
    """As it was."""


def class_renamed(top: Path) -> None:
    """A class has another name."""
    (top / "photos/cat").rename(top / "photos/kitten")


def relabelled(top: Path) -> None:
    """Every hundredth picture is of another class."""
    for path in sorted(top.glob("photos/*/*.png"))[::100]:
        path.rename(top / "photos/ship" / f"moved-{path.name}")


def moved(top: Path) -> None:
    """The folder is somewhere else, under another name."""
    (top / "photos").rename(top / "pictures")


def halved(top: Path) -> None:
    """Every second picture is gone."""
    for path in sorted(top.glob("photos/*/*.png"))[::2]:
        path.unlink()


def divided(top: Path) -> None:
    """Train and test are drawn anew."""
    for place, path in enumerate(sorted(top.glob("photos/*/*.png"))):
        new = top / "divided" / ("test" if place % 5 == 0 else "train") / path.parent.name / path.name
        new.parent.mkdir(parents=True, exist_ok=True)
        path.rename(new)


CHANGES: tuple[Callable[[Path], None], ...] = (nothing, added, class_renamed, relabelled, moved, halved, divided)


def run(top: Path, options: argparse.Namespace) -> tuple[float, int]:
    """Extract what is there: seconds and pictures computed."""
    (place,) = (path for name in ("photos", "pictures", "divided") if any((path := top / name).rglob("*.png")))
    config = ExtractConfig(precision=options.precision, image_size=options.image_size)
    request = ExtractionRequest((options.model,), f"folder:{place}", weights=(options.weights,), config=config)
    started = time.perf_counter()
    outcomes = extraction.extract(Workspace(top / "features", top / "runs", options.data_dir, "auto"), request, Observer())
    return time.perf_counter() - started, sum(outcome.computed for outcome in outcomes)


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


def main() -> None:
    """Measure and print; with --json one document as the last line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--model", default="resnet50")
    parser.add_argument("--weights", default="IMAGENET1K_V1")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        first = Path(folder) / "first"
        write_folder(first, options.rows, options.data_dir)
        full_s, computed = run(first, options)
        costs = [Cost("everything", full_s, 1.0, computed)]
        for change in CHANGES:
            top = first.rename(Path(folder) / "now")
            run(shutil.copytree(top, first), options)  # which has other inodes, and becomes known by them
            change(top)
            elapsed_s, computed = run(top, options)
            costs.append(Cost(change.__name__.replace("_", " "), elapsed_s, elapsed_s / full_s, computed))
            shutil.rmtree(top)
    for cost in costs:
        print(f"{cost.change:15} {cost.elapsed_s:8.2f} s  {cost.share:7.2%}  {cost.computed:6,} computed")
    elapsed_s, peak_mb = look_up()
    print(f"a million known digests looked up in {elapsed_s:.2f} s, {peak_mb:.0f} MB")
    if options.json:
        print(json.dumps({"costs": [dataclasses.asdict(cost) for cost in costs], "look_up": [elapsed_s, peak_mb]}))


if __name__ == "__main__":
    main()
