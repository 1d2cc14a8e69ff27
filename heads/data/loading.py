"""The rows of feature sets ready for training: loaded, checked, divided, with what must be said of them."""

import dataclasses

import numpy as np
import numpy.typing as npt

from headstart.core.cache.corrected_sets import REMOVED, UNLABELLED
from headstart.core.cache.errors import FeaturesInvalid, FeaturesNotFound, FeaturesStale
from headstart.core.cache.feature_set import FeatureSet
from headstart.core.cache.manifest import Manifest
from headstart.core.cache.text import listed
from headstart.core.cache.views import views_in_words
from headstart.core.heads.config import RECIPES, TEST_FRACTION, TrainConfig, uses
from headstart.core.heads.data import folds, sampling
from headstart.core.heads.data.groups import grouped, grouped_apart
from headstart.core.heads.data.labelled import Labelled
from headstart.core.heads.data.reading import Read, in_memory
from headstart.core.heads.data.selection import Pair, extract_command
from headstart.core.heads.data.validation import Validation, validation
from headstart.core.heads.data.views import attached, attached_to_tests, with_validation

_OF_JOINED = (
    "are part of the training split",
    "are part of the training split: `train-head` chooses on both by cross-validation",
)
"""What sets say that were made when validation pictures were training rows: test sets that are there still say so."""
_MIXED = ("cifar10", "digits")
"""Data sets whose order is known to have nothing to do with classes, where older manifests do not say so."""


@dataclasses.dataclass(frozen=True)
class Parts:
    """Rows to train on, and rows to test on: None where the set has no test split and nothing is to be held out, so that
    only a cross-validation of the training rows can tell how good a head is.

    The last rows to train on are those of the `validation` split, where there is one: judging, or as all others. Test rows
    that are `leaked` (T,) are pictures of other rows too: the same, and where that is `audited`, nearly the same as an
    audit found. None where there are no test rows, or none can be so."""

    training: Labelled
    testing: Labelled | None
    validation: Labelled | None = None
    leaked: npt.NDArray[np.bool_] | None = None
    audited: bool = False

    @property
    def cross_validated(self) -> Labelled:
        """The rows that a cross-validation tests on: those to train on but the validation split's."""
        if self.validation is None:
            return self.training
        own = self.training.at(np.arange(self.first_added))
        return dataclasses.replace(own, images=own.images.partition(" ")[0])

    @property
    def first_added(self) -> int:
        """The place of the first row of the validation split, N where there is none."""
        return len(self.training.labels) - (0 if self.validation is None else len(self.validation.labels))

    @property
    def notes(self) -> tuple[str, ...]:
        """What must be said of either, once."""
        return tuple(dict.fromkeys([*self.training.notes, *(self.testing.notes if self.testing else ())]))


def load(pair: Pair, config: TrainConfig, read: Read = in_memory) -> Parts:
    """The training part and the test part, checked, with ids, groups, and notes on what was drawn and which classes are
    missing or have few rows. `read` reads each set.

    Of a set without splits `test_fraction` is held out, the same way each time; without one there is no test part. Of the
    training part `train_limit` rows are used: the first ones where the set's order makes them a sample of all, else some
    drawn with every class in its share. Test rows do not depend on it. Rows of the same picture, and those that `group_by`
    has together, are in one group. Rows of a validation split are `judging`, or train where they can't (`validation`). With
    `views` all parts have those of their pictures, as `views.attached` says. Raises FeaturesNotFound where the test set is
    missing or fewer rows are there than `train_limit`, FeaturesInvalid for rows no head can learn from, and for a
    `test_fraction` of a set with a test split, a `val_fraction` of one with a validation split or a `group_by` that tells
    no groups, FeaturesStale where the classes of the sets have other names.
    """
    manifest, limit = pair.train.manifest, config.train_limit
    if pair.test is None and pair.val is None and manifest.split == "train":
        raise FeaturesNotFound(
            f"{pair.train.folder}: has no test set beside it; `{extract_command(pair.key, '')}` without --split makes all "
            f"that there is: a test split, or one set that is divided here"
        )
    check_names(pair)
    beside = _beside(pair, config, read)
    if limit is not None and limit > manifest.stop + (beside.joins if beside else 0):
        raise FeaturesNotFound(_too_few(pair, limit))
    _check_fraction(pair, config)
    test: Labelled | None
    divided = pair.test is None and config.test_fraction is not None
    if divided:
        train, test = _divided(pair.train, config, again=beside is not None, read=read)
    else:
        test = testing(pair.test, config, read) if pair.test is not None else None
        train = _training(pair.train, None if limit is None else min(limit, manifest.stop), read)
    own, leaked = len(train.labels), None
    train = train if beside is None else beside.beside(train, limit)
    if beside is not None or not divided:
        train, leaked = grouped_apart(train, test, config.group_by)
    learned = train.learning.labels
    _check_classes(learned, pair.train)
    _check_neighbours(config, len(learned), pair)
    told = sampling.missing_classes(pair.key.classes, learned, None if test is None else test.labels)
    told += sampling.uneven_classes(learned) if _may_weigh(config) else ()
    train = dataclasses.replace(train, notes=(*train.notes, *told))
    parts = Parts(train, test, _added(beside, len(train.labels) - own), None if test is None else leaked)
    return _with_views(parts, pair, config) if config.views else parts


