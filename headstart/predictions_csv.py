"""What heads said of their test rows as one CSV file: a line for each run and row, with every class's probability."""

from __future__ import annotations

import csv
import dataclasses
import errno
import io
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from headstart.core.cache.corrected_sets import by_digest
from headstart.core.cache.errors import ArgumentInvalid, FeaturesNotFound
from headstart.core.cache.feature_set import FeatureSet
from headstart.core.cache.files import write_durably
from headstart.core.heads.runs import Run, RunStore
from headstart.core.heads.statistics.outcomes import Outcomes
from headstart.tested import tested
from headstart.workspace import Workspace

COLUMNS = ("run", "id", "label", "predicted")
"""The columns before those of the classes. A class of such a name is called `probability of` it."""


@dataclasses.dataclass(frozen=True)
class Record:
    """What one run's head said of its test rows: their ids (N,) as bytes, the class names in index order, the outcomes."""

    run: str
    ids: npt.NDArray[np.bytes_]
    classes: tuple[str, ...]
    outcomes: Outcomes


def records(workspace: Workspace, runs: Sequence[Run]) -> list[Record]:
    """What each run's head said. Raises FeaturesNotFound where the features it was tested on are not there, RunDamaged,
    FeaturesDamaged, OSError."""
    sets = by_digest(workspace.features_dir)
    return [_record(run, sets.get(run.test.digest), RunStore(workspace.runs_dir)) for run in runs]


def _record(run: Run, features: FeatureSet | None, store: RunStore) -> Record:
    if features is None:
        raise FeaturesNotFound(
            f"{run.name}: the features it was tested on, {run.test.folder}, are not there; the "
            f"`headstart extract` that made them makes them again"
        )
    found = tested([run], features, store)
    ids = _ids(features, found.testing.rows) if found.testing.ids is None else found.testing.ids
    return Record(run.name, ids, run.key.classes, found.outcomes[0])


def _ids(features: FeatureSet, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.bytes_]:
    places = np.searchsorted(features.manifest.row_numbers(), rows)
    found: npt.NDArray[np.bytes_] = features.load().ids[places]
    return found


def check(path: Path, option: str = "--predictions", columns: Sequence[str] = COLUMNS) -> None:
    """Refuse a path that could not be written as CSV with these first `columns`, before anything is computed for it;
    `option` is what asked for it. A file that is there must be an earlier one of the same columns, or empty. Raises
    OSError, ArgumentInvalid for another file."""
    check_place(path, option, ".csv")
    begins = ",".join(columns).encode()
    if path.is_file():
        with path.open("rb") as file:
            first = file.read(len(begins))
        if first not in (begins, b""):
            raise not_ours(path, option)


def not_ours(path: Path, option: str) -> ArgumentInvalid:
    """The error for a file that is there and was not made by the same command."""
    return ArgumentInvalid(f"{option} {path}: is there already and was not written by {option}; give another name")


def check_place(path: Path, option: str, suffix: str) -> None:
    """Refuse a path at which no file could be written; `suffix` is what such files end in. Raises OSError."""
    if path.is_dir():
        raise OSError(
            errno.EISDIR, f"is a folder, expected a file; give the file's name too: {option} FILE{suffix}", str(path)
        )
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, f"is a device or a pipe, expected a file: {option} FILE{suffix}", str(path))
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    if not folder.is_dir():
        raise OSError(errno.ENOTDIR, "is a file, expected a folder", str(folder))
    if not os.access(folder, os.W_OK):
        raise OSError(errno.EACCES, f"can't be written to; give another folder: {option} FILE{suffix}", str(folder))


def write_csv(path: Path, found: Sequence[Record]) -> None:
    """Write UTF-8 with the columns run, id, label, predicted, and one of probabilities (0 to 1) for each class.

    Runs of other classes leave the columns of those they do not have empty. A byte of a name that is no UTF-8 stays as it
    is. An earlier file of this kind is replaced. Raises as `check`.
    """
    check(path)
    classes = list(dict.fromkeys(name for record in found for name in record.classes))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*COLUMNS, *(f"probability of {name}" if name in COLUMNS else name for name in classes)])
    for record in found:
        writer.writerows(_lines(record, classes))
    write_durably(path, text.getvalue().encode("utf-8", "surrogateescape"))


def _lines(record: Record, classes: Sequence[str]) -> Iterator[list[str]]:
    """A line for each row, in the order of the rows."""
    place = {name: i for i, name in enumerate(record.classes)}
    columns = [place.get(name) for name in classes]
    outcomes = record.outcomes
    rows = zip(record.ids, outcomes.labels, outcomes.predicted, outcomes.probabilities.tolist(), strict=True)
    for name, label, predicted, shares in rows:
        said = ["" if i is None else f"{shares[i]:.6g}" for i in columns]
        yield [record.run, name.decode("utf-8", "surrogateescape"), record.classes[label], record.classes[predicted], *said]
