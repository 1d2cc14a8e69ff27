"""One shard: some rows of features as an HDF5 file that anyone with h5py can open, built and read in memory.

    shard-00000.h5
    ├── features  (n, D)  float32 or float16
    ├── labels    (n,)    int64, -1 where unknown
    ├── ids       (n,)    fixed-length UTF-8 bytes
    ├── digests   (n, 32) uint8, the SHA-256 of each picture's content; shards of older sets have none
    └── attributes: key, inputs (SHA-256 as 64 bytes), start, stop (row numbers in the split), skipped (JSON)

libhdf5 never touches the disk here: growing a file in place left it unopenable or full of silent zeros after a kill,
and a flush issues no fsync at all. The bytes are the same for the same rows.
"""

import dataclasses
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from headstart.core.cache.digests import SIZE, Digests
from headstart.core.cache.errors import FeaturesDamaged
from headstart.core.cache.files import canonical_json, parse_json, sha256

MOST_BYTES = 4 * 2**30
"""The largest file that is looked at: a default shard has 17 MB, but a sparse file claims any size for nothing."""

ROWS_PER_CHUNK = 64
"""A chunk of 64 rows read at 1.1-1.4 GB/s with its checksum; larger ones gain nothing, smaller ones lose (measured)."""

_BOUNDS = ("v110", "v110")
"""HDF5 1.10's format: the oldest in which the metadata and the chunk index carry checksums too. Readers of older formats
(pyfive, HDF5 1.8) can't follow that index; `cache export` writes a file that they can."""

_KINDS = {"features": "f", "labels": "i", "ids": "S", "digests": "u"}
_RANKS = {"features": 2, "labels": 1, "ids": 1, "digests": 2}
_ATTRIBUTES = {"key": "S", "inputs": "S", "start": "i", "stop": "i", "skipped": "u", "skipped_sha256": "S"}
_FILTERS = {h5py.h5z.FILTER_FLETCHER32}


@dataclasses.dataclass(frozen=True)
class Skipped:
    """The image at `row` of the split, which could not be read and was left out because the user asked for that."""

    row: int
    id: str
    reason: str


@dataclasses.dataclass(frozen=True)
class Rows:
    """Rows of a split: features (n, D) float32 or float16, labels (n,) int64, ids (n,) bytes, and the SHA-256 of what each
    was computed from, (n, 32) uint8, None where that was not kept: by sets of version 3 and before.

    They stand in the shard, beside the ids, and nowhere else: who checks a shard's SHA-256 has checked them too, a shard
    alone says what its rows are of, and none of them can be of another set than the features.
    """

    features: npt.NDArray[Any]
    labels: npt.NDArray[np.int64]
    ids: npt.NDArray[np.bytes_]
    digests: Digests | None = None

    def __len__(self) -> int:
        return len(self.labels)


def narrowed(features: npt.NDArray[Any], dtype: npt.DTypeLike) -> tuple[npt.NDArray[Any], int | None]:
    """Features (n, D) as `dtype`, and the first row that it can't hold or that is not finite, None where there is none."""
    with np.errstate(over="ignore"):  # what does not fit becomes infinite
        found = features.astype(dtype)
    bad = ~np.isfinite(found).all(axis=1)
    return found, int(bad.argmax()) if bad.any() else None


@dataclasses.dataclass(frozen=True)
class ShardFacts:
    """What a manifest says of a shard: of `start` to `stop`, `rows` are present and `skipped` are not."""

    key: str
    inputs: str
    start: int
    stop: int
    rows: int
    skipped: tuple[Skipped, ...]


@dataclasses.dataclass(frozen=True)
class Shard:
    """Rows `start` to `stop` of a split less the skipped ones, with the digests they are reused by."""

    key: str
    inputs: str
    start: int
    stop: int
    rows: Rows
    skipped: tuple[Skipped, ...] = ()

    @property
    def facts(self) -> ShardFacts:
        """What a manifest says of it."""
        return ShardFacts(self.key, self.inputs, self.start, self.stop, len(self.rows), self.skipped)


