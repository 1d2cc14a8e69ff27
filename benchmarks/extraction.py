"""Stage one beside what else one would run: the study's own loop, plain PyTorch, timm, thingsvision, and this tool.

    .venv/bin/python benchmarks/extraction.py -m resnet50 --rows 2048 --data-dir ../shared/data --json extraction.json
    .venv/bin/python benchmarks/extraction.py --gpu --scaling --json extraction-gpu.json

Each way gets a process of its own on the same images, in turns, because clocks and neighbours change; a figure is the
median over the turns, and what counts are ratios within one run. `pass_s` is one pass over the images, `total_s` the whole
process with its imports. timm and thingsvision run where `--timm` and `--thingsvision` name a Python
that has them. The device's matmul and copy rates are measured in the same run: a share is images/s x the FLOPs (the bytes
moved at least) of an image / that rate. `--plan` only lists the processes; `table.py` makes the documents' tables.
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
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from hardware import hardware
from processes import WAYS, Group, Process, Settings, all_groups, described, show_plan, title
from scaling import AXES, Numbers, axis_ratios, points
from ways import RANDOM, random_pixels

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from headstart.core.cache.errors import HeadstartError
from headstart.core.extract.config import ENGINES, PRECISIONS, STUDY_MODELS

ROOT = Path(__file__).resolve().parents[1]

GPU: dict[str, Any] = {
    "models": STUDY_MODELS,
    "device": "cuda",
    "engines": ("eager", "compiled"),
    "rows": 16_384,
    "peer_rows": 1024,
    "repeats": 2,
    "only": ("study", "headstart"),
    "whole": 60_000,
    "scale_rows": "4096,8192,16384,32768",
    "scale_batches": "64,128,256,512,1024",
    "scale_images": 8192,
}
"""What `--gpu` sets. A pass is long enough there for a rate of thousands of images per second."""


def preset(context: click.Context, parameter: click.Parameter, given: bool) -> None:
    """`--gpu`: other defaults, which every other option still overrides."""
    if given:
        context.default_map = GPU


@click.command()
@click.option("-m", "--model", "models", multiple=True, default=("resnet50",), show_default=True)
@click.option("--gpu", is_flag=True, is_eager=True, expose_value=False, callback=preset,
              help="All four backbones on CUDA, eager and compiled, 60,000 images, and sizes to fit.")  # fmt: skip
@click.option("--plan", is_flag=True, help="List the processes and stop: no backbone is imported or run.")
@click.option("--rows", default=2048, show_default=True, help="Images of this tool's pass; the others' take --peer-rows.")
@click.option("--peer-rows", default=256, show_default=True, help="Images of the slower ways' passes.")
@click.option("--repeats", type=click.IntRange(1), default=3, show_default=True, help="Turns.")
@click.option("--weights", default="random:0", show_default=True)
@click.option("--dataset", default="cifar10", show_default=True, help=f"As for `headstart extract`, or {RANDOM}.")
@click.option("--data-dir", type=click.Path(path_type=Path), default="data", show_default=True)
@click.option("--device", default="auto", show_default=True)
@click.option("--precision", type=click.Choice(PRECISIONS), default="auto", show_default=True)
@click.option("--engine", "engines", multiple=True, type=click.Choice(ENGINES), default=("auto",), show_default=True,
              help="This tool's; each one named gets a row.")  # fmt: skip
@click.option("--batch-size", type=click.IntRange(1), help="This tool's.  [default: its own choice]")
@click.option("--image-size", default=224, show_default=True)
@click.option("--timm", type=click.Path(path_type=Path), help="A Python that has timm.")
@click.option("--thingsvision", type=click.Path(path_type=Path), help="A Python that has thingsvision.")
@click.option("--way", "only", multiple=True, type=click.Choice(WAYS), default=WAYS)
@click.option("--ways/--no-ways", default=True, help="--no-ways: only --scaling and --whole.")
@click.option("--whole", default=0, metavar="N", help="Also N images of both splits; random pixels where there are fewer.")
@click.option("--scaling", is_flag=True, help="Also by images, batch size and image size, with the first engine or eager.")
@click.option("--scale-rows", type=Numbers(), default="64,128,256,512,1024", show_default=True)
@click.option("--scale-batches", type=Numbers(), default="8,16,32,64", show_default=True)
@click.option("--scale-sizes", type=Numbers(), default="32,64,96,128,160,224", show_default=True)
@click.option("--scale-images", default=256, show_default=True, help="Images of a pass, by batch and by image size.")
@click.option("--json", "output", type=click.Path(path_type=Path), help="Keep all raw figures there.")
def main(plan: bool, output: Path | None, **options: Any) -> None:
    """Time each way and print the ratios to the study's."""
    settings = Settings(**options)
    device = {} if plan else checked_device(settings, output)
    settings = with_pixels(settings)
    groups = [group for group in all_groups(settings) if group.processes]
    if plan:
        show_plan(groups, settings)
        return
    results: dict[str, Any] = {"hardware": hardware(), **device, "options": dataclasses.asdict(settings), "models": {}}
    with tempfile.TemporaryDirectory(prefix="extraction-") as scratch:
        os.environ["HEADSTART_BENCH"] = scratch
        try:
            measure(groups, settings, results, output)
        except HeadstartError as error:
            sys.exit(str(error))
    if results["failed"]:
        sys.exit(f"{len(results['failed'])} processes failed; their rows are missing")


