"""What is said of pictures that trained heads labelled: a table, or CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from headstart.core.cache.text import columns

if TYPE_CHECKING:
    from headstart.core.heads.predict import Photo


def table(photos: Sequence[Photo], titles: Mapping[str, str]) -> str:
    """A line for each picture, a column for each head; `titles` gives the heads' names theirs."""
    lines: list[list[object]] = [["picture", *titles.values()]]
    for photo in photos:
        cells = [", ".join(f"{name} {share:.1%}" for name, share in photo.labels.get(run, ())) for run in titles]
        failure = [f"can't be read: {photo.error}"] + [""] * (len(titles) - 1)
        lines.append([photo.name, *(failure if photo.error else cells)])
    return columns(lines)


def as_csv(photos: Sequence[Photo]) -> str:
    """A line for each picture, head and rank; a picture that could not be read has one line with the reason."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["picture", "head", "rank", "label", "probability", "error"])
    for photo in photos:
        if photo.error:
            writer.writerow([photo.name, "", "", "", "", photo.error])
        for run, labels in photo.labels.items():
            writer.writerows([photo.name, run, i, name, f"{share:.6f}", ""] for i, (name, share) in enumerate(labels, 1))
    return text.getvalue().rstrip("\n")
