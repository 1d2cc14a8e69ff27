"""Small images of one size, in memory."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Self

import numpy as np
import numpy.typing as npt

from headstart.core.cache.files import sha256
from headstart.core.cache.manifest import Order
from headstart.core.extract.images import Batch, Labels, Pixels


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

    def facts(self, start: int, stop: int) -> list[bytes | None]:
        return [None] * (stop - start)

    def stat(self, start: int, stop: int) -> str | None:
        return None

    def may_be_equal(self) -> npt.NDArray[np.bool_]:
        return np.ones(self.rows, dtype=np.bool_)  # of one size, and hashed in no time

    def pick(self, rows: Sequence[int], image_size: int, workers: int) -> Batch:
        pixels = np.concatenate([self.load(row, row + 1)[0] for row in rows])
        return Batch(0, pixels, np.arange(len(rows)), [sha256(image.tobytes()) for image in pixels])

    def read(self, start: int, stop: int, image_size: int, workers: int) -> Batch:
        pixels = self.load(start, stop)[0]
        return Batch(start, pixels, np.arange(start, stop), [sha256(image.tobytes()) for image in pixels])
