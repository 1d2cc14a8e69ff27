"""Stage one beside what else one would run: the study's own loop, plain PyTorch, timm, thingsvision, and this tool.

    .venv/bin/python benchmarks/extraction.py -m resnet50 --rows 2048 --data-dir ../shared/data --json extraction.json

Each way gets a process of its own on the same images, in turns, because clocks and neighbours change; a figure is the
median over the turns, and what counts are ratios within one run. `pass_s` is one pass over the images, `total_s` the whole
process with its imports. timm and thingsvision run where `--timm` and `--thingsvision` name a Python
that has them. The matmul rate is measured in the same run: share = images/s x FLOPs of an image / that rate.
"""

from __future__ import annotations

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
import numpy as np
from facts import hardware

ROOT = Path(__file__).resolve().parents[1]
WAYS = ("study", "plain", "timm", "thingsvision", "headstart")


@click.command()
@click.option("-m", "--model", "models", multiple=True, default=("resnet50",))
@click.option("--rows", default=2048, show_default=True, help="Images of this tool's pass; the others' take --peer-rows.")
@click.option("--peer-rows", default=256, show_default=True, help="Images of the slower ways' passes.")
@click.option("--repeats", default=3, show_default=True)
@click.option("--weights", default="random:0", show_default=True)
@click.option("--dataset", default="cifar10", show_default=True)
@click.option("--data-dir", type=click.Path(path_type=Path), default="data", show_default=True)
@click.option("--device", default="auto", show_default=True)
@click.option("--precision", default="auto", show_default=True)
@click.option("--engine", default="auto", show_default=True)
@click.option("--image-size", default=224, show_default=True)
@click.option("--timm", type=click.Path(path_type=Path), help="A Python that has timm.")
@click.option("--thingsvision", type=click.Path(path_type=Path), help="A Python that has thingsvision.")
@click.option("--way", "only", multiple=True, type=click.Choice(WAYS), default=WAYS)
@click.option("--json", "output", type=click.Path(path_type=Path), help="Keep all raw figures there.")
def main(models: tuple[str, ...], repeats: int, only: tuple[str, ...], output: Path | None, **options: Any) -> None:
    """Time each way and print the ratios to the study's."""
    pythons = {"timm": options.pop("timm"), "thingsvision": options.pop("thingsvision")}
    ways = [way for way in only if pythons.get(way, sys.executable)]
    for way in sorted(set(only) - set(ways)):
        print(f"{way}: skipped, no --{way} PYTHON")
    results: dict[str, Any] = {"hardware": hardware(), "options": {k: str(v) for k, v in options.items()}, "models": {}}
    keep_pixels(options)
    for model in models:
        turns: dict[str, list[dict[str, float]]] = {way: [] for way in (*ways, "matmul")}
        for _ in range(repeats):
            for way in turns:
                python = str(pythons.get(way) or sys.executable)
                turns[way].append(run_way(python, way, model, options))
        results["models"][model] = report(model, turns)
        if output:
            output.write_text(json.dumps(results, indent=1))


def keep_pixels(options: dict[str, Any]) -> None:
    """The peers' pictures as plain arrays, since a peer's Python has none of our packages."""
    sys.path.insert(0, str(ROOT))
    from extract import datasets

    split = datasets.open_split(options["dataset"], "train", options["data_dir"])
    pixels = split.read(0, options["peer_rows"], options["image_size"], 4).pixels
    np.save(Path(os.environ["HEADSTART_BENCH"]) / "pixels.npy", pixels)
    np.save(Path(os.environ["HEADSTART_BENCH"]) / "labels.npy", split.labels(0, len(pixels)))


def run_way(python: str, way: str, model: str, options: dict[str, Any]) -> dict[str, float]:
    """One process; its own account of itself, and the time it took from outside."""
    request = json.dumps({"way": way, "model": model, **{k: str(v) for k, v in options.items()}})
    started = time.perf_counter()
    call = [python, str(ROOT / "benchmarks" / "ways.py"), request]
    done = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "PYTHONWARNINGS": "ignore"})
    if done.returncode:
        sys.exit(f"{way}: {done.stderr[-2000:]}")
    return {"total_s": time.perf_counter() - started, **json.loads(done.stdout.splitlines()[-1])}


def report(model: str, turns: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    """Print a model's table; its figures."""
    limit = {name: statistics.median(t[name] for t in turns["matmul"]) for name in ("fp32", "bf16", "flops")}
    speeds = {way: sorted(t["images"] / t["pass_s"] for t in found) for way, found in turns.items() if way != "matmul"}
    rates = {way: statistics.median(found) for way, found in speeds.items()}
    totals = {way: statistics.median(t["total_s"] for t in turns[way]) for way in speeds}
    base = rates.get("study")
    flops, fp32, bf16 = (limit[name] / 1e9 for name in ("flops", "fp32", "bf16"))
    print(f"\n{model}: {flops:.2f} GFLOP an image; matmul {fp32:,.0f} GFLOP/s in fp32, {bf16:,.0f} in bf16")
    for way, rate in rates.items():
        ratio = f"{rate / base:6.2f} x the study's" if base else ""
        share = rate * limit["flops"] / limit["bf16"]
        print(f"  {way:13s} {rate:9.1f} images/s ({speeds[way][0]:.1f} to {speeds[way][-1]:.1f})  {ratio}  {share:5.0%} of "
              f"the bf16 matmul rate  {totals[way]:.1f} s with start-up")  # fmt: skip
    return {"rates": rates, "totals": totals, "matmul": limit, "turns": turns}


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="extraction-") as scratch:
        os.environ["HEADSTART_BENCH"] = scratch
        main()
