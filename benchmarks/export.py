"""Exported files beside `predict`: how far they are apart, how large and how fast they are, in each precision.

    .venv/bin/python benchmarks/export.py --model resnet18 --model vgg16=random:0 --photos photos/ --data-dir data/

Heads are logistic regressions on the first CIFAR-10 rows, extracted and trained in `--work` unless they are there. A file
is held against `predict` in fp32 on its four test pictures and the photographs, and on the first test rows, by `export`
itself: where it is farther away than its tolerance, the line says so. Speeds are of batches of 16 pictures of 32 x 32 px,
the median of the repeats, in a process of its own for ONNX Runtime.
"""

from __future__ import annotations

import dataclasses
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np
from hardware import hardware

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

if TYPE_CHECKING:
    from headstart.export.results import Exported
    from headstart.inference.trained import TrainedHead
    from headstart.workspace import Workspace

BATCH = 16
HEADING = (
    "| backbone | file | size | pictures: largest difference | rows: largest difference | same labels "
    "| right, by predict | images/s |\n|---|---|---:|---:|---:|---:|---:|---:|"
)


@click.command()
@click.option("-m", "--model", "models", multiple=True, required=True, metavar="MODEL[=WEIGHTS]")
@click.option("--photos", type=click.Path(exists=True), required=True, help="Photographs to check on.")
@click.option("--data-dir", type=click.Path(path_type=Path), default="data", show_default=True)
@click.option("--work", type=click.Path(path_type=Path), default="build/export", show_default=True)
@click.option("--rows", default=600, show_default=True, help="Rows of each split that are extracted.")
@click.option("--images", default=100, show_default=True, help="Test rows that a file is held against predict on.")
@click.option("--image-size", type=int, help="Pixels, squared. [default: the weights' own]")
@click.option("--repeats", default=5, show_default=True, help="Batches that are timed.")
@click.option("--json", "output", type=click.Path(path_type=Path), help="Keep all raw figures there.")
def main(
    models: tuple[str, ...],
    photos: str,
    data_dir: Path,
    work: Path,
    rows: int,
    images: int,
    image_size: int | None,
    repeats: int,
    output: Path | None,
) -> None:
    """Print a line for each file."""
    from headstart.workspace import Workspace

    workspace, found = Workspace(work / "features", work / "runs", data_dir, "cpu"), []
    click.echo(HEADING)
    for named in models:
        model, _, weights = named.partition("=")
        head = trained(workspace, model, weights or "DEFAULT", rows, image_size)
        for figures in exported(workspace, head, work, photos, images, repeats):
            found.append({"model": model, **figures})
            click.echo(line(found[-1]))
    if output:
        output.write_text(json.dumps({"hardware": hardware(), "rows": rows, "figures": found}, indent=1) + "\n")


def trained(workspace: Workspace, model: str, weights: str, rows: int, image_size: int | None) -> TrainedHead:
    """The head of a model: that of its newest run, or a new one."""
    from headstart import extraction, training
    from headstart.core.cache.errors import RunNotFound
    from headstart.core.extract.config import ExtractConfig, ExtractionRequest
    from headstart.core.heads.config import RECIPES
    from headstart.core.heads.runs import RunStore
    from headstart.inference.trained import of_run
    from headstart.observer import SILENT
    from headstart.requests import TrainingRequest

    try:
        (run,) = RunStore(workspace.runs_dir).newest((model,))
    except RunNotFound:
        config = ExtractConfig(limit=rows, image_size=image_size, device="cpu")
        extraction.extract(workspace, ExtractionRequest((model,), weights=(weights,), config=config), SILENT)
        logreg = dataclasses.replace(RECIPES["standard"], head="logreg")
        (run,) = training.train(workspace, TrainingRequest((model,), config=logreg), SILENT)
    return of_run(workspace, run)


def exported(
    workspace: Workspace, head: TrainedHead, work: Path, photos: str, images: int, repeats: int
) -> Iterator[dict[str, Any]]:
    """A file of each precision: what export found, or why it wrote none, and its speed."""
    from headstart.core.cache.errors import ModelFileDiffers
    from headstart.export.exporting import export
    from headstart.export.running.process import running
    from headstart.observer import SILENT
    from headstart.requests import EXPORT_PRECISIONS, ExportRequest

    for precision in EXPORT_PRECISIONS:
        path = work / "files" / f"{head.checkpoint.key.backbone.replace('/', '-')}-{precision}.onnx"
        started = time.perf_counter()
        try:
            found = export(workspace, head, ExportRequest(path, (photos,), precision=precision, limit=images), SILENT)
        except ModelFileDiffers as error:
            yield {"file": f"ONNX, {precision}", "refused": str(error)}
            continue
        elapsed_s = time.perf_counter() - started
        with running(path) as run:
            yield {**figures_of(found), "export_s": elapsed_s, "images_per_s": rate(run, repeats)}


def figures_of(found: Exported) -> dict[str, Any]:
    """What an export measured."""
    assert found.checked is not None
    assert found.checked.on_rows is not None
    own = None if found.checked.own is None else dataclasses.asdict(found.checked.own[1])
    return {
        "file": f"ONNX, {found.checked.facts.precision}",
        "bytes": found.nbytes,
        "by": found.checked.by,
        "pictures": dataclasses.asdict(found.checked.agreement),
        "beside_own_precision": own,
        "rows": dataclasses.asdict(found.checked.on_rows),
    }


def rate(run: Callable[[Any], Any], repeats: int) -> float:
    """Pictures a second, in batches."""
    pixels = np.random.default_rng(0).integers(0, 256, (BATCH, 32, 32, 3), dtype=np.uint8)
    run(pixels)
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        run(pixels)
        times.append(time.perf_counter() - started)
    return BATCH / statistics.median(times)


def line(found: dict[str, Any]) -> str:
    """A row of the table."""
    if "refused" in found:
        return f"| {found['model']} | {found['file']} | {found['refused']} | | | | | |"
    pictures, rows = found["pictures"], found["rows"]
    agreement, right, theirs = rows["agreement"], rows["right"], rows["right_by_predict"]
    accuracy = f"{right['correct']}, {theirs['correct']} of {right['total']}" if right else ""
    cells = (
        found["model"],
        found["file"],
        f"{found['bytes'] / 1e6:.1f} MB",
        f"{pictures['largest']:.1e}",
        f"{agreement['largest']:.1e}",
        f"{pictures['same_labels'] + agreement['same_labels']} of {pictures['pictures'] + agreement['pictures']}",
        accuracy,
        f"{found['images_per_s']:.1f}",
    )
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
