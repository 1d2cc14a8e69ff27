"""The features directory: sets are found by key, opened for writing by one process at a time, and removed."""

import contextlib
import dataclasses
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import filelock

from headstart.core.cache.errors import FeaturesDamaged, FeaturesNotFound, FeaturesStale
from headstart.core.cache.execution import NAME as EXECUTION
from headstart.core.cache.execution import Execution, read_execution
from headstart.core.cache.feature_set import FeatureSet
from headstart.core.cache.files import make_folder, sync_folder
from headstart.core.cache.key import FeatureKey
from headstart.core.cache.manifest import NAME, read_manifest
from headstart.core.cache.shard_plan import shard_number
from headstart.core.cache.text import did_you_mean, listed
from headstart.core.cache.writer import SetWriter


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
        given = Path(name).expanduser()
        inside = len(given.parts) > 1 and given.parent.resolve() == self.root.resolve()
        return given.name if inside and given.name != ".." else name

    def open(self, key: FeatureKey, split: str) -> FeatureSet | None:
        """The complete set of exactly this key and split, or None. Raises FeaturesDamaged, FeaturesStale."""
        folder = self.folder(key, split)
        try:
            manifest = read_manifest(folder)
        except FileNotFoundError:
            return None
        features = FeatureSet(folder, manifest)
        features.check_made_from(key, split)
        return features

    def execution(self, key: FeatureKey, split: str) -> Execution | None:
        """How the set of this key and split is computed or was; None where there is none, or none that can be read."""
        found = read_execution(self.folder(key, split))
        if found is not None:
            return found
        try:
            features = self.open(key, split)
        except (FeaturesDamaged, FeaturesStale):
            return None
        return None if features is None else Execution.of(features.manifest)

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
        name = self.called(name)
        folder = self.root / name
        if name in ("", ".", "..") or Path(name).name != name or not folder.is_dir():
            raise self.no_such(name)
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

    def no_such(self, name: str) -> FeaturesNotFound:
        """The error that there is no set of that name, with those most like it."""
        there = sorted(path.name for path in self.root.glob("[!.]*") if path.is_dir())
        hint = did_you_mean(name, there)
        return FeaturesNotFound(f"{self.root / name}: no such feature set{hint}; `headstart cache ls` lists them")

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
        path.name in (NAME, EXECUTION) or path.suffix == ".tmp" or shard_number(path.name) is not None for path in entries
    )
    return None if known or not entries else f"no feature set, since it holds neither {NAME} nor a shard"
