"""What trained heads said of the rows they were tested on: kept beside their records, else asked again of the kept
heads."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from headstart.core.cache.errors import RunDamaged, RunNotFound
from headstart.core.cache.feature_set import FeatureSet
from headstart.core.heads import data, predictions_file
from headstart.core.heads.data import Labelled
from headstart.core.heads.predictions_file import Kept
from headstart.core.heads.runs import Run, RunStore
from headstart.core.heads.sessions.cross_validation import outcomes
from headstart.core.heads.sessions.session import load_head
from headstart.core.heads.statistics.accuracy import evaluate
from headstart.core.heads.statistics.measures import NAMES
from headstart.core.heads.statistics.outcomes import Outcomes


@dataclasses.dataclass(frozen=True)
class Tested:
    """The rows that heads were tested on, with their ids where they were kept, and what each head said of them."""

    testing: Labelled
    outcomes: tuple[Outcomes, ...]


def tested(runs: Sequence[Run], features: FeatureSet, store: RunStore) -> Tested:
    """What heads that differ in their seeds said of their test rows, which are rows of `features`.

    Raises RunDamaged where what was kept is altered, of other rows, or missing of a head that was trained on all rows;
    RunNotFound where the rows that were held out can't be found again; FeaturesDamaged, FeaturesInvalid.
    """
    kept = [predictions_file.load(store.root / run.name, run.head_sha256) for run in runs]
    there = [one for one in kept if one is not None]
    if len(there) == len(runs):
        return _kept(runs, there, features, store)
    if lost := [run for run, one in zip(runs, kept, strict=True) if one is None and run.evaluated_by.cross_validated]:
        raise RunDamaged(
            f"{store.root / lost[0].name / predictions_file.NAME}: missing, and the head was trained on all rows, so that "
            f"it can't be tested again; train it again with `headstart train-head`"
        )
    testing = _held_out(runs[0], features)
    heads = (load_head(run, store) for run in runs)
    return Tested(testing, tuple(outcomes(found.head, found.confidence, testing, "cpu") for found in heads))


def _held_out(run: Run, features: FeatureSet) -> Labelled:
    """The rows that a head was tested on, and none that it was trained on: an earlier version did not keep copies of a
    picture on one side, and so held out others."""
    testing = data.testing(features, run.config)
    as_recorded = testing.digest == run.test.used if run.test.used else testing.groups is None
    if not as_recorded:
        raise RunNotFound(f"{run.name}: the rows that it was tested on can't be told from those it was trained on")
    return testing


def _kept(runs: Sequence[Run], kept: Sequence[Kept], features: FeatureSet, store: RunStore) -> Tested:
    """The rows of the set that the predictions are of. Raises RunDamaged where the set has no such rows."""
    rows, numbers = features.load(), features.manifest.row_numbers()
    for run, found in zip(runs, kept, strict=True):
        where = store.root / run.name / predictions_file.NAME
        places = _places(found.rows, numbers)
        if places is None or found.classes != run.key.classes or (rows.labels[places] != found.outcomes.labels).any():
            raise RunDamaged(f"{where}: of other rows or labels than {features.folder} has; train the head again")
        if not np.array_equal(found.rows, kept[0].rows):
            raise RunDamaged(f"{where}: of other rows than those of the same head with another seed; train the head again")
    places = np.searchsorted(numbers, kept[0].rows)
    testing = Labelled(
        rows.features[places].astype(np.float32),
        rows.labels[places],
        rows=kept[0].rows,
        images=features.manifest.images_digest,
        ids=rows.ids[places],
    )
    return Tested(testing, tuple(found.outcomes for found in kept))


def _places(wanted: npt.NDArray[np.int64], numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.int64] | None:
    """Where the row numbers stand among those of a set, which rise; None unless all of them are there."""
    places = np.searchsorted(numbers, wanted).clip(max=len(numbers) - 1)
    return places if np.array_equal(numbers[places], wanted) else None


def completed(run: Run, outcomes: Outcomes) -> Run:
    """The record with the measures that it has not, as one of an earlier version; what was recorded stays."""
    recorded = run.evaluation
    if set(NAMES) <= recorded.measures.keys():
        return run
    found = evaluate(outcomes.predicted, outcomes.labels, run.key.classes, outcomes.probabilities)
    measures = {**found.measures, **recorded.measures}
    whole = dataclasses.replace(found, overall=recorded.overall, per_class=recorded.per_class, measures=measures)
    return dataclasses.replace(run, evaluation=whole)