def with_pixels(settings: Settings) -> Settings:
    """Random pixels where CIFAR-10 is not on this machine: a pass takes as long, and nothing is downloaded."""
    here = any(next(settings.data_dir.glob(name), None) for name in ("data_batch_*", "cifar-10-*"))
    if settings.dataset != "cifar10" or here:
        return settings
    click.echo(f"no CIFAR-10 below {settings.data_dir}: random 32 x 32 pixels instead", err=True)
    return dataclasses.replace(settings, dataset=RANDOM)


def checked_device(settings: Settings, output: Path | None) -> dict[str, str]:
    """The device and precision that this tool will take. Ends the program, in one line, where they can't be had."""
    from headstart.core.extract.network.devices import resolve

    if output and not output.parent.is_dir():
        sys.exit(f"--json {output}: found no folder {output.parent}, expected one; make it with mkdir -p {output.parent}")
    try:
        found = resolve(settings.device, settings.precision)
    except HeadstartError as error:
        sys.exit(f"{error}; --plan lists what would run on a machine that has it")
    return {"device": found.name, "precision": found.precision}


def measure(groups: Sequence[Group], settings: Settings, results: dict[str, Any], output: Path | None) -> None:
    """Run everything; the JSON is written after each group, since a long run may be cut."""
    if any(process.request["way"] in WAYS[:-1] for group in groups for process in group.processes):
        keep_pixels(settings)
    results["failed"] = []
    for group in groups:
        turns = take_turns(group, settings.repeats, results["failed"])
        keep(results, group, turns, settings)
        if output:
            output.write_text(json.dumps(results, indent=1, default=str) + "\n")


def take_turns(group: Group, repeats: int, failed: list[str]) -> dict[str, list[dict[str, Any]]]:
    """What each row's processes said. One that fails is told and not tried again: the others' time is not lost."""
    turns: dict[str, list[dict[str, Any]]] = {process.row: [] for process in group.processes}
    for turn in range(1, repeats + 1):
        for process in group.processes:
            if process.row not in turns:
                continue
            click.echo(f"turn {turn} of {repeats}: {described(process).rstrip()}", err=True)
            try:
                turns[process.row].append(run(process))
            except RuntimeError as error:
                click.echo(str(error), err=True)
                failed.append(f"{group.model} {group.part} {process.row}: {str(error).splitlines()[-1]}")
                del turns[process.row]
    return turns


def run(process: Process) -> dict[str, Any]:
    """One process; its own account of itself, and the time it took from outside. Raises RuntimeError."""
    call = [process.python, str(ROOT / "benchmarks" / "ways.py"), json.dumps(process.request)]
    started = time.perf_counter()
    done = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "PYTHONWARNINGS": "ignore"})
    total_s = time.perf_counter() - started
    if done.returncode:
        raise RuntimeError(f"{process.row}: {done.stderr.strip()[-2000:] or f'exit code {done.returncode}'}")
    return {"total_s": total_s, **json.loads(done.stdout.splitlines()[-1])}


