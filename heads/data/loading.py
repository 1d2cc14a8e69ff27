"""The rows of feature sets ready for training: loaded, checked, divided, with what must be said of them."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from headstart.core.cache.errors import FeaturesInvalid, FeaturesNotFound
from headstart.core.cache.feature_set import FeatureSet
from headstart.core.cache.key import FeatureKey
from headstart.core.cache.manifest import Manifest
from headstart.core.cache.shard import Rows
from headstart.core.heads.data import sampling
from headstart.core.heads.data.labelled import Labelled
from headstart.core.heads.data.selection import Pair

TEST_FRACTION = 0.2
"""The part of a set without a test split that is held out for testing."""
_MIXED = ("cifar10", "digits")
"""Data sets whose order is known to have nothing to do with classes, where older manifests do not say so."""


def load(pair: Pair, train_limit: int | None = None) -> tuple[Labelled, Labelled]:
    """The training part and the test part, checked, with notes on what was drawn and which classes are missing.

    A set without splits is divided first, as `held_out` says, the same way each time. Of the training part `train_limit`
    rows are used: the first ones where the set's order makes them a sample of all, else some drawn with every class in its
    share. Test rows do not depend on it. Raises FeaturesNotFound where the test set is missing or fewer rows are there
    than `train_limit`, FeaturesInvalid for rows no head can learn from.
    """
    manifest = pair.train.manifest
    if pair.test is None and manifest.split == "train":
        raise FeaturesNotFound(
            f"{pair.train.folder}: has no test set beside it; `{_extract(pair.key, '')}` without --split makes all that "
            f"there is: a test split, or one set that is divided here"
        )
    if train_limit is not None and train_limit > manifest.stop:
        raise FeaturesNotFound(_too_few(pair, train_limit))
    if pair.test is None:
        train, test = _divided(pair.train, train_limit)
    else:
        train = _training(pair.train, train_limit)
        test = testing(pair.test)
    _check_classes(train.labels, pair.train)
    missing = _missing_classes(pair.key.classes, train.labels, test.labels)
    return train, dataclasses.replace(test, notes=(*test.notes, *missing))


def testing(source: FeatureSet) -> Labelled:
    """The test part alone of a test set, or of a set without splits, as `load` gives it; no training set is read. Raises
    FeaturesDamaged, FeaturesInvalid."""
    if source.manifest.split == "all":
        return _divided(source, None)[1]
    return _part(*_checked(source, source.load()), _test_notes(source.manifest), source.manifest)


def _extract(key: FeatureKey, more: str) -> str:
    """The command that makes other rows of the same features."""
    dataset = "folder:PATH" if key.dataset.startswith("folder-") else key.dataset
    return f"headstart extract --model {key.backbone} --dataset {dataset} {more}".rstrip()


def _too_few(pair: Pair, limit: int) -> str:
    manifest = pair.train.manifest
    split = "data set" if manifest.split == "all" else f"{manifest.split} split"
    if limit > manifest.provenance.split_rows:
        all_of_them = f"the {split} has only {manifest.provenance.split_rows:,} rows"
        return f"{pair.train.folder}: {all_of_them}, --train-limit {limit} asks for more; use {manifest.stop} at most"
    more = _extract(pair.key, f"--split {manifest.split} --limit {limit}")
    there = f"holds the first {manifest.stop:,} of {manifest.provenance.split_rows:,} rows of the {split}"
    return f"{pair.train.folder}: {there}, --train-limit {limit} asks for more; `{more}` adds the missing ones"


def _checked(source: FeatureSet, rows: Rows) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    where, classes = source.folder, len(source.manifest.key.classes)
    if not len(rows):
        raise FeaturesInvalid(f"{where}: has no rows")
    if classes == 0 or (rows.labels < 0).any():
        count = int((rows.labels < 0).sum())
        raise FeaturesInvalid(
            f"{where}: {count} of {len(rows)} rows have no label; a head needs one sub-folder for each class"
        )
    if (rows.labels >= classes).any():
        raise FeaturesInvalid(f"{where}: label {rows.labels.max()} found, expected 0 to {classes - 1}")
    features = rows.features.astype(np.float32)
    bad = ~np.isfinite(features).all(axis=1)
    if bad.any():
        name = rows.ids[int(bad.argmax())].decode("utf-8", "replace")
        raise FeaturesInvalid(
            f"{where}: the features of image {name} are not finite; `headstart extract --force` makes them anew"
        )
    return features, rows.labels


def _check_classes(labels: npt.NDArray[np.int64], source: FeatureSet) -> None:
    if len(found := np.unique(labels)) < 2:
        name = source.manifest.key.classes[int(found[0])]
        raise FeaturesInvalid(
            f"{source.folder}: all {len(labels)} training rows are of the class {name}; a head needs two classes or more"
        )


def _training(source: FeatureSet, limit: int | None) -> Labelled:
    """The training rows of a set with splits."""
    manifest = source.manifest
    if limit is None or limit == manifest.stop or _begins_with_a_sample(manifest):
        used, there = limit or manifest.stop, manifest.provenance.split_rows
        note = [f"trained on the first {used:,} of {there:,} training images"] if used < there else []
        return _part(*_checked(source, source.load(limit)), (*_notes(manifest), *note), manifest)
    features, labels = _checked(source, source.load())
    chosen, drawn = _limited(labels, np.arange(len(labels)), limit, manifest)
    return _part(features, labels, (*_notes(manifest), *drawn), manifest, chosen)


def _limited(
    labels: npt.NDArray[np.int64], rows: npt.NDArray[np.int64], limit: int | None, manifest: Manifest
) -> tuple[npt.NDArray[np.int64], tuple[str, ...]]:
    """`limit` of the training rows, in their order, and what must be said of them; all and nothing without a limit."""
    if limit is None or limit == len(rows):
        return rows, ()
    if limit > len(rows):
        return rows, (f"trained on all {len(rows):,} rows that are not held out, {limit:,} were asked for",)
    if _begins_with_a_sample(manifest):
        return rows[:limit], (f"trained on the first {limit:,} of {len(rows):,} training images",)
    chosen = rows[sampling.sample(labels[rows], limit, np.random.default_rng(0))]
    return chosen, (f"trained on {limit:,} of {len(rows):,} training images, drawn from each class in its share",)


def _begins_with_a_sample(manifest: Manifest) -> bool:
    return manifest.provenance.order in ("mixed", "stratified") or manifest.key.dataset in _MIXED


def _notes(manifest: Manifest) -> list[str]:
    """What must be said of a set's rows wherever they are used."""
    notes = list(manifest.provenance.notes)
    if manifest.skipped:
        which = "" if manifest.split == "all" else f"{manifest.split} "
        notes.append(f"{manifest.skipped} unreadable {which}images left out")
    return notes


