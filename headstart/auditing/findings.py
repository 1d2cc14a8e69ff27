"""What an audit found, picture by picture: the lines of `audit.csv`."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Iterator
from pathlib import Path

from headstart.auditing.found import Audit, Places
from headstart.core.cache.files import make_folder, write_durably
from headstart.core.extract.likeness.quality import FAULTS
from headstart.core.extract.pictures.files import printable
from headstart.predictions_csv import check

WRONG_LABEL, LEAK, DUPLICATE, NEAR = "wrong label", "leak", "duplicate", "near-duplicate"
CONFLICT, OUTLIER, BURST, ALIKE = "conflicting labels", "outlier", "burst", "alike"
NOTE = "note"
"""The kind of a first line that is about no picture: what must be said of all labels, as its `suggestion`."""
KINDS = (WRONG_LABEL, CONFLICT, LEAK, DUPLICATE, NEAR, *FAULTS, OUTLIER, BURST, ALIKE)
"""What a line may be about else, in the order that they come in."""


@dataclasses.dataclass(frozen=True)
class Finding:
    """One picture that something may be wrong with: its `id` and split, the `kind`, a `score` (of a label the probability
    that another class has it, 0 to 1; of near-duplicates the likeness; of an outlier its deviation; of
    a picture's fault what was measured; of alike ones their distance as a share of the median), its label, what is
    suggested, and the id of the picture that it is the same as."""

    id: str
    split: str
    kind: str
    score: float
    given: str
    suggestion: str
    other: str = ""


COLUMNS = tuple(field.name for field in dataclasses.fields(Finding))


def findings(found: Audit) -> Iterator[Finding]:
    """All of them, kind by kind, the most certain first."""
    yield from _labels(found)
    for group in found.conflicting:
        yield from _group(found, group, CONFLICT, "give all of them the same label")
    yield from _leaks(found)
    for group in found.twins.exact:
        yield from _group(found, group[1:], DUPLICATE, "keep one", int(group[0]))
    for (one, other), score in zip(found.twins.near.tolist(), found.twins.scores.tolist(), strict=True):
        yield _finding(found, other, NEAR, score, "keep one", one)
    for fault in found.pictures.faults:
        yield _finding(found, fault.place, fault.kind, fault.score, "look at it")
    for row in found.outliers.tolist():
        yield _finding(found, row, OUTLIER, float(found.deviations[row]), "look at it: is it of any class?")
    for burst in found.bursts:
        yield from _group(found, burst, BURST, "keep them together: --group-by", int(burst[0]))
    for (one, other), share in zip(found.twins.alike.tolist(), found.twins.shares.tolist(), strict=True):
        yield _finding(found, other, ALIKE, share, "none: only the backbone holds them to be the same", one)


def check_csv(path: Path) -> None:
    """Refuse a path at which `write_csv` could not write, or would replace another file than an earlier one of its own.
    Raises OSError, ArgumentInvalid."""
    check(path, "--csv", COLUMNS)


def write_csv(path: Path, found: Audit) -> None:
    """Write the findings as UTF-8 with a line for each, durably. Raises as `check_csv`."""
    check_csv(path)
    make_folder(path.parent)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    if found.rows.corrected is not None:
        writer.writerow(["", "", NOTE, "", "", found.rows.corrected, ""])
    for one in findings(found):
        writer.writerow([f"{value:.6g}" if isinstance(value, float) else value for value in dataclasses.astuple(one)])
    write_durably(path, text.getvalue().encode("utf-8", "surrogateescape"))


def name_of(found: Audit, row: int) -> str:
    """A picture's id as text, as it is in files."""
    return bytes(found.rows.ids[row]).decode("utf-8", "surrogateescape")


def shown(found: Audit, row: int) -> str:
    """A picture's id for people, with its split where there are several."""
    name = printable(name_of(found, row))
    return f"{found.rows.sets[found.rows.parts[row]].manifest.split} {name}" if len(found.rows.sets) > 1 else name


def _labels(found: Audit) -> Iterator[Finding]:
    if found.labels is None:
        return
    own = found.labels.audit
    for place in own.suspects.tolist():
        proposed = found.rows.classes[own.proposed[place]]
        yield _finding(found, int(found.labels.places[place]), WRONG_LABEL, 1 - float(own.confidence[place]), proposed)


def _leaks(found: Audit) -> Iterator[Finding]:
    testing, twin = found.rows.testing, dict[int, int]()
    for group in found.twins.together:
        training = group[~testing[group]]
        twin.update(dict.fromkeys(group[testing[group]].tolist(), int(training[0])) if len(training) else {})
    for row in found.twins.leaked.tolist():
        yield _finding(found, row, LEAK, 1.0, "take it, or its twin, out", twin[row])


def _group(found: Audit, group: Places, kind: str, suggestion: str, other: int | None = None) -> Iterator[Finding]:
    first = int(group[0]) if other is None else other
    for row in group.tolist():
        yield _finding(found, row, kind, 1.0, suggestion, None if row == first else first)


def _finding(found: Audit, row: int, kind: str, score: float, suggestion: str, other: int | None = None) -> Finding:
    rows, label = found.rows, int(found.rows.labels[row])
    return Finding(
        name_of(found, row),
        rows.sets[rows.parts[row]].manifest.split,
        kind,
        score,
        rows.classes[label] if label >= 0 else "",
        suggestion,
        "" if other is None else name_of(found, other),
    )
