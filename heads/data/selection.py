"""Which feature sets belong together: a training set with its test set, chosen by model, data set and key."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence

from headstart.core.cache.errors import FeaturesAmbiguous, FeaturesNotFound
from headstart.core.cache.feature_set import FeatureSet
from headstart.core.cache.key import FeatureKey
from headstart.core.cache.store import FeatureStore
from headstart.core.cache.text import listed, safe
from headstart.core.cache.verify import survey


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

    @property
    def contents(self) -> str:
        """What is in the pair, and since when."""
        found = [self.train, self.test] if self.test else [self.train]
        rows = " and ".join(f"{one.manifest.rows:,} {one.manifest.split} rows" for one in found)
        classes, created = self.key.classes, self.train.manifest.provenance.created
        return f"{rows}, {len(classes)} classes: {listed(classes, 3)}, made {created[:16].replace('T', ' ')}"


def pairs(store: FeatureStore, datasets: Sequence[str] | None = None, digest: str | None = None) -> list[Pair]:
    """Every key with training features, by name; the names of `datasets` and the start of the key's `digest` narrow the
    choice."""
    found = [
        features
        for features in store.sets()
        if (datasets is None or features.manifest.key.dataset in datasets)
        and features.manifest.key.digest.startswith(digest or "")
    ]
    found.sort(key=lambda features: (features.manifest.key.backbone, features.manifest.key.digest))
    groups = itertools.groupby(found, key=lambda features: features.manifest.key)
    by_split = [{features.manifest.split: features for features in group} for _, group in groups]
    return [pair for splits in by_split if (pair := _pair(splits)) is not None]


def check_key(store: FeatureStore, digest: str) -> None:
    """Raise FeaturesNotFound where no complete set has a key that begins with `digest`."""
    keys = [features.manifest.key for features in store.sets()]
    if any(key.digest.startswith(digest) for key in keys):
        return
    for entry in survey(store):
        if digest and entry.features is None and entry.folder.name.rpartition("-")[2].startswith(digest[:8]):
            raise FeaturesNotFound(f"{entry.folder}: {entry.state}, no head can learn from it; see `headstart cache ls`")
    there = listed(dict.fromkeys(f"{key.digest8} ({key.backbone} {key.dataset})" for key in keys)) or "none yet"
    raise FeaturesNotFound(f"{store.root}: no key begins with {safe(digest)}; there are {there}")


def _pair(splits: Mapping[str, FeatureSet]) -> Pair | None:
    """Training and test rows that belong together, else all rows, which are divided, else training rows alone."""
    if "train" in splits and "test" in splits:
        return Pair(splits["train"], splits["test"])
    first = splits.get("all") or splits.get("train")
    return Pair(first, splits.get("test")) if first else None


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
            choices = "; ".join(f"{pair.name} ({pair.contents})" for pair in matching)
            raise FeaturesAmbiguous(f"{where}: several feature sets of {model}; add one of these --key options: {choices}")
        chosen += matching
    if not chosen:
        raise FeaturesNotFound(f"{where}: no training features; make them with `headstart extract`")
    return chosen
