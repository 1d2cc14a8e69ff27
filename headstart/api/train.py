"""Training from a notebook: kept features in, a classifier out."""

import contextlib
import dataclasses
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from headstart.api.classifier import Classifier
from headstart.api.features import Features
from headstart.api.notebook import watching
from headstart.api.recipe import changed
from headstart.api.spoken import in_python, spoken
from headstart.core.cache.arguments import nbytes
from headstart.core.cache.corrected_sets import alike
from headstart.core.cache.errors import ArgumentInvalid, ArgumentOfWrongType, FeaturesNotFound
from headstart.core.cache.feature_set import FeatureSet
from headstart.core.cache.store import FeatureStore, newest
from headstart.core.extract.config import ExtractConfig
from headstart.core.extract.network.devices import resolve
from headstart.core.heads import data, predictions_file
from headstart.core.heads.checkpoint import Checkpoint
from headstart.core.heads.config import TrainConfig, refusal
from headstart.core.heads.data import Pair
from headstart.core.heads.predictions_file import Kept
from headstart.core.heads.runs import Run, RunStore
from headstart.core.heads.sessions import session
from headstart.correcting.pairs import corrected_pairs
from headstart.observer import Observer
from headstart.tidying import renewed
from headstart.training import CURVE, epochs_told, folds_told
from headstart.workspace import file, folder


@spoken
def train(
    features: Features,
    *,
    head: str | None = None,
    recipe: str = "standard",
    epochs: int | None = None,
    lr: float | None = None,
    batch_size: int | None = None,
    hidden: int | None = None,
    dropout: float | None = None,
    weight_decay: float | None = None,
    val_fraction: float | None = None,
    penalty: float | None = None,
    neighbours: int | None = None,
    class_weight: str | None = None,
    label_smoothing: float | None = None,
    test_fraction: float | None = None,
    group_by: str | None = None,
    train_limit: int | None = None,
    seed: int | None = None,
    curve: bool = False,
    views: bool = False,
    memory: int | str | None = None,
    corrections: str | os.PathLike[str] | None = None,
    device: str = ExtractConfig.device,
    runs_dir: str | os.PathLike[str] | None = None,
    observer: Observer | None = None,
) -> Classifier:
    """Train a head and test it: what `headstart train-head` does, with the same names and defaults. What was opened alone
    is tested on the test split beside it; a set without one by cross-validation, and the head is then trained on all of it,
    unless a `test_fraction` is held out. A split `val` only chooses. `Classifier.save` and `runs_dir` alone save anything.

    recipe: standard, whose own head is auto, or study, whose own is the mlp; None leaves its value. epochs in passes;
    batch_size, train_limit in rows; hidden in units; penalty: of ridge, or 1 / C of logreg and svm; neighbours: the k of
    knn; class_weight: "balanced"; group_by: a regular expression, rows in whose ids it finds the same text are never on
    both sides of a division; curve: on a half, a quarter, ... of the rows too; views: train on kept views too; memory:
    "200MB" or bytes, features that take more are read in blocks; corrections: a file of decisions on labels, by which heads
    are trained and tested (docs/corrections.md). Raises ArgumentInvalid and the other errors of `headstart train-head`.
    >>> head = hs.train(features, seed=0)  # doctest: +SKIP"""
    given = {
        "epochs": epochs, "lr": lr, "batch_size": batch_size, "hidden": hidden, "dropout": dropout, "seed": seed,
        "weight_decay": weight_decay, "val_fraction": val_fraction, "penalty": penalty, "neighbours": neighbours,
        "class_weight": class_weight, "label_smoothing": label_smoothing, "train_limit": train_limit, "group_by": group_by,
        "test_fraction": test_fraction,
    }  # fmt: skip
    config, watch = changed(recipe, head, given), watching(observer)
    config, pair = _settled(features, config, views, corrections, watch)
    with _store(runs_dir) as store:
        found, run, kept = _fitted(pair, config, device, store, watch, curve=curve, memory=memory)
    return Classifier(found, run, kept, device=device, observer=observer)