def encode_shard(shard: Shard) -> bytes:
    """The shard as the bytes of an HDF5 file. Raises ValueError where the arrays don't fit each other or the format."""
    _check(shard)
    with h5py.File.in_memory(libver=_BOUNDS) as file:
        for name in _KINDS:
            data = getattr(shard.rows, name)
            if data is None:
                continue
            chunks = (min(ROWS_PER_CHUNK, max(1, len(data))), *data.shape[1:])
            room = (max(1, len(data)), *data.shape[1:])  # h5py refuses a chunk that is larger than what it may hold
            file.create_dataset(name, data=data, chunks=chunks, maxshape=room, fletcher32=True)
        attrs = file.attrs  # h5py opens the root anew each time that it is asked for
        attrs["key"] = np.bytes_(shard.key.encode())
        attrs["inputs"] = np.bytes_(shard.inputs.encode())
        attrs["start"] = np.int64(shard.start)
        attrs["stop"] = np.int64(shard.stop)
        skipped = canonical_json([dataclasses.asdict(image) for image in shard.skipped])
        attrs["skipped"] = np.frombuffer(skipped, dtype=np.uint8)
        attrs["skipped_sha256"] = np.bytes_(sha256(skipped))  # libhdf5 has no checksum for attributes over 64 KiB
        file.flush()
        image: bytes = file.id.get_file_image()
    return image


def _check(shard: Shard) -> None:
    rows, features = shard.rows, shard.rows.features
    if features.ndim != 2 or features.dtype not in (np.float32, np.float16):
        raise ValueError(f"features are {features.dtype} {features.shape}, expected float32 or float16 (n, D)")
    if not len(features) == len(rows.labels) == len(rows.ids) == shard.stop - shard.start - len(shard.skipped):
        raise ValueError(
            f"rows {shard.start}-{shard.stop} with {len(shard.skipped)} skipped, but {len(features)} features, "
            f"{len(rows.labels)} labels and {len(rows.ids)} ids"
        )
    labels, ids, digests = rows.labels, rows.ids, rows.digests
    if digests is not None and (digests.dtype != np.uint8 or digests.shape != (len(labels), SIZE)):
        raise ValueError(f"digests are {digests.dtype} {digests.shape}, expected uint8 {(len(labels), SIZE)}")
    if labels.dtype != np.int64 or ids.dtype.kind != "S" or labels.ndim != 1 or ids.ndim != 1:
        raise ValueError(
            f"labels are {labels.dtype} {labels.shape}, ids {ids.dtype} {ids.shape}; expected int64 (n,) and bytes (n,)"
        )


def decode_shard(content: bytes, where: str, into: npt.NDArray[Any] | None = None) -> Shard:
    """The shard in `content`, the bytes of a file called `where` in messages; its features are put `into` an array
    where one is given that fits them, (n, D) of their dtype.

    Only what `encode_shard` writes is let in: HDF5's external storage and links read other files as arrays, virtual
    data sets turn missing sources into zeros, and a kilobyte can declare terabytes. Raises FeaturesDamaged.
    """
    try:
        with h5py.File.in_memory(content) as file:
            return _read(file, len(content), into)
    except FeaturesDamaged as error:
        raise FeaturesDamaged(f"{where}: {error}") from None
    except Exception as error:  # h5py raises OSError, KeyError, RuntimeError, ValueError and TypeError for bad bytes
        raise FeaturesDamaged(f"{where}: not a readable HDF5 file ({error})") from error


def _read(file: h5py.File, size: int, into: npt.NDArray[Any] | None) -> Shard:
    arrays = allowed(file, size)
    digests = arrays["digests"][()] if "digests" in arrays else None
    rows = Rows(_features(arrays["features"], into), arrays["labels"][()], arrays["ids"][()], digests)
    facts = facts_in(file, len(rows))
    shard = Shard(facts.key, facts.inputs, facts.start, facts.stop, rows, facts.skipped)
    _check(shard)
    return shard


