"""Runs put in order for a report: a section for each set of test images, in it a line for each head whatever its seed.

What belongs together is decided by content: the digests of images and features, the settings and the version of the
training. Names are only what people read; where they would not tell two things apart, more is said.
"""

import dataclasses
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence

from headstart.core.cache.key import NamedKey
from headstart.core.cache.manifest import Manifest
from headstart.core.heads.runs import Run
from headstart.core.heads.settings import settings_label


@dataclasses.dataclass(frozen=True)
class Group:
    """Runs that differ in nothing but their seed, one for each seed, the lowest first. `model` and `settings` together name
    the group within its section."""

    model: str
    settings: str
    runs: tuple[Run, ...]

    @property
    def first(self) -> Run:
        """The run that stands for the group where one head is shown: that of the lowest seed."""
        return self.runs[0]


@dataclasses.dataclass(frozen=True)
class GroupedRuns:
    """Groups whose heads were tested on the images of one split, as `images` names it (empty where not known)."""

    title: str
    dataset: str
    classes: tuple[str, ...]
    images: str
    groups: tuple[Group, ...]


def grouped(runs: Sequence[Run], manifests: Mapping[str, Manifest]) -> list[GroupedRuns]:
    """The runs, oldest first, by test images and then by all but their seeds; of equal ones the newest counts. Where it has
    no few-shot curve, that of an earlier one is its: it was measured of the same training on the same images.

    `manifests` holds the feature sets that are there, by digest: records of version 1 do not say which images they are of.
    """
    by_images: dict[Hashable, list[Run]] = {}
    for run in (_with_images(run, manifests) for run in runs):
        unknown = (run.key.dataset, run.test.digest)
        by_images.setdefault((run.key.classes, run.test.images or unknown), []).append(run)
    parts = list(by_images.values())
    titles = _distinct(
        [part[-1].key.dataset for part in parts],
        [
            [f"tested on {part[-1].evaluation.overall.total:,} images" for part in parts],
            [_short(part[-1]) for part in parts],
        ],
    )
    return [
        GroupedRuns(title, part[-1].key.dataset, part[-1].key.classes, part[-1].test.images, _groups(part))
        for title, part in zip(titles, parts, strict=True)
    ]


def _short(run: Run) -> str:
    return f"images {(run.test.images or run.test.digest)[:8]}"


def _with_images(run: Run, manifests: Mapping[str, Manifest]) -> Run:
    manifest = manifests.get(run.test.digest)
    if run.test.images or manifest is None:
        return run
    test = dataclasses.replace(run.test, images=manifest.images_digest, split=manifest.split)
    return dataclasses.replace(run, test=test)


def _groups(runs: Sequence[Run]) -> tuple[Group, ...]:
    alike: dict[Hashable, dict[int, Run]] = {}
    for run in runs:
        by_seed = alike.setdefault(_all_but_the_seed(run), {})
        before = by_seed.get(run.config.seed)
        by_seed[run.config.seed] = dataclasses.replace(run, curve=run.curve or (before.curve if before else None))
    found = [tuple(by_seed[seed] for seed in sorted(by_seed)) for by_seed in alike.values()]
    models = _model_labels([group[0].key for group in found])
    named = [f"{model}\0{settings_label(group[0].config)}" for model, group in zip(models, found, strict=True)]
    further = [
        [f"on {group[0].train_rows + group[0].val_rows:,} rows" for group in found],
        [f"training version {group[0].training_version}" for group in found],
        [f"from {group[-1].created[:19]}" for group in found],
        [group[0].name for group in found],
    ]
    labels = [label.split("\0") for label in _distinct(named, further)]
    return tuple(Group(model, settings, group) for (model, settings), group in zip(labels, found, strict=True))


def _all_but_the_seed(run: Run) -> Hashable:
    config = dataclasses.replace(run.config, seed=0)
    used = run.train.used, run.test.used, run.val and run.val.used
    return run.key.digest, config, run.trained_on, used, run.training_version


_FEATURES_DIFFER: tuple[Callable[[NamedKey], str], ...] = (
    lambda key: f"{key.image_size} px",
    lambda key: key.transform,
    lambda key: key.pooling,
    lambda key: key.precision,
    lambda key: key.weights,
    lambda key: f"weights {key.weights_sha256[:8]}",
    lambda key: key.dataset,
    lambda key: f"features {key.digest8}",
)


def _model_labels(keys: Sequence[NamedKey]) -> list[str]:
    """The backbones' names; where one has several kinds of features, what tells them apart."""
    kinds = list(dict.fromkeys(keys))
    further = [[say(key) for key in kinds] for say in _FEATURES_DIFFER]
    labels = dict(zip(kinds, _distinct([key.backbone for key in kinds], further), strict=True))
    return [labels[key] for key in keys]


def _distinct(names: Sequence[str], further: Sequence[Sequence[str]]) -> list[str]:
    """The names, each of those that are equal with as many of the `further` words as tell them apart."""
    found = list(names)
    for words in further:
        counts = Counter(found)
        said: dict[str, set[str]] = {}
        for name, word in zip(found, words, strict=True):
            said.setdefault(name, set()).add(word)
        found = [
            f"{name}, {word}" if counts[name] > 1 and len(said[name]) > 1 else name
            for name, word in zip(found, words, strict=True)
        ]
    return found
