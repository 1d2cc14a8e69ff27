"""Which feature sets belong together: the last training set of a data set with its test set, chosen by model, data set and
the way of computing, in words."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence

from headstart.core.cache.errors import FeaturesAmbiguous, FeaturesNotFound
from headstart.core.cache.feature_set import FeatureSet
from headstart.core.cache.key import NamedKey
from headstart.core.cache.store import FeatureStore, newest
from headstart.core.cache.text import listed
from headstart.core.heads.feature_choice import ANY, LAST, FeatureChoice


@dataclasses.dataclass(frozen=True)
class Pair:
    """The training and the test set of one data set and key, and its validation set; a set of the split `all` has neither
    of its own, and others may have one alone.

    `views` are the sets that are kept of views of the same pictures, of all their splits, as they are: perhaps older than
    the pictures' own.
    """

    train: FeatureSet
    test: FeatureSet | None
    val: FeatureSet | None = None
    views: tuple[FeatureSet, ...] = ()

    @property
    def sets(self) -> tuple[FeatureSet, ...]:
        """Those that are there: training, validation, test."""
        return tuple(found for found in (self.train, self.val, self.test) if found)

    @property
    def train_views(self) -> tuple[FeatureSet, ...]:
        """Those of the training pictures."""
        return self.views_of(self.train)

    @property
    def test_views(self) -> tuple[FeatureSet, ...]:
        """Those of the test pictures, none where there is no test set."""
        return () if self.test is None else self.views_of(self.test)

    def views_of(self, plain: FeatureSet) -> tuple[FeatureSet, ...]:
        """The views that are kept of the pictures of one of its sets, by the words of their keys."""
        found = [one for one in self.views if one.manifest.split == plain.manifest.split]
        return tuple(sorted(found, key=lambda one: one.manifest.key.view))

    @property
    def key(self) -> NamedKey:
        """What both were computed from."""
        return self.train.manifest.named

    @property
    def words(self) -> dict[str, str]:
        """By option, what tells the pair from others of its model."""
        key, origin = self.key, self.train.manifest.provenance.weights_from
        weights = origin if key.weights.partition("#")[0] == "file" else key.weights
        return {
            "--dataset": key.dataset,
            "--image-size": str(key.image_size),
            "--precision": key.precision,
            "--transform": key.transform,
            "--pool": key.pool,
            "--layer": key.layer or LAST,
            "--weights": weights,
        }

    @property
    def created(self) -> str:
        """When its last set was made."""
        return max(found.manifest.provenance.created for found in self.sets)

    @property
    def contents(self) -> str:
        """What is in the pair, and since when."""
        counts = [(one.manifest.rows, one.manifest.split) for one in self.sets]
        rows = " and ".join(f"{count:,} rows" if split == "all" else f"{count:,} {split} rows" for count, split in counts)
        classes, created = self.key.classes, self.train.manifest.provenance.created
        of = f"{len(classes)} classes: {listed(classes, 3)}" if classes else "no labels"
        return f"{rows}, {of}, made {created[:16].replace('T', ' ')}"


def pairs(
    store: FeatureStore,
    datasets: Sequence[str] | None = None,
    choice: FeatureChoice = ANY,
    splits: Sequence[str] | None = None,
) -> list[Pair]:
    """The last training features of each data set and key, by model; the names of `datasets`, the way of computing, and
    `splits` narrow the choice. A set of a view is none by itself, but comes with the set of the pictures as they are."""
    last = newest(store.sets())
    found = [
        features
        for features in last
        if not features.manifest.key.view
        and (datasets is None or features.manifest.dataset in datasets)
        and (splits is None or features.manifest.split in splits)
        and choice.matches(features)
    ]
    found.sort(key=lambda one: (one.manifest.key.backbone, one.manifest.key.digest, one.manifest.dataset))
    groups = itertools.groupby(found, key=lambda one: (one.manifest.key, one.manifest.dataset))
    by_split = [{features.manifest.split: features for features in group} for _, group in groups]
    return [with_kept_views(found_pair, last) for one in by_split if (found_pair := _pair(one)) is not None]


def with_kept_views(pair: Pair, sets: Sequence[FeatureSet]) -> Pair:
    """The pair with the views of its pictures that are among the last sets of a store."""
    ours = {(plain.manifest.key, plain.manifest.dataset, plain.manifest.split) for plain in pair.sets}
    there = [one for one in sets if one.manifest.key.view]
    found = [one for one in there if (one.manifest.key.plain, one.manifest.dataset, one.manifest.split) in ours]
    return dataclasses.replace(pair, views=tuple(found))


def check_choice(store: FeatureStore, choice: FeatureChoice) -> None:
    """Raise FeaturesNotFound where features are there, and none was computed so."""
    sets = [features for features in newest(store.sets()) if not features.manifest.key.view]
    if not sets or any(choice.matches(features) for features in sets):
        return
    words = [list(Pair(features, None).words.items())[1:] for features in sets]  # any data set will do
    there = listed(dict.fromkeys(" ".join(f"{name} {value}" for name, value in one) for one in words))
    asked = choice.options or f"the key {choice.digest}"
    raise FeaturesNotFound(f"{store.root}: no features with {asked}; there are {there}")


def _pair(splits: Mapping[str, FeatureSet]) -> Pair | None:
    """Training, validation and test rows that belong together, or all rows, which are divided: what was made last, as a
    folder may have been divided since; else training rows alone."""
    whole, first, val, test = (splits.get(name) for name in ("all", "train", "val", "test"))
    if whole is not None and first is not None and (val is not None or test is not None):
        later = whole.manifest.provenance.created > first.manifest.provenance.created
        return Pair(whole, None) if later else pair(first, val, test)
    found = whole or first
    return None if found is None else Pair(found, None) if found is whole else pair(found, val, test)


def pair(train: FeatureSet, val: FeatureSet | None, test: FeatureSet | None) -> Pair:
    """The sets of one data set. Rows that an earlier version took for the test split, since there was no other, are not:
    what chooses heads can't test them."""
    same = val is not None and test is not None and _pictures(val) == _pictures(test)
    return Pair(train, None if same else test, val)


