"""The features directory: sets are found by key, opened for writing by one process at a time, and removed."""

import contextlib
import dataclasses
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import filelock

from headstart.core.cache.errors import FeaturesDamaged, FeaturesNotFound, FeaturesOfAnotherVersion
from headstart.core.cache.execution import NAME as EXECUTION
from headstart.core.cache.execution import Execution, read_execution
from headstart.core.cache.feature_set import FeatureSet
from headstart.core.cache.files import SHARED, TEMPORARY, folder_bytes, make_folder, remove_folder, sync_folder
from headstart.core.cache.key import FeatureKey, NamedKey
from headstart.core.cache.known import Source
from headstart.core.cache.known_files import NAME as FILES
from headstart.core.cache.known_files import KnownFiles, nothing_known, read_known_files
from headstart.core.cache.lease import leased
from headstart.core.cache.manifest import NAME, VERSION, Manifest, read_manifest
from headstart.core.cache.places import stored, within
from headstart.core.cache.receipts import NAME as RECEIPTS
from headstart.core.cache.shard_plan import shard_number
from headstart.core.cache.task_plan import NAME as TASKS
from headstart.core.cache.text import did_you_mean, listed
from headstart.core.cache.writer import SetWriter, always_held, begun_shards


def _spelled(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "_", name).lstrip(".")


_NUMBERED = re.compile(r"(.*-[0-9a-f]{8})-([2-9]|[1-9][0-9]{1,8})")


def parted(name: str) -> tuple[str, int]:
    """The folder name of a data set's first snapshot, and which one a folder's name says it is: 1 where it says nothing."""
    found = _NUMBERED.fullmatch(name)
    return (found[1], int(found[2])) if found else (name, 1)


def newest(sets: Iterable[FeatureSet]) -> list[FeatureSet]:
    """Of each data set, split and key the last snapshot, in the order given; a folder under a name of its own counts only
    where no other is there, a set of an earlier layout only where there is none of this one."""
    last: dict[tuple[FeatureKey, str, str], FeatureSet] = {}
    for found in sets:
        manifest = found.manifest
        address = manifest.key, manifest.dataset, manifest.split
        if address not in last or _rank(found) > _rank(last[address]):
            last[address] = found
    return list(last.values())


def _rank(found: FeatureSet) -> tuple[bool, int, str]:
    manifest = found.manifest
    base, number = parted(found.folder.name)
    own = base == _base(manifest.named, manifest.split)
    return manifest.version == VERSION, number if own else 0, manifest.provenance.created


def _base(key: NamedKey, split: str) -> str:
    return _spelled("-".join((key.dataset[:100], split, key.backbone, key.feature_key.digest8)))


