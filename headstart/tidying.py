"""What may go of the snapshots, which heads are older than their features, and which features than their pictures."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from headstart.commands import made_by
from headstart.core.cache.corrected_sets import as_made, by_digest, file_of, store_of
from headstart.core.cache.errors import FeaturesDamaged, HeadstartError, RunDamaged
from headstart.core.cache.feature_set import FeatureSet
from headstart.core.cache.key import FeatureKey
from headstart.core.cache.places import place
from headstart.core.cache.store import FeatureStore, newest, parted
from headstart.core.cache.text import by_commands, listed
from headstart.core.cache.verify import NOT_COMPLETE, Entry, survey
from headstart.core.cache.views import asked_by
from headstart.core.extract import datasets
from headstart.core.extract.pictures.layout import kind as split_word
from headstart.core.extract.rows.newer import newer
from headstart.core.heads import data
from headstart.core.heads.data import Pair
from headstart.core.heads.runs import Run, RunStore
from headstart.workspace import Workspace

_Address = tuple[FeatureKey, str, str]
"""A way of computing, a data set and its split."""


def unneeded(workspace: Workspace) -> list[Entry]:
    """The complete sets that a later snapshot of their data set has replaced, and whose rows no head of the runs directory
    was trained or tested on, so that no report needs them; and what was begun before such a snapshot.

    Damaged sets, and those of another version, are nobody's to judge here. Raises RunDamaged: a head that can't be read may
    need any of them.
    """
    entries = survey(FeatureStore(workspace.features_dir))
    complete = [entry.features for entry in entries if entry.features is not None]
    last = newest(complete)
    used = {digest for run in RunStore(workspace.runs_dir).runs() for digest in run.needed}
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
    return found + _unneeded_copies(workspace, last, used)


def _unneeded_copies(workspace: Workspace, last: Sequence[FeatureSet], used: set[str]) -> list[Entry]:
    """The corrected copies that no head needs, where there is a later one of the same source by a file of the same name, or
    none of their source."""
    entries = [entry for entry in survey(store_of(workspace.features_dir)) if entry.features is not None]
    copies = sorted(
        (entry.features for entry in entries if entry.features), key=lambda one: one.manifest.provenance.created
    )
    addresses = {(one.manifest.provenance.corrected.get("source"), file_of(one.manifest)): one for one in copies}
    later = {one.folder for (source, _), one in addresses.items() if source in _digests(last)}
    needed = {one.manifest.digest: one.folder for one in copies if one.manifest.digest in used}  # one of equal ones will do
    return [entry for entry in entries if entry.folder not in later | {*needed.values()}]


def _digests(sets: Sequence[FeatureSet]) -> set[str]:
    return {one.manifest.digest for one in sets}


def tidy(workspace: Workspace, on_wait: Callable[[], None]) -> list[Entry]:
    """Remove them, and say what was. Raises RunDamaged, FeaturesNotFound, OSError."""
    found = unneeded(workspace)
    for entry in found:
        FeatureStore(entry.folder.parent).remove(entry.folder.name, on_wait)
    return found


def outdated(workspace: Workspace, runs: Sequence[Run]) -> dict[str, str]:
    """By the run's name, what has become of the features that a head was trained or tested on: a later snapshot of the same
    data set and split, computed in the same way, is of other pictures, labels or class names; or the data set was divided
    in another way since. Raises FeaturesDamaged."""
    sets = by_digest(workspace.features_dir)
    last = {_address(found): found for found in newest(FeatureStore(workspace.features_dir).sets())}
    said = {}
    for run in runs:
        for part, what in ((run.test, "test features"), (run.val, "validation features"), (run.train, "features")):
            if part is None:
                continue
            found = last.get((run.key.feature_key, run.key.dataset, part.split))
            trained = sets.get(part.digest)
            made = None if trained is None or not trained.manifest.provenance.corrected else as_made(trained.manifest, sets)
            digest, images = (part.digest, part.images) if made is None else (made.digest, made.images_digest)
            if found is not None and digest != found.manifest.digest and images != found.manifest.images_digest:
                said[run.name] = f"older than its {what}: {found.folder.name} is of other pictures or labels by now"
        if (later := _redivided(run, last)) is not None:
            folder = later.folder.name
            said[run.name] = f"older than its features: the data set is divided in another way by now, as in {folder}"
    return said


def _redivided(run: Run, last: Mapping[_Address, FeatureSet]) -> FeatureSet | None:
    """The training features made after those of a head, where one of both is of a data set that is divided into `train`
    and `test`, the other of all rows; as `train-head` takes what was made last. None where no class is in both: they are
    then another reading of the same folder, by `--no-splits`."""
    other = {"all": "train", "train": "all"}.get(run.train.split, "")
    mine, later = (last.get((run.key.feature_key, run.key.dataset, split)) for split in (run.train.split, other))
    since = run.created if mine is None else mine.manifest.provenance.created
    if later is None or later.manifest.provenance.created <= since:
        return None
    return later if {*run.key.classes} & {*later.manifest.classes} else None


def older_heads(workspace: Workspace, runs: Sequence[Run] | None = None) -> dict[str, str]:
    """The same of some heads, or of all that are there; nothing where some head or set can't be read: that is said by
    whoever needs it."""
    try:
        return outdated(workspace, RunStore(workspace.runs_dir).runs() if runs is None else runs)
    except (RunDamaged, FeaturesDamaged):
        return {}


def newer_pictures(pair: Pair, data_dir: Path) -> str | None:
    """What has become of the picture files of some features since they were made, and the command that brings these up to
    date; None where nothing has, where the files are no longer there, and for data sets that can't be looked through
    without reading them."""
    sets, name = pair.sets, pair.key.dataset
    try:
        told = [(found.manifest.split, _since(found, place, data_dir)) for found in sets for place in _places(found)]
    except (HeadstartError, OSError):
        return None
    news = {split: what for split, what in told if what is not None}
    if not news:
        return None
    same = len({*news.values()}) == 1 and len(news) == len(sets)
    what = next(iter(news.values())) if same else "; ".join(f"{split}: {what}" for split, what in news.items())
    commands = renewed(pair, [one.manifest.key.view for one in pair.views])
    return f"{name} is newer than its features: {what}; {by_commands(commands, 'bring', 'them up to date')}"


def renewed(pair: Pair, views: Sequence[str]) -> list[str]:
    """The commands that bring the features of a pair up to date, and these views of its pictures or make them."""
    place = next(iter(_places(pair.train)), data.dataset_words(pair.key))
    options = made_by(pair.key.feature_key, place, tuple(found.manifest for found in pair.sets))
    return [shlex.join(["headstart", "extract", *options, *more]) for more in asked_by(views) or [()]]


def _places(features: FeatureSet) -> list[str]:
    """Where a folder or list of pictures is, as `--dataset` takes it; nothing for other data sets, and for a folder that
    was known by another name."""
    manifest = features.manifest
    name, origin = manifest.dataset, manifest.provenance.data_from
    if (kind := datasets.kind_of(name)) != "folder":
        return [f"list:{origin}"] if kind == "list" else []
    called = re.sub(r"-\d+$", "", name)
    tops = [top for top in (place(origin), place(origin).parent) if f"folder-{top.resolve().name}" in (name, called)]
    by_hand = manifest.split == "all" and any(split_word(one) for one in manifest.classes)  # by --no-splits
    return [f"{'classes' if by_hand else 'folder'}:{top}" for top in tops[:1]]


def _since(features: FeatureSet, place: str, data_dir: Path) -> str | None:
    """What has become of one set's files, in words."""
    split, splits = features.manifest.split, datasets.splits(place, None, data_dir)
    if split not in splits:
        return "it has no splits by now" if splits == ("all",) else f"it is divided into {listed(splits)} by now"
    return newer(datasets.open_split(place, split, data_dir), features)


def _address(features: FeatureSet) -> _Address:
    manifest = features.manifest
    return manifest.key, manifest.dataset, manifest.split