def _pictures(features: FeatureSet) -> list[tuple[int, int, str]]:
    """What tells the pictures of a set, whatever its split."""
    return [(shard.start, shard.stop, shard.inputs) for shard in features.manifest.shards]


def choose(found: Sequence[Pair], models: Sequence[str], where: object) -> list[Pair]:
    """One pair for each of `models`, or for each model that there is where none is named; of several that no word tells
    apart the last one.

    Raises FeaturesNotFound where a model has none, FeaturesAmbiguous where it has several.
    """
    there = list(dict.fromkeys(pair.key.backbone for pair in found))
    chosen: list[Pair] = []
    for model in models or there:
        matching = [pair for pair in found if pair.key.is_of(model)]
        if not matching:
            others = f"there are features of {', '.join(there)}" if there else "there are none yet"
            command = f"`headstart extract --model {model}`" + (" and the --dataset that is meant" if found else "")
            raise FeaturesNotFound(f"{where}: no training features of {model} ({others}); make them with {command}")
        last = {tuple(pair.words.values()): pair for pair in sorted(matching, key=lambda pair: pair.created)}
        if len(last) > 1:
            raise FeaturesAmbiguous(f"{where}: several feature sets of {model}; add what tells them apart: {_apart(last)}")
        chosen += last.values()
    if not chosen:
        raise FeaturesNotFound(f"{where}: no training features; make them with `headstart extract`")
    return chosen


def passed_over(found: Sequence[Pair], chosen: Pair) -> str | None:
    """What must be said where features that no word tells from those chosen were computed in another way, from a file of
    weights that was exchanged for one: the last ones are meant. None where there are none."""
    others = [pair for pair in found if pair.words == chosen.words and pair.key.backbone == chosen.key.backbone]
    others = [pair for pair in others if pair.key != chosen.key]
    if not others:
        return None
    mine, before = vars(chosen.key), max(others, key=lambda pair: pair.created)
    fields = [name for name, value in vars(before.key).items() if value != mine[name]]
    return (
        f"{chosen.key.backbone} {chosen.key.dataset}: features of another {' and '.join(fields)} are there too, the last "
        f"of them {before.train.folder.name}; those made last are taken, {chosen.train.folder.name}"
    )


def _apart(found: Mapping[tuple[str, ...], Pair]) -> str:
    """The pairs, each by the options in which they differ."""
    words = [pair.words for pair in found.values()]
    options = [name for name in words[0] if len({one[name] for one in words}) > 1]
    shown = [" ".join(f"{name} {pair.words[name]}" for name in options) for pair in found.values()]
    return "; ".join(f"{text} ({pair.contents})" for text, pair in zip(shown, found.values(), strict=True))


def extract_command(key: NamedKey, more: str) -> str:
    """The command that makes other rows of the same features."""
    return f"headstart extract --model {key.backbone} --dataset {dataset_words(key)} {more}".rstrip()


def dataset_words(key: NamedKey) -> str:
    """A data set as `--dataset` takes it; of a user's own, which may lie anywhere, without its place."""
    kind, dash, _ = key.dataset.partition("-")
    return f"{kind}:PATH" if dash and kind not in ("torchvision", "hf") else key.dataset
