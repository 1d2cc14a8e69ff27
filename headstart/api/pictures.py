"""Pictures as a caller has them: paths, PIL images, arrays or a batch, told apart, named by content, and read."""

import dataclasses
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from headstart.core.cache.errors import ArgumentInvalid, ArgumentOfWrongType, ImageNotFound, ImageUnreadable
from headstart.core.cache.files import sha256
from headstart.core.extract.images import Batch, Pixels, batch_of
from headstart.core.extract.images.arrays import fingerprint
from headstart.core.extract.images.files import Tally
from headstart.core.extract.pictures.decode import decode_at, upright
from headstart.core.extract.pictures.files import content
from headstart.core.extract.pictures.framing import framed
from headstart.core.extract.pictures.preprocess import Preprocessing

Picture: TypeAlias = str | os.PathLike[str] | Image.Image | npt.NDArray[np.uint8]
"""One picture: the path of a file, an image that Pillow opened, or uint8 (H, W, 3) in RGB."""

PicturesLike: TypeAlias = Picture | Iterable[Picture] | npt.NDArray[Any]
"""One picture or several: a list, a column of paths, or a batch uint8 (N, H, W, 3)."""

_EXPECTED = "expected paths, PIL images, uint8 arrays (H, W, 3), or a batch (N, H, W, 3)"

Item: TypeAlias = Path | Image.Image | npt.NDArray[np.uint8]


@dataclasses.dataclass(frozen=True)
class Pictures:
    """Pictures by row number: an `extract.images.Readable`. `names` tell people which is which.

    `marks` name the pictures by content, where that is known: a file that has changed since is not read.
    """

    items: tuple[Item, ...]
    names: tuple[str, ...]
    marks: tuple[str, ...] = ()
    tally: Tally = dataclasses.field(default_factory=Tally, compare=False, repr=False)

    @classmethod
    def of(cls, given: PicturesLike) -> "Pictures":
        """The pictures that a caller means. Raises ArgumentInvalid, for a type that
        can't be meant ArgumentOfWrongType, with the place."""
        found = _listed(given)
        if not found:
            raise ArgumentInvalid(f"pictures: none found, {_EXPECTED}")
        items = tuple(_item(one, place) for place, one in enumerate(found))
        names = tuple(str(item) if isinstance(item, Path) else f"picture {place}" for place, item in enumerate(items))
        return cls(items, names)

    @property
    def rows(self) -> int:
        """How many there are."""
        return len(self.items)

    def marked(self, workers: int) -> "Pictures":
        """The same pictures, each named by its content: the SHA-256 of a file's bytes, else of size and upright RGB pixels.

        `workers` threads read them. Raises ImageUnreadable, ImageNotFound.
        """
        different = {id(item): place for place, item in enumerate(self.items)}  # one object is not read by two threads
        with ThreadPoolExecutor(max_workers=max(1, workers)) as pool:
            found = dict(zip(different, pool.map(self._mark, different.values()), strict=True))
        return dataclasses.replace(self, marks=tuple(found[id(item)] for item in self.items))

    def only(self, places: Sequence[int]) -> "Pictures":
        """The pictures at these places, in this order."""
        items, names = tuple(self.items[place] for place in places), tuple(self.names[place] for place in places)
        return Pictures(items, names, tuple(self.marks[place] for place in places) if self.marks else ())

    def noticed(self) -> list[str]:
        """What had to be guessed of pictures that were read since this was last asked."""
        return self.tally.taken(self.names.__getitem__)

    def read(self, start: int, stop: int, transform: Preprocessing, workers: int) -> Batch:
        """Small arrays of one size as they are, all others prepared by Pillow, uint8 (n, H, W, 3).

        Pictures that can't be decoded, or that changed since they were marked, are in `skipped`, with the reason.
        """
        own = self.items[start:stop]
        marks = self.marks[start:stop] or ("",) * len(own)
        if (batch := _as_it_is(own, transform)) is not None:
            return Batch(start, batch, np.arange(start, stop), marks)
        with ThreadPoolExecutor(max_workers=max(1, workers)) as pool:
            read = list(pool.map(lambda row: self._read(row, transform), range(start, stop)))
        return batch_of(start, read, marks, self.names.__getitem__)

    def _mark(self, row: int) -> str:
        item = self.items[row]
        if isinstance(item, Path):
            try:
                return sha256(content(item))
            except FileNotFoundError as error:
                raise ImageNotFound(f"{item}: can't be opened: {error.strerror}") from error
            except OSError as error:
                raise ImageUnreadable(f"{item}: can't be opened: {error.strerror}") from error
        pixels = np.asarray(upright(item, self.names[row])) if isinstance(item, Image.Image) else item
        return sha256(b"pixels %d %d " % pixels.shape[:2], np.ascontiguousarray(pixels).data)

    def _read(self, row: int, transform: Preprocessing) -> Pixels | str:
        """The resized pixels, or the reason why there are none."""
        item, name = self.items[row], self.names[row]
        try:
            if not isinstance(item, Path):
                image = item if isinstance(item, Image.Image) else Image.fromarray(item)
                image = upright(image, name, lambda text: self.tally.add(text, row))
                return framed(image, transform, fingerprint(np.asarray(image)) if transform.random_crop else "")
            found = content(item)
            if self.marks and sha256(found) != self.marks[row]:
                return "the file changed while it was read"
            return decode_at(found, name, transform, lambda text: self.tally.add(text, row))
        except OSError as error:
            return f"can't be opened: {error.strerror}"
        except ImageUnreadable as error:
            return str(error).removeprefix(f"{name}: ")


