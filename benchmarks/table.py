"""The benchmarks' JSON as the tables and the figures of docs/performance.md, so that no number is copied by hand.

    .venv/bin/python benchmarks/table.py docs/performance.md extraction.json heads.json overhead.json

Replaces what stands between `<!-- table: NAME -->` and `<!-- end -->` for every table that the files give, and nothing
else; figures are drawn beside the document. Name all files of a device in one call: a table is made of all of them. What
was measured on CUDA goes into tables and figures of its own, whose names end in `gpu`.
"""

from __future__ import annotations

import json
import re
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from figures import bars, save, small_multiples
from scaling import AXES, axis_ratios, ratios

END = "<!-- end -->"
ROWS = re.compile(r"study recipe, ([\d,]+) rows")
"""The ways of `heads.py --scaling`."""

Json = dict[str, Any]


@click.command()
@click.argument("document", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
def main(document: Path, files: tuple[Path, ...]) -> None:
    """Put the tables of the benchmarks' JSON FILES into DOCUMENT and draw its figures."""
    try:
        found = [read(file) for file in files]
        text = document.read_text(encoding="utf-8")
        tables: dict[str, str] = {}
        for suffix in ("", " gpu"):
            here = [(kind, content) for kind, content in found if suffix_of(content) == suffix]
            tables |= {name + suffix: table for name, table in all_tables(here, document.stem, suffix).items()}
        for name, table in tables.items():
            text = replaced(text, name, table, document)
    except ValueError as error:
        sys.exit(str(error))
    document.write_text(text, encoding="utf-8")
    for suffix in ("", " gpu"):
        draw(document, suffix, [content for _, content in found if suffix_of(content) == suffix])
    click.echo(f"{document}: {', '.join(tables)}")


def read(file: Path) -> tuple[str, Json]:
    """A JSON file and which benchmark wrote it. Raises ValueError."""
    kinds = {"extraction": {"models"}, "heads": {"times"}, "overhead": {"extraction", "opening"}}
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file}: no JSON ({error}); expected what a benchmark wrote with --json") from error
    for kind, fields in kinds.items():
        if isinstance(found, dict) and fields <= set(found):
            return kind, found
    raise ValueError(f"{file}: no benchmark's JSON; expected what {', '.join(kinds)} wrote with --json")


def suffix_of(content: Json) -> str:
    """What was measured on CUDA stands apart."""
    return " gpu" if str(content.get("device", "cpu")).startswith("cuda") else ""


def replaced(text: str, name: str, table: str, document: Path) -> str:
    """The text with the table between its markers, which stay. Raises ValueError where they are not there once."""
    marker = f"<!-- table: {name} -->"
    before, found, rest = text.partition(marker)
    old, end, after = rest.partition(END)
    if not (found and end) or marker in rest or "<!-- table:" in old:
        raise ValueError(f"{document}: found {text.count(marker)} times {marker} with {END} after it, expected once; "
                         f"add both lines where the table belongs")  # fmt: skip
    return f"{before}{marker}\n{table.strip()}\n{END}{after}" if table else text


def all_tables(found: Sequence[tuple[str, Json]], stem: str, suffix: str) -> dict[str, str]:
    """Every table that these files give, by the name of its marker."""
    tables: dict[str, str] = {}
    extractions = [content for kind, content in found if kind == "extraction"]
    if any(content["models"] or content.get("whole") for content in extractions):
        tables["extraction"] = extraction(extractions, figure_name(stem, "", suffix))
    for content in (content for content in extractions if "scaling" in content):
        tables["scaling"] = scaling(content, figure_name(stem, "-scaling", suffix))
    for content in (content for kind, content in found if kind == "heads"):
        tables |= heads(content)
    for content in (content for kind, content in found if kind == "overhead"):
        tables["overhead"] = overhead(content)
    return tables


def figure_name(stem: str, what: str, suffix: str) -> str:
    return f"{stem}{what}{suffix.replace(' ', '-')}.svg"


def markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    head, *lines = (f"| {' | '.join(line)} |" for line in (columns, *rows))
    return "\n".join([head, "|---" * len(columns) + "|", *lines])


def machine(content: Json) -> str:
    """What it was measured on: `hardware.hardware`'s account, or that of `overhead.py`."""
    if "environment" in content:
        where = content["environment"]
        return f"{where['hardware']}, torch {where['versions']['torch']}"
    where = content["hardware"]
    name = (
        where["gpu"]
        if suffix_of(content)
        else f"{where['cpu']}, {'one core' if where['cores'] == 1 else str(where['cores']) + ' cores'}"
    )
    return f"{name}, torch {where['versions']['torch']}"


def turns_named(count: int) -> str:
    return "one turn" if count == 1 else f"medians of {count} turns"


# ------------------------------------------------------------------------------------------------ stage one


