"""Which feature sets belong to a question, and their rows ready for training: loaded, checked, on the device."""

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from cache.errors import FeaturesAmbiguous, FeaturesInvalid, FeaturesNotFound
from cache.files import sha256
from cache.key import FeatureKey
from cache.manifest import Manifest
from cache.shard import Rows
from cache.store import FeatureSet, FeatureStore

HELD_OUT = 0.2
"""The part of a set without a test split that is set aside for testing."""


@dataclasses.dataclass(frozen=True)
class Pair:
    """The training and the test set of one key; a set of the split `all` has no test set of its own."""

    train: FeatureSet
    test: FeatureSet | None

    @property
    def key(self) -> FeatureKey:
        """What both were computed from."""
        return self.train.manifest.key

    @property
    def name(self) -> str:
        """The pair in words, with the digits that `--key` takes."""
        key = self.key
        return f"{key.backbone} {key.dataset} {key.image_size} px {key.precision} {key.weights} --key {key.digest8}"


@dataclasses.dataclass(frozen=True)
class Labelled:
    """Features (N, D) float32 and labels (N,) int64 of one part, with what is to be said of it.

    `rows` (N,) are their row numbers in the split that `images` names by content (`Manifest.images_digest`).
    """

    features: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    notes: tuple[str, ...] = ()
    rows: npt.NDArray[np.int64] = dataclasses.field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    images: str = ""

    @property
    def digest(self) -> str:
        """64 hexadecimal digits that name the images of these rows, by content and in their order."""
        return sha256(self.images.encode(), self.rows.astype("<i8").tobytes())


def pairs(store: FeatureStore, dataset: str | None = None, digest: str | None = None) -> list[Pair]:
    """Every key with training features, by name; `dataset` and the start of the key's `digest` narrow the choice."""
    found = [
        features
        for features in store.sets()
        if dataset in (None, features.manifest.key.dataset) and features.manifest.key.digest.startswith(digest or "")
    ]
    found.sort(key=lambda features: (features.manifest.key.backbone, features.manifest.key.digest))
    groups = itertools.groupby(found, key=lambda features: features.manifest.key)
    by_split = [{features.manifest.split: features for features in group} for _, group in groups]
    train = [(splits.get("train") or splits.get("all"), splits.get("test")) for splits in by_split]
    return [Pair(first, test) for first, test in train if first is not None]


def choose(found: Sequence[Pair], models: Sequence[str], where: object) -> list[Pair]:
    """One pair for each of `models`, or for each model that there is where none is named.

    Raises FeaturesNotFound where a model has none, FeaturesAmbiguous where it has several.
    """
    there = list(dict.fromkeys(pair.key.backbone for pair in found))
    chosen = []
    for model in models or there:
        matching = [pair for pair in found if pair.key.backbone == model]
        if not matching:
            others = f"there are features of {', '.join(there)}" if there else "there are none yet"
            raise FeaturesNotFound(
                f"{where}: no training features of {model} ({others}); make them with `headstart extract --model {model}`"
            )
        if len(matching) > 1:
            listed = "; ".join(pair.name for pair in matching)
            raise FeaturesAmbiguous(f"{where}: several feature sets of {model}; add one of these --key options: {listed}")
        chosen += matching
    if not chosen:
        raise FeaturesNotFound(f"{where}: no training features; make them with `headstart extract`")
    return chosen


def load(pair: Pair, train_limit: int | None = None) -> tuple[Labelled, Labelled]:
    """The training part and the test part, checked.

    A set without splits is divided: every row is drawn once, by a generator of fixed seed, and a tenth is for testing.
    Raises FeaturesNotFound where the test set is missing, FeaturesInvalid for rows no head can learn from.
    """
    if pair.test is None and pair.train.manifest.split == "train":
        key = pair.key
        dataset = "folder:PATH" if key.dataset.startswith("folder-") else key.dataset
        raise FeaturesNotFound(
            f"{pair.train.folder}: has no test set beside it; "
            f"make it with `headstart extract --model {key.backbone} --dataset {dataset} --split test`"
        )
    rows = _checked(pair.train, pair.train.load(train_limit))
    if pair.test is None:
        return _divide(rows, pair.train, train_limit)
    train = _part(*rows, _subset(pair.train.manifest, train_limit), pair.train.manifest)
    test = _part(*_checked(pair.test, pair.test.load()), _subset(pair.test.manifest, None), pair.test.manifest)
    _check_classes(train.labels, pair.train)
    return train, test


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


def _subset(manifest: Manifest, limit: int | None) -> tuple[str, ...]:
    """What must be said of the rows used: of the training rows nothing, since their number stands beside each figure."""
    used, there = min(limit or manifest.stop, manifest.stop), manifest.provenance.split_rows
    notes = list(manifest.provenance.notes)
    if manifest.split == "test" and used < there:
        notes.append(f"tested on the first {used:,} of {there:,} test images")
    if manifest.skipped:
        which = "" if manifest.split == "all" else f"{manifest.split} "
        notes.append(f"{manifest.skipped} unreadable {which}images left out")
    return tuple(notes)


def _divide(
    rows: tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]], source: FeatureSet, limit: int | None
) -> tuple[Labelled, Labelled]:
    features, labels = rows
    manifest = source.manifest
    _check_classes(labels, source)
    order = np.random.default_rng(0).permutation(len(labels))
    held_out = max(1, round(len(labels) * HELD_OUT))
    test, train = np.sort(order[:held_out]), np.sort(order[held_out:])
    if len(np.unique(labels[train])) < 2:
        raise FeaturesInvalid(f"{source.folder}: {len(labels)} rows are too few to train on two classes and to test")
    used, there = min(limit or manifest.stop, manifest.stop), manifest.provenance.split_rows
    of = f"the first {used:,} of its {there:,}" if used < there else f"its {len(labels):,}"
    note = f"the data set has no test split: {held_out:,} of {of} images, drawn at random, were held out"
    notes = (*_subset(manifest, None), note)
    return _part(features, labels, notes, manifest, train), _part(features, labels, notes, manifest, test)


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
