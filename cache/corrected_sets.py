"""Feature sets whose labels people corrected: copies of kept sets, in a folder of their own inside the features directory.

    FEATURES_DIR/.corrected/NAME-0123456789abcdef/manifest.json, shard-00000.h5, ...

Nothing that lists or extends the features directory looks into that folder, so that a corrected set is never taken for
features as they were made; neither by a version that knows no corrections. Whoever knows the digest of a set finds it
(`by_digest`). The same corrections of the same set make the same folder again. No feature is changed. A shard in which no
label changes and no row goes is the source's file under a second name, where the file system can.
"""

import dataclasses
import datetime
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from headstart.core.cache.corrected import Corrected, corrected
from headstart.core.cache.corrections import Corrections
from headstart.core.cache.digests import Digests
from headstart.core.cache.errors import ArgumentInvalid, FeaturesDamaged, FeaturesInvalid, FeaturesStale
from headstart.core.cache.feature_set import FeatureSet, checked_bytes
from headstart.core.cache.files import canonical_json, link_durably, sha256, write_durably
from headstart.core.cache.manifest import NAME, Manifest, ShardRecord, read_manifest
from headstart.core.cache.shard import Rows, Shard, Skipped, encode_shard
from headstart.core.cache.store import FeatureStore
from headstart.core.cache.text import safe

FOLDER = ".corrected"
CORRECTED = "labels corrected"
"""How the words begin that stand beside figures from corrected labels."""
REMOVED, UNLABELLED = "removed by a correction", "has no label"
"""Why rows of the set are left out of its corrected copy."""


@dataclasses.dataclass(frozen=True)
class Numbers:
    """What corrections did to some sets: pictures whose label is another one (`changed`), that had none and got one
    (`added`), that are left out (`removed`), that keep their label though nobody could tell (`unsure`), that are left out
    since they have no label (`unlabelled`); the decisions on pictures `elsewhere`; the classes that lost all pictures."""

    changed: int
    added: int
    removed: int
    unsure: int
    unlabelled: int
    elsewhere: int
    emptied: tuple[str, ...] = ()

    def words(self, file: str) -> str:
        """What must be said wherever a figure from the sets stands."""
        parts = [
            f"{self.changed:,} changed",
            *([f"{self.added:,} added"] if self.added else []),
            f"{self.removed:,} removed",
        ]
        parts += [f"{self.unsure:,} unsure kept as they were"] if self.unsure else []
        parts += [f"{self.unlabelled:,} without a label left out"] if self.unlabelled else []
        return f"{CORRECTED}: {', '.join(parts)}, by {file}"


def store_of(features_dir: Path) -> FeatureStore:
    """The corrected sets of a features directory."""
    return FeatureStore(features_dir / FOLDER)


def by_digest(features_dir: Path) -> dict[str, FeatureSet]:
    """Every complete set of a features directory by its digest, corrected ones too. Raises FeaturesDamaged."""
    sets = [*store_of(features_dir).sets(), *FeatureStore(features_dir).sets()]
    return {found.manifest.digest: found for found in sets}


def as_made(manifest: Manifest, sets: Mapping[str, FeatureSet]) -> Manifest:
    """The manifest of the set that a corrected one is a copy of, where it is among these; else the one that is given."""
    source = sets.get(manifest.provenance.corrected.get("source", ""))
    return manifest if source is None else source.manifest


def said_of(manifest: Manifest) -> str | None:
    """What must be said of the labels of a corrected copy; None of another set."""
    if not manifest.provenance.corrected:
        return None
    return next((note for note in reversed(manifest.provenance.notes) if note.startswith(CORRECTED)), CORRECTED)


def file_of(manifest: Manifest) -> str:
    """The name of the file that a copy's labels were corrected by; empty where it does not say."""
    return (said_of(manifest) or "").partition(", by ")[2]


