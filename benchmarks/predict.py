"""`extract` and `predict` over the same small PNG files, and both splits of one extraction, in turns.

    .venv/bin/python benchmarks/predict.py -m resnet50 --images 1000 --data-dir ../shared/data --json predict.json

One network serves all, loaded beforehand. What counts are ratios within a turn; a figure is the median over the turns. The
splits are CIFAR-10's first rows, two thirds of `--rows` to train; their engine and batch size are chosen in the first turn.
"""

from __future__ import annotations

import dataclasses
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from hardware import hardware
from ways import Silent, random_pixels

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

if TYPE_CHECKING:
    from headstart.core.extract.job import Job

SPLITS = ("train", "test")


@click.command()
@click.option("-m", "--model", default="resnet50", show_default=True)
@click.option("--weights", default="random:0", show_default=True)
@click.option("--images", default=1000, show_default=True, help="PNG files of 32 x 32 pixels.")
@click.option("--rows", default=0, show_default=True, help="Rows of both splits together; 0 leaves them out.")
@click.option("--image-size", default=224, show_default=True)
@click.option("--device", default="auto", show_default=True)
@click.option("--repeats", default=3, show_default=True, help="Turns.")
@click.option("--data-dir", type=click.Path(path_type=Path), default="data", show_default=True)
@click.option("--json", "output", type=click.Path(path_type=Path), help="Keep all raw figures there.")
def main(
    model: str,
    weights: str,
    images: int,
    rows: int,
    image_size: int,
    device: str,
    repeats: int,
    data_dir: Path,
    output: Path | None,
) -> None:
    """Print the rates of each turn and their ratios."""
    from headstart.core.extract import plan as jobs
    from headstart.core.extract.config import ExtractConfig, ExtractionRequest

    config = ExtractConfig(device=device, image_size=image_size)
    turns: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="predict-") as scratch:
        write_files(Path(scratch) / "files", images)
        asked = ExtractionRequest((model,), f"folder:{scratch}/files", weights=(weights,), config=config)
        (files,) = jobs.plan(asked, data_dir)
        splits = jobs.plan(dataclasses.replace(asked, dataset="cifar10"), data_dir) if rows else []
        shares = {"train": rows - rows // 3, "test": rows // 3}
        splits = [
            dataclasses.replace(job, config=dataclasses.replace(job.config, limit=shares[job.images.split]))
            for job in splits
        ]
        for turn in range(repeats):
            found: dict[str, Any] = {"extract": extracted([files])[0]["rate"], "predict": predicted(files)}
            found["predict_to_extract"] = found["predict"] / found["extract"]
            if splits:
                found["splits"] = extracted(splits)
                found["test_to_train"] = found["splits"][1]["rate"] / found["splits"][0]["rate"]
            turns.append(found)
            click.echo(f"turn {turn + 1}: {json.dumps(found)}")
    medians = {
        name: statistics.median(turn[name] for turn in turns)
        for name in ("extract", "predict", "predict_to_extract", "test_to_train")
        if name in turns[0]
    }
    click.echo(f"medians: {json.dumps(medians)}")
    if output:
        output.write_text(json.dumps({"hardware": hardware(), "medians": medians, "turns": turns}, indent=1) + "\n")


def write_files(folder: Path, images: int) -> None:
    """PNG files of random pixels in two class folders."""
    from PIL import Image

    pixels, _ = random_pixels(images)
    for row, image in enumerate(pixels):
        path = folder / "ab"[row % 2] / f"{row:06d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)


def extracted(found: list[Job]) -> list[dict[str, Any]]:
    """The rate of each job of one extraction into a new folder, and the way it went."""
    from headstart.core.cache.store import FeatureStore
    from headstart.core.extract.plan import load
    from headstart.core.extract.run import extract

    with tempfile.TemporaryDirectory() as folder:
        store, figures = FeatureStore(Path(folder)), []
        for place, job in enumerate(found):
            done = extract(job, load, store, Silent(), found[place + 1 :])
            origin = done.features.manifest.provenance
            way = {"engine": origin.engine, "batch_size": origin.batch_size}
            figures.append({"split": job.images.split, "rate": done.computed / done.elapsed_s, **way})
    return figures


def predicted(job: Job) -> float:
    """Images per second of the features that `predict` labels by, over the same files."""
    from headstart.core.extract.featurise import expand, featurise, outside
    from headstart.core.extract.plan import load

    extractor, paths = load(job), expand([str(job.images.source)])
    started = time.perf_counter()
    parts = featurise(outside(paths), extractor, job.config.workers, None, print)
    done = sum(len(part.rows) for part in parts)
    return done / (time.perf_counter() - started)


if __name__ == "__main__":
    main()
