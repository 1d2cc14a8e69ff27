"""The images of one split by row number: the interface that every data set's have, and what was read of some rows."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Protocol, Self

import numpy as np
import numpy.typing as npt

from headstart.core.cache.files import sha256
from headstart.core.cache.manifest import Order
from headstart.core.cache.shard import Skipped

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


def rows_digest(images: Images, span: tuple[int, int]) -> str:
    """The same of the images that are there now, read again. Raises DataNotFound, DataInvalid."""
    return inputs_digest(images.ids(*span), images.labels(*span), images.fingerprints(*span))
