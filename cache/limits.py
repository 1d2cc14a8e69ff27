"""How large a set, its shards and its manifest get, and what no reader would accept: said before the work, not after it."""

import dataclasses
import functools

from headstart.core.cache.errors import ArgumentInvalid
from headstart.core.cache.files import MAX_JSON_BYTES, pretty_json
from headstart.core.cache.manifest import ShardRecord
from headstart.core.cache.shard import MOST_BYTES, ROWS_PER_CHUNK
from headstart.core.cache.shard_plan import Part

IDS_BYTES = 256
"""What is kept free for a row's id where the longest is not known."""
BESIDE_BYTES = 2**20
"""What is kept free in a manifest for all but its shards and class names: the key, where it came from, notes."""

_LABEL, _DIGEST = 8, 32
_FILE, _CHUNK = 2064, 80  # HDF5's own bytes: 2,064 of one row; 4,608 of 2,048 rows, 127,076 of 100,000 (measured)


def row_bytes(feature_dim: int, itemsize: int, id_bytes: int = IDS_BYTES) -> int:
    """What one row takes in a shard: its features, label, digest and id."""
    return feature_dim * itemsize + _LABEL + _DIGEST + id_bytes


def shard_bytes(rows: int, feature_dim: int, itemsize: int, id_bytes: int = IDS_BYTES) -> int:
    """The size of a shard's file, to one part in a hundred: HDF5 fills up the last of its chunks."""
    chunks = -(-rows // ROWS_PER_CHUNK) if rows > ROWS_PER_CHUNK else 0
    filled = chunks * ROWS_PER_CHUNK or rows
    return filled * row_bytes(feature_dim, itemsize, id_bytes) + _FILE + _CHUNK * chunks


@functools.cache
def record_bytes() -> int:
    """What a shard takes in a manifest, where no picture of it is left out: at most, in a set of 10^10 rows."""
    part, text = Part(10**6, 10**10, 10**10), "f" * 64
    record = ShardRecord(part.file, part.start, part.stop, 10**6, text, text, text, 12345.678901234567)
    one, two = (len(pretty_json({"shards": [dataclasses.asdict(record)] * count})) for count in (1, 2))
    return two - one


def manifest_bytes(shards: int, classes: tuple[str, ...] = ()) -> int:
    """The size of a manifest of so many shards at most, where no picture is left out."""
    return shards * record_bytes() + len(pretty_json(list(classes))) + BESIDE_BYTES


def most_shards(classes: tuple[str, ...] = ()) -> int:
    """How many shards a manifest can list: readers take `MAX_JSON_BYTES`."""
    return max(0, MAX_JSON_BYTES - manifest_bytes(0, classes)) // record_bytes()


def most_rows(feature_dim: int, itemsize: int) -> int:
    """How many rows a shard can hold: readers take `MOST_BYTES`."""
    chunk = ROWS_PER_CHUNK * row_bytes(feature_dim, itemsize) + _CHUNK
    return max(1, (MOST_BYTES - _FILE) // chunk * ROWS_PER_CHUNK)


def check(title: str, rows: int, shard_rows: int, feature_dim: int, itemsize: int, classes: tuple[str, ...]) -> None:
    """Raises ArgumentInvalid where a set of these rows could not be read once it is made, naming a `--shard-rows` that
    would do."""
    largest, most = most_rows(feature_dim, itemsize), most_shards(classes)
    if min(shard_rows, rows) > largest:
        raise ArgumentInvalid(
            f"{title}: --shard-rows {shard_rows}: a shard of {min(shard_rows, rows):,} x {feature_dim} may be larger than "
            f"the {MOST_BYTES:,} bytes that are read; use --shard-rows {largest} or less"
        )
    shards = -(-rows // shard_rows)
    if shards <= most:
        return
    if not most:
        raise ArgumentInvalid(
            f"{title}: {len(classes):,} class names leave a manifest no room for shards; divide the data set"
        )
    if (least := -(-rows // most)) > largest:
        raise ArgumentInvalid(
            f"{title}: {rows:,} rows are too many for one set, the most is {most * largest:,}; divide the data set"
        )
    raise ArgumentInvalid(
        f"{title}: --shard-rows {shard_rows}: {rows:,} rows make {shards:,} shards, a manifest can list {most:,}; use "
        f"--shard-rows {max(least, min(100_000, largest))}"
    )
