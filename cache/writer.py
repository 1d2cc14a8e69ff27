"""One feature set open for writing: shards are put, the manifest is written last, and what is damaged is found."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

from headstart.core.cache.change import Change
from headstart.core.cache.errors import FeaturesDamaged, FeaturesInvalid, FeaturesOfAnotherVersion
from headstart.core.cache.execution import NAME as EXECUTION
from headstart.core.cache.execution import Execution, read_execution
from headstart.core.cache.feature_set import FeatureSet, checked_bytes
from headstart.core.cache.files import (
    MAX_JSON_BYTES,
    SHARED,
    TEMPORARY,
    make_folder,
    read_regular,
    sha256,
    sync_folder,
    write_durably,
)
from headstart.core.cache.foreign import ForeignReader
from headstart.core.cache.key import FeatureKey, NamedKey
from headstart.core.cache.known import Source
from headstart.core.cache.known_files import NAME as FILES
from headstart.core.cache.known_files import KnownFiles
from headstart.core.cache.manifest import NAME, Manifest, Provenance, ShardRecord, read_manifest
from headstart.core.cache.receipts import NAME as RECEIPTS
from headstart.core.cache.receipts import Receipts
from headstart.core.cache.shard import MOST_BYTES, Shard, ShardFacts, encode_shard
from headstart.core.cache.shard_plan import Part, shard_number
from headstart.core.cache.task_plan import read_task_plan, remove_task_plan


def always_held() -> None:
    """The check of a lock that can't be lost."""


class ShardWriter:
    """Puts shards into a set's folder. Several processes may do so at once, for a shard is there whole or not at all, and
    whoever makes one from the same pictures makes the same bytes. Where they do so without the set's lock the folder is
    `shared`: whoever has the lock then leaves their temporary files alone. `check` raises OSError where it was lost."""

    def __init__(self, folder: Path, shared: bool = False, check: Callable[[], None] = always_held) -> None:
        self.folder = folder
        self._ending = SHARED if shared else TEMPORARY
        self._check = check

    def put(self, shard: Shard, index: int, inputs_stat: str | None, elapsed_s: float) -> ShardRecord:
        """Write a shard durably under its final name and return what the manifest will say of it. Raises OSError."""
        part = Part(index, shard.start, shard.stop)
        content = encode_shard(shard)
        self._check()
        write_durably(self.folder / part.file, content, self._ending)
        return _record(part, shard.facts, content, inputs_stat, elapsed_s)


