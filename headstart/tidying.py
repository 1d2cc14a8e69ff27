"""Trained heads and the snapshots that they were made from: what may go, and which heads are older than their features."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from headstart.core.cache.errors import FeaturesDamaged, RunDamaged
from headstart.core.cache.feature_set import FeatureSet
from headstart.core.cache.key import FeatureKey
from headstart.core.cache.store import FeatureStore, newest, parted
from headstart.core.cache.verify import NOT_COMPLETE, Entry, survey
from headstart.core.heads.runs import Run, RunStore
from headstart.workspace import Workspace


def unneeded(workspace: Workspace) -> list[Entry]:
    """The complete sets that a later snapshot of their data set has replaced, and whose rows no head of the runs directory
    was trained or tested on, so that no report needs them; and what was begun before such a snapshot.

    Damaged sets, and those of another version, are nobody's to judge here. Raises RunDamaged: a head that can't be read may
    need any of them.
    """
    entries = survey(FeatureStore(workspace.features_dir))
    complete = [entry.features for entry in entries if entry.features is not None]
    last = newest(complete)
    used = {digest for run in RunStore(workspace.runs_dir).runs() for digest in run.digests}
    folders = {features.folder for features in last}
    numbers = dict(parted(features.folder.name) for features in last)
    found = []
    for entry in entries:
        base, number = parted(entry.folder.name)
        if entry.features is not None:
            replaced = entry.folder not in folders and entry.features.manifest.digest not in used
        else:
            replaced = entry.state == NOT_COMPLETE and number < numbers.get(base, 0)
        found += [entry] if replaced else []
    return found


def tidy(workspace: Workspace, on_wait: Callable[[], None]) -> list[Entry]:
    """Remove them, and say what was. Raises RunDamaged, FeaturesNotFound, OSError."""
    store, found = FeatureStore(workspace.features_dir), unneeded(workspace)
    for entry in found:
        store.remove(entry.folder.name, on_wait)
    return found


def outdated(workspace: Workspace, runs: Sequence[Run]) -> dict[str, str]:
    """By the run's name, what has become of the features that a head was trained or tested on: a later snapshot of the same
    data set and split, computed in the same way, is of other pictures, labels or class names. Raises FeaturesDamaged."""
    last = {_address(found): found for found in newest(FeatureStore(workspace.features_dir).sets())}
    said = {}
    for run in runs:
        for part, what in ((run.test, "test features"), (run.val, "validation features"), (run.train, "features")):
            if part is None:
                continue
            found = last.get((run.key.feature_key, run.key.dataset, part.split))
            if found is not None and part.digest != found.manifest.digest and part.images != found.manifest.images_digest:
                said[run.name] = f"older than its {what}: {found.folder.name} is of other pictures or labels by now"
    return said


def older_heads(workspace: Workspace, runs: Sequence[Run] | None = None) -> dict[str, str]:
    """The same of some heads, or of all that are there; nothing where some head or set can't be read: that is said by
    whoever needs it."""
    try:
        return outdated(workspace, RunStore(workspace.runs_dir).runs() if runs is None else runs)
    except (RunDamaged, FeaturesDamaged):
        return {}


def _address(features: FeatureSet) -> tuple[FeatureKey, str, str]:
    manifest = features.manifest
    return manifest.key, manifest.dataset, manifest.split