def keep(results: dict[str, Any], group: Group, turns: dict[str, list[dict[str, Any]]], settings: Settings) -> None:
    """Put a group's figures where they belong and print them."""
    click.echo(f"\n{title(group, settings)}")
    if group.part == "models":
        found = report(turns)
        if found["rates"]:
            results["models"][group.model] = found
    elif group.part == "whole":
        results["whole"] = {"model": group.model, "image_size": settings.image_size, "rows": points(turns)}
        for row, point in results["whole"]["rows"].items():
            pixels, seconds = point["turns"][0]["pixels"], point["seconds"]
            click.echo(f"  {row:18s} {point['images']:,} images, {pixels}: {seconds:.2f} s, {point['rate']:,.1f} images/s")
    elif turns:
        engine = group.processes[0].request["engine"]
        scaling = results.setdefault("scaling", {"model": group.model, "engine": engine, **fixed_of(settings)})
        scaling[group.part] = points(turns)
        show_axis(group.part, scaling[group.part])


def fixed_of(settings: Settings) -> dict[str, Any]:
    """What stays the same along the curves that do not change it."""
    return {"images": settings.scale_images, "size": settings.image_size, "batch": settings.batch_size}


def keep_pixels(settings: Settings) -> None:
    """The peers' pictures as plain arrays, since a peer's Python has none of our packages."""
    import numpy as np

    folder = Path(os.environ["HEADSTART_BENCH"])
    if settings.dataset == RANDOM:
        pixels, labels = random_pixels(settings.peer_rows)
    else:
        from headstart.core.extract import datasets
        from headstart.core.extract.pictures.preprocess import Preprocessing

        split = datasets.open_split(settings.dataset, "train", settings.data_dir)
        pixels = split.read(0, min(settings.peer_rows, split.rows), Preprocessing(settings.image_size), 4).pixels
        labels = split.labels(0, len(pixels))
    np.save(folder / "pixels.npy", pixels)
    np.save(folder / "labels.npy", labels)


def report(turns: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Print a model's table; its figures."""
    measured = turns.get("matmul") or [{}]
    limit = {name: statistics.median(turn[name] for turn in measured) for name in measured[0] if name != "total_s"}
    found = points({row: passes for row, passes in turns.items() if row != "matmul"})
    rates = {row: point["rate"] for row, point in found.items()}
    totals = {row: statistics.median(turn["total_s"] for turn in turns[row]) for row in found}
    base = rates.get("study")
    if limit:
        click.echo(f"  {limits_named(limit)}")
    for row, point in found.items():
        ratio = f"  {rates[row] / base:6.2f} x the study's" if base else ""
        low, high = point["range"]
        shown = f"  {row:18s} {rates[row]:9.1f} images/s ({low:.1f} to {high:.1f}){ratio}"
        click.echo(f"{shown}{shares_named(rates[row], limit)}  {totals[row]:.1f} s with start-up")
    return {"rates": rates, "totals": totals, "matmul": limit, "turns": turns}


def limits_named(limit: dict[str, float]) -> str:
    """What an image costs and what the device can do."""
    pinned = f", {limit['pinned_copy'] / 1e9:,.1f} from pinned memory" if "pinned_copy" in limit else ""
    in_bf16 = f"{limit['bf16'] / 1e9:,.0f} in bf16" if "bf16" in limit else "bf16 left out: no instructions for it here"
    return (
        f"{limit['flops'] / 1e9:.2f} GFLOP and {limit['traffic'] / 1e6:.1f} MB an image; matmul {limit['fp32'] / 1e9:,.0f} "
        f"GFLOP/s in fp32, {in_bf16}; copy {limit['copy'] / 1e9:,.1f} GB/s{pinned}"
    )


def shares_named(rate: float, limit: dict[str, float]) -> str:
    """The parts of the device's rates that a rate of images takes; of fp32's where bf16 was left out."""
    if not limit:
        return ""
    name = "bf16" if "bf16" in limit else "fp32"
    arithmetic, memory = rate * limit["flops"] / limit[name], rate * limit["traffic"] / limit["copy"]
    return f"  {arithmetic:5.0%} of the {name} matmul rate, {memory:5.0%} of the copy rate"


def show_axis(axis: str, found: dict[str, dict[str, Any]]) -> None:
    """One curve as lines."""
    for (value, point), ratio in zip(found.items(), axis_ratios(axis, found), strict=True):
        low, high = point["range"]
        shown = f"  {AXES[axis].title} {value:>6s} {point['seconds']:9.3f} s {point['rate']:9.1f} images/s"
        click.echo(f"{shown} ({low:.1f} to {high:.1f})  {ratio:5.2f} {AXES[axis].ratio}")


if __name__ == "__main__":
    main()