def alike(source: FeatureSet, sets: Sequence[FeatureSet]) -> list[FeatureSet]:
    """Those of the sets whose labels were corrected as those of `source`: by the same corrections, or by none."""

    def labels(one: FeatureSet) -> tuple[str | None, tuple[str, ...]]:
        mark = one.manifest.provenance.corrected.get("corrections")
        return mark, one.manifest.classes if mark else ()

    return [one for one in sets if labels(one) == labels(source)]


def of_same_sources(sets: Sequence[FeatureSet], digests: Collection[str]) -> bool:
    """Whether one of the sets and one with one of the `digests` are of the same pictures but for corrections: one a
    corrected copy of the other, or both of one set. Raises FeaturesDamaged."""
    top = sets[0].folder.parent
    copies = store_of(top.parent if top.name == FOLDER else top).sets()
    sources = {one.manifest.digest: one.manifest.provenance.corrected.get("source", "") for one in (*copies, *sets)}
    theirs = {sources.get(digest) or digest for digest in digests}
    return any((sources[one.manifest.digest] or one.manifest.digest) in theirs for one in sets)


def make(
    sets: Sequence[FeatureSet], views: Sequence[FeatureSet], found: Corrections, file: str
) -> tuple[list[FeatureSet], Numbers]:
    """Corrected copies of the splits of one data set, and of the views of their pictures, in this order, and what was
    changed. All have one list of classes. `file` is what messages call the corrections.

    Raises FeaturesStale for sets that do not say which pictures they are of, ArgumentInvalid where no decision is on one of
    them, FeaturesInvalid where no row of a split is left, FeaturesDamaged, OSError.
    """
    classes = sets[0].manifest.classes
    if other := [one.folder for one in sets if one.manifest.classes != classes]:
        raise FeaturesStale(f"{other[0]}: its classes are not those of {sets[0].folder}; extract both again")
    read = [_read(source) for source in sets]
    labels, digests = (np.concatenate([one[i] for one in read]) for i in (0, 1))
    whole = corrected(found, digests, labels, classes)
    if whole.elsewhere == len(found.stands):
        what = "the one decision is not" if whole.elsewhere == 1 else f"none of the {whole.elsewhere:,} decisions is"
        raise ArgumentInvalid(
            f"{file}: {what} on a picture of {safe(sets[0].manifest.dataset)}, by content; name the data set that was "
            f"reviewed with --dataset, `headstart cache ls` shows those that are there"
        )
    numbers = numbers_of(whole, labels)
    made, done = [], 0
    for source, (own, _) in zip(sets, read, strict=True):
        span = slice(done, done + len(own))
        stays = whole.kept[span] & (whole.labels[span] >= 0)
        if not stays.any():
            raise FeaturesInvalid(_none_left(source, whole.kept[span], file))
        made.append(_copied(source, whole, span, found, numbers.words(file)))
        done += len(own)
    for view in views:
        own, marks = _read(view)
        mine = corrected(found, marks, own, whole.classes)
        made.append(_copied(view, mine, slice(0, len(own)), found, numbers.words(file)))
    return made, numbers


def _read(source: FeatureSet) -> tuple[npt.NDArray[np.int64], Digests]:
    """The labels (N,) and contents (N, 32) of a set's rows; one shard at a time is in memory."""
    labels, digests = [], list[Digests]()
    for index in range(len(source.manifest.shards)):
        rows = source.read(index).rows
        if rows.digests is None:
            raise FeaturesStale(
                f"{source.folder}: is of a version that did not keep which pictures it is of, so that no correction finds "
                f"them; the `headstart extract` that made it brings it up to date"
            )
        labels.append(rows.labels)
        digests.append(rows.digests)
    return np.concatenate(labels), np.concatenate(digests)


def numbers_of(whole: Corrected, labels: npt.NDArray[np.int64]) -> Numbers:
    """What was changed of rows that had these labels (N,)."""
    stays = whole.kept & (whole.labels >= 0)
    had, has = set(labels.tolist()), set(whole.labels[stays].tolist())
    return Numbers(
        changed=int((whole.changed & (labels >= 0)).sum()),
        added=int((whole.changed & (labels < 0)).sum()),
        removed=int((~whole.kept).sum()),
        unsure=int((whole.unsure & stays).sum()),
        unlabelled=int((whole.kept & (whole.labels < 0)).sum()),
        elsewhere=whole.elsewhere,
        emptied=tuple(name for number, name in enumerate(whole.classes) if number in had and number not in has),
    )


