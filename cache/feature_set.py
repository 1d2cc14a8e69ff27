"""A complete feature set on disk: its rows are read from the shards, and every shard is checked before it is used."""

import dataclasses
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from headstart.core.cache.errors import FeaturesDamaged, FeaturesNotFound
from headstart.core.cache.files import read_regular, sha256
from headstart.core.cache.manifest import NAME, Manifest, ShardRecord, read_manifest
from headstart.core.cache.shard import MOST_BYTES, Rows, Shard, ShardFacts, decode_shard
from headstart.core.cache.shard_plan import shard_number


class _Shaped(Protocol):
    """An array, or a data set of a file."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> Any: ...


@dataclasses.dataclass(frozen=True)
class FeatureSet:
    """A complete feature set on disk."""

    folder: Path
    manifest: Manifest

    def load(self, limit: int | None = None) -> Rows:
        """The rows of the split's first `limit` images (all by default); every shard is checked before it is used.

        Features come as stored, (n, D) float32 or float16. Raises FeaturesNotFound where the set covers fewer images
        than `limit`, FeaturesDamaged where a shard is missing, altered or unexpected.
        """
        stop = self.manifest.stop if limit is None else limit
        if stop < 1:
            raise ValueError(f"{stop} rows were asked for, expected at least 1")
        if stop > self.manifest.stop:
            there, rows = self.manifest.stop, self.manifest.provenance.split_rows
            way_out = f"the `headstart extract` that made the set adds the missing ones, with --limit {stop}"
            if stop > rows:  # extracting again would not help
                way_out = f"its {self.manifest.split} split has only {rows:,} images, ask for fewer"
            raise FeaturesNotFound(f"{self.folder}: holds the first {there} rows, {stop} were asked for; {way_out}")
        if stray := self.stray_files():
            raise FeaturesDamaged(f"{stray[0]}: {NAME} does not list this file; move it out of the folder")
        try:
            return self._gather(sum(record.start < stop for record in self.manifest.shards), stop)
        except FeaturesDamaged:
            if self.replaced():
                raise FeaturesDamaged(f"{self.folder}: {REPLACED}") from None
            raise

    def check(self) -> None:
        """Raises FeaturesDamaged where a shard is missing or altered; nothing is decoded or kept."""
        for record in self.manifest.shards:
            checked_bytes(self.folder / record.file, record)

    def replaced(self) -> bool:
        """Whether the manifest is another one by now, or gone."""
        try:
            return read_manifest(self.folder) != self.manifest
        except FileNotFoundError:
            return True
        except FeaturesDamaged:
            return False

    def _gather(self, count: int, stop: int) -> Rows:
        """The rows below `stop` of the first `count` shards, decoded into place: no second copy of all is held."""
        records = self.manifest.shards[:count]
        try:
            features = np.empty((sum(r.rows for r in records), self.manifest.feature_dim), dtype=self.manifest.dtype)
        except (MemoryError, ValueError):  # more than there is room for: is it in the files, or in the manifest alone?
            for index in range(count):
                self.read(index)
            raise
        labels, ids, digests, done = [], [], [], 0
        for index, content in enumerate(self._contents(records)):
            rows = self._decode(index, content, features[done : done + records[index].rows])
            kept = _prefix(rows, stop)
            labels.append(kept.labels)
            ids.append(kept.ids)
            digests.append(kept.digests)
            done += len(kept)
        known = [one for one in digests if one is not None]
        whole = np.concatenate(known) if len(known) == len(digests) else None
        return Rows(features[:done], np.concatenate(labels), np.concatenate(ids), whole)

    def _contents(self, records: Sequence[ShardRecord]) -> Iterator[bytes]:
        """Each shard's checked bytes; a thread reads and hashes those of the next while HDF5 decodes this one's."""
        with ThreadPoolExecutor(max_workers=1) as thread:
            ahead = thread.submit(checked_bytes, self.folder / records[0].file, records[0])
            for following in records[1:]:
                content = ahead.result()
                ahead = thread.submit(checked_bytes, self.folder / following.file, following)
                yield content
            yield ahead.result()

    def read(self, index: int, into: npt.NDArray[Any] | None = None) -> Shard:
        """Shard number `index`, whole and checked against the manifest, its features put `into` an array that fits them
        where one is given. Raises FeaturesDamaged."""
        record = self.manifest.shards[index]
        return self._decode(index, checked_bytes(self.folder / record.file, record), into)

    def _decode(self, index: int, content: bytes, into: npt.NDArray[Any] | None = None) -> Shard:
        record, path = self.manifest.shards[index], self.folder / self.manifest.shards[index].file
        shard = decode_shard(content, str(path), into)
        self.expect(record, shard.facts, shard.rows.features)
        return shard

    def expect(self, record: ShardRecord, facts: ShardFacts, features: "_Shaped") -> None:
        """Raise FeaturesDamaged where a shard's facts and the shape (n, D) and dtype of its features are not those that the
        manifest's record says."""
        own = (record.inputs, record.start, record.stop, record.rows, record.skipped)
        shape = (features.shape[1], str(features.dtype))
        if facts != ShardFacts(self.manifest.shard_key, *own) or shape != (self.manifest.feature_dim, self.manifest.dtype):
            raise FeaturesDamaged(f"{self.folder / record.file}: belongs to another set than {NAME} says; {MEND}")

    def stray_files(self) -> list[Path]:
        """HDF5 files that can't belong to the set. Unlisted shards can: an extension is under way, or was killed."""
        return [path for path in sorted(self.folder.glob("*.h5")) if shard_number(path.name) is None]


REPLACED = "another process removed the set or made it anew while it was read; run the command again"
MEND = "run the `headstart extract` that made the set again to compute it anew"


def checked_bytes(path: Path, record: ShardRecord) -> bytes:
    """The bytes of a shard's file, which are those that the manifest lists. Raises FeaturesDamaged, OSError."""
    try:
        content = read_regular(path, MOST_BYTES)
    except FileNotFoundError:
        raise FeaturesDamaged(f"{path}: missing, though {NAME} lists it; {MEND}") from None
    except ValueError as error:
        raise FeaturesDamaged(f"{path}: {error}; {MEND}") from None
    if (found := sha256(content)) != record.sha256:
        raise FeaturesDamaged(f"{path}: SHA-256 is {found[:12]}…, expected {record.sha256[:12]}…; {MEND}")
    return content


def _prefix(shard: Shard, stop: int) -> Rows:
    """The shard's rows below row `stop` of the split."""
    if shard.stop <= stop:
        return shard.rows
    count = stop - shard.start - sum(image.row < stop for image in shard.skipped)
    rows, digests = shard.rows, shard.rows.digests
    own = None if digests is None else digests[:count]
    return Rows(rows.features[:count], rows.labels[:count], rows.ids[:count], own)