def extraction(files: Sequence[Json], figure: str) -> str:
    """Images/s of each way, ratios and shares; the whole data set; what each figure was measured on; the bars."""
    models = {model: found for content in files for model, found in content["models"].items()}
    copies = any("copy" in found["matmul"] for found in models.values())
    columns = ["model", "way", "images/s", "lowest to highest", "x the study's way", "share of bf16 matmul"]
    columns += [*(["share of memory copy"] if copies else []), "whole process, s"]
    rows = [row for model, found in models.items() for row in extraction_rows(model, found, copies)]
    parts = [markdown(columns, rows), f"![Images per second of each way]({figure})"] if models else []
    captions = [caption for content in files for caption in (*extraction_captions(content), *whole_lines(content))]
    return "\n\n".join([*parts, "\n".join(captions)])


def extraction_rows(model: str, found: Json, copies: bool) -> Iterator[list[str]]:
    limit, base = found["matmul"], found["rates"].get("study")
    for way, rate in found["rates"].items():
        speeds = [turn["images"] / turn["pass_s"] for turn in found["turns"][way]]
        row = [
            model,
            way,
            f"{rate:,.1f}",
            f"{min(speeds):,.1f} to {max(speeds):,.1f}",
            f"{rate / base:.2f}" if base else "",
        ]
        row.append(matmul_share(rate, limit))
        if copies:
            row.append(f"{rate * limit['traffic'] / limit['copy']:.0%}" if "copy" in limit else "")
        yield [*row, f"{found['totals'][way]:.1f}"]


def matmul_share(rate: float, limit: Json) -> str:
    """The part of the matmul rate that a rate of images takes: of fp32's, which is said, on a device without bf16."""
    if not limit:
        return ""
    name = "bf16" if "bf16" in limit else "fp32"
    return f"{rate * limit['flops'] / limit[name]:.0%}" + (" of fp32" if name == "fp32" else "")


def extraction_captions(content: Json) -> Iterator[str]:
    """One line for each number of turns and images that models of a file have in common."""
    asked = content["options"]
    alike: dict[str, list[str]] = {}
    for model, found in content["models"].items():
        alike.setdefault(pass_named(found, asked), []).append(model)
    pixels = "random pixels" if asked["dataset"] == "random" else asked["dataset"]
    engine = asked.get("engine", "auto")  # one for all in files without `engines`; rows name theirs otherwise
    for said, models in alike.items():
        by = f", headstart {engine}" if engine != "auto" else ""
        limits = limits_named([content["models"][model]["matmul"] for model in models])
        yield f"- {', '.join(models)}: {said}, {pixels} at {asked['image_size']} px{by}; {limits}{machine(content)}."


def pass_named(found: Json, asked: Json) -> str:
    """Images of a pass, and turns."""
    ours = {turns[0]["images"] for way, turns in found["turns"].items() if way.startswith("headstart")}
    others = {turns[0]["images"] for way, turns in found["turns"].items() if not way.startswith(("headstart", "matmul"))}
    named = [f"{count:,} images a pass" for count in sorted(ours)] + [f"the others' {count:,}" for count in sorted(others)]
    turns = max(len(turns) for turns in found["turns"].values())
    return f"{', '.join(named)}, {turns_named(turns)}"


def limits_named(limits: Sequence[Mapping[str, float]]) -> str:
    """The device's own rates during these models' turns."""
    fp32 = {"fp32": "GFLOP/s in fp32, bf16 left out"} if any(limit and "bf16" not in limit for limit in limits) else {}
    units = {**fp32, "bf16": "GFLOP/s in bf16", "copy": "GB/s copied", "pinned_copy": "GB/s from pinned memory"}
    said = []
    for name, unit in units.items():
        rates = [limit[name] / 1e9 for limit in limits if name in limit]
        if rates:
            low, high = f"{min(rates):,.0f}", f"{max(rates):,.0f}"
            said.append(f"{low if low == high else f'{low} to {high}'} {unit}")
    return f"{', '.join(said)}; " if said else ""


def whole_lines(content: Json) -> Iterator[str]:
    """All images of a data set, one line for each engine."""
    whole = content.get("whole") or {"rows": {}}
    for row, point in whole["rows"].items():
        last = point["turns"][-1]
        seconds = [turn["pass_s"] for turn in point["turns"]]
        yield (
            f"- {point['images']:,} images ({last['pixels']}) at {whole['image_size']} px, {whole['model']}, {row}: "
            f"{point['seconds']:.2f} s ({min(seconds):.2f} to {max(seconds):.2f}; {turns_named(len(seconds))}), "
            f"{point['rate']:,.0f} images/s; {machine(content)}."
        )


