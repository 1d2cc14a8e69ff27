"""A training session: from a pair of feature sets to a head and its record on disk."""

import datetime
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from headstart.core.cache.errors import FeaturesInvalid, RunDamaged
from headstart.core.cache.feature_set import FeatureSet
from headstart.core.cache.files import sha256_file
from headstart.core.heads import checkpoint, data
from headstart.core.heads.checkpoint import Checkpoint
from headstart.core.heads.config import TRAINING_VERSION, TrainConfig, grid
from headstart.core.heads.data import Labelled, Pair
from headstart.core.heads.protocol import HELD_OUT, TEST_SPLIT
from headstart.core.heads.runs import NAME, Extraction, Run, RunStore, read, versions
from headstart.core.heads.statistics.accuracy import evaluate
from headstart.core.heads.training.optimise import OnEpoch
from headstart.core.heads.training.train import Trained, scores, train_many

UNTRAINED = "untrained backbone: its weights are random numbers"


def fit(
    pair: Pair, configs: Sequence[TrainConfig], device: str, description: str, store: RunStore, on_epoch: OnEpoch
) -> list[Run]:
    """Train a head for each configuration on the pair's training rows, at once where they can be, test them on its test
    rows, and write heads and records. All of them have one `train_limit`.

    Raises FeaturesNotFound, FeaturesDamaged, FeaturesInvalid, OSError.
    """
    limit = configs[0].train_limit
    training, testing = data.load(pair, limit)
    if training.features.shape[1] != testing.features.shape[1]:
        raise FeaturesInvalid(
            f"{pair.train.folder}: D is {training.features.shape[1]}, but {testing.features.shape[1]} in its test set"
        )
    notes = _notes(pair, training, testing)
    trained = train_many(training, len(pair.key.classes), configs, device, on_epoch)
    parts = training, testing
    return [
        _save(pair, config, found, scores(found.head, testing.features, device), parts, description, store, notes)
        for config, found in zip(configs, trained, strict=True)
    ]


def sweep(
    pair: Pair, config: TrainConfig, device: str, description: str, store: RunStore, on_epoch: OnEpoch
) -> tuple[Run, list[tuple[TrainConfig, float]]]:
    """Try `grid(config)` at once, keep the head with the best validation accuracy, and test that one alone.

    Returns its run and every configuration with its validation accuracy, the best first. Raises as `fit` does.
    """
    training, testing = data.load(pair, config.train_limit)
    configs = grid(config)
    trained = train_many(training, len(pair.key.classes), configs, device, on_epoch)
    best_first = sorted(zip(configs, trained, strict=True), key=lambda found: -max(found[1].history.val_accuracies))
    (chosen, winner), notes = best_first[0], _notes(pair, training, testing)
    told = f"learning rate and weight decay chosen among {len(configs)} by accuracy on {winner.val_rows:,} validation rows"
    said = scores(winner.head, testing.features, device)
    run = _save(pair, chosen, winner, said, (training, testing), description, store, (*notes, told))
    return run, [(tried, max(found.history.val_accuracies)) for tried, found in best_first]


def _save(
    pair: Pair,
    config: TrainConfig,
    trained: Trained,
    said: Tensor,
    parts: tuple[Labelled, Labelled],
    description: str,
    store: RunStore,
    notes: tuple[str, ...],
) -> Run:
    classes, (training, testing) = pair.key.classes, parts
    folder = store.new_folder(f"{pair.key.backbone} {config.recipe} {config.head}")
    origin = pair.train.manifest.provenance.weights_from
    digest = checkpoint.save(Checkpoint(trained.head, classes, pair.key, origin), folder / checkpoint.NAME)
    run = Run(
        name=folder.name,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds"),
        key=pair.key,
        config=config,
        train=_extraction(pair.train, training),
        test=_extraction(pair.test or pair.train, testing),
        train_rows=trained.rows,
        val_rows=trained.val_rows,
        losses=trained.history.losses,
        val_accuracies=trained.history.val_accuracies,
        best_epoch=trained.history.best_epoch,
        elapsed_s=round(trained.elapsed_s, 4),
        together=trained.together,
        evaluation=evaluate(said.argmax(dim=1).numpy(), testing.labels, classes, said.softmax(dim=1).numpy()),
        evaluated_by=TEST_SPLIT if pair.test else HELD_OUT,
        head_sha256=digest,
        device=description,
        notes=notes,
        versions=versions(),
    )
    store.write(run)
    return run


def _extraction(features: FeatureSet, part: Labelled) -> Extraction:
    manifest = features.manifest
    return Extraction(
        folder=features.folder.name,
        digest=manifest.digest,
        rows=manifest.rows,
        elapsed_s=manifest.elapsed_s,
        split=manifest.split,
        images=manifest.images_digest,
        used=part.digest,
    )


def _notes(pair: Pair, training: Labelled, testing: Labelled) -> tuple[str, ...]:
    notes = [UNTRAINED] if pair.key.untrained else []
    return tuple(dict.fromkeys([*notes, *training.notes, *testing.notes]))


def same(pair: Pair, config: TrainConfig, store: RunStore) -> Run | None:
    """The newest run with this very configuration on these very features, made by this version of the training, or None:
    training again would repeat it."""
    asked = (config, pair.train.manifest.digest, (pair.test or pair.train).manifest.digest, TRAINING_VERSION)
    found = [run for run in store.runs() if (run.config, run.train.digest, run.test.digest, run.training_version) == asked]
    return found[-1] if found else None


def load_head(run: Run, store: RunStore) -> Checkpoint:
    """A run's head, checked against the SHA-256 in its record. Raises RunNotFound, RunDamaged."""
    path = store.root / run.name / checkpoint.NAME
    if path.is_file() and (found := sha256_file(path)) != run.head_sha256:
        raise RunDamaged(f"{path}: SHA-256 is {found[:12]}…, {NAME} says {run.head_sha256[:12]}…; train the head again")
    return checkpoint.load(path)


def load_path(path: Path) -> tuple[Checkpoint, Run | None]:
    """The head at `path`, a run's folder or its head file, with the record beside it if there is one.

    Raises RunNotFound, RunDamaged.
    """
    head = (path / checkpoint.NAME if path.is_dir() else path).resolve()
    record = head.with_name(NAME)
    if head.name != checkpoint.NAME or not record.is_file():
        return checkpoint.load(head), None
    run = read(record)
    return load_head(run, RunStore(head.parent.parent)), run
