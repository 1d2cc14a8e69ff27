"""A training session: from a pair of feature sets to a head and its record on disk."""

import dataclasses
import datetime
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from headstart.core.cache.errors import FeaturesInvalid, RunDamaged
from headstart.core.cache.feature_set import FeatureSet
from headstart.core.cache.files import sha256_file
from headstart.core.heads import checkpoint, data, predictions_file
from headstart.core.heads.checkpoint import Checkpoint
from headstart.core.heads.config import TRAINING_VERSION, TrainConfig, grid
from headstart.core.heads.curve.draws import MOST_REPEATS
from headstart.core.heads.curve.measure import measure
from headstart.core.heads.curve.record import Curve
from headstart.core.heads.data import Labelled, Pair, Parts
from headstart.core.heads.predictions_file import Kept
from headstart.core.heads.protocol import HELD_OUT, TEST_SPLIT, Protocol
from headstart.core.heads.runs import NAME, Extraction, Run, RunStore, read, versions
from headstart.core.heads.selection import procedure
from headstart.core.heads.selection.procedure import Fitted
from headstart.core.heads.sessions.cross_validation import Fit, OnFold, OutOfFold, cross_validate, outcomes
from headstart.core.heads.statistics.accuracy import evaluate
from headstart.core.heads.training.averaging import averaged_score
from headstart.core.heads.training.epoch import Epoch, OnEpoch

UNTRAINED = "untrained backbone: its weights are random numbers"


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
) -> list[Run]:
    """Train a head for each configuration on the pair's training rows, at once where they can be, test them, and write
    heads and records. All of them have one `train_limit`, `test_fraction` and `group_by`.

    They are tested on the test rows; where there are none, by cross-validation of the training rows, which `on_fold` is
    told of, and what the heads of the folds said is kept beside the record. `on_epoch` is told only of the heads that are
    kept. Where `on_draw` is given, the few-shot curve of the one configuration is measured too (`curve.measure`), and
    `on_draw` is told of it.

    Raises FeaturesNotFound, FeaturesDamaged, FeaturesInvalid, OSError.
    """
    place = _Place(pair, _parts(pair, configs[0]), device, description, store)

    calibrated = place.parts.testing is not None  # else the folds tell how sure the heads may be

    def heads(rows: Labelled, told: OnEpoch = _silent) -> list[Fitted]:
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
) -> Run:
    """Choose among `grid(config)` on the training rows, and test the chosen head alone; where there are no test rows, by a
    cross-validation in which each training side is swept anew. Raises as `fit` does."""
    place, configs = _Place(pair, _parts(pair, config), device, description, store), grid(config)

    def best(rows: Labelled, told: OnEpoch = _silent) -> list[Fitted]:
        return [procedure.sweep(rows, len(pair.key.classes), configs, device, told)]

    by_folds = place.by_folds(best, 1, on_fold)
    (found,) = best(place.parts.training, on_epoch)
    (tested,) = by_folds or [place.tested(found)]
    return place.save(found.trained.head.config, found, tested)


def _silent(epoch: Epoch) -> None:
    """An `OnEpoch` for heads that are not kept."""


def _parts(pair: Pair, config: TrainConfig) -> Parts:
    """The pair's rows. Raises FeaturesInvalid where rows of one of its sets have another D."""
    for found in pair.sets:
        if (dim := pair.train.manifest.feature_dim) != (other := found.manifest.feature_dim):
            kind = "validation" if found.manifest.split == "val" else found.manifest.split
            raise FeaturesInvalid(f"{pair.train.folder}: D is {dim}, but {other} in its {kind} set")
    return data.load(pair, config)


