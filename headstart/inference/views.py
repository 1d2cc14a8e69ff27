"""Pictures from outside as trained heads with views see them: as they are, and once more for each view."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from headstart.core.extract.featurise import featurise, outside
from headstart.core.extract.images import Batch, Readable
from headstart.core.extract.pictures.preprocess import Preprocessing
from headstart.requests import InferenceOptions

if TYPE_CHECKING:
    from headstart.core.extract.network.extractor import FeatureExtractor

AT_ONCE = 2048
"""Pictures of which the features of all versions are in memory at once."""

PLAIN = ""
"""The view that is none: the picture as it is."""


@dataclasses.dataclass(frozen=True)
class Viewed:
    """Pictures as a view shows them, in the words of a key: an `extract.images.Readable`."""

    pictures: Readable
    view: str

    @property
    def rows(self) -> int:
        """How many there are."""
        return self.pictures.rows

    def noticed(self) -> list[str]:
        """As the pictures say it."""
        return self.pictures.noticed()

    def read(self, start: int, stop: int, transform: Preprocessing, workers: int) -> Batch:
        """As the pictures are read, but of this view."""
        return self.pictures.read(start, stop, dataclasses.replace(transform, view=self.view), workers)


@dataclasses.dataclass(frozen=True)
class Versions:
    """Some pictures, by their places in the list given: `rows` (n,) of those that could be read, the features (n, D) of
    each version by its view, and why the others could not."""

    rows: tuple[int, ...]
    features: dict[str, npt.NDArray[np.float32]]
    errors: dict[int, str]


def versions(
    files: Sequence[Path],
    views: Sequence[str],
    extractor: FeatureExtractor,
    options: InferenceOptions,
    note: Callable[[str], None],
) -> Iterator[Versions]:
    """The features of every picture in each of the views, some pictures at a time; each thing is noted once. Raises
    OutOfMemory."""
    said: dict[str, None] = {}

    def once(text: str) -> None:
        if text not in said:
            said[text] = None
            note(text)

    for start in range(0, len(files), AT_ONCE):
        own, errors = outside(files[start : start + AT_ONCE]), dict[int, str]()
        found: dict[str, dict[int, npt.NDArray[np.float32]]] = {view: {} for view in views}
        for view in views:
            for block in featurise(Viewed(own, view), extractor, options.workers, options.batch_size, once):
                errors |= {start + image.row: image.reason for image in block.skipped}
                found[view] |= {start + row: row_found for row, row_found in zip(block.rows, block.features, strict=True)}
        there = tuple(row for row in sorted(found[views[0]]) if row not in errors)
        yield Versions(there, {view: _stacked(rows, there) for view, rows in found.items()}, errors)


def _stacked(rows: dict[int, npt.NDArray[np.float32]], wanted: Sequence[int]) -> npt.NDArray[np.float32]:
    return np.stack([rows[row] for row in wanted]) if wanted else np.zeros((0, 0), dtype=np.float32)
