"""The features directory: sets are found, read whole and checked, and written shard by shard under a lock."""

import contextlib
import dataclasses
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import numpy.typing as npt
from headstart.core.cache.errors import (
    FeaturesDamaged,
    FeaturesInvalid,
    FeaturesNotFound,
    FeaturesOfAnotherVersion,
    FeaturesStale,
)
from headstart.core.cache.execution import NAME as EXECUTION
from headstart.core.cache.execution import Execution, read_execution
from headstart.core.cache.files import MAX_JSON_BYTES, make_folder, read_regular, sha256, sync_folder, write_durably
from headstart.core.cache.foreign import MOST_BYTES, ForeignReader, ShardFacts, facts_of
from headstart.core.cache.key import FeatureKey
from headstart.core.cache.manifest import NAME, Manifest, Provenance, ShardRecord, read_manifest
from headstart.core.cache.plan import Part
from headstart.core.cache.shard import Rows, Shard, decode_shard, encode_shard

_SHARD_NAME = re.compile(r"shard-([0-9]{5}|[1-9][0-9]{5,})\.h5")


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
            way_out = f"`headstart extract --limit {stop}` adds the missing ones"
            if stop > rows:  # extracting again would not help
                way_out = f"its {self.manifest.split} split has only {rows:,} images, ask for fewer"
            raise FeaturesNotFound(f"{self.folder}: holds the first {there} rows, {stop} were asked for; {way_out}")
        if strangers := self.strangers():
            raise FeaturesDamaged(f"{strangers[0]}: {NAME} does not list this file; move it out of the folder")
        try:
            return self._gather(sum(record.start < stop for record in self.manifest.shards), stop)
        except FeaturesDamaged:
            if self.replaced():
                raise FeaturesDamaged(f"{self.folder}: {REPLACED}") from None
            raise

    def check(self) -> None:
        """Raises FeaturesDamaged where a shard is missing or altered; nothing is decoded or kept."""
        for record in self.manifest.shards:
            _checked_bytes(self.folder / record.file, record)

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
        labels, ids, done = [], [], 0
        for index, content in enumerate(self._contents(records)):
            rows = self._decode(index, content, features[done : done + records[index].rows])
            kept = _prefix(rows, stop)
            labels.append(kept.labels)
            ids.append(kept.ids)
            done += len(kept)
        return Rows(features[:done], np.concatenate(labels), np.concatenate(ids))

    def _contents(self, records: Sequence[ShardRecord]) -> Iterator[bytes]:
        """Each shard's checked bytes; a thread reads and hashes those of the next while HDF5 decodes this one's."""
        with ThreadPoolExecutor(max_workers=1) as thread:
            ahead = thread.submit(_checked_bytes, self.folder / records[0].file, records[0])
            for following in records[1:]:
                content = ahead.result()
                ahead = thread.submit(_checked_bytes, self.folder / following.file, following)
                yield content
            yield ahead.result()

    def read(self, index: int) -> Shard:
        """Shard number `index`, whole and checked against the manifest. Raises FeaturesDamaged."""
        record = self.manifest.shards[index]
        return self._decode(index, _checked_bytes(self.folder / record.file, record))

    def _decode(self, index: int, content: bytes, into: npt.NDArray[Any] | None = None) -> Shard:
        record, path = self.manifest.shards[index], self.folder / self.manifest.shards[index].file
        shard = decode_shard(content, str(path), into)
        found = (shard.key, shard.inputs, shard.start, shard.stop, len(shard.rows), shard.skipped)
        expected = (self.manifest.key.digest, record.inputs, record.start, record.stop, record.rows, record.skipped)
        shape = (shard.rows.features.shape[1], str(shard.rows.features.dtype))
        if found != expected or shape != (self.manifest.feature_dim, self.manifest.dtype):
            raise FeaturesDamaged(f"{path}: belongs to another set than {NAME} says; {_MEND}")
        return shard

    def strangers(self) -> list[Path]:
        """HDF5 files that can't belong to the set. Unlisted shards can: an extension is under way, or was killed."""
        return [path for path in sorted(self.folder.glob("*.h5")) if _shard_index(path) is None]


