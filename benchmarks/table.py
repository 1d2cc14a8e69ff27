"""The benchmarks' JSON as the tables and the plot of docs/performance.md.

.venv/bin/python benchmarks/table.py docs/performance.svg extraction.json > tables.md
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click


def lines(model: str, found: dict[str, Any]) -> list[str]:
    """A model's rows: images/s, the ratio to the study's way, the share of the measured matmul rate."""
    limit, base = found["matmul"], found["rates"].get("study")
    rows = []
    for way, rate in found["rates"].items():
        speeds = [turn["images"] / turn["pass_s"] for turn in found["turns"][way]]
        ratio = f"{rate / base:.2f}" if base else ""
        share = rate * limit["flops"] / limit["bf16"]
        spread = f"{min(speeds):.1f} to {max(speeds):.1f}"
        rows.append(f"| {model} | {way} | {rate:.1f} | {spread} | {ratio} | {share:.0%} | {found['totals'][way]:.1f} |")
    return rows


def plot(models: dict[str, Any], path: Path) -> None:
    """Images per second of each way, as bars."""
    from matplotlib.figure import Figure

    ways = list(dict.fromkeys(way for found in models.values() for way in found["rates"]))
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    axes = figure.subplots()
    width = 0.8 / len(ways)
    for i, way in enumerate(ways):
        places = [j + i * width for j, found in enumerate(models.values()) if way in found["rates"]]
        rates = [found["rates"][way] for found in models.values() if way in found["rates"]]
        axes.bar_label(axes.bar(places, rates, width, label=way), fmt="%.1f", fontsize=7)
    axes.set_xticks([j + 0.4 - width / 2 for j in range(len(models))], list(models))
    axes.set_ylabel("images/s")
    axes.set_title("Extraction on this machine, by way")
    axes.legend(fontsize=7)
    figure.savefig(path, metadata={"Date": None})


@click.command()
@click.argument("image", type=click.Path(path_type=Path))
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
def main(image: Path, files: tuple[Path, ...]) -> None:
    """Print the table of `extraction.py`'s JSON FILES and draw the plot."""
    models: dict[str, Any] = {}
    for file in files:
        models |= json.loads(file.read_text())["models"]
    print("| model | way | images/s | lowest to highest | x the study's way | share of bf16 matmul | whole process, s |")
    print("|---|---|---|---|---|---|---|")
    for model, found in models.items():
        print("\n".join(lines(model, found)))
    plot(models, image)


if __name__ == "__main__":
    main()
