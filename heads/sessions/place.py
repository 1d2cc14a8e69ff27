"""What the heads of a session have in common: their rows, the device, and where they and their records are kept."""

import dataclasses
import datetime
from collections.abc import Sequence

import numpy as np

from headstart.core.cache.errors import FeaturesInvalid
from headstart.core.cache.feature_set import FeatureSet
from headstart.core.heads import checkpoint, data, predictions_file
from headstart.core.heads.audit.kept import KeptAudit, kept
from headstart.core.heads.audit.leaks import WithoutTwins
from headstart.core.heads.checkpoint import Checkpoint
from headstart.core.heads.config import TrainConfig
from headstart.core.heads.curve.draws import MOST_REPEATS
from headstart.core.heads.curve.measure import measure
from headstart.core.heads.curve.record import Curve
from headstart.core.heads.data import Labelled, Pair, Parts
from headstart.core.heads.data.reading import Read, in_memory
from headstart.core.heads.predictions_file import Kept
from headstart.core.heads.protocol import HELD_OUT, TEST_SPLIT, Protocol
from headstart.core.heads.runs import Extraction, Run, RunStore, versions
from headstart.core.heads.selection import procedure
from headstart.core.heads.selection.procedure import Fitted
from headstart.core.heads.sessions.cross_validation import Fit, OnFold, OutOfFold, cross_validate, outcomes
from headstart.core.heads.statistics.accuracy import evaluate
from headstart.core.heads.streams.record import InBlocks
from headstart.core.heads.training.averaging import averaged_score
from headstart.core.heads.training.epoch import Epoch


def silent(epoch: Epoch) -> None:
    """An `OnEpoch` for heads that are not kept."""


UNTRAINED = "untrained backbone: its weights are random numbers"


def loaded(pair: Pair, config: TrainConfig, store: RunStore, read: Read = in_memory) -> Parts:
    """The pair's rows, with the twins of test rows that an audit of these very pictures found, where one is kept beside the
    runs. Raises FeaturesInvalid where rows of one of its sets have another D, RunDamaged for what is no audit."""
    for found in pair.sets:
        if (dim := pair.train.manifest.feature_dim) != (other := found.manifest.feature_dim):
            kind = "validation" if found.manifest.split == "val" else found.manifest.split
            raise FeaturesInvalid(f"{pair.train.folder}: D is {dim}, but {other} in its {kind} set")
    audit = kept(store.root, pair.key.dataset)
    return _audited(data.load(pair, config, read), pair, audit) if audit else data.load(pair, config, read)


def _audited(parts: Parts, pair: Pair, audit: KeptAudit) -> Parts:
    if parts.testing is None or not audit.is_of({one.manifest.split: one.manifest.images_digest for one in pair.sets}):
        return parts
    rows, first = parts.training.rows, parts.first_added
    others = {pair.train.manifest.split: rows[:first], **({pair.val.manifest.split: rows[first:]} if pair.val else {})}
    leaked = audit.leaked_of((pair.test or pair.train).manifest.split, parts.testing.rows, others)
    return dataclasses.replace(parts, leaked=leaked if parts.leaked is None else leaked | parts.leaked, audited=True)


@dataclasses.dataclass(frozen=True)
class Place:
    """What the heads of a session have in common: their rows, the device, and where they are kept."""

    pair: Pair
    parts: Parts
    device: str
    description: str
    store: RunStore
    in_blocks: InBlocks | None = None

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
            return procedure.fit(rows, len(self.pair.key.classes), configs, self.device, silent, calibrated=False)

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
            without_twins=None if parts.leaked is None else WithoutTwins.of(found, parts.leaked, parts.audited),
            kept_views=tuple(one.manifest.digest for one in pair.views if one.manifest.key.view in config.views),
            head_sha256="",
            device=self.description,
            notes=(*self.notes(tested.protocol), *self.chosen_on(fitted)),
            versions=versions(),
            in_blocks=self.in_blocks,
        )

    def notes(self, protocol: Protocol) -> tuple[str, ...]:
        """What must be said beside the figures."""
        found = [UNTRAINED] if self.pair.key.untrained else []
        found += self.parts.notes
        found += [self.in_blocks.note] if self.in_blocks else []
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