@dataclasses.dataclass(frozen=True)
class FeatureStore:
    """A features directory, one folder for each set.

    A data set whose pictures change gets a folder for each snapshot: NAME, NAME-2, NAME-3 and so on. What is complete is
    never changed but by an extension or a repair, so that whoever reads an earlier snapshot goes on doing so; the next one
    replaces it when its manifest comes, in that one step. The last complete one is the data set's.
    """

    root: Path

    def folder(self, key: NamedKey, split: str) -> Path:
        """Where the first snapshot of a data set's split lies or would lie; class names have no part in it."""
        return self.root / _base(key, split)

    def folders(self, key: NamedKey, split: str) -> list[Path]:
        """The folders of its snapshots, complete or begun, the last one first; others may be called so too."""
        base = self.folder(key, split)
        found = [path for path in self.root.glob(f"{base.name}*") if parted(path.name)[0] == base.name and path.is_dir()]
        return sorted(found, key=lambda path: parted(path.name)[1], reverse=True)

    def free(self, key: NamedKey, split: str) -> Path:
        """The folder of its next snapshot."""
        base, there = self.folder(key, split), self.folders(key, split)
        return base.with_name(f"{base.name}-{parted(there[0].name)[1] + 1}") if there else base

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
        """The set called `name`, or in the folder `name` of this directory. Raises FeaturesNotFound, FeaturesDamaged."""
        folder = self.root / self.called(name)
        try:
            return FeatureSet(folder, read_manifest(folder))
        except FileNotFoundError:
            if any(folder.glob("shard-*.h5")):
                goes_on = "the `headstart extract` that began it goes on from there"
                raise FeaturesNotFound(f"{folder}: not complete; {goes_on}") from None
            there = [found.folder.name for found in self.sets()]
            hint = did_you_mean(folder.name, there)
            raise FeaturesNotFound(
                f"{folder}: no complete feature set{hint}; there are: {listed(there) or 'none'}"
            ) from None

    def called(self, name: str) -> str:
        """The name of a set that is given by its name or, as `extract` prints it, by its folder in this directory."""
        if stored(self.root) is not None:
            return within(self.root, name) or name
        given = Path(name).expanduser()
        inside = len(given.parts) > 1 and given.parent.resolve() == self.root.resolve()
        return given.name if inside and given.name != ".." else name

    def open(self, key: NamedKey, split: str) -> FeatureSet | None:
        """The last complete snapshot of a data set's split in this key, or None; class names are for the reader to compare.
        Raises FeaturesDamaged."""
        for folder in self.folders(key, split):
            with contextlib.suppress(FileNotFoundError):
                found = FeatureSet(folder, read_manifest(folder))
                if is_of(found.manifest, key, split):
                    return found
        return None

    def views(self, key: NamedKey, split: str) -> list[FeatureSet]:
        """The last complete snapshot of each view that is kept beside a data set's split in this key, which is that of the
        pictures as they are. A manifest that can't be read says nothing."""
        found = []
        for path in sorted(self.root.glob(f"{self.folder(key, split).name[: -len(key.digest8)]}*/{NAME}")):
            with contextlib.suppress(FileNotFoundError, FeaturesDamaged):
                manifest = read_manifest(path.parent)
                view = dataclasses.replace(key, view=manifest.key.view)
                found += [FeatureSet(path.parent, manifest)] if view.view and is_of(manifest, view, split) else []
        return newest(found)

    def execution(self, key: NamedKey, split: str) -> Execution | None:
        """How the set of this key and split is computed or was; None where there is none, or none that can be read."""
        for folder in self.folders(key, split):
            if (found := read_execution(folder)) is not None:
                return found
            with contextlib.suppress(FileNotFoundError, FeaturesDamaged):
                if is_of(manifest := read_manifest(folder), key, split):
                    return Execution.of(manifest)
        return None

    def known_files(self, key: NamedKey, split: str) -> KnownFiles:
        """What is remembered of the files of a data set's split: by its last snapshot that remembers any."""
        found = (read_known_files(folder) for folder in self.folders(key, split))
        return next((known for known in found if known is not None), nothing_known())

    @contextlib.contextmanager
    def writing(self, key: NamedKey, split: str, on_wait: Callable[[], None]) -> Iterator[SetWriter]:
        """The last snapshot open for writing, by one process at a time: complete, begun or new, with which another can be
        begun (`SetWriter.next`). `on_wait` is called once before waiting for another.

        The lock is the operating system's (flock), so a killed process leaves nothing locked; in an object store it is a
        lease (`cache/lease.py`), which runs out after a kill. Raises OSError.
        """
        base = self.folder(key, split)
        with self._lock(base.name, on_wait) as check:
            own = [folder for folder in self.folders(key, split) if _may_be_of(folder, key, split)]
            free = self.free(key, split)
            make_folder(chosen := own[0] if own else free)
            yield SetWriter(chosen, key, split, free, check)

    def begun(self, key: NamedKey, split: str, but: Path | None) -> list[Source]:
        """The valid shards that killed runs left in the folders of a data set's split `but` for one. Raises OSError."""
        found = list[Source]()
        for folder in self.folders(key, split):
            if folder != but and _may_be_of(folder, key, split):
                with contextlib.suppress(FeaturesDamaged):  # of the manifest: which of them it lists nobody can say
                    found += begun_shards(folder, key.feature_key)
        return found

    def remove_begun(self, key: NamedKey, split: str, but: Path | None) -> None:
        """Remove the folders that killed runs have begun and that have no manifest, `but` for one, for whoever holds the
        lock. Raises OSError."""
        for folder in self.folders(key, split):
            if folder != but and not (folder / NAME).exists():
                SetWriter(folder, key, split).remove()
                with contextlib.suppress(OSError):  # something of a user's is in it
                    folder.rmdir()

    def remove(self, name: str, on_wait: Callable[[], None]) -> int:
        """Remove the set in the folder `name`, complete or not; returns the bytes freed. Raises FeaturesNotFound, OSError.

        The manifest goes first, so that no reader takes what is left for a complete set.
        """
        name = self.called(name)
        folder = self.root / name
        if name in ("", ".", "..") or Path(name).name != name or not folder.is_dir():
            raise self.no_such(name)
        if folder.is_symlink():
            raise FeaturesNotFound(f"{folder}: a link to {folder.readlink()}; remove the link, or the set where it lies")
        with self._lock(parted(name)[0], on_wait) as check:
            if other := _no_set(folder):
                raise FeaturesNotFound(f"{folder}: {other}; nothing was removed, `headstart cache ls` lists the sets")
            freed = folder_bytes(folder)
            check()
            (folder / NAME).unlink(missing_ok=True)
            sync_folder(folder)
            remove_folder(folder)
        return freed

    def no_such(self, name: str) -> FeaturesNotFound:
        """The error that there is no set of that name, with those most like it."""
        there = sorted(path.name for path in self.root.glob("[!.]*") if path.is_dir())
        hint = did_you_mean(name, there)
        return FeaturesNotFound(f"{self.root / name}: no such feature set{hint}; `headstart cache ls` lists them")

    @contextlib.contextmanager
    def _lock(self, name: str, on_wait: Callable[[], None]) -> Iterator[Callable[[], None]]:
        """Gives what to call before anything is changed: it raises OSError where the lock was lost."""
        path = self.root / f".{name}.lock"
        if stored(path) is not None:
            with leased(path, on_wait) as lease:
                yield lease.check
            return
        make_folder(self.root)
        lock = filelock.FileLock(path, fallback_to_soft=False)  # a file that is there is no lock: kills would leave it
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            on_wait()
            lock.acquire()
        except OSError as error:
            what = f"{error.strerror or error}, so the set can't be locked and written; choose another --features-dir"
            raise OSError(error.errno, what, str(path)) from error
        try:
            yield always_held
        finally:
            lock.release()