@dataclasses.dataclass(frozen=True)
class _Place:
    """What the heads of a session have in common: their rows, the device, and where they are kept."""

    pair: Pair
    parts: Parts
    device: str
    description: str
    store: RunStore

    def by_folds(self, heads: Fit, count: int, on_fold: OnFold) -> list[OutOfFold]:
        """The heads tested by cross-validation, none where there are test rows."""
        if self.parts.testing is not None:
            return []
        try:
            return cross_validate(self.parts.training, heads, count, self.device, on_fold, added=self.parts.first_added)
        except FeaturesInvalid as error:
            raise FeaturesInvalid(f"{self.pair.train.folder}: {error}") from error

    def curve(self, configs: Sequence[TrainConfig], on_draw: OnFold) -> Curve:
        """The few-shot curve of a configuration. Its folds are those of the cross-validation."""
        rngs = [np.random.default_rng(repeat) for repeat in range(MOST_REPEATS)]

        def head(rows: Labelled) -> list[Fitted]:
            return procedure.fit(rows, len(self.pair.key.classes), configs, self.device, _silent, calibrated=False)

        try:
            return measure(self.parts.training, self.parts.testing, head, self.device, rngs, on_draw)
        except FeaturesInvalid as error:
            raise FeaturesInvalid(f"{self.pair.train.folder}: {error}") from error

    def tested(self, fitted: Fitted) -> OutOfFold:
        """A head tested on the test rows."""
        assert self.parts.testing is not None
        head, rows, sure = fitted.trained.head, self.parts.testing, fitted.confidence
        found = outcomes(head, sure, rows, self.device)
        by_views = averaged_score(head, rows, self.device, sure.temperature if sure else 1.0)
        return OutOfFold(found, TEST_SPLIT if self.pair.test else HELD_OUT, averaged=by_views)

    def save(self, config: TrainConfig, fitted: Fitted, tested: OutOfFold, curve: Curve | None = None) -> Run:
        """Write the head, what it was tested by where that can't be had again, and, last, the record."""
        folder = self.store.new_folder(f"{self.pair.key.backbone} {config.recipe} {config.head}")
        origin, classes = self.pair.train.manifest.provenance, self.pair.key.classes
        sure, licence = fitted.confidence or tested.confidence, origin.licence
        kept = Checkpoint(fitted.trained.head, classes, self.pair.key, origin.weights_from, sure, licence)
        digest = checkpoint.save(kept, folder / checkpoint.NAME)
        if tested.protocol.cross_validated:
            rows = self.parts.cross_validated.rows
            predictions_file.save(Kept(rows, tested.outcomes, classes), digest, folder)
        run = self.record(config, fitted, tested)
        run = dataclasses.replace(run, name=folder.name, head_sha256=digest, curve=curve)
        self.store.write(run)
        return run

    def record(self, config: TrainConfig, fitted: Fitted, tested: OutOfFold) -> Run:
        """The record of a head, but for its name and its file."""
        trained, pair, parts, found = fitted.trained, self.pair, self.parts, tested.outcomes
        return Run(
            name="",
            created=datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds"),
            key=pair.key,
            config=config,
            train=_extraction(pair.train, parts.training.learning),
            test=_extraction(pair.test or pair.train, parts.testing or parts.cross_validated),
            val=_extraction(pair.val, parts.validation) if pair.val and parts.validation else None,
            train_rows=trained.rows,
            val_rows=trained.val_rows if parts.training.judging is None else 0,
            losses=trained.history.losses,
            val_accuracies=trained.history.val_accuracies,
            best_epoch=trained.history.best_epoch,
            elapsed_s=round(trained.elapsed_s, 4),
            together=trained.together,
            selection=fitted.selection,
            evaluation=evaluate(found.predicted, found.labels, pair.key.classes, found.probabilities),
            evaluated_by=tested.protocol,
            averaged=tested.averaged,
            kept_views=tuple(one.manifest.digest for one in pair.views if one.manifest.key.view in config.views),
            head_sha256="",
            device=self.description,
            notes=(*self.notes(tested.protocol), *self.chosen_on(fitted)),
            versions=versions(),
        )

    def notes(self, protocol: Protocol) -> tuple[str, ...]:
        """What must be said beside the figures."""
        found = [UNTRAINED] if self.pair.key.untrained else []
        found += self.parts.notes
        if protocol.cross_validated:
            times = "" if protocol.repeats == 1 else f" {protocol.repeats} times over,"
            images = "images" if self.pair.val is None else "training images"
            how = f"tested by cross-validation in {protocol.folds} folds,{times} and trained on all {images}"
            found.append(f"the data set has no test split: {how}")
        return tuple(dict.fromkeys(found))

    def chosen_on(self, fitted: Fitted) -> tuple[str, ...]:
        """What must be said of a validation split that is not trained on."""
        if (judging := self.parts.training.judging) is None:
            return ()
        chosen = {"settings": fitted.selection, "epoch": fitted.trained.val_rows, "temperature": fitted.confidence}
        images = f"{int(judging.sum()):,} validation images"
        if not any(chosen.values()):
            return (f"{images} have no part in it: nothing is chosen",)
        what = ", ".join(name for name, found in chosen.items() if found)
        return (f"chosen on {images} ({what}), which no head is trained on",)


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


def same(pair: Pair, config: TrainConfig, store: RunStore) -> Run | None:
    """The newest run with this very configuration on these very features, made by this version of the training, or None:
    training again would repeat it."""
    digests = [features.manifest.digest for features in (pair.train, pair.test or pair.train, pair.val) if features]
    asked = (config, digests, TRAINING_VERSION)
    found = [run for run in store.runs() if (run.config, list(run.digests), run.training_version) == asked]
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