def _none_left(source: FeatureSet, kept: npt.NDArray[np.bool_], file: str) -> str:
    what = f"all {len(kept):,} {source.manifest.split} pictures are removed"
    if kept.any():
        what = f"none of the {int(kept.sum()):,} {source.manifest.split} pictures that stay has a label"
    way = "a line with the action undo takes a decision back" if not kept.all() else "give some of them one"
    return f"{source.folder}: {what} by {file}; {way}"


def _copied(source: FeatureSet, whole: Corrected, span: slice, found: Corrections, words: str) -> FeatureSet:
    """The corrected copy of a set, whose rows are those of `span`; the one that is there, where it is whole."""
    mark = sha256(canonical_json([source.manifest.digest, list(whole.classes), found.digest, words]))[:16]
    folder = store_of(source.folder.parent).root / f"{source.folder.name}-{mark}"
    try:
        there = FeatureSet(folder, read_manifest(folder))
        there.check()
    except (FileNotFoundError, FeaturesDamaged):
        pass
    else:
        return there
    records, done = list[ShardRecord](), span.start
    for index, record in enumerate(source.manifest.shards):
        own = slice(done, done + record.rows)
        records.append(_copied_shard(source, index, folder, whole, own))
        done += record.rows
    before = source.manifest.provenance
    provenance = dataclasses.replace(
        before,
        notes=(*before.notes, words),
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds"),
        corrected={"source": source.manifest.digest, "corrections": found.digest},
    )
    manifest = dataclasses.replace(
        source.manifest, classes=whole.classes, shards=tuple(records), provenance=provenance, change=None
    )
    write_durably(folder / NAME, manifest.to_bytes())
    return FeatureSet(folder, manifest)


def _same_shard(source: Path, path: Path, record: ShardRecord) -> None:
    """A shard that nothing changes in: the same file under a second name where the file system can, else a copy."""
    if link_durably(source, path):
        try:
            checked_bytes(path, record)
        except FeaturesDamaged:
            path.unlink()
        else:
            return
    write_durably(path, checked_bytes(source, record))


def _copied_shard(source: FeatureSet, index: int, folder: Path, whole: Corrected, own: slice) -> ShardRecord:
    """One shard written with its corrected labels, without the rows that go; the same where nothing changes."""
    record = source.manifest.shards[index]
    labels, kept, changed = whole.labels[own], whole.kept[own], whole.changed[own]
    stays = kept & (labels >= 0)
    if stays.all() and not changed.any():
        _same_shard(source.folder / record.file, folder / record.file, record)
        return record
    shard = source.read(index)
    there = np.setdiff1d(np.arange(shard.start, shard.stop), [one.row for one in shard.skipped])
    gone = [
        Skipped(int(there[at]), shard.rows.ids[at].decode("utf-8", "replace"), UNLABELLED if kept[at] else REMOVED)
        for at in np.flatnonzero(~stays).tolist()
    ]
    rows, digests = shard.rows, shard.rows.digests
    assert digests is not None
    copy = Shard(
        key=shard.key,
        inputs=sha256(shard.inputs.encode(), labels.astype("<i8").tobytes(), stays.tobytes()),
        start=shard.start,
        stop=shard.stop,
        rows=Rows(rows.features[stays], labels[stays], rows.ids[stays], digests[stays]),
        skipped=tuple(sorted((*shard.skipped, *gone), key=lambda one: one.row)),
    )
    content = encode_shard(copy)
    write_durably(folder / record.file, content)
    return dataclasses.replace(
        record, rows=len(copy.rows), sha256=sha256(content), inputs=copy.inputs, skipped=copy.skipped
    )
