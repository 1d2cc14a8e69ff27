"""A list of a data set's pictures with the proposed labels, as `--dataset list:FILE.csv` takes it."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path

from headstart.auditing.found import Audit
from headstart.core.cache.errors import ArgumentInvalid, DataInvalid
from headstart.core.cache.files import make_folder, write_durably
from headstart.core.extract.images.files import FileImages
from headstart.core.extract.pictures.files import printable
from headstart.pictures.opened import Pictures, opened
from headstart.predictions_csv import check_place


def check_proposals(path: Path) -> None:
    """Refuse a list that could not be written or read again, before anything is computed. Raises ArgumentInvalid,
    OSError."""
    if path.suffix.lower() != ".csv":
        raise ArgumentInvalid(f"--list {path}: expected a file that ends in .csv, as --dataset list:FILE.csv reads it")
    if path.exists():
        raise ArgumentInvalid(f"--list {path}: is there already, and may have been corrected; give another name")
    check_place(path, "--list", ".csv")


def write_proposals(path: Path, found: Audit, data_dir: Path) -> int:
    """Write every picture with its label, suspects with the one that is proposed, and say how many these are. The pictures
    stay where they are. Paths are relative to the list.

    Raises DataInvalid where the pictures are no files of their own, were renamed since or have names that are no UTF-8,
    DataNotFound, OSError.
    """
    if found.labels is None:
        raise DataInvalid(f"--list {path}: no labels are proposed, since {found.why_no_labels}")
    rows, proposed = found.rows, found.rows.labels.copy()
    proposed[found.labels.suspects] = found.labels.audit.proposed[found.labels.audit.suspects]
    sources = [_files(opened(source, data_dir), path) for source in rows.sets]
    text, splits = io.StringIO(), [source.manifest.split for source in rows.sets]
    grouped = any(images.groups for images, _ in sources)
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["path", "label", *(["split"] if len(splits) > 1 else []), *(["group"] if grouped else [])])
    for row in range(len(rows)):
        part, label = int(rows.parts[row]), int(proposed[row])
        images, pictures = sources[part]
        at = pictures.row(int(rows.numbers[row]), bytes(rows.ids[row]))
        name = os.path.relpath(images.root / images.paths[at], path.absolute().parent)
        if not _is_text(name):
            raise DataInvalid(
                f"--list {path}: {printable(name)} is no UTF-8, as a list must be; rename the file, and audit again"
            )
        extra = [*([splits[part]] if len(splits) > 1 else []), *([images.groups[at]] if grouped else [])]
        writer.writerow([name, rows.classes[label] if label >= 0 else "", *extra])
    make_folder(path.parent)
    write_durably(path, text.getvalue().encode())
    return len(found.labels.suspects)


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _files(images: object, path: Path) -> tuple[FileImages, Pictures]:
    if not isinstance(images, FileImages):
        raise DataInvalid(
            f"--list {path}: the pictures are no files of their own, as a list needs; the CSV has the proposed labels"
        )
    return images, Pictures(images)
