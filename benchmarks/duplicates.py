"""Near-duplicates that `headstart audit` finds among CIFAR-10 pictures, where 500 were planted.

    .venv/bin/python benchmarks/duplicates.py --weights ../shared/data/weights/resnet18-pqf.safetensors \\
        --data ../shared/data/cifar-10-batches-bin --work planted --json duplicates.json

Of 10,000 training pictures 100 each are kept once more as JPEG at quality 75, at nine tenths of their size, mirrored, with
5 % of either side cut off at a random place, and a tenth brighter. They are PNG files of one folder, extracted and audited
as any other. --first says from which row pictures are taken, and --varied draws the parameters at random: bounds are
chosen on such sets, and measured on the first rows without it. CIFAR-10 has near-duplicates of its own, so that pairs that
were not planted may be right: --sheet writes them side by side, to be looked at.
"""

from __future__ import annotations

import dataclasses
import io
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import click
import numpy as np
from hardware import hardware
from PIL import Image, ImageOps

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from headstart.auditing.rows import Rows, rows_of
from headstart.auditing.twins import look, twins
from headstart.core.cache.store import FeatureStore
from headstart.core.heads.audit import duplicates
from headstart.core.heads.data import Pair
from headstart.observer import Observer

KINDS = ("jpeg", "resized", "mirrored", "cropped", "brighter")
EACH = 100
RECORD, SIDE, OF_A_FILE = 3073, 32, 10_000


@dataclasses.dataclass(frozen=True)
class Found:
    """What was found of the planted pairs of each kind, and the pairs beyond them."""

    recall: dict[str, float]
    candidates: dict[str, float]
    planted: int
    others: tuple[tuple[str, str, float], ...]
    look_s: float
    compare_s: float


def cifar(folder: Path, first: int, count: int) -> list[Image.Image]:
    """Training pictures in the order of the binary files."""
    found = []
    for number in range(first // OF_A_FILE, -(-(first + count) // OF_A_FILE)):
        records = np.fromfile(folder / f"data_batch_{number + 1}.bin", dtype=np.uint8).reshape(-1, RECORD)
        pixels = records[:, 1:].reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1)
        at = number * OF_A_FILE
        found += [Image.fromarray(one) for one in pixels[max(0, first - at) : first + count - at]]
    return found


def changed(picture: Image.Image, kind: str, varied: bool, rng: np.random.Generator) -> Image.Image:
    """A picture kept in another way."""
    width, height = picture.size
    if kind == "jpeg":
        kept = io.BytesIO()
        picture.save(kept, "JPEG", quality=int(rng.integers(60, 91)) if varied else 75)
        return Image.open(kept).convert("RGB")
    if kind == "resized":
        share = rng.uniform(0.8, 0.97) if varied else 0.9
        return picture.resize((round(width * share), round(height * share)), Image.Resampling.BICUBIC)
    if kind == "mirrored":
        return ImageOps.mirror(picture)
    if kind == "cropped":
        share = rng.uniform(0.03, 0.08) if varied else 0.05
        across, down = max(1, round(width * share)), max(1, round(height * share))
        left, top = int(rng.integers(0, across + 1)), int(rng.integers(0, down + 1))
        return picture.crop((left, top, width - across + left, height - down + top))
    return picture.point(lambda value: min(255, value * (rng.uniform(1.05, 1.2) if varied else 1.1)))


