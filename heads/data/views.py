"""The kept views of a pair's pictures: which are meant, whether they are of the same pictures, and their rows."""

import dataclasses
import shlex
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from headstart.core.cache.errors import FeaturesInvalid, FeaturesNotFound, FeaturesStale
from headstart.core.cache.feature_set import FeatureSet
from headstart.core.cache.text import by_commands
from headstart.core.cache.views import FLIP, asked_by, views_in_words
from headstart.core.heads.config import TrainConfig, refusal
from headstart.core.heads.data.labelled import Labelled
from headstart.core.heads.data.selection import Pair, extract_command

Renewed = Callable[[Pair, Sequence[str]], Sequence[str]]
"""The commands that bring the features of a pair up to date, and make these views of its pictures."""


def with_views(pair: Pair, config: TrainConfig, renewed: Renewed | None = None) -> TrainConfig:
    """The configuration with all views that are kept of the training pictures. `renewed` knows the command that makes them,
    where more is known of the features than their key.

    Raises FeaturesNotFound where there are none, FeaturesStale where one is of other pictures, FeaturesInvalid for a recipe
    that takes none.
    """
    if (reason := refusal(config, (), views=True)) is not None:
        raise FeaturesInvalid(reason)
    renewed = renewed or _renewed
    if not pair.train_views:
        raise FeaturesNotFound(
            f"{pair.train.folder}: no view of its pictures is kept; {by_commands(renewed(pair, [FLIP]), 'make', 'one')}"
        )
    for own in pair.train_views:
        _check(own, pair.train, pair, renewed)
    return dataclasses.replace(config, views=tuple(own.manifest.key.view for own in pair.train_views))


def unused(pair: Pair) -> str | None:
    """What must be said where views are kept and not asked for; None where there are none."""
    if not (count := len(pair.train_views)):
        return None
    many = f"{count:,} views of each training picture are kept; --views trains on them too"
    one = "a view of each training picture is kept; --views trains on it too"
    return f"{pair.key.backbone} {pair.key.dataset}: {one if count == 1 else many}"


def attached(part: Labelled, pair: Pair, config: TrainConfig) -> Labelled:
    """The rows, which are of the pair's training set, with the configuration's views of their pictures. Raises as
    `of_rows`."""
    found = of_rows(part, pair, pair.train, config)
    return part.with_views(found, len(found))


def with_validation(train: Labelled, rows: Labelled | None, pair: Pair, config: TrainConfig) -> Labelled:
    """Training rows, the last of which are `rows` of the validation split, with the views of their pictures. Of rows that
    are judging only the pictures as they are count: they have copies of these. Raises as `of_rows`."""
    own = len(train.labels) - (0 if rows is None else len(rows.labels))
    views = of_rows(train.at(np.arange(own)), pair, pair.train, config)
    if rows is not None and pair.val is not None:
        judging = train.judging is not None
        more = [rows.features] * len(views) if judging else of_rows(rows, pair, pair.val, config)
        views = [np.concatenate(both) for both in zip(views, more, strict=True)]
    return train.with_views(views, len(views))


def of_rows(part: Labelled, pair: Pair, plain: FeatureSet, config: TrainConfig) -> list[npt.NDArray[np.float32]]:
    """The configuration's views (N, D) of rows, which are of one of the pair's sets. Of each view only the shards up to the
    last of these rows are read, and only these rows are kept.

    Raises FeaturesNotFound where a view is not kept, FeaturesStale where one is of other pictures, FeaturesInvalid where
    one is not finite, FeaturesDamaged.
    """
    there = _by_words(pair.views_of(plain))
    if missing := [words for words in config.views if words not in there]:
        words, way = views_in_words(missing[:1]), by_commands(_renewed(pair, missing[:1]), "make", "it")
        raise FeaturesNotFound(f"{plain.folder}: its view {words} is not kept; {way}")
    for words in config.views:
        _check(there[words], plain, pair, _renewed)
    return [_rows_of(there[words], part) for words in config.views]


def attached_to_tests(part: Labelled, pair: Pair, config: TrainConfig) -> Labelled:
    """The rows, which are of the pair's test set, with the same views of their pictures; without any, and with a note,
    where not all of them are kept as they are now. Raises FeaturesInvalid, FeaturesDamaged."""
    assert pair.test is not None
    there = _by_words(pair.test_views)
    reason = None
    if not set(config.views) <= set(there):
        reason = "not all are kept"
    elif any(not _same(there[words], pair.test) for words in config.views):
        reason = "they are of other pictures by now"
    if reason is None:
        return part.with_views((_rows_of(there[words], part) for words in config.views), len(config.views))
    way = by_commands(_renewed(pair, config.views), "make", "them")
    note = f"no accuracy averaged over the views of test pictures: {reason}; {way}"
    return dataclasses.replace(part, notes=(*part.notes, note))


def _rows_of(source: FeatureSet, part: Labelled) -> npt.NDArray[np.float32]:
    """The features (N, D) of a view of these rows."""
    rows = source.load(int(part.rows.max()) + 1)
    places = np.searchsorted(source.manifest.row_numbers(), part.rows)
    same = part.ids is None or np.array_equal(rows.ids[places], part.ids)
    if not same or not np.array_equal(rows.labels[places], part.labels):
        raise FeaturesStale(f"{source.folder}: of other pictures or labels than the set of the pictures as they are")
    found = rows.features[places].astype(np.float32)
    bad = ~np.isfinite(found).all(axis=1)
    if bad.any():
        name = rows.ids[places[int(bad.argmax())]].decode("utf-8", "replace")
        raise FeaturesInvalid(
            f"{source.folder}: the features of image {name} are not finite; `headstart extract --force` makes them anew"
        )
    return found


def _check(view: FeatureSet, plain: FeatureSet, pair: Pair, renewed: Renewed) -> None:
    """Raise FeaturesStale where a view is of other pictures than the set of the pictures as they are."""
    if not _same(view, plain):
        commands, words = renewed(pair, [one.manifest.key.view for one in pair.views]), view.manifest.key.view_words
        raise FeaturesStale(
            f"{view.folder}: the view {words} is of other pictures, labels or rows than {plain.folder}, which has "
            f"{plain.manifest.rows:,} rows; {by_commands(commands, 'bring', 'it up to date')}"
        )


def _same(view: FeatureSet, plain: FeatureSet) -> bool:
    """Whether both are of the same pictures. Digests tell it where both have shards of the same rows, else the rows do."""
    ours, theirs = view.manifest, plain.manifest
    edges = [[(record.start, record.stop) for record in one.shards] for one in (ours, theirs)]
    if ours.feature_dim != theirs.feature_dim or not np.array_equal(ours.row_numbers(), theirs.row_numbers()):
        return False
    if edges[0] == edges[1] or ours.classes != theirs.classes:
        return ours.images_digest == theirs.images_digest
    one, other = view.load(), plain.load()
    pairs = ((one.labels, other.labels), (one.ids, other.ids), (one.digests, other.digests))
    return all(mine is not None and yours is not None and np.array_equal(mine, yours) for mine, yours in pairs)


def _by_words(sets: Sequence[FeatureSet]) -> Mapping[str, FeatureSet]:
    return {one.manifest.key.view: one for one in sets}


def _renewed(pair: Pair, views: Sequence[str]) -> Sequence[str]:
    """The commands in short."""
    return [extract_command(pair.key, shlex.join(options)) for options in asked_by(views) or [()]]
