"""An audit's totals, kept for `train-head` and `report`."""

from __future__ import annotations

import datetime
from pathlib import Path

from headstart.auditing.found import Audit
from headstart.core.heads.audit import kept
from headstart.core.heads.audit.kept import Confusion, KeptAudit, KeptLabels, Split


def keep(runs_dir: Path, found: Audit, csv: Path, corrections: Path | None = None) -> Path:
    """Write them below the runs directory, in the place of those of an earlier audit; returns the file. `csv` has the list
    of what was found. `corrections` is the file that labels were corrected by. Raises OSError."""
    return kept.keep(runs_dir, totals(found, csv, corrections))


def totals(found: Audit, csv: Path, corrections: Path | None = None) -> KeptAudit:
    """What is kept of an audit."""
    rows, twins = found.rows, found.twins
    return KeptAudit(
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        dataset=rows.sets[0].manifest.dataset,
        models=rows.models,
        splits=tuple(Split(one.manifest.split, one.manifest.images_digest, one.manifest.rows) for one in rows.sets),
        labels=_labels(found),
        no_labels=found.why_no_labels,
        copies=sum(map(len, twins.exact)),
        copy_groups=len(twins.exact),
        near_pairs=len(twins.near),
        near_by_pixels=int(twins.checked.sum()),
        conflicting=len(found.conflicting),
        test_rows=int(rows.testing.sum()),
        leaked=len(twins.leaked),
        outliers=len(found.outliers),
        bursts=len(found.bursts),
        burst_rows=sum(map(len, found.bursts)),
        small=tuple((rows.classes[label], count) for label, count in found.small),
        csv=str(csv),
        groups=kept.members(twins.together, rows.parts, rows.numbers),
        corrected=rows.corrected,
        corrections=None if rows.corrected is None or corrections is None else str(corrections),
    )


def _labels(found: Audit) -> KeptLabels | None:
    if found.labels is None:
        return None
    expected, classes = found.labels.audit.expected, found.rows.classes
    confused = (Confusion(classes[one.given], classes[one.taken_for], one.count, one.of) for one in found.labels.confused)
    return KeptLabels(
        found.labels.audit.asked,
        expected.count,
        expected.low,
        expected.high,
        len(found.labels.suspects),
        tuple(confused),
    )
