"""Near-duplicates that `headstart audit` finds among CIFAR-10 pictures, where 500 were planted.

    .venv/bin/python benchmarks/duplicates.py --weights ../shared/data/weights/resnet18-pqf.safetensors \\
        --data ../shared/data/cifar-10-batches-bin --first 10000 --work planted --json duplicates.json

Of 10,000 training pictures 100 each are kept once more as JPEG at quality 75, at nine tenths of their size, mirrored, with
5 % of either side cut off at a random place, and a tenth brighter. They are PNG files of one folder, extracted and audited
as any other. --first says from which row pictures are taken, and --varied draws the parameters at random: bounds are
chosen on some rows, and measured on others. CIFAR-10 has near-duplicates of its own, so that pairs that
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

from headstart.auditing.pixels.opened import open_pictures, sampled
from headstart.auditing.pixels.proposed import proposed
from headstart.auditing.request import NONE
from headstart.auditing.rows import Rows, rows_of
from headstart.auditing.twins import candidates, look, twins
from headstart.core.cache.store import FeatureStore
from headstart.core.heads.audit import duplicates
from headstart.core.heads.data import Pair
from headstart.observer import Observer

KINDS = ("jpeg", "resized", "mirrored", "cropped", "brighter")
EACH = 100
RECORD, SIDE, OF_A_FILE = 3073, 32, 10_000


@dataclasses.dataclass(frozen=True)
class Found:
    """What was found of the planted pairs of each kind, and the shares that were candidates by features, and by pixels from
    afar; the pairs beyond them; seconds, and processor seconds, of features, of opening and of comparing."""

    recall: dict[str, float]
    by_features: dict[str, float]
    by_pixels: dict[str, float]
    pairs: tuple[int, int]
    planted: int
    others: tuple[tuple[str, str, float], ...]
    seconds: tuple[float, ...]
    processor_s: tuple[float, ...]


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


def plant(pictures: list[Image.Image], folder: Path, varied: bool, each: int = EACH) -> None:
    """Write the pictures as `00017.png`, and the planted ones, `each` of a kind, as `00017-mirrored.png`."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    for i, picture in enumerate(pictures):
        picture.save(folder / f"{i:05d}.png", compress_level=1)
    chosen = rng.permutation(len(pictures))[: each * len(KINDS)].reshape(len(KINDS), each)
    for kind, own in zip(KINDS, chosen.tolist(), strict=True):
        for i in own:
            changed(pictures[i], kind, varied, rng).save(folder / f"{i:05d}-{kind}.png")


def find(rows: Rows, data: Path) -> Found:
    """Run what `audit` runs on duplicates."""
    names = [Path(bytes(one).decode()).stem for one in rows.ids]
    places = {name: i for i, name in enumerate(names)}
    planted = {(places[name.split("-")[0]], i): name.split("-")[1] for i, name in enumerate(names) if "-" in name}
    planted = {(min(pair), max(pair)): kind for pair, kind in planted.items()}
    same, times = duplicates.same_content(rows.digests), [_now()]
    looked = look(rows, same, rows.features(0))
    pairs = candidates([looked])
    times.append(_now())
    opened = open_pictures(rows, pairs.rows, sampled(len(rows), NONE, 0), data, Observer())
    times.append(_now())
    said = twins(rows, same, [looked], pairs, opened, Observer())
    times.append(_now())
    found, features, pixels = (
        set(map(tuple, one.tolist())) for one in (said.near, pairs.pairs[: pairs.count], proposed(opened, same))
    )
    copies = {pair for pair in planted if same[pair[0]] == same[pair[1]]}

    def shares(there: set[tuple[int, ...]]) -> dict[str, float]:
        own = {kind: [pair for pair, one in planted.items() if one == kind] for kind in KINDS}
        return {kind: float(np.mean([one in there or one in copies for one in own[kind]])) for kind in KINDS}

    others = [
        (names[a], names[b], float(score))
        for (a, b), score in zip(said.near.tolist(), said.scores.tolist(), strict=True)
        if (a, b) not in planted
    ]
    wall, processor = np.diff(np.array(times), axis=0).T.tolist()
    sizes = len(features), len(pixels - features)
    return Found(
        *map(shares, (found, features, pixels)),
        sizes,
        len(found & set(planted)),
        tuple(others),
        tuple(wall),
        tuple(processor),
    )


def _now() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


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
@click.option("--weights", required=True, help="As for `extract`.")
@click.option("--image-size", default=224, show_default=True)
@click.option("--data", type=click.Path(exists=True, path_type=Path), required=True, help="CIFAR-10's binary files.")
@click.option("--work", type=click.Path(path_type=Path), required=True, help="A folder for pictures and features.")
@click.option("--first", default=0, show_default=True, help="The first row that is taken.")
@click.option("--rows", default=10_000, show_default=True)
@click.option("--each", default=EACH, show_default=True, help="Pictures that are planted of each kind.")
@click.option("--varied", is_flag=True, help="Parameters at random.")
@click.option("--sheet", "shown", type=click.Path(path_type=Path), help="Write pairs that were not planted to a PNG.")
@click.option("--json", "output", type=click.Path(path_type=Path))
def main(model: str, weights: str, data: Path, work: Path, shown: Path | None, output: Path | None, **given: Any) -> None:
    """Plant, extract what is not extracted yet, find, and print."""
    pictures, features = work / "pictures", work / "features"
    if not pictures.exists():
        plant(cifar(data, given["first"], given["rows"]), pictures, given["varied"], given["each"])
    cli = Path(__file__).resolve().parents[1] / "cli.py"
    command = [sys.executable, cli, "extract", "-m", model, "--weights", weights, "--dataset", f"folder:{pictures}"]
    subprocess.run([*command, "--features-dir", features, "--image-size", str(given["image_size"])], check=True)
    kept = next(one for one in FeatureStore(features).sets() if one.manifest.key.backbone == model)
    found = find(rows_of([Pair(kept, None)]), work)
    for kind in KINDS:
        click.echo(
            f"{kind}: recall {found.recall[kind]:.2f}, candidates by features {found.by_features[kind]:.2f}, "
            f"by pixels {found.by_pixels[kind]:.2f}"
        )
    click.echo(f"{found.planted} planted pairs and {len(found.others)} others")
    click.echo(f"{found.pairs[0]:,} pairs by features and {found.pairs[1]:,} more by pixels looked at")
    for name, wall, own in zip(("features", "opening", "comparing"), found.seconds, found.processor_s, strict=True):
        click.echo(f"{name}: {wall:.1f} s, {own:.1f} processor seconds")
    if shown is not None:
        sheet(pictures, list(found.others), shown)
    if output is not None:
        said = {"hardware": hardware(), "model": model, **given, **dataclasses.asdict(found)}
        output.write_text(json.dumps(said, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
