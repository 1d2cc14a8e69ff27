"""The rows of a feature set a chunk at a time, in any order, for features that are larger than memory.

A shard's file is read in two ways. `check` reads all of it once, in pieces: its SHA-256 must be the manifest's, and what is
in it must be what we write (`shard.allowed`). It notes where in the file each chunk of features lies, and which file it
was. From then on `read` takes single chunks from these places: no other file is followed, since identity, size and times of
change must still be the same, and each chunk has to agree with its own Fletcher-32, so that a disk which has begun to give
other bytes is found out. SHA-256 again for each of some hundred passes would take longer than the passes (1.7 GB/s), and a
chunk alone can't be told by it.
"""

import dataclasses
import functools
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from headstart.core.cache.digests import Digests
from headstart.core.cache.errors import FeaturesDamaged, FeaturesInvalid
from headstart.core.cache.feature_set import MEND, REPLACED, FeatureSet
from headstart.core.cache.files import open_regular
from headstart.core.cache.manifest import NAME, ShardRecord
from headstart.core.cache.places import stored
from headstart.core.cache.shard import MOST_BYTES, allowed, facts_in

_PIECE = 2**20
"""Bytes of a file that are hashed at once."""

Identity = tuple[int, ...]
"""Which file it is, and as of when: device, inode, size, and when content and inode were last changed."""


@dataclasses.dataclass(frozen=True, eq=False)
class ShardRows:
    """What a checked shard says of its rows, its features not read: labels (n,), ids (n,), and digests (n, 32) or None."""

    labels: npt.NDArray[np.int64]
    ids: npt.NDArray[np.bytes_]
    digests: Digests | None


@dataclasses.dataclass(frozen=True, eq=False)
class _Place:
    """A shard's file as it was checked: the row of the set that it begins with, the rows of a chunk, and the byte at which
    each chunk of features begins."""

    path: Path
    identity: Identity
    first: int
    rows: int
    chunk_rows: int
    offsets: npt.NDArray[np.int64]