def scaling(content: Json, figure: str) -> str:
    """A table for each axis, and the curves."""
    found, tables = content["scaling"], []
    for axis in (axis for axis in AXES if axis in found):
        points = found[axis]
        columns = [AXES[axis].title, "s", "images/s", "lowest to highest", AXES[axis].ratio]
        rows = [
            [f"{int(value):,}", f"{point['seconds']:.3g}", f"{point['rate']:,.1f}", spread(point["range"]), f"{ratio:.2f}"]
            for (value, point), ratio in zip(points.items(), axis_ratios(axis, points), strict=True)
        ]
        tables.append(markdown(columns, rows))
    turns = max(len(point["turns"]) for axis in AXES for point in found.get(axis, {}).values())
    batch = f"batches of {found['batch']}" if found["batch"] else "batches of its own choice"
    said = f"{found['model']}, {found['engine']}, {turns_named(turns)}; where they are not what is changed: "
    said += f"{found['images']:,} images, {found['size']} px, {batch}. {machine(content)}."
    return "\n\n".join([*tables, f"![Images per second by images, batch size and image size]({figure})", said])


def spread(found: Sequence[float]) -> str:
    return f"{found[0]:,.1f} to {found[1]:,.1f}"


# ------------------------------------------------------------------------------------------------ heads, overhead


def heads(content: Json) -> dict[str, str]:
    """The ways of training heads, and the study's head by number of rows."""
    times = content["times"]
    base = statistics.median(times["study recipe, one head"])
    ways = [(way, found) for way, found in times.items() if not ROWS.fullmatch(way)]
    rows = [[way, seconds_named(found), f"{statistics.median(found) / base:.2f}"] for way, found in ways]
    said = f"{content['dim']:,} features, {turns_named(len(times['study recipe, one head']))}; {machine(content)}."
    table = markdown(["what", "s", "x one head"], rows)
    tables = {"heads": f"{table}\n\n{content['rows']:,} rows of {said}"}
    scaled = {int(found[1].replace(",", "")): times[way] for way in times if (found := ROWS.fullmatch(way))}
    if scaled:
        grown = ratios(list(scaled), [statistics.median(seconds) for seconds in scaled.values()], 1)
        lines = [
            [f"{count:,}", seconds_named(scaled[count]), f"{ratio:.2f}"] for count, ratio in zip(scaled, grown, strict=True)
        ]
        table = markdown(["rows", "s", "x proportional to rows"], lines)
        tables["heads rows"] = f"{table}\n\nStudy recipe, one head, rows of {said}"
    return tables


def seconds_named(found: Sequence[float]) -> str:
    """The median, and the range where there is one."""
    middle = f"{statistics.median(found):.2f}"
    return middle if len(found) == 1 else f"{middle} ({min(found):.2f} to {max(found):.2f})"


def overhead(content: Json) -> str:
    """What an extraction does beside computing, and the opening of a set."""
    run, opened = content["extraction"], content["opening"]
    plain = statistics.median(run["times_s"]["plain"])
    parts = {name: statistics.median(seconds) for name, seconds in run["parts_s"].items()}
    medians = {name: statistics.median(seconds) for name, seconds in run["times_s"].items()}
    rows = [[name, f"{seconds:.4f}", f"{seconds / plain:.2%}"] for name, seconds in (medians | parts).items()]
    rows.append(["all parts together", f"{sum(parts.values()):.4f}", f"{sum(parts.values()) / plain:.2%}"])
    low, middle, high = (f"{100 * (pick(run['ratios']) - 1):+.2f}" for pick in (min, statistics.median, max))
    said = (
        f"{run['rows']:,} images of {run['dataset']}, ResNet18 at {run['image_size']} px, {run['precision']}: the whole "
        f"extract beside the plain loop {middle} %, the median of {len(run['ratios'])} pairs ({low} to {high} %)."
    )
    steps = [[name, seconds_named(seconds)] for name, seconds in opened["times_s"].items()]
    size = f"{opened['rows']:,} x {opened['feature_dim']:,} features, {opened['bytes'] / 1e6:,.0f} MB"
    tables = (
        markdown(["extraction", "s", "of the plain loop"], rows),
        markdown(["opening", "s (lowest to highest)"], steps),
    )
    return f"{tables[0]}\n\n{said}\n\n{tables[1]}\n\nA set of {size}, each time in a fresh process. {machine(content)}."


def draw(document: Path, suffix: str, contents: Sequence[Json]) -> None:
    """The bars and the curves of these files, beside the document."""
    models = {model: found for content in contents for model, found in content.get("models", {}).items()}
    curves = [content["scaling"] for content in contents if "scaling" in content]
    if models:
        save(bars(models), document.parent / figure_name(document.stem, "", suffix))
    if curves:
        save(small_multiples(curves[-1]), document.parent / figure_name(document.stem, "-scaling", suffix))


if __name__ == "__main__":
    main()
