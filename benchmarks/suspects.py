"""The pictures whose labels `headstart audit` doubts most, and its nearest twins, on sheets, to be looked at by a person.

    .venv/bin/python benchmarks/suspects.py --dataset cifar10 --features-dir features --data-dir ../shared/data \\
        --count 40 --sheet suspects.png --pairs pairs.png --json suspects.json

The sheets have them row by row, the most certain first, numbered from 1; the file says of each suspect its id, split, label
and the class that is proposed. Of pairs, those that are the least alike by their pixels come last.
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


def board_of(cells: list[tuple[list[Image.Image], str]]) -> Image.Image:
    """Pictures side by side with words below, cell by cell."""
    wide = max(len(pictures) for pictures, _ in cells) * SIDE + 8
    across = max(1, ACROSS * (SIDE + 8) // wide)
    board = Image.new("RGB", (across * wide, -(-len(cells) // across) * (SIDE + TEXT)), "white")
    draw = ImageDraw.Draw(board)
    for number, (pictures, words) in enumerate(cells):
        left, top = number % across * wide + 4, number // across * (SIDE + TEXT) + 2
        for place, picture in enumerate(pictures):
            board.paste(picture, (left + place * SIDE, top))
        draw.text((left, top + SIDE + 1), f"{number + 1} {words}", "black")
    return board.quantize(128)


def split_of(found: Audit, row: int) -> str:
    """The split that a row is of."""
    return found.rows.sets[int(found.rows.parts[row])].manifest.split


@click.command()
@click.option("-m", "--model", "models", multiple=True)
@click.option("--dataset", default="cifar10")
@click.option("--features-dir", type=click.Path(path_type=Path), default=Path("features"))
@click.option("--data-dir", type=click.Path(path_type=Path), default=Path("data"))
@click.option("--count", default=40, help="Suspects on the sheet.")
@click.option("--sheet", type=click.Path(path_type=Path), required=True, help="The PNG file.")
@click.option("--pairs", type=click.Path(path_type=Path), help="The PNG file of near-duplicates.")
@click.option("--json", "output", type=click.Path(path_type=Path))
def main(
    models: tuple[str, ...],
    dataset: str,
    features_dir: Path,
    data_dir: Path,
    count: int,
    sheet: Path,
    pairs: Path | None,
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
    cells, told = [], []
    for place in own.suspects[:count].tolist():
        row = int(found.labels.places[place])
        given, proposed = classes[int(found.rows.labels[row])], classes[int(own.proposed[place])]
        cells.append(([thumbnail(found, row, sources)], f"{given}\n{proposed}?"))
        told.append({"split": split_of(found, row), "id": name_of(found, row), "label": given, "proposed": proposed})
    board_of(cells).save(sheet, optimize=True)
    near, leaked = found.twins.near.tolist(), set(found.twins.leaked.tolist())
    print(
        f"{len(found.twins.exact):,} groups of one content, {len(near):,} near pairs, {len(leaked):,} test pictures leaked"
    )
    order = sorted(range(len(near)), key=lambda place: -found.twins.scores[place])
    twins = [
        (
            [thumbnail(found, row, sources) for row in near[place]],
            f"{found.twins.scores[place]:.3f}\n{' '.join(split_of(found, row) for row in near[place])}",
        )
        for place in (order[:count] if len(order) <= 2 * count else order[: count // 2] + order[-(count - count // 2) :])
    ]
    if pairs is not None and twins:
        board_of(twins).save(pairs, optimize=True)
    if output is not None:
        output.write_text(json.dumps(told, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