def _test_notes(manifest: Manifest) -> tuple[str, ...]:
    used, there = manifest.stop, manifest.provenance.split_rows
    subset = [f"tested on the first {used:,} of {there:,} test images"] if used < there else []
    return (*_notes(manifest), *subset)


def _missing_classes(classes: Sequence[str], train: npt.NDArray[np.int64], test: npt.NDArray[np.int64]) -> tuple[str, ...]:
    """What must be said of classes that have no row to learn from, or none to be tested on."""
    found = []
    for labels, what in ((train, "training row, never predicted"), (test, "test row")):
        absent = [classes[i] for i in np.setdiff1d(np.arange(len(classes)), labels)]
        if absent:
            has = "has" if len(absent) == 1 else "have"
            found.append(f"{len(absent):,} of {len(classes):,} classes {has} no {what}: {sampling.named(absent)}")
    return tuple(found)


def held_out(rows: int) -> int:
    """How many of so many rows without a test split are held out for testing."""
    return max(1, round(rows * TEST_FRACTION))


def _divided(source: FeatureSet, limit: int | None) -> tuple[Labelled, Labelled]:
    """The training rows and those held out for testing, each class in its share; one row of each stays for training."""
    features, labels = _checked(source, source.load())
    manifest = source.manifest
    _check_classes(labels, source)
    train, test = sampling.divide(labels, held_out(len(labels)), np.random.default_rng(0))
    if not len(test):
        raise FeaturesInvalid(
            f"{source.folder}: {len(labels)} rows of {len(train)} classes are too few to train on all of them and to test; "
            f"a class needs two images or more"
        )
    there = manifest.provenance.split_rows
    of = f"the first {manifest.stop:,} of its {there:,}" if manifest.stop < there else f"its {len(labels):,}"
    drawn = f"{len(test):,} of {of} images, drawn from each class in its share, were held out"
    notes = (*_notes(manifest), f"the data set has no test split: {drawn}")
    train, limited = _limited(labels, train, limit, manifest)
    first = _part(features, labels, (*notes, *limited), manifest, train)
    return first, _part(features, labels, notes, manifest, test)


def _part(
    features: npt.NDArray[np.float32],
    labels: npt.NDArray[np.int64],
    notes: tuple[str, ...],
    manifest: Manifest,
    chosen: npt.NDArray[np.int64] | None = None,
) -> Labelled:
    """The rows of a set, or those `chosen` among them, with their numbers in the split."""
    rows = manifest.row_numbers()[: len(labels)]
    if chosen is not None:
        features, labels, rows = features[chosen], labels[chosen], rows[chosen]
    return Labelled(features, labels, notes, rows, manifest.images_digest)