REPLACED = "another process removed the set or made it anew while it was read; run the command again"
_MEND = "run the `headstart extract` that made the set again to compute it anew"


def _shard_index(path: Path) -> int | None:
    match = _SHARD_NAME.fullmatch(path.name)
    return int(match[1]) if match else None


def _checked_bytes(path: Path, record: ShardRecord) -> bytes:
    try:
        content = read_regular(path, MOST_BYTES)
    except FileNotFoundError:
        raise FeaturesDamaged(f"{path}: missing, though {NAME} lists it; {_MEND}") from None
    except ValueError as error:
        raise FeaturesDamaged(f"{path}: {error}; {_MEND}") from None
    if (found := sha256(content)) != record.sha256:
        raise FeaturesDamaged(f"{path}: SHA-256 is {found[:12]}…, expected {record.sha256[:12]}…; {_MEND}")
    return content


def _prefix(shard: Shard, stop: int) -> Rows:
    """The shard's rows below row `stop` of the split."""
    if shard.stop <= stop:
        return shard.rows
    count = stop - shard.start - sum(image.row < stop for image in shard.skipped)
    return Rows(shard.rows.features[:count], shard.rows.labels[:count], shard.rows.ids[:count])


class SetWriter:
    """One set open for writing; exists only while its lock is held (see `FeatureStore.writing`)."""

    def __init__(self, folder: Path, key: FeatureKey, split: str) -> None:
        self.folder = folder
        self.key = key
        self.split = split
        self.damaged: list[str] = []
        self._remove_temporaries()

    def present(self) -> dict[int, ShardRecord]:
        """The valid shards by number. Those that can't be used are named in `damaged`, and are to be computed again.

        Shards that a manifest lists are checked against it; those of a run that never wrote one by their own checksums,
        and since anyone may have put them there, in another process. Raises FeaturesStale where the folder holds a set
        of another key, OSError.
        """
        listed = {record.part.index: record for record in self._listed()}
        paths = {index: path for path in self._shards() if (index := _shard_index(path)) is not None}
        self.damaged = [name for name in self.damaged if name == NAME]
        with ForeignReader() as foreign:
            found = {i: self._valid(listed.get(i), i, path, foreign) for i, path in sorted(paths.items())}
        self.damaged += [record.file for index, record in listed.items() if index not in paths]
        return {index: record for index, record in found.items() if record is not None}

    def put(self, shard: Shard, index: int, inputs_stat: str | None, elapsed_s: float) -> ShardRecord:
        """Write a shard durably under its final name and return what the manifest will say of it. Raises OSError."""
        part = Part(index, shard.start, shard.stop)
        content = encode_shard(shard)
        write_durably(self.folder / part.file, content)
        return _record(part, facts_of(shard), content, inputs_stat, elapsed_s)

    def commit(self, shards: Sequence[ShardRecord], feature_dim: int, dtype: str, provenance: Provenance) -> FeatureSet:
        """Write the manifest, which makes the set complete. Raises OSError, FeaturesInvalid where it gets too large."""
        manifest = Manifest(self.key, self.split, feature_dim, dtype, tuple(shards), provenance)
        content = manifest.to_bytes()
        if len(content) > MAX_JSON_BYTES:  # which no reader would accept
            raise FeaturesInvalid(
                f"{self.folder / NAME}: {manifest.skipped:,} images left out make {len(content):,} bytes, expected at most "
                f"{MAX_JSON_BYTES:,}; take the unreadable pictures out of the data set"
            )
        write_durably(self.folder / NAME, content)
        begun = read_execution(self.folder)
        if begun is None or begun.rows <= manifest.stop:  # a longer run that was killed still needs its own
            (self.folder / EXECUTION).unlink(missing_ok=True)
        return FeatureSet(self.folder, manifest)

    def execution(self) -> Execution | None:
        """How the run that began this set, or extended it, computes its features; None where that is not known.

        A run under way has it in a file of its own, which goes when the manifest has come to say it.
        """
        found = read_execution(self.folder)
        if found is None and (manifest := self.manifest()) is not None:
            return _told_by(manifest)
        return found

    def record_execution(self, execution: Execution) -> None:
        """Remember it before the first shard, for the run that goes on after a kill. Raises OSError."""
        if execution != self.execution():
            write_durably(self.folder / EXECUTION, execution.to_bytes())

    def discard(self, shards: Sequence[ShardRecord]) -> None:
        """Remove shards that this run made and that must not be used. Raises OSError."""
        for record in shards:
            (self.folder / record.file).unlink(missing_ok=True)
        sync_folder(self.folder)

    def remove(self) -> None:
        """Remove the set: the manifest first, so that no reader takes what is left for a complete set. Raises OSError."""
        (self.folder / NAME).unlink(missing_ok=True)
        sync_folder(self.folder)
        for path in (*self._shards(), self.folder / EXECUTION):
            path.unlink(missing_ok=True)

    def manifest(self) -> Manifest | None:
        """The manifest that is there, or None; a damaged one counts as none, since the shards can vouch for themselves.

        Raises FeaturesOfAnotherVersion: a newer headstart may have more to say of the set than we would write.
        """
        try:
            return read_manifest(self.folder)
        except FileNotFoundError:
            return None
        except FeaturesOfAnotherVersion:
            raise
        except FeaturesDamaged:
            self.damaged = list(dict.fromkeys([*self.damaged, NAME]))
            return None

    def _listed(self) -> Sequence[ShardRecord]:
        manifest = self.manifest()
        if manifest is None:
            return ()
        _refuse_another(self.folder, manifest, self.key, self.split)
        return manifest.shards

    def _valid(self, record: ShardRecord | None, index: int, path: Path, foreign: ForeignReader) -> ShardRecord | None:
        try:
            if record is not None:
                _checked_bytes(path, record)
                return record
            content = read_regular(path, MOST_BYTES)
            facts = foreign.read(content, str(path))
            if facts.key == self.key.digest:
                return _record(Part(index, facts.start, facts.stop), facts, content, None, None)
        except (FeaturesDamaged, ValueError):
            pass  # named below; computing the shard again is the cure for each kind of damage
        self.damaged.append(path.name)
        return None

    def _shards(self) -> list[Path]:
        return sorted(path for path in self.folder.glob("shard-*.h5") if _shard_index(path) is not None)

    def _remove_temporaries(self) -> None:
        for path in self.folder.glob(".*.tmp"):  # left by a killed run: we hold the lock, so nobody is writing them
            path.unlink(missing_ok=True)


