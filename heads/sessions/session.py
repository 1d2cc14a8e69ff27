"""A training session: from a pair of feature sets to a head and its record on disk."""

from collections.abc import Sequence
from pathlib import Path

from headstart.core.cache.errors import RunDamaged
from headstart.core.cache.files import sha256_file
from headstart.core.heads import checkpoint
from headstart.core.heads.checkpoint import Checkpoint
from headstart.core.heads.config import TRAINING_VERSION, TrainConfig, grid
from headstart.core.heads.data import Labelled, Pair
from headstart.core.heads.runs import NAME, Run, RunStore, read
from headstart.core.heads.selection import procedure
from headstart.core.heads.selection.procedure import Fitted
from headstart.core.heads.sessions import blocks, room
from headstart.core.heads.sessions.cross_validation import OnFold
from headstart.core.heads.sessions.place import Place, loaded, silent
from headstart.core.heads.training.epoch import OnEpoch


def unwatched(done: int, total: int) -> None:
    """An `OnFold` that does nothing."""


def fit(
    pair: Pair,
    configs: Sequence[TrainConfig],
    device: str,
    description: str,
    store: RunStore,
    on_epoch: OnEpoch,
    on_fold: OnFold = unwatched,
    on_draw: OnFold | None = None,
    memory: int | None = None,
) -> list[Run]:
    """Train a head for each configuration on the pair's training rows, at once where they can be, test them, and write
    heads and records. All of them have one `train_limit`, `test_fraction` and `group_by`.

    They are tested on the test rows; where there are none, by cross-validation of the training rows, which `on_fold` is
    told of, and what the heads of the folds said is kept beside the record. `on_epoch` is told only of the heads that are
    kept. Where `on_draw` is given, the few-shot curve of the one configuration is measured too (`curve.measure`), and
    `on_draw` is told of it. Where the rows do not fit into so many bytes of `memory`, they are read in blocks
    (`sessions.blocks`).

    Raises FeaturesNotFound, FeaturesDamaged, FeaturesInvalid, OutOfMemory, OSError.
    """
    if not room.fits(pair, configs[0], memory):
        return blocks.fit(
            pair, configs, device, description, store, on_epoch, room.limit(memory), curve=on_draw is not None
        )
    place = Place(pair, loaded(pair, configs[0], store), device, description, store)

    calibrated = place.parts.testing is not None  # else the folds tell how sure the heads may be

    def heads(rows: Labelled, told: OnEpoch = silent) -> list[Fitted]:
        return procedure.fit(rows, len(pair.key.classes), configs, device, told, calibrated=calibrated)

    by_folds = place.by_folds(heads, len(configs), on_fold)
    fitted = heads(place.parts.training, on_epoch)
    tested = by_folds or [place.tested(found) for found in fitted]
    curve = None if on_draw is None else place.curve(configs, on_draw)
    return [place.save(*one, curve) for one in zip(configs, fitted, tested, strict=True)]


def sweep(
    pair: Pair,
    config: TrainConfig,
    device: str,
    description: str,
    store: RunStore,
    on_epoch: OnEpoch,
    on_fold: OnFold = unwatched,
    memory: int | None = None,
) -> Run:
    """Choose among `grid(config)` on the training rows, and test the chosen head alone; where there are no test rows, by a
    cross-validation in which each training side is swept anew. `memory` is as for `fit`. Raises as `fit` does."""
    if not room.fits(pair, config, memory):
        return blocks.sweep(pair, config, device, description, store, on_epoch, room.limit(memory))
    place, configs = Place(pair, loaded(pair, config, store), device, description, store), grid(config)

    def best(rows: Labelled, told: OnEpoch = silent) -> list[Fitted]:
        return [procedure.sweep(rows, len(pair.key.classes), configs, device, told)]

    by_folds = place.by_folds(best, 1, on_fold)
    (found,) = best(place.parts.training, on_epoch)
    (tested,) = by_folds or [place.tested(found)]
    return place.save(found.trained.head.config, found, tested)


def same(pair: Pair, config: TrainConfig, store: RunStore) -> Run | None:
    """The newest run with this very configuration on these very features, made by this version of the training, or None:
    training again would repeat it. One that was trained in blocks may differ in its last digits."""
    digests = [features.manifest.digest for features in (pair.train, pair.test or pair.train, pair.val) if features]
    asked = (config, digests, TRAINING_VERSION, None)
    runs = store.runs()
    found = [one for one in runs if (one.config, list(one.digests), one.training_version, one.in_blocks) == asked]
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
