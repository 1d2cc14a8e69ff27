"""The table and the figure of docs/heads.md, from what `heads_by_size.py` wrote.

    .venv/bin/python benchmarks/heads_table.py docs/heads.md resnet18.json densenet169.json

Replaces what stands between `<!-- table: sizes -->` and `<!-- end -->`, and writes the figure beside the document.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from figures import save
from scipy.stats import betabinom
from table import machine, markdown, replaced

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from headstart.core.heads.selection import search
from headstart.core.heads.statistics.conformal import rank

Cell = dict[str, Any]
ALLOWED = 0.5
"""Points below scikit-learn that are put up with."""


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("document", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
def main(document: Path, files: tuple[Path, ...]) -> None:
    """Write the cells of all FILES into DOCUMENT."""
    contents = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    cells = [cell for content in contents for cell in content["cells"]]
    machines = "; ".join(dict.fromkeys(machine(content) for content in contents))
    text = replaced(
        document.read_text(encoding="utf-8"), "sizes", f"{table(cells)}\n\n{summary(cells)} {machines}.", document
    )
    document.write_text(replaced(text, "coverage", coverage(cells), document), encoding="utf-8")
    save(figure(cells), document.with_suffix(".svg"))


def difference(cell: Cell) -> float:
    """Points of accuracy by which `auto` is above scikit-learn."""
    return float(100 * (cell["ours"] - cell["reference"]))


def table(cells: Sequence[Cell]) -> str:
    """One line for each backbone, case and number of rows."""
    columns = ["backbone", "case", "rows", "auto", "scikit-learn", "difference", "ECE of auto", "time of auto", "chosen"]
    return markdown(columns, [_line(cell) for cell in cells])


def _line(cell: Cell) -> list[str]:
    chosen = Counter(turn["chosen"].split()[0] for turn in cell["turns"])
    return [
        cell["backbone"],
        cell["case"],
        f"{cell['rows']:,}",
        f"{cell['ours']:.2%}",
        f"{cell['reference']:.2%}",
        f"{difference(cell):+.2f}",
        f"{cell['ece']:.1%}",
        "" if cell["share"] is None else f"{cell['share']:.1f}",
        ", ".join(f"{name} {count}" for name, count in chosen.most_common()),
    ]


def summary(cells: Sequence[Cell]) -> str:
    """The mean over all cells, and how many are below what is put up with."""
    found = [difference(cell) for cell in cells]
    short = sum(one < -ALLOWED for one in found)
    said = f"The mean of the {len(found)} differences is {statistics.mean(found):+.2f} points; "
    return (
        said
        + f"{'one is' if short == 1 else f'{short} are'} more than {ALLOWED} points below 0, the lowest {min(found):+.2f}."
    )


def coverage(cells: Sequence[Cell]) -> str:
    """How often conformal sets hold the truth, by number of training rows."""
    lines = []
    for rows in sorted({cell["rows"] for cell in cells}):
        turns = [turn for cell in cells if cell["rows"] == rows for turn in cell["turns"]]
        line = [f"{rows:,}", f"{len(turns)}"]
        for share in turns[0]["covered"]:
            held = [turn["covered"][share] / turn["tested"] for turn in turns]
            inside = sum(_within(turn, rows, share) for turn in turns)
            line += [f"{statistics.mean(held):.1%} ({min(held):.1%} to {max(held):.1%})", f"{inside}"]
        lines.append(line)
    shares = cells[0]["turns"][0]["covered"]
    columns = ["rows", "draws", *(name for share in shares for name in (f"asked for {share}", "within"))]
    return markdown(columns, lines)


def _within(turn: Cell, rows: int, share: str) -> bool:
    """Whether the covered images lie in the 99 % interval of split conformal prediction, whose number is beta-binomial."""
    judged = round(rows * search.HELD_OUT) if rows > search.CROSS_VALIDATED else rows
    missed = rank(judged, float(share.rstrip("%")) / 100)
    if not missed:
        return bool(turn["covered"][share] == turn["tested"])
    low, high = betabinom(turn["tested"], judged + 1 - missed, missed).interval(0.99)
    return bool(low <= turn["covered"][share] <= high)


def figure(cells: Sequence[Cell]) -> Any:
    """A column for each case: accuracies above, differences below."""
    from matplotlib.figure import Figure

    cases = list(dict.fromkeys(cell["case"] for cell in cells))
    backbones = list(dict.fromkeys(cell["backbone"] for cell in cells))
    made = Figure(figsize=(3 * len(cases), 5), layout="constrained")
    panels = made.subplots(2, len(cases), sharex=True, squeeze=False)
    for case, upper, lower in zip(cases, *panels, strict=True):
        for i, backbone in enumerate(backbones):
            own = [cell for cell in cells if (cell["case"], cell["backbone"]) == (case, backbone)]
            rows = [cell["rows"] for cell in own]
            upper.plot(rows, [100 * cell["ours"] for cell in own], color=f"C{i}", marker="o", markersize=3, label=backbone)
            upper.plot(rows, [100 * cell["reference"] for cell in own], color=f"C{i}", linestyle="--", linewidth=1)
            lower.plot(rows, [difference(cell) for cell in own], color=f"C{i}", marker="o", markersize=3)
        lower.axhline(0, color="black", linewidth=0.8)
        lower.axhline(-ALLOWED, color="grey", linestyle=":", linewidth=0.8)
        upper.set_xscale("log")
        upper.set_title(case, fontsize=9)
        lower.set_xlabel("training images", fontsize=8)
    panels[0][0].set_ylabel("test accuracy, %", fontsize=8)
    panels[1][0].set_ylabel("auto less scikit-learn, points", fontsize=8)
    panels[0][0].legend(fontsize=7)
    for panel in panels.flat:
        panel.tick_params(labelsize=7)
    made.suptitle("--head auto (lines) and scikit-learn's LogisticRegressionCV (dashed)", fontsize=9)
    return made


if __name__ == "__main__":
    main()