def _check_neighbours(config: TrainConfig, rows: int, pair: Pair) -> None:
    """Raise FeaturesInvalid where a head shall ask more rows than there are."""
    if (config.neighbours or 0) > rows:
        words = f"expected no more than the {rows:,} training rows that there are; use --neighbours {rows} or fewer"
        raise FeaturesInvalid(f"{pair.train.folder}: --neighbours {config.neighbours}, {words}")


def _may_weigh(config: TrainConfig) -> bool:
    """Whether classes could be given weights, and are not."""
    return config.recipe != "study" and config.class_weight is None and "class_weight" in uses(config.head)


def _with_views(parts: Parts, pair: Pair, config: TrainConfig) -> Parts:
    """The rows with the views of their pictures."""
    test, said = parts.testing, f"trained on views of each picture too: {views_in_words(config.views)}"
    train = dataclasses.replace(parts.training, notes=(*parts.training.notes, said))
    if test is not None:
        test = attached(test, pair, config) if pair.test is None else attached_to_tests(test, pair, config)
    return dataclasses.replace(parts, training=with_validation(train, parts.validation, pair, config), testing=test)


def _beside(pair: Pair, config: TrainConfig, read: Read) -> Validation | None:
    """The validation split. Raises FeaturesInvalid for a `val_fraction` where it chooses."""
    if pair.val is None:
        return None
    labels, classes = pair.train.load().labels if read is in_memory else read(pair.train, None).labels, pair.key.classes
    rows = _part(pair.val, _split_notes(pair.val.manifest, "chosen on", "validation"), read=read)
    found, recipe = validation(rows, labels[(labels >= 0) & (labels < len(classes))], classes), RECIPES.get(config.recipe)
    if found.reason is None and config.val_fraction not in (0, None if recipe is None else recipe.val_fraction):
        there = f"the data set has a validation split of {len(rows.labels):,} rows, which choose"
        raise FeaturesInvalid(f"{pair.train.folder}: --val-fraction {config.val_fraction:g}, but {there}; leave it out")
    return found


def _added(beside: Validation | None, rows: int) -> Labelled | None:
    return None if beside is None else beside.rows.at(np.arange(rows))


def testing(source: FeatureSet, config: TrainConfig, read: Read = in_memory) -> Labelled:  # noqa: PT028  # no test
    """The test part alone of a test set, or of a set without splits as `load` gives it: `TEST_FRACTION` of it where the
    configuration holds nothing out. No training set is read. Raises FeaturesDamaged, FeaturesInvalid."""
    if source.manifest.split != "test":
        return _divided(source, config, read=read)[1]
    return _part(source, _split_notes(source.manifest, "tested on", "test"), read=read)


def first(source: FeatureSet, limit: int, group_by: str | None = None) -> Labelled:
    """The rows of a set's first `limit` images, as `load` gives them to train on; no test set is looked for. Raises
    FeaturesNotFound, FeaturesDamaged, FeaturesInvalid."""
    found = _part(source, tuple(_notes(source.manifest)), limit)
    _check_classes(found.labels, source)
    found = grouped(found, None, group_by)
    told = sampling.missing_classes(source.manifest.classes, found.labels, None)
    return dataclasses.replace(found, notes=(*found.notes, *told))


def whole(source: FeatureSet, read: Read = in_memory) -> Labelled:
    """All rows of a set, checked. Raises FeaturesDamaged, FeaturesInvalid."""
    return _part(source, tuple(_notes(source.manifest)), read=read)


def _check_fraction(pair: Pair, config: TrainConfig) -> None:
    """Refuse a part to hold out that no recipe has: of a set with a test split, or none at all."""
    fraction, recipe = config.test_fraction, RECIPES.get(config.recipe)
    if fraction is None:
        return
    if not 0 < fraction < 1:
        raise FeaturesInvalid(f"--test-fraction {fraction:g}: expected a number between 0 and 1")
    if pair.test is not None and (recipe is None or fraction != recipe.test_fraction):
        there = f"the data set has a test split of {pair.test.manifest.rows:,} rows"
        raise FeaturesInvalid(f"{pair.train.folder}: --test-fraction {fraction:g}, but {there}; leave the option out")


def check_names(pair: Pair) -> None:
    """Refuse a set whose labels mean other classes: one of the two was made before the classes were renamed."""
    for other in pair.sets:
        if other.manifest.classes == pair.train.manifest.classes:
            continue
        ours, theirs = (set(found.manifest.classes) for found in (pair.train, other))
        names = listed(sorted(ours ^ theirs)) or "in another order"
        raise FeaturesStale(
            f"{other.folder}: its classes are not those of {pair.train.folder}: {names}; `{extract_command(pair.key, '')}` "
            f"without --split brings both up to date"
        )


