"""The images of one split by row number: the interface that every data set's have, and what was read of some rows."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, Self

import numpy as np
import numpy.typing as npt

from headstart.core.cache.digests import inputs_digest
from headstart.core.cache.files import sha256
from headstart.core.cache.known_files import Facts
from headstart.core.cache.manifest import Order
from headstart.core.cache.shard import Skipped
from headstart.core.extract.pictures.preprocess import Preprocessing

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


def batch_of(start: int, read: Sequence[Pixels | str], marks: Sequence[str], name: Callable[[int], str]) -> Batch:
    """The rows from `start` on as each was read: its pixels, all of one size, or the reason why it has none. `name` gives
    a row's name for people."""
    found = [(row, image) for row, image in enumerate(read, start) if not isinstance(image, str)]
    skipped = [Skipped(row, name(row), reason) for row, reason in enumerate(read, start) if isinstance(reason, str)]
    pixels = np.stack([image for _, image in found]) if found else np.zeros((0, 1, 1, 3), dtype=np.uint8)
    return Batch(start, pixels, np.array([row for row, _ in found], dtype=np.int64), marks, skipped)


class Readable(Protocol):
    """Pictures by row number: all that computing features needs of them."""

    @property
    def rows(self) -> int: ...

    def noticed(self) -> list[str]:
        """What had to be guessed of images that were read since this was last asked."""
        ...

    def read(self, start: int, stop: int, transform: Preprocessing, workers: int) -> Batch:
        """The pixels as Pillow prepares them by `transform`, uint8 (n, S, S, 3). Where all rows have one size, and the
        transform is `on_device`, they may be as they are.

        Rows that can't be decoded are in `skipped`, with the reason.
        """
        ...


@dataclasses.dataclass(frozen=True)
class Picked:
    """Some rows of a split, numbered from 0 in the order of `numbers`."""

    images: "Images"
    numbers: Sequence[int]

    @property
    def rows(self) -> int:
        """How many they are."""
        return len(self.numbers)

    def noticed(self) -> list[str]:
        """What was noticed of them is told with the others."""
        return []

    def read(self, start: int, stop: int, transform: Preprocessing, workers: int) -> Batch:
        """Their pixels, as `Readable.read`."""
        found = self.images.pick(self.numbers[start:stop], transform, workers)
        skipped = [dataclasses.replace(image, row=image.row + start) for image in found.skipped]
        return dataclasses.replace(found, start=start, rows=found.rows + start, skipped=skipped)


class Images(Readable, Protocol):
    """One split of a data set. Rows are numbered from 0 in the order that `order` names; ranges are half-open.

    `notes` are what must be said wherever a figure from these images stands, `remarks` what should be said once before the
    work. `source` tells people where they are, `origin` where the data set is found again. `top` is what a user's own data
    set is called by: its folder, file or pattern; None for those that have a name of their own.
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
    def origin(self) -> str: ...
    @property
    def top(self) -> Path | None: ...
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
        """The SHA-256 of what each row is read from, without decoding it; where a file can't be read, the reason. Raises
        DataNotFound, DataInvalid."""
        ...

    def may_be_equal(self) -> npt.NDArray[np.bool_]:
        """Of each row (N,) whether another one may have the same content, as far as can be said without reading."""
        ...

    def pick(self, rows: Sequence[int], transform: Preprocessing, workers: int) -> Batch:
        """As `read`, of any rows; they are numbered from 0 in the batch."""
        ...

    def facts(self, start: int, stop: int) -> Facts:
        """What the file system says of each row's file, (n, 4)."""
        ...

    def stat(self, start: int, stop: int) -> str | None:
        """A digest that stays the same only while `fingerprints`, ids and labels do: of these two, and of what the file
        system says of the files without reading them. None where there is no such shortcut."""
        ...


def rows_digest(images: Images, span: tuple[int, int]) -> str:
    """The same of the images that are there now, read again. Raises DataNotFound, DataInvalid."""
    return inputs_digest(images.ids(*span), images.labels(*span), images.fingerprints(*span))


def stat_digest(images: Images, span: tuple[int, int], facts: Facts) -> str | None:
    """The SHA-256 over ids, labels and facts of some rows; None where one has no facts."""
    if not facts.any(axis=1).all():
        return None
    rows = zip(images.ids(*span), images.labels(*span), facts.tolist(), strict=True)
    return sha256(*(b"%s\0%d\0%d %d %d %d\n" % (name, label, *known) for name, label, known in rows))
