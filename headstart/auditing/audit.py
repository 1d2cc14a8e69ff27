"""`headstart audit`: what may be wrong with the pictures and labels of a data set whose features are kept."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from headstart import training
from headstart.auditing.found import Audit, Labels, Places
from headstart.auditing.leaks import without_leaks
from headstart.auditing.pixels.looked import picture_faults
from headstart.auditing.pixels.opened import open_pictures, sampled
from headstart.auditing.request import AuditRequest
from headstart.auditing.rows import Rows, check_one, decided_on, rows_of
from headstart.auditing.twins import Looked, candidates, look, twins
from headstart.core.cache.errors import FeaturesInvalid
from headstart.core.extract.network.devices import resolve
from headstart.core.heads import data
from headstart.core.heads.audit import duplicates, labels, outliers, sources
from headstart.core.heads.audit.unseen import Unseen, unseen
from headstart.core.heads.config import RECIPES
from headstart.core.heads.data import Labelled, Pair, joined
from headstart.core.heads.data.groups import grouped
from headstart.core.heads.feature_choice import FeatureChoice
from headstart.core.heads.settings import settings_label
from headstart.correcting.pairs import by_decisions, decisions
from headstart.observer import Observer, progress
from headstart.requests import TrainingRequest
from headstart.tidying import newer_pictures
from headstart.workspace import Workspace


def audit(workspace: Workspace, request: AuditRequest, observer: Observer) -> Audit:
    """Look for what is wrong. Nothing is changed, no head is kept, and nothing is chosen by test pictures but what this
    says of them.

    With `corrections` labels are looked at as corrected, and pictures that a decision stands on are not suspected again.
    Raises FeaturesNotFound, FeaturesAmbiguous, FeaturesStale, FeaturesDamaged, FeaturesInvalid, DataNotFound, DataInvalid,
    WeightsMismatch (unknown models), DeviceUnavailable, RunDamaged, OSError.
    """
    started = time.perf_counter()
    rows = chosen(workspace, request.models, request.dataset, request.choice, observer, request.corrections)
    same = duplicates.same_content(np.ascontiguousarray(rows.digests))
    seen, said = list[Looked](), list[Unseen]()
    why, labelled = _why_no_labels(rows), np.flatnonzero(rows.labels >= 0)
    device = resolve(workspace.device, "fp32").name
    with progress(observer, "features looked at", len(rows) * len(rows.models)) as advance:
        for backbone in range(len(rows.models)):
            features = rows.features(backbone)
            seen.append(look(rows, same, features))
            if why is None:
                try:
                    said.append(_said(rows, features, labelled, same, device, request.seed))
                except FeaturesInvalid as error:
                    why = str(error).partition("; ")[0]  # what follows are options of train-head
            advance(len(rows))
    pairs, sample = candidates(seen), sampled(len(rows), request.pixels, request.seed)
    opened = open_pictures(rows, pairs.rows, sample, workspace.data_dir, observer)
    found = twins(rows, same, seen, pairs, opened, observer)
    deviations = np.mean([one.deviations for one in seen], axis=0)
    far = np.flatnonzero((deviations > outliers.FAR) & ~rows.decided)
    return Audit(
        rows,
        None if why is not None else _labels(rows, labelled, said, request.seed),
        why,
        found,
        without_leaks(workspace, rows, found.leaked),
        far[np.argsort(-deviations[far], kind="stable")],
        deviations,
        seen[0].bursts,
        tuple(sources.small(rows.labels, len(rows.classes))),
        picture_faults(opened, sample),
        time.perf_counter() - started,
    )


def chosen(
    workspace: Workspace,
    models: tuple[str, ...],
    dataset: str | None,
    choice: FeatureChoice,
    observer: Observer,
    corrections: Path | None = None,
) -> Rows:
    """The rows of the features that are meant, as `train-head` chooses them, with labels as corrected, and remarks."""
    asked = TrainingRequest(models, dataset, choice)
    pairs = []
    for pair, others in training.meant(workspace, asked):
        for remark in (data.passed_over(others, pair), newer_pictures(pair, workspace.data_dir)):
            if remark is not None:
                observer.remark(remark)
        pairs.append(pair)
    rows = rows_of(pairs) if corrections is None else _corrected(pairs, corrections, observer)
    if rows.left_out:
        observer.remark(f"{rows.left_out:,} pictures are left out: only some of {', '.join(rows.models)} have them")
    return rows


def _corrected(pairs: Sequence[Pair], path: Path, observer: Observer) -> Rows:
    check_one(pairs)
    found = decisions(path, observer)
    return decided_on(rows_of(by_decisions(pairs, found, path, observer)), found)


def _why_no_labels(rows: Rows) -> str | None:
    there = np.unique(rows.labels[rows.labels >= 0])
    if not len(there):
        return "the pictures have no labels"
    return None if len(there) > 1 else "all labels are of one class"


def _said(rows: Rows, features: npt.NDArray[np.float32], own: Places, same: Places, device: str, seed: int) -> Unseen:
    """What heads that did not see them say of labelled rows."""
    one = labelled_rows(rows, features, rows.labels, own, same)
    return unseen(one, len(rows.classes), RECIPES["standard"], device, seed)


def labelled_rows(
    rows: Rows, features: npt.NDArray[np.float32], own_labels: npt.NDArray[np.int64], own: Places, same: Places
) -> Labelled:
    """The rows at the places `own` (n,), with these of the labels (N,). The same picture is never on both sides of a
    division: by its content, whose first row `same` (N,) names, and by features that are equal."""
    part = features if len(own) == len(features) else features[own]
    labelled = grouped(Labelled(part, own_labels[own], ids=rows.ids[own]), None, None)
    of_content = same[own]
    groups = of_content if labelled.groups is None else joined(labelled.groups, of_content)
    alone = len(np.unique(groups)) == len(groups)
    return Labelled(part, own_labels[own], groups=None if alone else groups)


def _labels(rows: Rows, own: Places, said: Sequence[Unseen], seed: int) -> Labels:
    judged = np.logical_and.reduce([one.judged for one in said])
    votes = labels.joined([one.probabilities for one in said])
    found = labels.audit(votes, rows.labels[own], judged, np.random.default_rng(seed), rows.decided[own])
    confused = sources.confused(found.proposed, rows.labels[own], judged, len(rows.classes))
    return Labels(own, found, tuple(settings_label(one.config) for one in said), tuple(confused))
