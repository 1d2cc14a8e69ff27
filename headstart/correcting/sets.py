"""Feature sets with corrected labels, beside those that they were made of.

Such a set holds the same features, under a name of its own: that of the data set and what it was corrected by. So nothing
takes it for the data set as it is, and whatever finds features by their digest, as reports and services do, finds these
too. Pictures that were taken out are among the rows that are left out, so that all others keep their numbers.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from headstart.core.cache.corrected import Corrected, corrected, corrected_name
from headstart.core.cache.corrections import Corrections, read
from headstart.core.cache.digests import inputs_digest, to_hex
from headstart.core.cache.errors import ArgumentInvalid, DataInvalid, FeaturesInvalid, FeaturesStale
from headstart.core.cache.feature_set import FeatureSet
from headstart.core.cache.files import sha256
from headstart.core.cache.key import NamedKey
from headstart.core.cache.manifest import ShardRecord
from headstart.core.cache.shard import Rows, Shard, Skipped, encode_shard
from headstart.core.cache.store import FeatureStore
from headstart.core.cache.text import listed, safe
from headstart.core.cache.writer import SetWriter
from headstart.core.heads.data import Pair, dataset_words
from headstart.observer import Observer
from headstart.workspace import Workspace


@dataclasses.dataclass(frozen=True)
class Asked:
    """The corrections in a file."""

    path: Path
    found: Corrections

    @property
    def removed(self) -> str:
        """Why a picture is left out that was taken out."""
        return f"taken out by {self.path.name}"


def asked(path: Path, observer: Observer) -> Asked:
    """The corrections that a command is given. Raises DataNotFound, DataInvalid, OSError."""
    found = read(path)
    if found.torn:
        observer.note(f"{path}: its last line is incomplete, as if its writing had been broken off, and is not used")
    return Asked(path, found)


def corrected_pair(workspace: Workspace, pair: Pair, own: Asked, observer: Observer) -> Pair:
    """The sets of a pair with corrected labels, in the features directory; made where they are not there. All splits have
    the same classes. A split without any picture left has no set.

    Raises DataInvalid where no decision is on any of the pictures, FeaturesStale for sets that don't say which pictures
    they are of, FeaturesInvalid where no training picture is left, FeaturesDamaged, OSError.
    """
    if pair.train_views:
        pair = dataclasses.replace(pair, views=())
    labels = _labels(pair, own)
    note = _words(labels, own)
    observer.remark(f"{pair.key.backbone} {pair.key.dataset}: {note}")
    for remark in _remarks(labels, own):
        observer.remark(remark)
    key = NamedKey.of(pair.key.feature_key, corrected_name(pair.key.dataset, own.found.digest), labels.classes)
    made, start = list[FeatureSet | None](), 0
    for source in pair.sets:
        stop = start + source.manifest.rows
        part = _part(labels, start, stop)
        made.append(_made(FeatureStore(workspace.features_dir), key, source, part, own, note, observer))
        start = stop
    by_split = {one.manifest.split: one for one in made if one is not None}
    train, val, test = (
        None if one is None else by_split.get(one.manifest.split) for one in (pair.train, pair.val, pair.test)
    )
    if train is None or (test is None and pair.test is not None):
        raise FeaturesInvalid(
            f"{own.path}: leaves no {'training' if train is None else 'test'} picture with a label; `headstart review` "
            f"undoes decisions, and makes others"
        )
    return Pair(train, test, val)


def _labels(pair: Pair, own: Asked) -> Corrected:
    """The corrected labels of the rows of all splits, one after the other."""
    digests, labels = [], []
    for source in pair.sets:
        for index in range(len(source.manifest.shards)):
            rows = source.read(index).rows
            if rows.digests is None:
                raise FeaturesStale(
                    f"{source.folder}: is of a version that did not keep which pictures it is of; the `headstart extract` "
                    f"that made it brings it up to date"
                )
            digests.append(rows.digests)
            labels.append(rows.labels)
    found = corrected(own.found, np.concatenate(digests), np.concatenate(labels), pair.key.classes)
    if found.elsewhere == len(own.found.stands):
        decisions = "holds no decisions" if not own.found.stands else f"none of its {len(own.found.stands):,} decisions is"
        where = "" if not own.found.stands else f" on a picture of {safe(pair.key.dataset)}"
        raise DataInvalid(
            f"{own.path}: {decisions}{where}; `headstart review --dataset {safe(dataset_words(pair.key))}` makes some"
        )
    return found


def _words(labels: Corrected, own: Asked) -> str:
    changed, removed = int((labels.changed & labels.kept).sum()), int((~labels.kept).sum())
    return f"labels corrected by {safe(own.path.name)}: {changed:,} changed, {removed:,} pictures taken out"


def _remarks(labels: Corrected, own: Asked) -> Iterator[str]:
    if unsure := int(labels.unsure.sum()):
        yield f"{own.path}: {unsure:,} pictures that nobody could tell keep their labels"
    if labels.elsewhere:
        yield f"{own.path}: {labels.elsewhere:,} decisions are on pictures that are not there"
    if nameless := int((labels.kept & (labels.labels < 0)).sum()):
        yield f"{own.path}: {nameless:,} pictures without a label are left out"
    left = np.bincount(labels.labels[labels.kept & (labels.labels >= 0)], minlength=len(labels.classes))
    if empty := [name for name, count in zip(labels.classes, left.tolist(), strict=True) if not count]:
        yield f"{own.path}: no picture is left of {listed(empty)}"


def _stay(labels: Corrected) -> npt.NDArray[np.bool_]:
    """Which rows stay: those that were not taken out and have a label, which a head needs of each."""
    found: npt.NDArray[np.bool_] = labels.kept & (labels.labels >= 0)
    return found


def _part(labels: Corrected, start: int, stop: int) -> Corrected:
    arrays = {name: getattr(labels, name)[start:stop] for name in ("labels", "kept", "changed", "unsure")}
    return dataclasses.replace(labels, **arrays)


def _made(
    store: FeatureStore,
    key: NamedKey,
    source: FeatureSet,
    labels: Corrected,
    own: Asked,
    note: str,
    observer: Observer,
) -> FeatureSet | None:
    """The corrected set of one split; None where no picture is left. What is there is taken if it is the same."""
    if not _stay(labels).any():
        observer.remark(f"{own.path}: leaves no picture with a label in the {source.manifest.split} split")
        return None
    split = source.manifest.split
    with store.writing(key, split, lambda: observer.note(f"waiting for another process to write {key.dataset}")) as writer:
        there = writer.manifest()
        if there is not None and there.classes == key.classes and _same(there.shards, source, labels, own):
            return FeatureSet(writer.folder, there)
        return _written(writer if there is None else writer.next(), source, labels, own, note)


def _same(there: Sequence[ShardRecord], source: FeatureSet, labels: Corrected, own: Asked) -> bool:
    """Whether the shards that are there are those that would be written."""
    return len(there) == len(source.manifest.shards) and all(
        sha256(encode_shard(shard)) == record.sha256
        for record, shard in zip(there, _shards(source, labels, own), strict=True)
    )


def _written(writer: SetWriter, source: FeatureSet, labels: Corrected, own: Asked, note: str) -> FeatureSet:
    manifest = source.manifest
    records = [
        writer.put(shard, index, None, manifest.shards[index].elapsed_s or 0.0)
        for index, shard in enumerate(_shards(source, labels, own))
    ]
    provenance = dataclasses.replace(
        manifest.provenance,
        notes=(*manifest.provenance.notes, note),
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds"),
    )
    return writer.commit(records, manifest.feature_dim, manifest.dtype, provenance)


def _shards(source: FeatureSet, labels: Corrected, own: Asked) -> Iterator[Shard]:
    """The shards of a set with corrected labels."""
    done = 0
    for index in range(len(source.manifest.shards)):
        shard = source.read(index)
        yield _corrected(shard, _part(labels, done, done + len(shard.rows)), own)
        done += len(shard.rows)


def _corrected(shard: Shard, labels: Corrected, own: Asked) -> Shard:
    rows, kept = shard.rows, _stay(labels)
    digests = rows.digests
    assert digests is not None  # `_labels` has looked
    there = np.setdiff1d(np.arange(shard.start, shard.stop), [image.row for image in shard.skipped])
    out = [
        Skipped(number, bytes(name).decode("utf-8", "surrogateescape"), "has no label" if nameless else own.removed)
        for number, name, nameless in zip(there[~kept].tolist(), rows.ids[~kept], labels.kept[~kept], strict=True)
    ]
    mine = Rows(rows.features[kept], labels.labels[kept], rows.ids[kept], digests[kept])
    content = inputs_digest([bytes(name) for name in mine.ids], mine.labels, to_hex(np.ascontiguousarray(digests[kept])))
    skipped = tuple(sorted((*shard.skipped, *out), key=lambda image: image.row))
    inputs = sha256(shard.inputs.encode(), content.encode())
    return dataclasses.replace(shard, inputs=inputs, rows=mine, skipped=skipped)


def check_views(asked_for: bool) -> None:
    """Raise ArgumentInvalid where views of corrected pictures are asked for."""
    if asked_for:
        raise ArgumentInvalid("--corrections: corrected features have no views; leave out --views, or --corrections")
