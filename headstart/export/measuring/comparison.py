"""An exported file beside `predict`: on its test pictures, on pictures given, and on the rows of a data set."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from headstart.core.cache.errors import ModelFileDiffers, ModelFileInvalid
from headstart.core.extract.images import Images
from headstart.core.extract.pictures.decode import decode
from headstart.core.extract.pictures.files import content
from headstart.core.extract.pictures.framing import framed
from headstart.core.extract.pictures.preprocess import Preprocessing
from headstart.core.extract.pictures.thumbnails import own
from headstart.export.files.facts import Facts, Picture
from headstart.export.measuring.agreement import Agreement, farthest
from headstart.export.running.process import Runner

Pixels = npt.NDArray[np.uint8]
Shares = npt.NDArray[np.float32]
AT_ONCE = 16
MOST_PIXELS = 2**24
"""Of a test picture: those that are made have 65,536 at most."""


def of_tests(run: Runner, pictures: Sequence[Picture], where: str) -> Shares:
    """The file's probabilities (N, C) for its test pictures, which Pillow alone decodes: as anybody would."""
    return np.concatenate([run(_plain(picture, where)[None]) for picture in pictures])


def _plain(picture: Picture, where: str) -> Pixels:
    try:
        with Image.open(io.BytesIO(picture.content), formats=("PNG", "JPEG")) as image:
            if image.width * image.height > MOST_PIXELS:
                raise ModelFileInvalid(f"{where}: test picture {picture.name} has {image.width}x{image.height} px")
            return np.asarray(image.convert("RGB"))
    except ModelFileInvalid:
        raise
    except Exception as error:  # Pillow raises ten classes for broken files
        raise ModelFileInvalid(f"{where}: test picture {picture.name} can't be decoded") from error


def of_files(run: Runner, files: Sequence[Path], resized: Preprocessing | None) -> Shares:
    """The file's probabilities (N, C) for picture files decoded as `predict` does it, and `resized` by it where the file
    does not. Raises ImageUnreadable, OSError, ModelFileInvalid."""
    return np.concatenate([run(_pixels(decode(content(file), str(file)), resized)[None]) for file in files])


def _pixels(picture: Image.Image, resized: Preprocessing | None) -> Pixels:
    return np.array(picture) if resized is None else framed(picture, resized)


def of_rows(
    run: Runner, images: Images, rows: int, resized: Preprocessing | None, advance: Callable[[int], None]
) -> Shares:
    """The same for the first rows of a data set, those of one size together."""
    found = []
    for batch in _batches(images, rows, resized):
        found.append(run(batch))
        advance(len(batch))
    return np.concatenate(found)


def _batches(images: Images, rows: int, resized: Preprocessing | None) -> Iterator[Pixels]:
    batch: list[Pixels] = []
    for row in range(rows):
        pixels = _pixels(own(images, row), resized)
        if batch and (batch[0].shape != pixels.shape or len(batch) == AT_ONCE):
            yield np.stack(batch)
            batch = []
        batch.append(pixels)
    yield np.stack(batch)


def hold(
    path: Path, ours: Shares, expected: Shares, names: Sequence[str], tolerance: float, what: str, way_out: str
) -> Agreement:
    """Raise ModelFileDiffers where probabilities (N, C) of the file are farther from the expected than its tolerance."""
    if ours.shape != expected.shape:
        raise ModelFileDiffers(f"{path}: gives {ours.shape[1]} probabilities, expected {expected.shape[1]}")
    found = Agreement.of(ours, expected)
    if not found.largest <= tolerance:
        far = f"a probability of {farthest(ours, expected, names)} is {found.largest:.2g} from {what}"
        raise ModelFileDiffers(f"{path}: {far}, expected {tolerance:g} or less; {way_out}")
    return found


def prove(path: Path, run: Runner, facts: Facts) -> Agreement:
    """A file's probabilities for its test pictures, held against those that stand in it. Raises ModelFileDiffers."""
    expected = np.array([picture.expected for picture in facts.pictures])
    names = [picture.name for picture in facts.pictures]
    found, way_out = of_tests(run, facts.pictures, str(path)), "it is altered, or computed otherwise here: export it again"
    return hold(path, found, expected, names, facts.tolerance, "what stands in the file", way_out)
