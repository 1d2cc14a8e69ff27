"""What an audit of the data set found, in lines as every form of the report shows it."""

import shlex
from collections.abc import Iterator
from pathlib import Path

from headstart.core.cache.corrected_sets import CORRECTED
from headstart.core.cache.text import listed
from headstart.core.heads.audit.kept import KeptAudit, KeptLabels
from headstart.core.heads.report.facts import Section
from headstart.core.heads.report.grouping import GroupedRuns
from headstart.core.heads.runs import Run

TITLE = "What may be wrong with the data"
MOST = 5
"""Classes, and pairs of them, that a line names."""


def is_current(audit: KeptAudit, part: GroupedRuns) -> bool:
    """Whether the newest head of these was trained and tested on the very pictures and labels that were looked at."""
    run = _newest(part)
    parts = [one for one in (run.train, run.val, run.test) if one]
    return audit.is_of({one.split: one.images for one in parts})


def again(audit: KeptAudit, section: Section) -> str:
    """What makes the list anew; where the audit is of other labels than the heads', what makes one of theirs."""
    return command(audit, _named(audit, section.corrected_by) if section.audit_outdated else audit.corrections)


def command(audit: KeptAudit, corrections: str | None) -> str:
    """What makes an audit by these corrections, of labels as given for None."""
    words = [word for model in audit.models for word in ("-m", model)]
    words += ["--dataset", audit.dataset, *(["--corrections", corrections] if corrections else [])]
    return shlex.join(["headstart", "audit", *words])


def corrected_by(part: GroupedRuns) -> str | None:
    """The name of the file that the newest head's labels were corrected by, as its notes have it; None for labels as
    given."""
    notes = [note for note in _newest(part).notes if note.startswith(CORRECTED)]
    return notes[-1].partition(", by ")[2] or None if notes else None


def _newest(part: GroupedRuns) -> Run:
    return max((run for group in part.groups for run in group.runs), key=lambda run: run.created)


def _named(audit: KeptAudit, name: str | None) -> str | None:
    """The file of that name, with the folder where the audit had it."""
    own = audit.corrections
    return own if own is not None and Path(own).name == name else name


def outdated(audit: KeptAudit) -> str:
    """What is said instead where pictures or labels are others by now."""
    other = "is of other pictures or labels than these heads, and is not shown"
    return f"The audit of {_day(audit)} {other}; this makes a new one:"


def lead(audit: KeptAudit) -> str:
    """What was looked at, and where the list is."""
    splits = " and ".join(f"{one.rows:,}{'' if one.split == 'all' else f' {one.split}'}" for one in audit.splits)
    return (
        f"{splits} pictures were looked at by {listed(audit.models)} on {_day(audit)}. These are suspicions, all listed "
        f"in {audit.csv}{'' if audit.corrected is None else f'; {audit.corrected}'}; this makes the list anew:"
    )


def lines(audit: KeptAudit) -> list[tuple[str, str]]:
    """What may be wrong, and how much of it there is."""
    found = list(_labels(audit.labels) if audit.labels else [("wrong labels", f"not looked at: {audit.no_labels}")])
    if audit.conflicting:
        found.append(("the same picture, several labels", _count(audit.conflicting, "group")))
    if audit.test_rows:
        found.append(("test pictures with a twin in training", f"{audit.leaked:,} of {audit.test_rows:,}"))
    found.append(
        ("copies", f"{audit.copies:,} pictures, in {_count(audit.copy_groups, 'group')}" if audit.copies else "none")
    )
    pixels = f", {audit.near_by_pixels:,} of them compared by pixels" if audit.near_pairs else ""
    found.append(("near-duplicates", f"{_count(audit.near_pairs, 'pair')}{pixels}"))
    found.append(("outliers", f"{audit.outliers:,}"))
    if audit.bursts:
        found.append(("bursts", f"{audit.burst_rows:,} pictures, in {_count(audit.bursts, 'run')} of nearly the same"))
    if audit.small:
        small = (f"{name} ({count:,})" for name, count in audit.small)
        found.append(("classes with few pictures", listed(small, MOST)))
    return found


def _labels(found: KeptLabels) -> Iterator[tuple[str, str]]:
    interval = f"95 % interval {found.low:,.0f} to {found.high:,.0f}"
    yield "wrong labels, expected", f"about {found.expected:,.0f} of {found.rows:,} ({interval})"
    yield "wrong labels, suspects", f"{found.suspects:,}"
    if found.confused:
        pairs = (f"{one.label} taken for {one.taken_for} ({one.count:,} of {one.of:,})" for one in found.confused)
        yield "confused classes", listed(pairs, MOST)


def _count(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _day(audit: KeptAudit) -> str:
    return audit.created[:10]
