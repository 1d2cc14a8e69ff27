"""Stage two: from a request and kept features to trained, tested and kept heads."""

from __future__ import annotations

import contextlib
import dataclasses
import shlex
from collections.abc import Iterator, Sequence

from headstart.commands import made_by
from headstart.core.cache.errors import ArgumentInvalid, FeaturesNotFound
from headstart.core.cache.key import NamedKey
from headstart.core.cache.manifest import Manifest
from headstart.core.cache.store import FeatureStore
from headstart.core.cache.text import listed, safe
from headstart.core.extract.backbones import get_backbone
from headstart.core.extract.naming import known_as, splits_meant
from headstart.core.extract.network.devices import Device, resolve
from headstart.core.extract.plan import expand_models
from headstart.core.extract.weights.presets import goes_through
from headstart.core.heads import data
from headstart.core.heads.config import TrainConfig, refusal
from headstart.core.heads.data import Pair
from headstart.core.heads.feature_choice import FeatureChoice
from headstart.core.heads.runs import Run, RunStore
from headstart.core.heads.sessions import room, session
from headstart.core.heads.sessions.cross_validation import OnFold
from headstart.core.heads.training.epoch import Epoch, OnEpoch
from headstart.correcting.pairs import corrected_pairs
from headstart.observer import Observer, TrainingStart
from headstart.predictions_csv import check, records, write_csv
from headstart.requests import TrainingRequest
from headstart.tidying import newer_pictures, renewed
from headstart.workspace import Workspace

CURVE = "few-shot curve"
"""What is told of while a curve is measured."""


def train(workspace: Workspace, request: TrainingRequest, observer: Observer) -> list[Run]:
    """Train heads for every model asked for, test them, and keep them in the runs directory.

    Raises FeaturesNotFound, FeaturesAmbiguous, FeaturesDamaged, FeaturesInvalid, FeaturesStale, WeightsMismatch (unknown
    models), DeviceUnavailable, OSError; ArgumentInvalid where more than one head of a set is to have a curve.
    """
    if request.curve:
        one_head(request)
    if request.predictions is not None:
        check(request.predictions)
    runs, asked = list[Run](), meant(workspace, request)
    pairs = [pair for pair, _ in asked]
    corrected = pairs if request.corrections is None else corrected_pairs(pairs, request.corrections, observer)
    for (made, others), pair in zip(asked, corrected, strict=True):
        if (remark := data.passed_over(others, made)) is not None:
            observer.note(remark)
        if (remark := newer_pictures(made, workspace.data_dir)) is not None:
            observer.remark(remark)
        own = data.with_views(pair, request.config, renewed) if request.views else request.config
        if not request.views and (remark := data.unused(pair)) is not None:
            observer.remark(remark)
        if request.predictions is not None and request.memory is not None and not room.fits(pair, own, request.memory):
            raise ArgumentInvalid("--predictions reads all test rows at once; leave it out, or --memory")
        configs = [dataclasses.replace(own, seed=own.seed + i) for i in range(request.seeds)]
        if request.sweep:
            trained = [sweep_pair(workspace, pair, config, observer, memory=request.memory) for config in configs]
        else:
            trained = train_pair(workspace, pair, configs, observer, curve=request.curve, memory=request.memory)
        if request.seeds > 1:
            observer.seeds_trained(trained)
        runs += trained
    if request.predictions is not None:
        write_csv(request.predictions, records(workspace, runs))
        observer.note(f"predictions written to {request.predictions}")
    return runs


def meant(workspace: Workspace, request: TrainingRequest) -> list[tuple[Pair, Sequence[Pair]]]:
    """The features that a request means, one pair for each model, and those that it was chosen from. Raises
    FeaturesNotFound, FeaturesAmbiguous, DataNotFound, WeightsMismatch for unknown models."""
    models = expand_models(request.models)
    return _chosen(_there(FeatureStore(workspace.features_dir), request), models, workspace)


def _chosen(there: Sequence[Pair], models: Sequence[str], workspace: Workspace) -> list[tuple[Pair, Sequence[Pair]]]:
    """One pair for each model, for each that is there where none is named, and those that it was chosen from. Raises
    FeaturesNotFound, FeaturesAmbiguous."""
    asked = [([name], _of_tag(there, name)) for name in models] or [([], there)]
    return [(pair, own) for names, own in asked for pair in data.choose(own, names, workspace.features_dir)]


def _of_tag(there: Sequence[Pair], model: str) -> Sequence[Pair]:
    """Of features by random weights or those of a file, where `model` has a tag, those whose pictures went through the
    transform of that tag, if there are any: it is all that the tag says of them."""
    backbone = get_backbone(model)
    if model == backbone.name:
        return there
    own = [pair for pair in there if pair.key.is_of(model) and goes_through(pair.key, backbone)]
    return own or there


def one_head(request: TrainingRequest) -> None:
    """Raise ArgumentInvalid where a request for a curve trains several heads, or a sweep."""
    reason = refusal(request.config, (), seeds=request.seeds, sweep=request.sweep, curve=True)
    if reason is not None:
        raise ArgumentInvalid(reason)


