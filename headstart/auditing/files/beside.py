"""An audit that is kept, beside heads: what they are without the twins that it found."""

from __future__ import annotations

import dataclasses

from headstart.core.heads.audit.kept import KeptAudit, Numbers
from headstart.core.heads.audit.leaks import WithoutTwins
from headstart.core.heads.runs import Run
from headstart.core.heads.statistics.outcomes import Outcomes


def with_twins_of(audit: KeptAudit | None, run: Run, outcomes: Outcomes, rows: Numbers) -> Run:
    """The record with its accuracy on test pictures without a twin, as the audit knows them, where it was trained before
    the audit, on all of the pictures that the audit is of. `outcomes` are those of the test `rows` (T,), by their numbers.

    Of a head that was trained on a part nothing is said: its record does not say which pictures those were.
    """
    known, parts = run.without_twins, [one for one in (run.train, run.val, run.test) if one]
    if audit is None or (known is not None and known.audited) or run.evaluated_by.cross_validated:
        return run
    limit, there = run.config.train_limit, run.train.rows + (run.val.rows if run.val else 0)
    if (limit is not None and limit < there) or not audit.is_of({one.split: one.images for one in parts}):
        return run
    found = WithoutTwins.of(outcomes, audit.leaked_of(run.test.split, rows), audited=True)
    if found is None or (known is not None and known.score.total < found.score.total):
        return run
    return dataclasses.replace(run, without_twins=found)