def allowed(file: h5py.File, size: int) -> dict[str, h5py.Dataset]:
    """The data sets of a shard's file of `size` bytes by name, none of them read yet: each is of the kind, the rank and the
    filters that `encode_shard` writes, within the file, and of as many rows as the others. Raises FeaturesDamaged."""
    _allow_members(file)
    arrays = {name: _allow_dataset(file, name, size) for name in _KINDS if name in file}
    if len({len(array) for array in arrays.values()}) != 1:
        raise FeaturesDamaged(f"{', '.join(arrays)} differ in length")
    return arrays


def facts_in(file: h5py.File, rows: int) -> ShardFacts:
    """What the attributes of a shard's file, of so many rows, say of it. Raises FeaturesDamaged, and what h5py raises."""
    attrs = file.attrs
    skipped = attrs["skipped"].tobytes()
    if sha256(skipped).encode() != attrs["skipped_sha256"]:
        raise FeaturesDamaged("not a readable HDF5 file (the list of skipped images was altered)")
    images = tuple(Skipped(**image) for image in parse_json(skipped))
    if not all(isinstance(image.row, int) for image in images):
        raise FeaturesDamaged("skipped images without a row number")
    key, inputs = (bytes(attrs[name]).decode() for name in ("key", "inputs"))
    return ShardFacts(key, inputs, int(attrs["start"]), int(attrs["stop"]), rows, images)


def _features(data: h5py.Dataset, into: npt.NDArray[Any] | None) -> npt.NDArray[Any]:
    if into is None or (data.shape, data.dtype) != (into.shape, into.dtype):  # whoever gave it says what was expected
        found: npt.NDArray[Any] = data[()]
        return found
    if len(data):
        data.read_direct(into)
    return into


def _allow_members(file: h5py.File) -> None:
    for name in file:
        link = file.get(name, getlink=True)
        if name not in _KINDS:
            raise FeaturesDamaged(f"holds {name!r}, expected only {', '.join(_KINDS)}")
        if not isinstance(link, h5py.HardLink):
            raise FeaturesDamaged(f"{name} is a {type(link).__name__}, expected the data itself")
    if missing := set(_KINDS) - {"digests"} - set(file):
        raise FeaturesDamaged(f"lacks {', '.join(sorted(missing))}")
    attrs = file.attrs
    kinds = {name: attrs.get_id(name).dtype.kind for name in attrs}
    if kinds != _ATTRIBUTES:
        raise FeaturesDamaged(f"has the attributes {sorted(kinds)}, expected {sorted(_ATTRIBUTES)}, or of unreadable types")


def _allow_dataset(file: h5py.File, name: str, size: int) -> h5py.Dataset:
    data = file[name]
    if not isinstance(data, h5py.Dataset):
        raise FeaturesDamaged(f"{name} is no data set")
    if data.is_virtual or data.external:
        raise FeaturesDamaged(f"{name} keeps its data outside the file")
    if data.dtype.kind != _KINDS[name] or data.ndim != _RANKS[name]:
        raise FeaturesDamaged(f"{name} is {data.dtype} {data.shape}, expected kind {_KINDS[name]!r}")
    create = data.id.get_create_plist()
    filters = {create.get_filter(i)[0] for i in range(create.get_nfilters())}
    if filters != _FILTERS:
        raise FeaturesDamaged(f"{name} needs the filters {sorted(filters)}, expected only the checksum")
    if data.nbytes > size:  # ours are not compressed, so the data can't be larger than the file
        raise FeaturesDamaged(f"{name} declares {data.nbytes} bytes in a file of {size}")
    if data.id.get_storage_size() < data.nbytes:  # HDF5 reads what was never written as zeros
        raise FeaturesDamaged(f"{name} declares {data.nbytes} bytes and holds {data.id.get_storage_size()}")
    return data