def _there(store: FeatureStore, request: TrainingRequest) -> list[Pair]:
    """The features that the request's data set and key leave to choose from. Raises FeaturesNotFound, DataNotFound."""
    data.check_choice(store, request.choice)
    names = known_as(request.dataset, store) if request.dataset else None
    found = data.pairs(store, names, request.choice)
    if request.dataset is None or (splits := splits_meant(request.dataset)) is None:
        return found
    meant = data.pairs(store, names, request.choice, splits)
    if found and not meant:
        there = listed(sorted({pair.train.manifest.split for pair in found}))
        commands = _divided_anew(request.dataset, expand_models(request.models), found)
        raise FeaturesNotFound(
            f"{store.root}: no features of {safe(request.dataset)} as it is divided, into {listed(splits)}: those there "
            f"are of {there} rows, it was divided in another way then; {' and '.join(commands)} "
            f"{'makes' if len(commands) == 1 else 'make'} them"
        )
    return meant


def _divided_anew(dataset: str, models: Sequence[str], found: Sequence[Pair]) -> list[str]:
    """The commands that make features of the data set as it is by now, each in the way of what was made last of a model;
    of a model that has none in the way that is the default."""
    commands = []
    for model in models or dict.fromkeys(pair.key.backbone for pair in found):
        own = [pair for pair in found if pair.key.is_of(model)]
        options: Sequence[str] = ["-m", model, "--dataset", dataset]
        if own:
            last = max(own, key=lambda pair: pair.created)
            options = made_by(last.key.feature_key, dataset, tuple(one.manifest for one in last.sets))
        commands.append(f"`{shlex.join(['headstart', 'extract', *options])}`")
    return commands


def pair_of(workspace: Workspace, made: Sequence[Manifest]) -> Pair:
    """The training and test features of what was just made. Raises FeaturesNotFound."""
    first = made[0]
    splits = [manifest.split for manifest in made]
    choice = FeatureChoice(digest=first.key.digest)
    found = data.pairs(FeatureStore(workspace.features_dir), [first.dataset], choice, splits)
    (pair,) = data.choose(found, [first.key.backbone], workspace.features_dir)
    return pair


def train_pair(
    workspace: Workspace,
    pair: Pair,
    configs: Sequence[TrainConfig],
    observer: Observer,
    *,
    curve: bool = False,
    memory: int | None = None,
) -> list[Run]:
    """Train heads that differ in their seeds at once, within `memory` bytes where that is given; of one head alone a
    few-shot `curve` can be measured. Raises what `heads.sessions.session.fit` raises."""
    device, on_epoch = _start(workspace, pair, configs[0], len(configs), False, observer)
    store = RunStore(workspace.runs_dir)
    with folds_told(observer, pair.key) as on_fold, folds_told(observer, pair.key, CURVE) as on_draw:
        asked = on_draw if curve else None
        runs = session.fit(pair, configs, device.name, device.description, store, on_epoch, on_fold, asked, memory)
    for run in runs:
        observer.trained(run, workspace.runs_dir / run.name)
    return runs


def sweep_pair(
    workspace: Workspace, pair: Pair, config: TrainConfig, observer: Observer, *, memory: int | None = None
) -> Run:
    """Try learning rates and weight decays and keep the best head. Raises what `heads.sessions.session.sweep` raises."""
    device, on_epoch = _start(workspace, pair, config, 1, True, observer)
    store = RunStore(workspace.runs_dir)
    with folds_told(observer, pair.key) as on_fold:
        run = session.sweep(pair, config, device.name, device.description, store, on_epoch, on_fold, memory)
    observer.trained(run, workspace.runs_dir / run.name)
    return run


@contextlib.contextmanager
def folds_told(observer: Observer, key: NamedKey, what: str = "cross-validation") -> Iterator[OnFold]:
    """What a training tells of a cross-validation's folds, or of a curve's draws; the observer learns of them as of any
    work, if there are any."""
    before: int | None = None  # rows, while they are predicted

    def on_fold(done: int, total: int) -> None:
        nonlocal before
        if before is None:
            observer.begin(f"{key.backbone} on {key.dataset}: {what}", total, done)
        else:
            observer.advance(done - before)
        before = done
        if done == total:
            observer.end()
            before = None

    try:
        yield on_fold
    finally:
        if before is not None:
            observer.end()


@contextlib.contextmanager
def epochs_told(observer: Observer, title: str) -> Iterator[OnEpoch]:
    """What a training tells of its epochs; the observer learns of them as of any work, from the end of the first on, since
    a cross-validation may go before them."""
    under_way = False

    def on_epoch(epoch: Epoch) -> None:
        nonlocal under_way
        if not under_way:
            observer.begin(title, epoch.epochs, 0)
            under_way = True
        observer.advance(1)

    try:
        yield on_epoch
    finally:
        if under_way:
            observer.end()


def _start(
    workspace: Workspace, pair: Pair, config: TrainConfig, heads: int, sweep: bool, observer: Observer
) -> tuple[Device, OnEpoch]:
    """The device to train on, and what is called after each epoch; the observer knows of the training."""
    device, rows = resolve(workspace.device, "fp32"), learned_rows(pair, config)
    observer.training_starts(TrainingStart(pair.key, config, rows, heads, sweep))
    return device, observer.epoch_ends


def learned_rows(pair: Pair, config: TrainConfig) -> int:
    """How many rows there are to learn from, before any is read: where a part is held out, each class keeps a row. Groups
    may shift that part by some rows."""
    rows = pair.train.manifest.rows
    if pair.test is None and config.test_fraction:
        held = data.held_out(rows, config.test_fraction)
        rows -= max(1, min(held, rows - len(pair.key.classes)))  # some classes may have no row
    return min(config.train_limit or rows, rows)