def _listed(given: PicturesLike) -> list[Any]:
    if isinstance(given, str | os.PathLike | Image.Image):
        return [given]
    if isinstance(given, np.ndarray) and given.dtype.kind not in "OU":
        if given.ndim not in (3, 4):
            raise ArgumentInvalid(f"pictures: {given.dtype} {given.shape} found, {_EXPECTED}")
        return [given] if given.ndim == 3 else list(given)
    if hasattr(given, "to_numpy"):  # a column of a data frame, or one of a single column
        given = given.to_numpy()
    if isinstance(given, np.ndarray):
        return given.ravel().tolist() if given.ndim < 2 or given.shape[1:] == (1,) else list(given)
    if isinstance(given, Iterable) and not isinstance(given, bytes):
        return list(given)
    raise ArgumentOfWrongType(f"pictures: a {type(given).__name__} found, {_EXPECTED}")


def _item(one: object, place: int) -> Item:
    if isinstance(one, str | os.PathLike):
        return Path(one).expanduser()
    if isinstance(one, Image.Image):
        return one
    if not isinstance(one, np.ndarray):
        raise ArgumentOfWrongType(f"picture {place}: a {type(one).__name__} found, {_EXPECTED}")
    if one.dtype != np.uint8 or one.ndim != 3 or one.shape[2] != 3 or not one.size:
        raise ArgumentInvalid(
            f"picture {place}: {one.dtype} {one.shape} found, expected uint8 (H, W, 3), the channels last; "
            f"PIL.Image.fromarray makes an image of grey or RGBA pixels, which is taken"
        )
    return one


def _as_it_is(items: Sequence[Item], transform: Preprocessing) -> Pixels | None:
    """Arrays of one size as one batch, to be resized on the device to the same bits; None where Pillow has to."""
    arrays = [item for item in items if isinstance(item, np.ndarray)]
    if len(arrays) < len(items) or len({array.shape for array in arrays}) != 1 or not transform.on_device:
        return None
    if max(arrays[0].shape[:2]) > transform.image_size:
        return None
    batch = np.stack(arrays)
    return np.ascontiguousarray(batch[:, :, ::-1]) if transform.is_flipped else batch
