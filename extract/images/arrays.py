"""Small images of one size, in memory."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
from PIL import Image

from headstart.core.cache.files import sha256
from headstart.core.cache.known_files import NO_FACTS, Facts
from headstart.core.cache.manifest import Order
from headstart.core.extract.images import Batch, Labels, Pixels, stat_digest
from headstart.core.extract.images.files import facts_of
from headstart.core.extract.images.order import is_grouped, stratified
from headstart.core.extract.pictures.framing import framed
from headstart.core.extract.pictures.preprocess import Preprocessing


@dataclasses.dataclass(frozen=True)
class ArrayImages:
    """Small images of one size, read from memory. `load(start, stop)` gives uint8 (n, H, W, 3) and int64 (n,).

    Where the rows are in another order than the data set's own, `load_own` gives them in that, and `numbers` (N,) holds the
    row number there of each row, which is its id. `file` is the one that all of them are read from, and `top` the same
    where a user's data set is called by it.
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
    top: Path | None = None
    file: Path | None = None

    @property
    def origin(self) -> str:
        """What the pixels are read from."""
        return self.source

    def sampled(self, labels: Labels, at: Callable[[npt.NDArray[np.int64]], tuple[Pixels, Labels]]) -> Self:
        """The same images in an order whose beginnings are samples: a stratified one, of which `at` gives any rows, where
        the classes of all rows, `labels` (N,), stand together."""
        if not is_grouped(labels):
            return dataclasses.replace(self, order="mixed")
        places, own = stratified(self.ids(0, self.rows), labels), self.load

        def load(start: int, stop: int) -> tuple[Pixels, Labels]:
            return at(places[start:stop])

        return dataclasses.replace(self, load=load, load_own=own, numbers=places, order="stratified")

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
        return [fingerprint(image) for image in self.load(start, stop)[0]]

    def facts(self, start: int, stop: int) -> Facts:
        """Those of the one file, where there is one: while they stay, all images in it do."""
        own = NO_FACTS if self.file is None else facts_of(self.file)
        return np.tile(np.array(own, dtype=np.int64), (stop - start, 1))

    def stat(self, start: int, stop: int) -> str | None:
        return None if self.file is None else stat_digest(self, (start, stop), self.facts(start, stop))

    def may_be_equal(self) -> npt.NDArray[np.bool_]:
        return np.ones(self.rows, dtype=np.bool_)  # of one size, and hashed in no time

    def pick(self, rows: Sequence[int], transform: Preprocessing, workers: int) -> Batch:
        pixels = np.concatenate([self.load(row, row + 1)[0] for row in rows])
        return _batch(0, pixels, transform)

    def read(self, start: int, stop: int, transform: Preprocessing, workers: int) -> Batch:
        pixels = self.load(start, stop)[0]
        return _batch(start, pixels, transform)


def _batch(start: int, pixels: Pixels, transform: Preprocessing) -> Batch:
    """Rows from `start` on, prepared by Pillow where that can't be left to the device."""
    marks, rows = [fingerprint(image) for image in pixels], np.arange(start, start + len(pixels))
    height, width = pixels.shape[1:3]
    shrunk = height != width and max(height, width) > transform.image_size  # in an order of passes that Pillow chooses
    if len(pixels) and (shrunk or not transform.on_device):
        each = zip(pixels, marks, strict=True)
        pixels = np.stack([framed(Image.fromarray(image), transform, mark) for image, mark in each])
    elif transform.is_flipped:
        pixels = np.ascontiguousarray(pixels[:, :, ::-1])
    return Batch(start, pixels, rows, marks)


def fingerprint(image: Pixels) -> str:
    """The SHA-256 of an image (H, W, 3). Its sides count where they differ: the bytes alone may be those of another shape.
    Those of a square say which square it is, and are hashed alone, as versions 1 to 3 of the manifest had it."""
    height, width = image.shape[:2]
    shape = [] if height == width else [b"%d %d\n" % (height, width)]
    return sha256(*shape, image.tobytes())
