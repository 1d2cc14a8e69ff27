"""What the accuracy of trained heads is without test pictures that have a twin among the training pictures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headstart.auditing.found import Places, WithoutLeaks
from headstart.auditing.rows import Rows
from headstart.core.cache.feature_set import FeatureSet
from headstart.core.heads.protocol import TEST_SPLIT
from headstart.core.heads.runs import Run, RunStore
from headstart.core.heads.statistics.accuracy import Score
from headstart.tested import tested
from headstart.workspace import Workspace


def without_leaks(workspace: Workspace, rows: Rows, leaked: Places) -> tuple[WithoutLeaks, ...]:
    """The newest run of each backbone that was tested on the very features of the test split, where any of its test
    pictures is `leaked`. Raises RunDamaged, FeaturesDamaged."""
    if not len(leaked):
        return ()
    store, found = RunStore(workspace.runs_dir), list[WithoutLeaks]()
    for pair in rows.pairs:
        runs = [run for run in store.runs() if pair.test and run.test.digest == pair.test.manifest.digest]
        own = [run for run in runs if run.evaluated_by == TEST_SPLIT]
        if own and pair.test is not None:
            found += _of(own[-1], pair.test, store, rows, leaked)
    return tuple(found)


def _of(run: Run, source: FeatureSet, store: RunStore, rows: Rows, leaked: Places) -> Sequence[WithoutLeaks]:
    said = tested([run], source, store)
    (outcomes,) = said.outcomes
    right = outcomes.predicted == outcomes.labels
    clean = ~np.isin(said.testing.rows, rows.numbers[leaked])
    if clean.all():
        return []
    every, own = Score(int(right.sum()), len(right)), Score(int(right[clean].sum()), int(clean.sum()))
    return [WithoutLeaks(run.name, every, own)]