class RowReader:
    """The rows of a set, or of its first `limit` images, in chunks. `check` goes before `read`. One thread at a time.

    Raises FeaturesInvalid for a set in an object store: each chunk would be a request."""

    def __init__(self, source: FeatureSet, limit: int | None = None) -> None:
        manifest = source.manifest
        if stored(source.folder) is not None:
            raise FeaturesInvalid(
                f"{source.folder}: --memory reads rows from files of this machine, and this set is in an object store; "
                f"copy its folder to a local --features-dir, or leave --memory out"
            )
        self.source, self.dim, self.dtype = source, manifest.feature_dim, np.dtype(manifest.dtype)
        self._stop = manifest.stop if limit is None else limit
        self._places: list[_Place] = []
        self._chunks: list[tuple[int, int]] = []
        self.starts: npt.NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        """The row of the set, from 0, that each chunk begins with."""
        self.rows = 0
        """How many rows there are, once they were checked."""

    def check(self) -> Iterator[ShardRows]:
        """Each shard in turn, checked as `FeatureSet.load` checks it but for its features. Raises FeaturesDamaged,
        FeaturesInvalid for a set whose chunks are not whole rows."""
        if stray := self.source.stray_files():
            raise FeaturesDamaged(f"{stray[0]}: {NAME} does not list this file; move it out of the folder")
        starts = list[int]()
        for record in (one for one in self.source.manifest.shards if one.start < self._stop):
            place, found = self._checked(record)
            # of a shard that the limit divides some rows are not there
            left_out = sum(image.row < self._stop for image in record.skipped)
            count = min(record.stop, self._stop) - record.start - left_out
            self._places.append(dataclasses.replace(place, rows=count))
            for chunk in range(-(-count // place.chunk_rows)):
                starts.append(self.rows + chunk * place.chunk_rows)
                self._chunks.append((len(self._places) - 1, chunk))
            self.rows += count
            digests = None if found.digests is None else found.digests[:count]
            yield ShardRows(found.labels[:count], found.ids[:count], digests)
        self.starts = np.array(starts, dtype=np.int64)

    @property
    def chunk_rows(self) -> int:
        """The most rows that a chunk has."""
        return max(place.chunk_rows for place in self._places)

    def read(self, chunk: int) -> npt.NDArray[Any]:
        """The features (n, D) of a chunk's rows as stored, checked. Raises FeaturesDamaged."""
        which, number = self._chunks[chunk]
        place = self._places[which]
        size = place.chunk_rows * self.dim * self.dtype.itemsize
        try:
            descriptor = open_regular(place.path)
        except (FileNotFoundError, ValueError):
            raise FeaturesDamaged(f"{place.path}: {REPLACED}") from None
        try:
            if _identity(descriptor) != place.identity:
                raise FeaturesDamaged(f"{place.path}: {REPLACED}")
            content = os.pread(descriptor, size + 4, int(place.offsets[number]))
        finally:
            os.close(descriptor)
        if len(content) != size + 4 or fletcher32(content[:-4]) != int.from_bytes(content[-4:], "little"):
            raise FeaturesDamaged(
                f"{place.path}: its rows from {place.first + number * place.chunk_rows} on are not what they were when "
                f"it was checked; {MEND}"
            )
        count = min(place.chunk_rows, place.rows - number * place.chunk_rows)
        return np.frombuffer(content, self.dtype, count * self.dim).reshape(count, self.dim)

    def _checked(self, record: ShardRecord) -> tuple[_Place, ShardRows]:
        path = self.source.folder / record.file
        try:
            descriptor = open_regular(path, MOST_BYTES)
        except FileNotFoundError:
            raise FeaturesDamaged(f"{path}: missing, though {NAME} lists it; {MEND}") from None
        except ValueError as error:
            raise FeaturesDamaged(f"{path}: {error}; {MEND}") from None
        try:
            before = _identity(descriptor)
            if (found := _sha256(descriptor)) != record.sha256:
                raise FeaturesDamaged(f"{path}: SHA-256 is {found[:12]}…, expected {record.sha256[:12]}…; {MEND}")
            with os.fdopen(os.dup(descriptor), "rb") as file:
                chunks, rows = self._looked_into(record, file, before[2])
            if _identity(descriptor) != before:
                raise FeaturesDamaged(f"{path}: {REPLACED}")
        finally:
            os.close(descriptor)
        return _Place(path, before, record.start, record.rows, *chunks), rows

    def _looked_into(
        self, record: ShardRecord, content: Any, size: int
    ) -> tuple[tuple[int, npt.NDArray[np.int64]], ShardRows]:
        path = self.source.folder / record.file
        try:
            with h5py.File(content, "r") as file:
                arrays = allowed(file, size)
                features = arrays["features"]
                self.source.expect(record, facts_in(file, len(features)), features)
                digests = arrays["digests"][()] if "digests" in arrays else None
                return _chunks_of(features), ShardRows(arrays["labels"][()], arrays["ids"][()], digests)
        except FeaturesDamaged as error:
            raise FeaturesDamaged(str(error) if str(path) in str(error) else f"{path}: {error}") from None
        except FeaturesInvalid as error:
            raise FeaturesInvalid(f"{path}: {error}") from None
        except Exception as error:  # as of `shard.decode_shard`
            raise FeaturesDamaged(f"{path}: not a readable HDF5 file ({error})") from error


def _chunks_of(features: h5py.Dataset) -> tuple[int, npt.NDArray[np.int64]]:
    """The rows of a chunk, and where in the file each of them begins."""
    rows, columns = features.chunks
    if columns != features.shape[1]:
        raise FeaturesInvalid(
            f"its chunks have {columns} of {features.shape[1]} features, so that rows can't be read alone"
        )
    found = [features.id.get_chunk_info_by_coord((first, 0)) for first in range(0, len(features), rows)]
    size = rows * columns * features.dtype.itemsize + 4
    if not all(one.filter_mask == 0 and one.size == size and one.byte_offset is not None for one in found):
        raise FeaturesDamaged("has chunks without a checksum, or of another size")
    return rows, np.array([one.byte_offset for one in found], dtype=np.int64)


def _identity(descriptor: int) -> Identity:
    found = os.fstat(descriptor)
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _sha256(descriptor: int) -> str:
    """That of all of the file, in the memory of one piece; the kernel reads the next one ahead."""
    digest, piece, done = hashlib.sha256(), bytearray(_PIECE), 0
    while count := os.preadv(descriptor, [piece], done):
        digest.update(memoryview(piece)[:count])
        done += count
    return digest.hexdigest()


def fletcher32(content: bytes) -> int:
    """HDF5's checksum of an even number of bytes: sums modulo 65,535 of big-endian words of 16 bits, and of these sums
    (`H5_checksum_fletcher32`, https://github.com/HDFGroup/hdf5/blob/develop/src/H5checksum.c). What its folds leave as
    65,535 where the sum divides is 0 modulo it; all bytes 0 alone give 0.

    The words are weighted by how often each of them is summed up, in doubles: exact below 2^53. Not by a product of
    BLAS, whose threads would wait for each other.
    """
    first = second = total = 0
    words = np.frombuffer(content, ">u2")
    for start in range(0, len(words), _WORDS):
        own = words[start : start + _WORDS].astype(np.float64)
        plain = int(own.sum())
        second += first * len(own) + int(np.einsum("i,i", own, _falling(len(own))))
        first, total = (first + plain) % 65535, total + plain
        second %= 65535
    if total:
        first, second = first or 65535, second or 65535
    return second << 16 | first


_WORDS = 2**16
"""Words that are summed up at once: their sums stay below 2^48, and the doubles near a core."""


@functools.lru_cache(2)
def _falling(count: int) -> npt.NDArray[np.float64]:
    return np.arange(count, 0, -1, dtype=np.float64)
