"""What is said of pictures that trained heads labelled: a table, CSV, or what becomes JSON."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from headstart.core.cache.text import columns

if TYPE_CHECKING:
    from headstart.core.heads.predict import Photo, Possible


def table(photos: Sequence[Photo], titles: Mapping[str, str], coverage: float | None = None) -> str:
    """A line for each picture, a column for each head and, with a coverage, one for its prediction sets; `titles` gives the
    heads' names theirs."""
    heading = "" if coverage is None else f"{100 * coverage:.10g}% set"
    lines: list[list[object]] = [["picture", *(part for title in titles.values() for part in (title, heading) if part)]]
    for photo in photos:
        cells: list[object] = []
        for run in titles:
            cells.append(", ".join(f"{name} {share:.1%}" for name, share in photo.labels.get(run, ())))
            cells += [reads(photo.possible[run]) if run in photo.possible else ""] if heading else []
        failure = [f"can't be read: {photo.error}"] + [""] * (len(lines[0]) - 2)
        lines.append([photo.name, *(failure if photo.error else cells)])
    return columns(lines)


def as_csv(photos: Sequence[Photo], coverage: float | None = None, views: bool = False) -> str:
    """A line for each picture, head and rank; a picture that could not be read has one line with the reason. With a
    coverage the last column is the head's prediction set, as the table says it; with views it is what the probability was
    averaged over."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    extra = [*([] if coverage is None else ["set"]), *(["averaged over"] if views else [])]
    writer.writerow(["picture", "head", "rank", "label", "probability", "error", *extra])
    for photo in photos:
        if photo.error:
            writer.writerow([photo.name, "", "", "", "", photo.error, *("" for _ in extra)])
        for run, labels in photo.labels.items():
            own = [" + ".join(photo.averaged_over[run])] if views else [reads(photo.possible[run]) for _ in extra]
            for i, (name, share) in enumerate(labels, 1):
                writer.writerow([photo.name, run, i, name, f"{share:.6f}", "", *own])
    return text.getvalue().rstrip("\n")


def as_json(photos: Sequence[Photo], coverage: float | None = None) -> list[dict[str, Any]]:
    """An object for each picture; with a coverage this, and every class of each head's set."""
    extra: dict[str, Any] = {} if coverage is None else {"coverage": coverage, "sets": {}}
    return [{**extra, **photo.to_json()} for photo in photos]


def reads(possible: Possible) -> str:
    """A prediction set in words: cat, dog or frog; "unsure" for one that tells little."""
    names = possible.names
    if possible.unsure:
        return f"unsure ({len(names):,} classes possible)" if names else "unsure (no class is likely enough)"
    return f"{', '.join(names[:-1])} or {names[-1]}" if len(names) > 1 else names[0]
