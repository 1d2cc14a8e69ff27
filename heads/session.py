"""A training session: from a pair of feature sets to a head and its record on disk."""

import datetime
from collections.abc import Callable
from pathlib import Path

from cache.errors import FeaturesInvalid, RunDamaged
from cache.files import sha256_file
from cache.manifest import Manifest
from heads import checkpoint, data
from heads.checkpoint import Checkpoint
from heads.config import TrainConfig
from heads.data import Labelled, Pair
from heads.runs import NAME, Extraction, Run, RunStore, read, versions
from heads.stats import evaluate
from heads.train import predict, train

UNTRAINED = "untrained backbone: its weights are random numbers"


def fit(
    pair: Pair,
    config: TrainConfig,
    device: str,
    description: str,
    store: RunStore,
    on_epoch: Callable[[int, float, float | None], None],
) -> Run:
    """Train a head on the pair's training rows, test it on its test rows, and write both head and record.

    Raises FeaturesNotFound, FeaturesDamaged, FeaturesInvalid, OSError.
    """
    training, testing = data.load(pair, config.train_limit)
    if training.features.shape[1] != testing.features.shape[1]:
        raise FeaturesInvalid(
            f"{pair.train.folder}: D is {training.features.shape[1]}, but {testing.features.shape[1]} in its test set"
        )
    classes = pair.key.classes
    trained = train(training, len(classes), config, device, on_epoch)
    predicted = predict(trained.head, testing.features, device)
    folder = store.new_folder(f"{pair.key.backbone} {config.recipe} {config.head}")
    origin = pair.train.manifest.provenance.weights_from
    digest = checkpoint.save(Checkpoint(trained.head, classes, pair.key, origin), folder / checkpoint.NAME)
    run = Run(
        name=folder.name,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds"),
        key=pair.key,
        config=config,
        train=_extraction(pair.train.folder, pair.train.manifest),
        test=_extraction((pair.test or pair.train).folder, (pair.test or pair.train).manifest),
        train_rows=trained.rows,
        val_rows=len(training.labels) - trained.rows,
        losses=trained.history.losses,
        val_accuracies=trained.history.val_accuracies,
        best_epoch=trained.history.best_epoch,
        elapsed_s=round(trained.elapsed_s, 4),
        evaluation=evaluate(predicted, testing.labels, classes),
        head_sha256=digest,
        device=description,
        notes=_notes(pair, config.train_limit, training, testing),
        versions=versions(),
    )
    store.write(run)
    return run


def _extraction(folder: Path, manifest: Manifest) -> Extraction:
    return Extraction(folder.name, manifest.digest, manifest.rows, manifest.elapsed_s)


def _notes(pair: Pair, limit: int | None, training: Labelled, testing: Labelled) -> tuple[str, ...]:
    notes = [UNTRAINED] if pair.key.untrained else []
    manifest = pair.train.manifest
    used, there = min(limit or manifest.stop, manifest.stop), manifest.provenance.split_rows
    whole = used >= there or pair.test is None
    subset = [] if whole else [f"trained on the first {used:,} of {there:,} training images"]
    return tuple(dict.fromkeys([*notes, *subset, *training.notes, *testing.notes]))


def same(pair: Pair, config: TrainConfig, store: RunStore) -> Run | None:
    """The newest run with this very configuration on these very features, or None: training again would repeat it."""
    digests = (pair.train.manifest.digest, (pair.test or pair.train).manifest.digest)
    found = [run for run in store.runs() if run.config == config and (run.train.digest, run.test.digest) == digests]
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
