"""Images by row number: the one interface of all data sets, and what was read of each row."""

import dataclasses
from array import array
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol, Self

import numpy as np
import numpy.typing as npt
from headstart.core.cache.errors import ImageUnreadable
from headstart.core.cache.files import sha256
from headstart.core.cache.manifest import Order
from headstart.core.cache.shard import Skipped
from headstart.core.extract.datasets.order import stratified
from headstart.core.extract.pictures.decode import decode_at
from headstart.core.extract.pictures.files import content, fingerprint, printable

Pixels = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class Batch:
    """Rows from `start` on as read: uint8 (n, H, W, 3), the row numbers (n,) they belong to, and those left out.

    `fingerprints` holds, for every row asked for, the SHA-256 of what it was read from.
    """

    start: int
    pixels: Pixels
    rows: npt.NDArray[np.int64]
    fingerprints: Sequence[str]
    skipped: Sequence[Skipped] = ()


class Readable(Protocol):
    """What features are computed of: pictures by row number."""

    @property
    def rows(self) -> int: ...

    def noticed(self) -> list[str]:
        """What had to be guessed of images that were read since this was last asked."""
        ...

    def read(self, start: int, stop: int, image_size: int, workers: int) -> Batch:
        """The pixels: at their own size where all rows have one, else resized by Pillow to `image_size` squared.

        Rows that can't be decoded are in `skipped`, with the reason.
        """
        ...


class Images(Readable, Protocol):
    """One split of a data set. Rows are numbered from 0 in the order that `order` names; ranges are half-open.

    `notes` are what must be said wherever a figure from these images stands, `remarks` what should be said once before the
    work. `source` tells people where they are.
    """

    @property
    def name(self) -> str: ...
    @property
    def split(self) -> str: ...
    @property
    def classes(self) -> tuple[str, ...]: ...
    @property
    def notes(self) -> tuple[str, ...]: ...
    @property
    def remarks(self) -> tuple[str, ...]: ...
    @property
    def source(self) -> str: ...
    @property
    def order(self) -> Order: ...

    def in_order(self, order: Order) -> Self:
        """The same images in the order that features were kept in by a version that had no other: `unknown`, the data set's
        own. In any other order, as they are."""
        ...

    def labels(self, start: int, stop: int) -> Labels:
        """Class indices (n,), -1 where unknown."""
        ...

    def ids(self, start: int, stop: int) -> list[bytes]:
        """What names each row: the path relative to the root in UTF-8, or the row number."""
        ...

    def fingerprints(self, start: int, stop: int) -> list[str]:
        """The SHA-256 of what each row is read from, without decoding it. Raises DataNotFound, DataInvalid."""
        ...

    def stat(self, start: int, stop: int) -> str | None:
        """A digest that stays the same only while `fingerprints`, ids and labels do: of these two, and of what the file
        system says of the files without reading them. None where there is no such shortcut."""
        ...


def inputs_digest(ids: Sequence[bytes], labels: Labels, fingerprints: Sequence[str]) -> str:
    """The SHA-256 over ids, labels and fingerprints of some rows: what a shard is reused by."""
    rows = zip(ids, labels, fingerprints, strict=True)
    return sha256(*(b"%s\0%d\0%s\n" % (name, label, mark.encode()) for name, label, mark in rows))


@dataclasses.dataclass(frozen=True)
class ArrayImages:
    """Small images of one size, read from memory. `load(start, stop)` gives uint8 (n, H, W, 3) and int64 (n,).

    Where the rows are in another order than the data set's own, `load_own` gives them in that, and `numbers` (N,) holds the
    row number there of each row, which is its id.
    """

    name: str
    split: str
    classes: tuple[str, ...]
    rows: int
    source: str
    load: Callable[[int, int], tuple[Pixels, Labels]]
    notes: tuple[str, ...] = ()
    order: Order = "unknown"
    load_own: Callable[[int, int], tuple[Pixels, Labels]] | None = None
    numbers: npt.NDArray[np.int64] | None = dataclasses.field(default=None, compare=False)
    remarks: tuple[str, ...] = ()

    def in_order(self, order: Order) -> Self:
        if order == self.order or self.load_own is None:
            return self
        return dataclasses.replace(self, load=self.load_own, load_own=None, numbers=None, order=order)

    def noticed(self) -> list[str]:
        return []

    def labels(self, start: int, stop: int) -> Labels:
        return self.load(start, stop)[1]

    def ids(self, start: int, stop: int) -> list[bytes]:
        numbers = range(start, stop) if self.numbers is None else self.numbers[start:stop].tolist()
        return [b"%d" % number for number in numbers]

    def fingerprints(self, start: int, stop: int) -> list[str]:
        return [sha256(image.tobytes()) for image in self.load(start, stop)[0]]

    def stat(self, start: int, stop: int) -> str | None:
        return None

    def read(self, start: int, stop: int, image_size: int, workers: int) -> Batch:
        pixels = self.load(start, stop)[0]
        return Batch(start, pixels, np.arange(start, stop), [sha256(image.tobytes()) for image in pixels])