class SetWriter(ShardWriter):
    """One snapshot open for writing; exists only while its data set's lock is held (see `FeatureStore.writing`). `free` is
    the folder of the next one; `check` raises OSError where the lock was lost."""

    def __init__(
        self,
        folder: Path,
        key: NamedKey,
        split: str,
        free: Path | None = None,
        check: Callable[[], None] = always_held,
    ) -> None:
        super().__init__(folder, check=check)
        self.key = key
        self.split = split
        self.damaged: list[str] = []
        self._free = free
        self._receipts = Receipts(folder, key.feature_key.digest)
        self._remove_temporaries()

    def next(self) -> "SetWriter":
        """The snapshot that is to replace this one: another folder, where there is a manifest or a shard in this one."""
        taken = (self.folder / NAME).exists() or self._shards()
        chosen = self._free if taken and self._free is not None else self.folder
        make_folder(chosen)
        return self if chosen == self.folder else self.at(chosen)

    def at(self, folder: Path) -> "SetWriter":
        """Another snapshot of the same data set, under the same lock."""
        return SetWriter(folder, self.key, self.split, self._free, self._check)

    def present(self) -> dict[int, ShardRecord]:
        """The valid shards by number. Those that can't be used are named in `damaged`, and are to be computed again.

        Shards that a manifest lists are checked against it; those of a run that never wrote one by its `receipts`, else by
        their own checksums, and since anyone may have put them there, in another process. Raises OSError.
        """
        listed = {record.part.index: record for record in self._listed()}
        noted = self._receipts.known()
        paths = {index: path for path in self._shards() if (index := shard_number(path.name)) is not None}
        self.damaged = [name for name in self.damaged if name == NAME]
        with ForeignReader() as foreign:
            found = {
                i: noted[i] if i in noted and i not in listed else self._valid(listed.get(i), i, path, foreign)
                for i, path in sorted(paths.items())
            }
        self.damaged += [record.file for index, record in listed.items() if index not in paths]
        return {index: record for index, record in found.items() if record is not None}

    def put(self, shard: Shard, index: int, inputs_stat: str | None, elapsed_s: float) -> ShardRecord:
        """As `ShardWriter.put`; a run that goes on after a kill need not read it again."""
        record = super().put(shard, index, inputs_stat, elapsed_s)
        self.noted(record)
        return record

    def noted(self, record: ShardRecord) -> None:
        """A shard was put here, by this process or by a worker of its own."""
        self._receipts.add(record)

    def commit(
        self,
        shards: Sequence[ShardRecord],
        feature_dim: int,
        dtype: str,
        provenance: Provenance,
        change: Change | None = None,
    ) -> FeatureSet:
        """Write the manifest, which makes the set complete. Raises OSError, FeaturesInvalid where it gets too large."""
        key, own = self.key, (feature_dim, dtype, tuple(shards), provenance, change)
        manifest = Manifest(key.feature_key, key.dataset, key.classes, self.split, *own)
        content = manifest.to_bytes()
        if len(content) > MAX_JSON_BYTES:  # which no reader would accept
            raise FeaturesInvalid(
                f"{self.folder / NAME}: {manifest.skipped:,} images left out make {len(content):,} bytes, expected at most "
                f"{MAX_JSON_BYTES:,}; take the unreadable pictures out of the data set"
            )
        self._check()
        write_durably(self.folder / NAME, content)
        if self._planned() <= manifest.stop:
            remove_task_plan(self.folder)
        begun = read_execution(self.folder)
        if begun is None or begun.rows <= manifest.stop:  # a longer run that was killed still needs its own
            (self.folder / EXECUTION).unlink(missing_ok=True)
            (self.folder / RECEIPTS).unlink(missing_ok=True)
        return FeatureSet(self.folder, manifest)

    def execution(self) -> Execution | None:
        """How the run that began this set, or extended it, computes its features; None where that is not known.

        A run under way has it in a file of its own, which goes when the manifest has come to say it.
        """
        found = read_execution(self.folder)
        if found is None and (manifest := self.manifest()) is not None:
            return Execution.of(manifest)
        return found

    def record_execution(self, execution: Execution) -> None:
        """Remember it before the first shard, for the run that goes on after a kill. Raises OSError."""
        before = self.execution()
        if before is None or dataclasses.astuple(before) != dataclasses.astuple(execution):
            write_durably(self.folder / EXECUTION, execution.to_bytes())

    def remember(self, files: KnownFiles) -> None:
        """Keep what is known of the data set's files, for the next run. Raises OSError."""
        if len(files.ids):
            write_durably(self.folder / FILES, files.to_bytes())

    def discard(self, shards: Sequence[ShardRecord]) -> None:
        """Remove shards that this run made and that must not be used. Raises OSError."""
        for record in shards:
            (self.folder / record.file).unlink(missing_ok=True)
        sync_folder(self.folder)

    def remove(self) -> None:
        """Remove the set: the manifest first, so that no reader takes what is left for a complete set. Raises OSError."""
        self._check()
        (self.folder / NAME).unlink(missing_ok=True)
        sync_folder(self.folder)
        for path in (*self._shards(), self.folder / EXECUTION, self.folder / RECEIPTS, self.folder / FILES):
            path.unlink(missing_ok=True)
        remove_task_plan(self.folder)
        self.remove_shared()

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

    def _planned(self) -> int:
        """The rows that tasks of an array have planned to make; 0 where there is no plan that can be used."""
        try:
            plan = read_task_plan(self.folder)
        except FeaturesDamaged:
            plan = None
        return 0 if plan is None else plan.stops[-1]

    def remove_shared(self) -> None:
        """Remove the temporary files of tasks that were killed, once no task has anything to do. Raises OSError."""
        for path in self.folder.glob(f".*{SHARED}"):
            path.unlink(missing_ok=True)

    def _listed(self) -> Sequence[ShardRecord]:
        manifest = self.manifest()
        return () if manifest is None else manifest.shards

    def _valid(self, record: ShardRecord | None, index: int, path: Path, foreign: ForeignReader) -> ShardRecord | None:
        try:
            if record is not None:
                checked_bytes(path, record)
                return record
            if (found := _vouched(path, index, self.key.feature_key, foreign)) is not None:
                return found
        except (FeaturesDamaged, ValueError):
            pass  # named below; computing the shard again is the cure for each kind of damage
        self.damaged.append(path.name)
        return None

    def _shards(self) -> list[Path]:
        return sorted(path for path in self.folder.glob("shard-*.h5") if shard_number(path.name) is not None)

    def _remove_temporaries(self) -> None:
        for path in self.folder.glob(f".*{TEMPORARY}"):  # left by a killed run: we hold the lock, so nobody is writing them
            path.unlink(missing_ok=True)


def execution_of(folder: Path) -> Execution | None:
    """How the features of the set in a folder are computed, begun or complete; None where there is none. Raises OSError."""
    if (found := read_execution(folder)) is not None:
        return found
    try:
        return Execution.of(read_manifest(folder))
    except (FileNotFoundError, FeaturesDamaged):
        return None


def begun_shards(folder: Path, key: FeatureKey) -> list[Source]:
    """The valid shards in a set's folder that no manifest lists, as an interrupted run left them, or as one that is under
    way has written them. Nothing is locked or removed. Raises OSError, FeaturesDamaged."""
    try:
        listed = {record.file for record in read_manifest(folder).shards}
    except FileNotFoundError:
        listed = set()
    numbered = [(path, shard_number(path.name)) for path in sorted(folder.glob("shard-*.h5")) if path.name not in listed]
    found = list[Source]()
    with ForeignReader() as foreign:
        for path, number in numbered:
            if number is not None and (record := vouched(path, number, key, foreign)) is not None:
                found.append(Source(path, record, key.digest))
    return found


def vouched(path: Path, index: int, key: FeatureKey, foreign: ForeignReader) -> ShardRecord | None:
    """The record of a shard that vouches for itself; None where it is missing, damaged, or of another key. Raises
    OSError."""
    try:
        return _vouched(path, index, key, foreign)
    except (FeaturesDamaged, ValueError, FileNotFoundError):
        return None


def _vouched(path: Path, index: int, key: FeatureKey, foreign: ForeignReader) -> ShardRecord | None:
    """The record of a shard that vouches for itself; None where it is of another key. Raises OSError, FeaturesDamaged,
    ValueError."""
    content = read_regular(path, MOST_BYTES)
    facts = foreign.read(content, str(path))
    part = Part(index, facts.start, facts.stop)
    return _record(part, facts, content, None, None) if facts.key == key.digest else None


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