def plant(pictures: list[Image.Image], folder: Path, varied: bool) -> None:
    """Write the pictures as `00017.png`, and the planted ones as `00017-mirrored.png`."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    for i, picture in enumerate(pictures):
        picture.save(folder / f"{i:05d}.png", compress_level=1)
    chosen = rng.permutation(len(pictures))[: EACH * len(KINDS)].reshape(len(KINDS), EACH)
    for kind, own in zip(KINDS, chosen.tolist(), strict=True):
        for i in own:
            changed(pictures[i], kind, varied, rng).save(folder / f"{i:05d}-{kind}.png")


def find(rows: Rows, data: Path) -> Found:
    """Run what `audit` runs on duplicates."""
    names = [Path(bytes(one).decode()).stem for one in rows.ids]
    places = {name: i for i, name in enumerate(names)}
    planted = {(places[name.split("-")[0]], i): name.split("-")[1] for i, name in enumerate(names) if "-" in name}
    planted = {(min(pair), max(pair)): kind for pair, kind in planted.items()}
    started = time.perf_counter()
    same = duplicates.same_content(rows.digests)
    looked = look(rows, same, rows.features(0))
    between = time.perf_counter()
    said = twins(rows, same, [looked], data, Observer())
    done = time.perf_counter()
    found, seen = set(map(tuple, said.near.tolist())), set(map(tuple, looked.pairs.tolist()))
    copies = {pair for pair in planted if same[pair[0]] == same[pair[1]]}
    recall, candidates = {}, {}
    for kind in KINDS:
        own = [pair for pair, one in planted.items() if one == kind]
        recall[kind] = float(np.mean([pair in found or pair in copies for pair in own]))
        candidates[kind] = float(np.mean([pair in seen or pair in copies for pair in own]))
    others = [
        (names[a], names[b], float(score))
        for (a, b), score in zip(said.near.tolist(), said.scores.tolist(), strict=True)
        if (a, b) not in planted
    ]
    return Found(recall, candidates, len(found & set(planted)), tuple(others), between - started, done - between)


def sheet(folder: Path, pairs: list[tuple[str, str, float]], path: Path) -> None:
    """Pairs side by side, eight in a line."""
    size, across = 64, 8
    whole = Image.new("RGB", ((2 * size + 12) * across, (size + 8) * max(1, -(-len(pairs) // across))), "white")
    for place, pair in enumerate(pairs):
        left, top = place % across * (2 * size + 12), place // across * (size + 8)
        for i, name in enumerate(pair[:2]):
            whole.paste(Image.open(folder / f"{name}.png").convert("RGB").resize((size, size)), (left + i * size, top))
    whole.save(path)


@click.command()
@click.option("-m", "model", default="resnet18", show_default=True)
@click.option("--weights", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--data", type=click.Path(exists=True, path_type=Path), required=True, help="CIFAR-10's binary files.")
@click.option("--work", type=click.Path(path_type=Path), required=True, help="A folder for pictures and features.")
@click.option("--first", default=0, show_default=True, help="The first row that is taken.")
@click.option("--rows", default=10_000, show_default=True)
@click.option("--varied", is_flag=True, help="Parameters at random.")
@click.option("--sheet", "shown", type=click.Path(path_type=Path), help="Write pairs that were not planted to a PNG.")
@click.option("--json", "output", type=click.Path(path_type=Path))
def main(model: str, weights: Path, data: Path, work: Path, shown: Path | None, output: Path | None, **given: Any) -> None:
    """Plant, extract what is not extracted yet, find, and print."""
    pictures, features = work / "pictures", work / "features"
    if not pictures.exists():
        plant(cifar(data, given["first"], given["rows"]), pictures, given["varied"])
    cli = Path(__file__).resolve().parents[1] / "cli.py"
    command = [sys.executable, cli, "extract", "-m", model, "--weights", weights, "--dataset", f"folder:{pictures}"]
    subprocess.run([*command, "--features-dir", features], check=True)
    kept = next(one for one in FeatureStore(features).sets() if one.manifest.key.backbone == model)
    found = find(rows_of([Pair(kept, None)]), work)
    for kind in KINDS:
        click.echo(f"{kind}: recall {found.recall[kind]:.2f}, candidates {found.candidates[kind]:.2f}")
    click.echo(
        f"{found.planted} planted pairs and {len(found.others)} others; {found.look_s:.1f} s, {found.compare_s:.1f} s"
    )
    if shown is not None:
        sheet(pictures, list(found.others), shown)
    if output is not None:
        said = {"hardware": hardware(), "model": model, **given, **dataclasses.asdict(found)}
        output.write_text(json.dumps(said, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
