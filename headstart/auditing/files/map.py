"""An audit as a Parquet file for tools that show pictures as a map, such as embedding-atlas: a line for each picture with
its place, its nearest ones and what was found of it.

`neighbors` is as embedding-atlas takes it (its option --neighbors, https://apple.github.io/embedding-atlas/tool.html):
`ids` are numbers of lines from 0, with `distances`, here one less the cosine.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from headstart.auditing.findings import findings
from headstart.auditing.found import Audit
from headstart.core.cache.errors import ArgumentInvalid
from headstart.core.cache.files import make_folder, write_durably
from headstart.core.extract.images.tables import parquet
from headstart.core.heads.neighbours.nearest import Directions
from headstart.core.heads.statistics.layout import layout
from headstart.predictions_csv import check_place, not_ours

NEIGHBOURS = 10
"""Nearest pictures of each."""
COLUMNS = ("id", "split", "label", "proposed", "confidence", "kinds", "x", "y", "neighbors")


def check_map(path: Path) -> None:
    """Refuse a file that could not be written, before anything is computed. Raises ArgumentInvalid, DataNotFound where
    pyarrow is not installed, OSError."""
    if path.suffix.lower() != ".parquet":
        raise ArgumentInvalid(f"--parquet {path}: expected a file that ends in .parquet")
    check_place(path, "--parquet", ".parquet")
    reader = parquet()
    if path.is_file() and path.stat().st_size:
        try:
            ours = tuple(reader.read_schema(path).names) == COLUMNS
        except (OSError, ValueError):  # pyarrow's errors for other files
            ours = False
        if not ours:
            raise not_ours(path, "--parquet")


def write_map(path: Path, found: Audit) -> str:
    """Write all pictures by the first backbone's features, durably, and say how they were laid out.

    Columns are `COLUMNS`: `proposed` is the likeliest label by heads that did not see the picture and `confidence` the
    probability (0 to 1) of its own, null where nothing is said; `kinds` are what was found of it, "; " between them.
    Raises FeaturesDamaged, FeaturesInvalid, OSError.
    """
    import pyarrow as pa

    features = found.rows.features(0)
    made = layout(features)
    nearest = Directions(features).nearest(NEIGHBOURS)
    columns = {
        **_told(found),
        "x": pa.array(made.points[:, 0]),
        "y": pa.array(made.points[:, 1]),
        "neighbors": pa.StructArray.from_arrays(
            [_lists(pa, nearest.places.astype(np.int32)), _lists(pa, nearest.distances)], names=["ids", "distances"]
        ),
    }
    sink = pa.BufferOutputStream()
    parquet().write_table(pa.table({name: columns[name] for name in COLUMNS}), sink)
    make_folder(path.parent)
    write_durably(path, memoryview(sink.getvalue()))
    return made.method


def _told(found: Audit) -> dict[str, Any]:
    """What is known of each picture, and what was found of it, column by column."""
    import pyarrow as pa

    rows, splits = found.rows, [one.manifest.split for one in found.rows.sets]
    proposed, confidence = list[str | None]([None] * len(rows)), list[float | None]([None] * len(rows))
    if found.labels is not None:
        own = found.labels.audit
        for place in np.flatnonzero(own.judged).tolist():
            row = int(found.labels.places[place])
            proposed[row], confidence[row] = rows.classes[own.proposed[place]], float(own.confidence[place])
    return {
        "id": pa.array([_text(name) for name in rows.ids.tolist()], pa.string()),
        "split": pa.array([splits[part] for part in rows.parts.tolist()], pa.string()),
        "label": pa.array([rows.classes[label] if label >= 0 else None for label in rows.labels.tolist()], pa.string()),
        "proposed": pa.array(proposed, pa.string()),
        "confidence": pa.array(confidence, pa.float32()),
        "kinds": pa.array(_kinds(found), pa.string()),
    }


def _kinds(found: Audit) -> list[str]:
    """What was found of each picture, which is known by its split and its id."""
    kinds: dict[tuple[str, str], dict[str, None]] = {}
    for one in findings(found):
        kinds.setdefault((one.split, one.id), {})[one.kind] = None
    splits = [one.manifest.split for one in found.rows.sets]
    keys = zip(found.rows.parts.tolist(), found.rows.ids.tolist(), strict=True)
    return ["; ".join(kinds.get((splits[part], name.decode("utf-8", "surrogateescape")), ())) for part, name in keys]


def _text(name: bytes) -> str:
    """An id as text; a byte that is no UTF-8 is spelled, since Parquet has no other."""
    return name.decode("utf-8", "backslashreplace")


def _lists(pa: Any, values: Any) -> Any:
    """Numbers (N, k) as a column of lists."""
    count, each = values.shape
    return pa.ListArray.from_arrays(pa.array(np.arange(count + 1, dtype=np.int32) * each), pa.array(values.ravel()))
