"""Small keys, shards and sets for the tests of the cache room; nothing here checks anything."""

import dataclasses
import hashlib
import itertools
from collections.abc import Collection, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from headstart.core.cache.feature_set import FeatureSet
from headstart.core.cache.key import NamedKey
from headstart.core.cache.manifest import Provenance
from headstart.core.cache.shard import Rows, Shard, Skipped
from headstart.core.cache.store import FeatureStore
from headstart.core.cache.verify import survey
from headstart.core.cache.writer import SetWriter

FEATURE_DIM = 4
EDGES = (0, 5, 10, 13)
"""Three shards, the last one shorter, as a split's last shard usually is."""


def make_key(**changes: Any) -> NamedKey:
    """A key with a value in every field, less `changes`."""
    key = NamedKey(
        backbone="resnet50",
        pooling="average",
        weights="IMAGENET1K_V1",
        weights_sha256="5c" * 32,
        image_size=224,
        interpolation="bilinear",
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        precision="fp32",
        dataset="digits",
        classes=("zero", "one", "two"),
        feature_version=1,
    )
    return dataclasses.replace(key, **changes)


def make_provenance(**changes: Any) -> Provenance:
    """Where a set might have come from, less `changes`."""
    provenance = Provenance(
        split_rows=100,
        weights_from="https://example.org/weights.pth",
        data_from="/somewhere/else",
        parameters="d4" * 32,
        device="cpu",
        batch_size=32,
        created="2023-09-01T12:00:00+00:00",
        versions={"headstart": "0.1.0", "torch": "2.11"},
        notes=("a stand-in test set",),
    )
    return dataclasses.replace(provenance, **changes)


def make_rows(
    rng: np.random.Generator, numbers: Sequence[int], dim: int = FEATURE_DIM, dtype: npt.DTypeLike = np.float32
) -> Rows:
    """Random features (n, dim) and labels for the rows `numbers` of a split; each id is the row's number."""
    return Rows(
        features=rng.standard_normal((len(numbers), dim)).astype(dtype),
        labels=rng.integers(-1, 3, size=len(numbers), dtype=np.int64),
        ids=np.array([str(number).encode() for number in numbers], dtype="S8"),
        digests=digests_of(numbers),
    )


def digests_of(numbers: Sequence[int]) -> npt.NDArray[np.uint8]:
    """What stands for the content of each picture (n, 32): the SHA-256 of its row number."""
    found = b"".join(hashlib.sha256(b"%d" % number).digest() for number in numbers)
    return np.frombuffer(found, dtype=np.uint8).reshape(len(numbers), 32)


def make_shard(
    rng: np.random.Generator,
    start: int,
    stop: int,
    *,
    key: NamedKey | None = None,
    skipped: Collection[int] = (),
    dim: int = FEATURE_DIM,
    dtype: npt.DTypeLike = np.float32,
) -> Shard:
    """The shard of rows `start` to `stop`, of which those in `skipped` were left out."""
    present = [row for row in range(start, stop) if row not in skipped]
    absent = [row for row in range(start, stop) if row in skipped]
    return Shard(
        key=(key or make_key()).feature_key.digest,
        inputs=rng.bytes(32).hex(),
        start=start,
        stop=stop,
        rows=make_rows(rng, present, dim, dtype),
        skipped=tuple(Skipped(row, f"bild/ä{row}.png", "cut off") for row in absent),
    )


def make_shards(
    rng: np.random.Generator,
    *,
    edges: Sequence[int] = EDGES,
    key: NamedKey | None = None,
    skipped: Collection[int] = (),
) -> list[Shard]:
    """One shard for each range between neighbours in `edges`."""
    return [make_shard(rng, start, stop, key=key, skipped=skipped) for start, stop in itertools.pairwise(edges)]


def same_rows(one: Rows, other: Rows) -> bool:
    """Equal to the bit, types included."""
    pairs = [(getattr(one, field.name), getattr(other, field.name)) for field in dataclasses.fields(Rows)]
    if one.digests is None and other.digests is None:  # as in shards of older sets
        pairs.pop()
    return all(
        (a.dtype, a.shape, np.ascontiguousarray(a).tobytes()) == (b.dtype, b.shape, np.ascontiguousarray(b).tobytes())
        for a, b in pairs
    )


def same_shard(one: Shard, other: Shard) -> bool:
    """Equal to the bit, types and attributes included."""
    attributes = [(s.key, s.inputs, s.start, s.stop, s.skipped) for s in (one, other)]
    return attributes[0] == attributes[1] and same_rows(one.rows, other.rows)


def put_all(writer: SetWriter, shards: Sequence[Shard]) -> FeatureSet:
    """Write the shards and the manifest."""
    records = [writer.put(shard, index, None, 0.5) for index, shard in enumerate(shards)]
    return writer.commit(records, FEATURE_DIM, str(shards[0].rows.features.dtype), make_provenance())


def never_wait() -> None:
    """For tests in which nobody else may hold the lock; blocking instead would hang the test."""
    raise AssertionError("the lock is held by another")


def write_set(
    store: FeatureStore, shards: Sequence[Shard], key: NamedKey | None = None, split: str = "train"
) -> FeatureSet:
    """A complete set of `shards` in `store`."""
    with store.writing(key or make_key(), split, never_wait) as writer:
        return put_all(writer, shards)


def write_shards_only(store: FeatureStore, shards: Sequence[Shard], split: str = "train") -> Path:
    """What a run leaves that was killed before its manifest; returns the folder."""
    with store.writing(make_key(), split, never_wait) as writer:
        for index, shard in enumerate(shards):
            writer.put(shard, index, None, 0.5)
        return writer.folder


def write_and_hold(root: Path, seed: int, talk: Connection) -> None:
    """Run in another process: write a set's shards, say so, and write the manifest only when told to."""
    with FeatureStore(root).writing(make_key(), "train", never_wait) as writer:
        shards = make_shards(np.random.default_rng(seed))
        records = [writer.put(shard, index, None, 0.5) for index, shard in enumerate(shards)]
        talk.send("holding")
        if not talk.poll(60):
            raise TimeoutError("never told to go on")  # lets a test fail that would otherwise wait for ever
        writer.commit(records, FEATURE_DIM, str(shards[0].rows.features.dtype), make_provenance())


def flip(path: Path, place: int | None = None) -> None:
    """Change one bit of a file's byte at `place`, by default in the middle."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2 if place is None else place] ^= 1
    path.write_bytes(content)


def begun(store: FeatureStore) -> list[Path]:
    """The folders of sets that were begun and have no manifest."""
    return [entry.folder for entry in survey(store) if entry.state == "not complete"]


def first_images(shards: list[Shard], limit: int) -> Rows:
    """The rows of the split's first `limit` images, picked by the ids, which are row numbers."""
    joined = {
        name: np.concatenate([getattr(shard.rows, name) for shard in shards])
        for name in ("features", "labels", "ids", "digests")
    }
    wanted = joined["ids"].astype(int) < limit
    return Rows(**{name: array[wanted] for name, array in joined.items()})