def _settled(
    features: Features, config: TrainConfig, views: object, corrections: object, watch: Observer
) -> tuple[TrainConfig, Pair]:
    """The configuration for the rows that were asked for, and the sets with the labels that count, both with the kept views
    where these are wanted. Raises ArgumentInvalid for `views` that are no boolean, or of a recipe without; as `_pair`,
    `corrected_pairs` and `data.with_views`."""
    pair = _pair(features)
    if not isinstance(views, bool):
        raise ArgumentInvalid(f"views is {views!r}, expected True or False")
    if (reason := refusal(config, (), views=views)) is not None:
        raise ArgumentInvalid(in_python(reason))
    if views:
        pair = data.with_kept_views(pair, newest(alike(pair.train, FeatureStore(pair.train.folder.parent).sets())))
    pair = _corrected(features, pair, file("corrections", corrections), watch)
    config = dataclasses.replace(config, train_limit=_limit(pair.train, features.limit, config))
    return data.with_views(pair, config, renewed) if views else config, pair


def _corrected(features: Features, pair: Pair, path: Path | None, watch: Observer) -> Pair:
    """The sets with corrected labels, where a file of corrections is given. Raises ArgumentInvalid where they have them
    already; as `corrected_pairs`."""
    if path is None:
        return pair
    if pair.train.manifest.provenance.corrected:
        raise ArgumentInvalid(
            f"{features!r}: these have corrected labels already; leave corrections out, or give train the features that "
            f"headstart.extract gives without corrections"
        )
    return corrected_pairs([pair], path, watch)[0]


def _fitted(
    pair: Pair, config: TrainConfig, device: str, store: RunStore, watch: Observer, *, curve: bool, memory: int | str | None
) -> tuple[Checkpoint, Run, Kept | None]:
    """A head with its record, and what it was tested by where it is cross-validated. Raises ArgumentInvalid for a `curve`
    that is no boolean, and what `session.fit` raises."""
    if not isinstance(curve, bool):
        raise ArgumentInvalid(f"curve is {curve!r}, expected True or False")
    chosen, title = resolve(device, "fp32"), f"{pair.key.backbone} {config.head}: epochs"
    with (
        folds_told(watch, pair.key) as on_fold,
        epochs_told(watch, title) as on_epoch,
        folds_told(watch, pair.key, CURVE) as on_draw,
    ):
        asked, most = on_draw if curve else None, None if memory is None else nbytes("memory", memory)
        (run,) = session.fit(pair, [config], chosen.name, chosen.description, store, on_epoch, on_fold, asked, most)
    for remark in run.notes:
        watch.remark(remark)
    return session.load_head(run, store), run, predictions_file.load(store.root / run.name, run.head_sha256)


@contextlib.contextmanager
def _store(runs_dir: str | os.PathLike[str] | None) -> Iterator[RunStore]:
    """Where a training writes what it makes: the runs directory, else a folder that is gone when the head is in memory."""
    if runs_dir is not None:
        yield RunStore(folder(runs_dir, "runs"))
        return
    with tempfile.TemporaryDirectory(prefix="headstart-") as temporary:
        yield RunStore(Path(temporary))


def _pair(features: Features) -> Pair:
    """The sets to train and to test on. Raises FeaturesNotFound, ArgumentInvalid."""
    if not isinstance(features, Features):
        raise ArgumentOfWrongType(
            f"features: a {type(features).__name__} found, expected what headstart.extract or headstart.open gives; "
            f"headstart.Head(...).fit(X, y) trains on arrays"
        )
    if features.part:
        raise ArgumentInvalid(
            f"{features!r}: these are the {features.part} rows alone; give train the whole feature set, or "
            f"headstart.Head(...).fit(features.X, features.y)"
        )
    if features.key.view:
        raise ArgumentInvalid(
            f"{features!r}: these are of the view {features.key.view} of pictures; give train the features of the pictures "
            f"as they are, with views=True, or headstart.Head(...).fit(features.X, features.y)"
        )
    sets = {found.manifest.split: found for found in features.sets}
    first = sets.get("train") or sets.get("all")
    if first is None:
        raise FeaturesNotFound(f"{features.folders[0]}: holds test rows alone; extract, or open, the training split")
    if first.manifest.split == "train" and len(sets) == 1:
        store = FeatureStore(first.folder.parent)
        beside = {name: found for name in ("val", "test") if (found := store.open(features.key, name)) is not None}
        sets = {**sets, **beside}
    return data.pair(first, sets.get("val"), sets.get("test"))


def _limit(source: FeatureSet, limit: int | None, config: TrainConfig) -> int | None:
    """How many rows of the training set `source` to use: no more than those of the first `limit` images, which were asked
    for."""
    asked = config.train_limit
    if limit is None or limit >= source.manifest.stop:
        return asked
    there = limit
    if source.manifest.split == "all" and config.test_fraction:
        numbers = source.manifest.row_numbers()
        there = int((~np.isin(numbers[numbers < limit], data.testing(source, config).rows)).sum())
    return min(asked or there, there)