def _too_few(pair: Pair, limit: int) -> str:
    manifest = pair.train.manifest
    split = "data set" if manifest.split == "all" else f"{manifest.split} split"
    if limit > manifest.provenance.split_rows:
        all_of_them = f"the {split} has only {manifest.provenance.split_rows:,} rows"
        return f"{pair.train.folder}: {all_of_them}, --train-limit {limit} asks for more; use {manifest.stop} at most"
    more = extract_command(pair.key, f"--split {manifest.split} --limit {limit}")
    there = f"holds the first {manifest.stop:,} of {manifest.provenance.split_rows:,} rows of the {split}"
    return f"{pair.train.folder}: {there}, --train-limit {limit} asks for more; `{more}` adds the missing ones"


def _check_classes(labels: npt.NDArray[np.int64], source: FeatureSet) -> None:
    if len(found := np.unique(labels)) < 2:
        name = source.manifest.classes[int(found[0])]
        raise FeaturesInvalid(
            f"{source.folder}: all {len(labels)} training rows are of the class {name}; a head needs two classes or more"
        )


def _training(source: FeatureSet, limit: int | None, read: Read) -> Labelled:
    """The training rows of a set with splits, or all rows of one without."""
    manifest = source.manifest
    if limit is None or limit == manifest.stop or _begins_with_a_sample(manifest):
        used, there = limit or manifest.stop, manifest.provenance.split_rows
        note = [f"trained on the first {used:,} of {there:,} training images"] if used < there else []
        return _part(source, (*_notes(manifest), *note), limit, read)
    found = whole(source, read)
    chosen, drawn = _limited(found.labels, np.arange(len(found.labels)), limit, manifest)
    return dataclasses.replace(found.at(chosen), notes=(*found.notes, *drawn))


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
    return manifest.provenance.order in ("mixed", "stratified") or manifest.dataset in _MIXED


def _notes(manifest: Manifest) -> list[str]:
    """What must be said of a set's rows wherever they are used."""
    notes = [note for note in manifest.provenance.notes if not note.endswith(_OF_JOINED)]
    reasons = [image.reason for shard in manifest.shards for image in shard.skipped]
    if unreadable := sum(reason not in (REMOVED, UNLABELLED) for reason in reasons):
        which = "" if manifest.split == "all" else f"{manifest.split} "
        notes.append(f"{unreadable} unreadable {which}{'image' if unreadable == 1 else 'images'} left out")
    return notes


def _split_notes(manifest: Manifest, used_for: str, kind: str) -> tuple[str, ...]:
    """The same of rows of one kind, and how many of them are used, for what."""
    used, there = manifest.stop, manifest.provenance.split_rows
    subset = [f"{used_for} the first {used:,} of {there:,} {kind} images"] if used < there else []
    return (*_notes(manifest), *subset)


def held_out(rows: int, fraction: float = TEST_FRACTION) -> int:
    """How many of so many rows without a test split are held out for testing."""
    return max(1, round(rows * fraction))


def _divided(
    source: FeatureSet, config: TrainConfig, again: bool = False, read: Read = in_memory
) -> tuple[Labelled, Labelled]:
    """The training rows and those held out for testing, each class in its share; one row of each stays for training. Where
    others will be beside them, they are in no groups yet: they will be grouped `again`."""
    found = whole(source, read)
    _check_classes(found.labels, source)
    data = grouped(found, None, config.group_by)
    labels, manifest = data.labels, source.manifest
    count = held_out(len(labels), config.test_fraction or TEST_FRACTION)
    train, test = folds.held_out(labels, data.groups, count, np.random.default_rng(0))
    if not len(test):
        groups = "" if data.groups is None else f" in {len(np.unique(data.groups)):,} groups"
        raise FeaturesInvalid(
            f"{source.folder}: {len(labels)} rows of {len(np.unique(labels))} classes{groups} are too few to train on all "
            f"of them and to test; a class needs two images or more{', of two groups' if groups else ''}"
        )
    there = manifest.provenance.split_rows
    of = f"the first {manifest.stop:,} of its {there:,}" if manifest.stop < there else f"its {len(labels):,}"
    drawn = f"{len(test):,} of {of} images, drawn from each class in its share, were held out"
    if len(test) < count - 1 and data.groups is None:
        drawn += f", and not {count:,} as asked for: each class keeps some to learn from"
    told = found if again else data
    notes = (*told.notes, f"the data set has no test split: {drawn}")
    train, limited = _limited(labels, train, config.train_limit, manifest)
    first = dataclasses.replace(told.at(train), notes=(*notes, *limited))
    return first, dataclasses.replace(data.at(test), notes=notes)


def _part(source: FeatureSet, notes: tuple[str, ...], limit: int | None = None, read: Read = in_memory) -> Labelled:
    """The rows of a set, or of its first `limit` images, checked, with their ids and their numbers in the split."""
    return dataclasses.replace(read(source, limit), notes=notes)