def is_of(manifest: Manifest, key: NamedKey, split: str) -> bool:
    """Whether a set is of this key, data set and split, and of our layout; a folder may have been copied or renamed."""
    found = (manifest.key, manifest.dataset, manifest.split, manifest.version)
    return found == (key.feature_key, key.dataset, split, VERSION)


def _may_be_of(folder: Path, key: NamedKey, split: str) -> bool:
    """The same, where there is no manifest that says otherwise: the shards then vouch for themselves. A set of a newer
    headstart is none of ours."""
    try:
        return is_of(read_manifest(folder), key, split)
    except FeaturesOfAnotherVersion:
        return False
    except (FileNotFoundError, FeaturesDamaged):
        return True


def _no_set(folder: Path) -> str | None:
    """Why a folder is no feature set, complete or begun; None where it is one, or empty."""
    entries = list(folder.iterdir())
    if folders := [path.name for path in entries if path.is_dir()]:
        return f"no feature set, since it holds the folder {min(folders)}"
    ours = (NAME, EXECUTION, RECEIPTS, FILES, TASKS)
    known = any(
        path.name in ours or path.suffix in (TEMPORARY, SHARED) or shard_number(path.name) is not None for path in entries
    )
    return None if known or not entries else f"no feature set, since it holds neither {NAME} nor a shard"
