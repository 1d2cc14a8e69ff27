"""The pictures whose labels `headstart audit` doubts most, on one sheet, to be looked at by a person.

    .venv/bin/python benchmarks/suspects.py --dataset cifar10 --features-dir features --data-dir ../shared/data \\
        --count 40 --sheet suspects.png --json suspects.json

The sheet has them row by row, the most certain first, numbered from 1; the file says of each its id, split, label and
the class that is proposed.
"""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import click
from PIL import Image, ImageDraw

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from headstart.auditing.audit import audit
from headstart.auditing.findings import name_of
from headstart.auditing.found import Audit
from headstart.auditing.request import AuditRequest
from headstart.core.cache.digests import to_hex
from headstart.core.extract.pictures.thumbnails import checked_thumbnail
from headstart.observer import SILENT
from headstart.pictures.opened import Pictures, opened
from headstart.workspace import Workspace

SIDE, ACROSS, TEXT = 96, 8, 36
"""Pixels of a picture on the sheet, pictures in a row, pixels of the words below each."""


def thumbnail(found: Audit, row: int, sources: list[Pictures]) -> Image.Image:
    """One picture at the sheet's size; small ones are enlarged without smoothing."""
    source = sources[int(found.rows.parts[row])]
    at = source.row(int(found.rows.numbers[row]), bytes(found.rows.ids[row]))
    (digest,) = to_hex(found.rows.digests[row : row + 1])
    picture = Image.open(io.BytesIO(checked_thumbnail(source.images, at, SIDE, digest))).convert("RGB")
    scale = max(1, SIDE // max(picture.size))
    return picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST)


@click.command()
@click.option("-m", "--model", "models", multiple=True)
@click.option("--dataset", default="cifar10")
@click.option("--features-dir", type=click.Path(path_type=Path), default=Path("features"))
@click.option("--data-dir", type=click.Path(path_type=Path), default=Path("data"))
@click.option("--count", default=40, help="Suspects on the sheet.")
@click.option("--sheet", type=click.Path(path_type=Path), required=True, help="The PNG file.")
@click.option("--json", "output", type=click.Path(path_type=Path))
def main(
    models: tuple[str, ...],
    dataset: str,
    features_dir: Path,
    data_dir: Path,
    count: int,
    sheet: Path,
    output: Path | None,
) -> None:
    """Audit, draw, and write."""
    workspace = Workspace(features_dir, features_dir / "no runs", data_dir, "cpu")
    found = audit(workspace, AuditRequest(models, dataset), SILENT)
    if found.labels is None:
        raise click.UsageError(str(found.why_no_labels))
    own, classes = found.labels.audit, found.rows.classes
    print(f"{len(own.suspects):,} suspects, {own.expected}, in {found.elapsed_s:.0f} s")
    sources = [Pictures(opened(source, data_dir)) for source in found.rows.sets]
    places, told = own.suspects[:count].tolist(), []
    board = Image.new("RGB", (ACROSS * (SIDE + 8), -(-len(places) // ACROSS) * (SIDE + TEXT)), "white")
    draw = ImageDraw.Draw(board)
    for number, place in enumerate(places):
        row = int(found.labels.places[place])
        left, top = number % ACROSS * (SIDE + 8) + 4, number // ACROSS * (SIDE + TEXT) + 2
        board.paste(thumbnail(found, row, sources), (left, top))
        given, proposed = classes[int(found.rows.labels[row])], classes[int(own.proposed[place])]
        draw.text((left, top + SIDE + 1), f"{number + 1} {given}\n{proposed}?", "black")
        split = found.rows.sets[int(found.rows.parts[row])].manifest.split
        told.append({"number": number + 1, "split": split, "id": name_of(found, row), "label": given, "proposed": proposed})
    board.quantize(128).save(sheet, optimize=True)
    if output is not None:
        output.write_text(json.dumps(told, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
