"""Words for people: what `cache ls` and `cache show` say of a feature set, and the table that every room lays out."""

from collections.abc import Sequence

from cache.store import FeatureSet


def safe(text: object) -> str:
    """Text for a terminal: a name from a file must not move the cursor, so control characters are spelled out."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in str(text))


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


def listing(sets: Sequence[FeatureSet]) -> str:
    """A line for each set: rows, size, precision, weights, age."""
    lines: list[list[object]] = [["feature set", "rows x features", "size", "image", "precision", "weights", "made"]]
    for found in sets:
        manifest, key = found.manifest, found.manifest.key
        rows = f"{manifest.rows:,} x {manifest.feature_dim}"
        weights = f"{key.weights} {key.weights_sha256[:8]}"
        made = manifest.provenance.created
        size = megabytes(manifest.nbytes)
        lines.append([found.folder.name, rows, size, f"{key.image_size} px", key.precision, weights, made])
    return columns(lines)


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
        *(f"  key: {field} = {value}" for field, value in manifest.key.to_json().items()),
        "  with " + ", ".join(f"{package} {version}" for package, version in origin.versions.items()),
    ]
    for shard in manifest.shards:
        lines.append(f"  {shard.file}  rows {shard.start}-{shard.stop - 1}  sha256 {shard.sha256}")
        lines += [f"    left out: {image.id}: {image.reason}" for image in shard.skipped]
    return "\n".join(lines)