def _record(part: Part, facts: ShardFacts, content: bytes, inputs_stat: str | None, elapsed_s: float | None) -> ShardRecord:
    return ShardRecord(
        file=part.file,
        start=part.start,
        stop=part.stop,
        rows=facts.rows,
        sha256=sha256(content),
        inputs=facts.inputs,
        inputs_stat=inputs_stat,
        elapsed_s=elapsed_s,
        skipped=facts.skipped,
    )


def _told_by(manifest: Manifest) -> Execution:
    """How the features of a complete set were computed."""
    origin = manifest.provenance
    return Execution(origin.engine, origin.batch_size, manifest.stop, origin.device)


def _refuse_another(folder: Path, manifest: Manifest, key: FeatureKey, split: str) -> None:
    differences = manifest.key.differences(key)
    if manifest.split != split:
        differences.append(f"split is {manifest.split!r}, not {split!r}")
    if differences:
        raise FeaturesStale(f"{folder}: made from something else: {'; '.join(differences)}")


def _spelled(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "_", name).lstrip(".")


@dataclasses.dataclass(frozen=True)
class FeatureStore:
    """A features directory, one folder for each set."""

    root: Path

    def folder(self, key: FeatureKey, split: str) -> Path:
        """Where the set of `key` and `split` lies or would lie."""
        return self.root / _spelled("-".join((key.dataset[:100], split, key.backbone, key.digest8)))

    def prefix(self, dataset: str) -> str:
        """How the folder names of all sets of a data set begin; those of others may begin so too."""
        return _spelled(dataset[:100])

    def sets(self) -> list[FeatureSet]:
        """Every complete set, by folder name. Raises FeaturesDamaged for a manifest that can't be read."""
        found = []
        for folder in sorted(path.parent for path in self.root.glob(f"*/{NAME}")):
            with contextlib.suppress(FileNotFoundError):  # removed since we looked: another process writes it anew
                found.append(FeatureSet(folder, read_manifest(folder)))
        return found

    def get(self, name: str) -> FeatureSet:
        """The set in the folder `name`. Raises FeaturesNotFound, FeaturesDamaged."""
        try:
            return FeatureSet(self.root / name, read_manifest(self.root / name))
        except FileNotFoundError:
            names = ", ".join(found.folder.name for found in self.sets()) or "none"
            raise FeaturesNotFound(f"{self.root / name}: no complete feature set; there are: {names}") from None

    def open(self, key: FeatureKey, split: str) -> FeatureSet | None:
        """The complete set of exactly this key and split, or None. Raises FeaturesDamaged."""
        folder = self.folder(key, split)
        try:
            manifest = read_manifest(folder)
        except FileNotFoundError:
            return None
        _refuse_another(folder, manifest, key, split)
        return FeatureSet(folder, manifest)

    def execution(self, key: FeatureKey, split: str) -> Execution | None:
        """How the set of this key and split is computed or was; None where there is none, or none that can be read."""
        found = read_execution(self.folder(key, split))
        if found is not None:
            return found
        try:
            features = self.open(key, split)
        except (FeaturesDamaged, FeaturesStale):
            return None
        return None if features is None else _told_by(features.manifest)

    @contextlib.contextmanager
    def writing(self, key: FeatureKey, split: str, on_wait: Callable[[], None]) -> Iterator[SetWriter]:
        """The set open for writing, by one process at a time; `on_wait` is called once before waiting for another.

        The lock is the operating system's (flock), so a killed process leaves nothing locked. Raises OSError.
        """
        folder = self.folder(key, split)
        with self._lock(folder.name, on_wait):
            make_folder(folder)
            yield SetWriter(folder, key, split)

    def remove(self, name: str, on_wait: Callable[[], None]) -> int:
        """Remove the set in the folder `name`, complete or not; returns the bytes freed. Raises FeaturesNotFound, OSError.

        The manifest goes first, so that no reader takes what is left for a complete set.
        """
        folder = self.root / name
        if name in ("", ".", "..") or Path(name).name != name or not folder.is_dir():
            raise FeaturesNotFound(f"{folder}: no such feature set; `headstart cache ls` lists them")
        if folder.is_symlink():
            raise FeaturesNotFound(f"{folder}: a link to {folder.readlink()}; remove the link, or the set where it lies")
        with self._lock(name, on_wait):
            if other := _no_set(folder):
                raise FeaturesNotFound(f"{folder}: {other}; nothing was removed, `headstart cache ls` lists the sets")
            freed = sum(path.stat().st_size for path in folder.iterdir())
            (folder / NAME).unlink(missing_ok=True)
            sync_folder(folder)
            shutil.rmtree(folder)
        return freed

    @contextlib.contextmanager
    def _lock(self, name: str, on_wait: Callable[[], None]) -> Iterator[None]:
        path = self.root / f".{name}.lock"
        make_folder(self.root)
        lock = filelock.FileLock(path)
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            on_wait()
            lock.acquire()
        except OSError as error:
            what = f"{error.strerror or error}, so the set can't be locked and written; choose another --features-dir"
            raise OSError(error.errno, what, str(path)) from error
        try:
            yield
        finally:
            lock.release()


def _no_set(folder: Path) -> str | None:
    """Why a folder is no feature set, complete or begun; None where it is one, or empty."""
    entries = list(folder.iterdir())
    if folders := [path.name for path in entries if path.is_dir()]:
        return f"no feature set, since it holds the folder {min(folders)}"
    known = any(
        path.name in (NAME, EXECUTION) or path.suffix == ".tmp" or _shard_index(path) is not None for path in entries
    )
    return None if known or not entries else f"no feature set, since it holds neither {NAME} nor a shard"
