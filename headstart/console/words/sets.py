"""What `cache ls` and `cache show` say of feature sets."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from headstart.core.cache.text import columns, listed, megabytes

if TYPE_CHECKING:
    from headstart.core.cache.change import Change
    from headstart.core.cache.feature_set import FeatureSet
    from headstart.core.cache.key import FeatureKey
    from headstart.core.cache.verify import Entry


def shape(features: FeatureSet) -> str:
    """How much a set holds."""
    manifest = features.manifest
    return f"{manifest.rows:,} x {manifest.feature_dim} {manifest.dtype}, {megabytes(manifest.nbytes)}"


def changed(change: Change) -> str:
    """What a snapshot changed of the one before it, or took over from other sets."""
    unreadable = [f"{change.unreadable:,} unreadable"] if change.unreadable else []
    parts = [f"{change.kept:,} kept", f"{change.computed:,} computed", *unreadable, *change.difference.words]
    return f"{change.pictures:,} {'picture' if change.pictures == 1 else 'pictures'}: {', '.join(parts)}"


def listing(entries: Sequence[Entry], now: datetime.datetime) -> str:
    """A line for each set: rows, size on disk, image size and view, precision, weights, age, and whether it is complete."""
    lines: list[list[object]] = [
        ["feature set", "rows x features", "size", "image", "precision", "weights", "age", "state"]
    ]
    for entry in entries:
        cells: list[object] = ["", "", "", "", ""]
        if entry.features is not None:
            manifest, key = entry.features.manifest, entry.features.manifest.key
            weights = f"{key.weights} {key.weights_sha256[:8]}"
            past = age(manifest.provenance.created, now)
            size = f"{key.image_size} px" + (f", {key.view_words}" if key.view else "")
            cells = [f"{manifest.rows:,} x {manifest.feature_dim}", size, key.precision, weights, past]
        cells.insert(1, megabytes(entry.nbytes))
        lines.append([entry.folder.name, *cells, entry.state])
    found = {entry.state for entry in entries}
    return "\n".join([columns(lines), *(f"{state}: {hint}" for state, hint in _HINTS.items() if state in found)])


def copies(entries: Sequence[Entry]) -> str:
    """How many corrected copies there are, and what they take."""
    count = "1 copy" if len(entries) == 1 else f"{len(entries):,} copies"
    size = megabytes(sum(entry.nbytes for entry in entries))
    return f"corrected labels: {count} of feature sets, {size} beside what these take"


def unneeded(entries: Sequence[Entry], dry_run: bool) -> str:
    """What `cache gc` removes, or would remove."""
    if not entries:
        return "nothing to remove: each set is the last of its data set, or a trained head was made from it"
    did = "would be removed" if dry_run else "removed"
    lines = [f"{entry.folder.name}: {did}, {megabytes(entry.nbytes)}" for entry in entries]
    return "\n".join([*lines, f"{megabytes(sum(entry.nbytes for entry in entries))} in all"])


_HINTS = {
    "not complete": "the `headstart extract` that began the set goes on from there",
    "of another version": "use the headstart that made it; the `headstart extract` that made the set computes it anew, "
    "with --force",
    "damaged": "`headstart cache verify` says where, the `headstart extract` that made the set mends it",
}


def age(created: str, now: datetime.datetime) -> str:
    """How long ago an ISO time was, in its largest whole unit; the text itself where it is no such time."""
    try:
        seconds = (now - datetime.datetime.fromisoformat(created)).total_seconds()
    except (ValueError, TypeError):  # no time, or one without a zone
        return created
    for unit, length in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} seconds"


def key_facts(key: FeatureKey) -> list[tuple[str, object]]:
    """A key's fields with their values."""
    return list(key.to_json().items())


def transform(key: FeatureKey) -> str:
    """What was done to each picture, as `--transform` calls it, and in detail."""
    from headstart.core.extract.pictures.preprocess import Preprocessing

    try:
        return f"{key.transform}, {Preprocessing.of_key(key).words}"
    except ValueError:  # of a headstart to come
        view = f", view {key.view}" if key.view else ""
        return f"{key.transform}, crop {key.crop}, interpolation {key.interpolation}{view}"


def description(features: FeatureSet) -> str:
    """All that is known of one set, a fact on each line."""
    manifest, origin = features.manifest, features.manifest.provenance
    spent = "not known in full" if manifest.elapsed_s is None else f"{manifest.elapsed_s:.1f} s"
    lines = [
        f"{features.folder}",
        f"  {shape(features)}, digest {manifest.digest}",
        f"  the first {manifest.stop:,} of {origin.split_rows:,} {manifest.split} images, {manifest.skipped} left out",
        f"  made {origin.created} on {origin.device}, {spent}, batches of {origin.batch_size}",
        f"  images from {origin.data_from}",
        f"  weights from {origin.weights_from}",
        *([f"  licence of the weights: {origin.licence}"] if origin.licence else []),
        *(f"  note: {text}" for text in origin.notes),
        *([] if manifest.change is None else [f"  changed last: {changed(manifest.change)}"]),
        f"  classes: {listed(manifest.classes) or 'none'}",
        f"  transform: {transform(manifest.key)}",
        *([f"  view: {manifest.key.view_words}"] if manifest.key.view else []),
        *(f"  key: {field} = {value}" for field, value in key_facts(manifest.key)),
        "  with " + ", ".join(f"{package} {version}" for package, version in origin.versions.items()),
    ]
    for shard in manifest.shards:
        lines.append(f"  {shard.file}  rows {shard.start}-{shard.stop - 1}  sha256 {shard.sha256}")
        lines += [f"    left out: {image.id}: {image.reason}" for image in shard.skipped]
    return "\n".join(lines)


def entry_json(entry: Entry) -> dict[str, Any]:
    """A set of the listing as JSON values; one that can't be read has its folder, state and size alone."""
    facts = {"folder": str(entry.folder), "state": entry.state, "bytes": entry.nbytes}
    return facts if entry.features is None else facts | dataclasses.asdict(entry.features.manifest)


def set_json(features: FeatureSet) -> dict[str, Any]:
    """All that is known of one set as JSON values."""
    return {"folder": str(features.folder), **dataclasses.asdict(features.manifest)}