class Tally:
    """Which rows each remark was made of. Threads may add to it; a lock would keep images from being sent to a process."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, int], None] = {}

    def add(self, remark: str, row: int) -> None:
        """Note a remark; one made twice of a row counts once."""
        self._rows[remark, row] = None  # one operation of the interpreter

    def taken(self) -> list[tuple[str, int, int]]:
        """Each remark with the number of rows and the first of them; then there is none."""
        rows, self._rows = self._rows, {}
        by_remark: dict[str, list[int]] = {}
        for remark, row in sorted(rows):
            by_remark.setdefault(remark, []).append(row)
        return [(remark, len(found), found[0]) for remark, found in by_remark.items()]


@dataclasses.dataclass(frozen=True)
class FileImages:
    """Image files below `root`; `paths` are relative to it, `targets` the class index of each (-1: unknown).

    `places` are the places of the rows in the data set's own order, where they are in another. `top` is the folder that the
    data set is called by, where it is a user's.
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
    tally: Tally = dataclasses.field(default_factory=Tally, compare=False, repr=False)

    @property
    def rows(self) -> int:
        """How many files there are."""
        return len(self.paths)

    @property
    def source(self) -> str:
        """The folder that the paths are relative to."""
        return str(self.root)

    def stratified(self) -> Self:
        """The same files in a stratified order (see `extract.datasets.order`)."""
        places = stratified(self.ids(0, self.rows), self.targets)
        return self._placed(places.tolist(), array("q", places.tobytes()), "stratified")

    def in_order(self, order: Order) -> Self:
        if order == self.order or self.places is None:
            return self
        return self._placed(np.argsort(np.array(self.places)).tolist(), None, order)

    def _placed(self, rows: Sequence[int], places: "array[int] | None", order: Order) -> Self:
        paths, targets = tuple(self.paths[row] for row in rows), tuple(self.targets[row] for row in rows)
        return dataclasses.replace(self, paths=paths, targets=targets, places=places, order=order, tally=Tally())

    def noticed(self) -> list[str]:
        return [
            f"{f'{count:,} pictures, first' if count > 1 else '1 picture,'} {printable(self.paths[row])}: {remark}"
            for remark, count, row in self.tally.taken()
        ]

    def labels(self, start: int, stop: int) -> Labels:
        return np.array(self.targets[start:stop], dtype=np.int64)

    def ids(self, start: int, stop: int) -> list[bytes]:
        return [path.encode("utf-8", "surrogateescape") for path in self.paths[start:stop]]

    def fingerprints(self, start: int, stop: int) -> list[str]:
        return [fingerprint(self.root / path) for path in self.paths[start:stop]]

    def stat(self, start: int, stop: int) -> str | None:
        try:
            found = [(self.root / path).stat() for path in self.paths[start:stop]]
        except OSError:
            return None
        # as git's index: anyone can set a modification time, nobody the time of the change itself; the inode tells apart
        # files that an archive gave one time and whose folders were exchanged
        facts = [b"%d %d %d %d" % (file.st_size, file.st_mtime_ns, file.st_ctime_ns, file.st_ino) for file in found]
        rows = zip(self.ids(start, stop), self.targets[start:stop], facts, strict=True)
        return sha256(*(b"%s\0%d\0%s\n" % row for row in rows))

    def read(self, start: int, stop: int, image_size: int, workers: int) -> Batch:
        with ThreadPoolExecutor(max_workers=max(1, workers)) as pool:
            read = list(pool.map(lambda row: self._read(row, image_size), range(start, stop)))
        marks = [mark for mark, _ in read]
        found = [(row, image) for row, (_, image) in enumerate(read, start) if not isinstance(image, str)]
        failed = [(row, reason) for row, (_, reason) in enumerate(read, start) if isinstance(reason, str)]
        skipped = [Skipped(row, printable(self.paths[row]), reason) for row, reason in failed]
        if not found:
            return Batch(start, np.zeros((0, 1, 1, 3), dtype=np.uint8), np.zeros(0, dtype=np.int64), marks, skipped)
        rows, images = zip(*found, strict=True)
        return Batch(start, np.stack(images), np.array(rows), marks, skipped)

    def _read(self, row: int, image_size: int) -> tuple[str, Pixels | str]:
        """A file's fingerprint, and its resized pixels or the reason why it has none: both of the same bytes."""
        path = self.root / self.paths[row]
        try:
            found = content(path)
        except OSError as error:
            return f"unreadable: {error.strerror}", f"can't be opened: {error.strerror}"
        try:
            return sha256(found), decode_at(found, str(path), image_size, lambda text: self.tally.add(text, row))
        except ImageUnreadable as error:
            return sha256(found), str(error).removeprefix(f"{path}: ")
