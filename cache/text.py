"""Words for people: what `cache ls` and `cache show` say of a feature set, and the table that every room lays out."""

import datetime
import difflib
from collections.abc import Iterable, Sequence

from headstart.core.cache.feature_set import FeatureSet
from headstart.core.cache.key import FeatureKey
from headstart.core.cache.verify import Entry


def safe(text: object) -> str:
    """Text for a terminal: a name from a file must not move the cursor, so control characters are spelled out."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in str(text))


def listed(names: Iterable[object], most: int = 10) -> str:
    """Names for a sentence, control characters spelled out; of many the first and how many more: a, b, c and 1,197 more."""
    there = list(names)
    shown = ", ".join(safe(name) for name in there[:most])
    return f"{shown} and {len(there) - most:,} more" if len(there) > most else shown


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """(did you mean A or B?) for the known words that are most like one, whatever their capital letters; else nothing."""
    by_lower = {name.lower(): name for name in known}
    close = [by_lower[match] for match in difflib.get_close_matches(word.lower(), by_lower, n=3)]
    return f" (did you mean {' or '.join(close)}?)" if close else ""


def columns(lines: Sequence[Sequence[object]]) -> str:
    """Lines of cells as aligned columns; the first line is the heading."""
    text = [[safe(cell) for cell in line] for line in lines]
    widths = [max(len(line[i]) for line in text) for i in range(len(text[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in text
    )


def megabytes(size: float) -> str:
    """Bytes for people."""
    return f"{size / 1e6:,.1f} MB"


def shape(features: FeatureSet) -> str:
    """How much a set holds."""
    manifest = features.manifest
    return f"{manifest.rows:,} x {manifest.feature_dim} {manifest.dtype}, {megabytes(manifest.nbytes)}"


def listing(entries: Sequence[Entry], now: datetime.datetime) -> str:
    """A line for each set: rows, size on disk, image size, precision, weights, age, and whether it is complete."""
    lines: list[list[object]] = [
        ["feature set", "rows x features", "size", "image", "precision", "weights", "age", "state"]
    ]
    for entry in entries:
        cells: list[object] = ["", "", "", "", ""]
        if entry.features is not None:
            manifest, key = entry.features.manifest, entry.features.manifest.key
            weights = f"{key.weights} {key.weights_sha256[:8]}"
            past = age(manifest.provenance.created, now)
            cells = [f"{manifest.rows:,} x {manifest.feature_dim}", f"{key.image_size} px", key.precision, weights, past]
        cells.insert(1, megabytes(entry.nbytes))
        lines.append([entry.folder.name, *cells, entry.state])
    found = {entry.state for entry in entries}
    return "\n".join([columns(lines), *(f"{state}: {hint}" for state, hint in _HINTS.items() if state in found)])


_HINTS = {
    "not complete": "the `headstart extract` that began the set goes on from there",
    "of another version": "use the headstart that made it, or `headstart extract --force` to compute it anew",
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
    """A key's fields with their values; of many classes the first and their number, on one line."""
    return [(name, listed(value) if name == "classes" else value) for name, value in key.to_json().items()]


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
        *(f"  note: {text}" for text in origin.notes),
        *(f"  key: {field} = {value}" for field, value in key_facts(manifest.key)),
        "  with " + ", ".join(f"{package} {version}" for package, version in origin.versions.items()),
    ]
    for shard in manifest.shards:
        lines.append(f"  {shard.file}  rows {shard.start}-{shard.stop - 1}  sha256 {shard.sha256}")
        lines += [f"    left out: {image.id}: {image.reason}" for image in shard.skipped]
    return "\n".join(lines)
