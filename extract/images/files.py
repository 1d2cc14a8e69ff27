"""Images that are files below one folder: read by threads, resized as they are decoded, and told apart by their bytes."""

import dataclasses
from array import array
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from headstart.core.cache.errors import ImageUnreadable
from headstart.core.cache.files import sha256
from headstart.core.cache.known_files import NO_FACTS, Facts
from headstart.core.cache.manifest import Order
from headstart.core.cache.places import stored
from headstart.core.extract.images import Batch, Labels, Pixels, batch_of, stat_digest
from headstart.core.extract.images.order import stratified
from headstart.core.extract.pictures.decode import decode_at
from headstart.core.extract.pictures.files import content, fingerprint, printable
from headstart.core.extract.pictures.preprocess import Preprocessing

_REQUESTS = 16
"""Pictures that are fetched from a store at a time, to be hashed."""


class Tally:
    """Which rows each remark was made of. Threads may add to it; a lock would keep images from being sent to a process."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, int], None] = {}

    def add(self, remark: str, row: int) -> None:
        """Note a remark; one made twice of a row counts once."""
        self._rows[remark, row] = None  # one operation of the interpreter

    def taken(self, name: Callable[[int], str]) -> list[str]:
        """Each remark with the number of its rows and the name of the first of them; then there is none."""
        rows, self._rows = self._rows, {}
        by_remark: dict[str, list[int]] = {}
        for remark, row in sorted(rows):
            by_remark.setdefault(remark, []).append(row)
        return [
            f"{f'{len(found):,} pictures, first' if len(found) > 1 else '1 picture,'} {name(found[0])}: {remark}"
            for remark, found in by_remark.items()
        ]


@dataclasses.dataclass(frozen=True)
class FileImages:
    """Image files below `root`; `paths` are relative to it, `targets` the class index of each (-1: unknown).

    `places` are the places of the rows in the data set's own order, where they are in another. `top` is the folder or file
    that the data set is called by, where it is a user's; `made_from` what lists the files, where that is not their folder.
    `groups`, where there are any, name what each row belongs to. `lost` says which files are known not to be there.
    """

    name: str
    split: str
    classes: tuple[str, ...]
    root: Path
    paths: tuple[str, ...]
    targets: tuple[int, ...]
    notes: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    order: Order = "unknown"
    places: "array[int] | None" = None
    top: Path | None = None
    made_from: str = ""
    groups: tuple[str, ...] = ()
    lost: str = ""
    tally: Tally = dataclasses.field(default_factory=Tally, compare=False, repr=False)

    @property
    def rows(self) -> int:
        """How many files there are."""
        return len(self.paths)

    @property
    def source(self) -> str:
        """The folder that the paths are relative to."""
        return str(self.root)

    @property
    def origin(self) -> str:
        """The folder, or what lists the files."""
        return self.made_from or self.source

    def stratified(self) -> Self:
        """The same files in a stratified order (see `extract.images.order`)."""
        places = stratified(self.ids(0, self.rows), self.targets)
        return self._placed(places.tolist(), array("q", places.tobytes()), "stratified")

    def in_order(self, order: Order) -> Self:
        if order == self.order or self.places is None:
            return self
        return self._placed(np.argsort(np.array(self.places)).tolist(), None, order)

    def _placed(self, rows: Sequence[int], places: "array[int] | None", order: Order) -> Self:
        paths, targets = tuple(self.paths[row] for row in rows), tuple(self.targets[row] for row in rows)
        groups = tuple(self.groups[row] for row in rows) if self.groups else ()
        moved = dataclasses.replace(self, paths=paths, targets=targets, groups=groups, places=places, order=order)
        return dataclasses.replace(moved, tally=Tally())

    def noticed(self) -> list[str]:
        return self.tally.taken(self._named)

    def labels(self, start: int, stop: int) -> Labels:
        return np.array(self.targets[start:stop], dtype=np.int64)

    def ids(self, start: int, stop: int) -> list[bytes]:
        names = self.paths[start:stop]
        if self.groups:
            names = tuple(f"{path}#group={self.groups[row]}" for row, path in enumerate(names, start))
        return [name.encode("utf-8", "surrogateescape") for name in names]

    def fingerprints(self, start: int, stop: int) -> list[str]:
        places = [self.root / path for path in self.paths[start:stop]]
        if stored(self.root) is None:
            return [fingerprint(place) for place in places]
        with ThreadPoolExecutor(max_workers=_REQUESTS) as pool:
            return list(pool.map(fingerprint, places))

    def facts(self, start: int, stop: int) -> Facts:
        found = [facts_of(self.root / path) for path in self.paths[start:stop]]
        return np.array(found, dtype=np.int64).reshape(len(found), len(NO_FACTS))

    def stat(self, start: int, stop: int) -> str | None:
        return stat_digest(self, (start, stop), self.facts(start, stop))

    def may_be_equal(self) -> npt.NDArray[np.bool_]:
        sizes = np.array([self._size(row) for row in range(self.rows)], dtype=np.int64)
        found, counts = np.unique(sizes, return_counts=True)
        alike: npt.NDArray[np.bool_] = np.isin(sizes, found[counts > 1])
        return alike

    def _size(self, row: int) -> int:
        nowhere = -1 - row  # which no other has: it is left out, or the run ends there
        if (place := stored(self.root / self.paths[row])) is not None:
            return nowhere if (entry := place.entry()) is None else entry.nbytes
        try:
            return (self.root / self.paths[row]).stat().st_size
        except OSError:
            return nowhere

    def pick(self, rows: Sequence[int], transform: Preprocessing, workers: int) -> Batch:
        return self._batch(0, rows, transform, workers)

    def read(self, start: int, stop: int, transform: Preprocessing, workers: int) -> Batch:
        return self._batch(start, range(start, stop), transform, workers)

    def _batch(self, start: int, rows: Sequence[int], transform: Preprocessing, workers: int) -> Batch:
        """Some rows, numbered from `start`."""
        with ThreadPoolExecutor(max_workers=max(1, workers)) as pool:
            read = list(pool.map(lambda row: self._read(row, transform), rows))
        found, marks = [image for _, image in read], [mark for mark, _ in read]
        return batch_of(start, found, marks, lambda row: self._named(rows[row - start]))

    def _named(self, row: int) -> str:
        return printable(self.paths[row])

    def _read(self, row: int, transform: Preprocessing) -> tuple[str, Pixels | str]:
        """A file's fingerprint, and its resized pixels or the reason why it has none: both of the same bytes."""
        path = self.root / self.paths[row]
        try:
            found = content(path)
        except OSError as error:
            return f"unreadable: {error.strerror}", f"can't be opened: {error.strerror}"
        try:
            return sha256(found), decode_at(found, str(path), transform, lambda text: self.tally.add(text, row))
        except ImageUnreadable as error:
            return sha256(found), str(error).removeprefix(f"{path}: ")


def facts_of(path: Path) -> tuple[int, int, int, int]:
    """What the file system or the store says of a file, `NO_FACTS` of one that is not there.

    As git's index: anyone can set a modification time, nobody the time of the change itself; the inode tells apart files
    that an archive gave one time and whose folders were exchanged. Raises OSError where a store can't be asked."""
    if (place := stored(path)) is not None:
        return NO_FACTS if (entry := place.entry()) is None else entry.facts
    try:
        file = path.stat()
    except OSError:
        return NO_FACTS
    inode = file.st_ino % 2**63  # which is unsigned, and random in some file systems
    return file.st_size, file.st_mtime_ns, file.st_ctime_ns, inode
