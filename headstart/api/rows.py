"""Features of pictures through a frozen backbone, cached by the picture's content and by how a feature is computed.

Rows are kept in this process's memory up to `LIMIT` bytes; those that were used longest ago go first.
"""

import contextlib
import dataclasses
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from headstart.api.pictures import Pictures
from headstart.core.cache.errors import ImageUnreadable
from headstart.core.cache.key import FeatureKey
from headstart.core.extract.featurise import Outside, featurise
from headstart.inference.views import Viewed
from headstart.observer import Observer

if TYPE_CHECKING:
    from headstart.core.extract.network.extractor import FeatureExtractor

LIMIT = 2**30
"""Bytes of rows: 131,072 of a ResNet50."""

Features = npt.NDArray[np.float32]

_ONE_AT_A_TIME = threading.RLock()
"""Held while a network runs: one pass uses the whole processor, and buffers on their way to a GPU are shared."""


class RowCache:
    """Rows (D,) float32 by the digest of their key and the mark of their picture. Threads may share it."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._lock = threading.Lock()
        self._rows: OrderedDict[tuple[str, str], Features] = OrderedDict()
        self._bytes = 0

    def get(self, digest: str, marks: Iterable[str]) -> dict[str, Features]:
        """The rows that are there, by mark."""
        found: dict[str, Features] = {}
        with self._lock:
            for mark in marks:
                if mark not in found and (row := self._rows.get((digest, mark))) is not None:
                    self._rows.move_to_end((digest, mark))
                    found[mark] = row
        return found

    def put(self, digest: str, rows: dict[str, Features]) -> None:
        """Keep rows, and let others go where they are too many."""
        with self._lock:
            for mark, row in rows.items():
                if (digest, mark) not in self._rows:
                    self._rows[digest, mark] = row.copy()  # alone: a view would keep its whole batch
                    self._bytes += row.nbytes
            while self._bytes > self.limit:
                self._bytes -= self._rows.popitem(last=False)[1].nbytes


ROWS = RowCache(LIMIT)
"""This process's."""


@dataclasses.dataclass
class Frozen:
    """A frozen backbone: what its features are, by their key, and `load`, which gives the network when it is needed."""

    key: FeatureKey
    load: Callable[[], "FeatureExtractor"]
    batch_size: int | None
    workers: int
    network: "FeatureExtractor | None" = None

    def features(self, pictures: Pictures, observer: Observer, view: str = "") -> Features:
        """Features (N, D) float32 of the pictures, or of this view of them, as `extract` and `predict` compute them. Only
        pictures whose rows are not cached go through the network, each content once.

        Threads take turns. Raises ImageUnreadable, naming the picture, WeightsNotFound, WeightsMismatch, OutOfMemory.
        """
        pictures, digest = pictures.marked(self.workers), self._digest(view)
        with _ONE_AT_A_TIME:
            found = ROWS.get(digest, pictures.marks)
            missing = {mark: place for place, mark in enumerate(pictures.marks) if mark not in found}
            if missing:
                observer.begin(f"{self.key.backbone}: features of pictures", len(missing), 0)
                try:
                    found |= self._computed(pictures.only(list(missing.values())), view, observer)
                finally:
                    observer.end()
        return np.stack([found[mark] for mark in pictures.marks])

    def _digest(self, view: str) -> str:
        return dataclasses.replace(self.key, view=view).digest

    def _computed(self, pictures: Pictures, view: str, observer: Observer) -> dict[str, Features]:
        if self.network is None:
            self.network = self.load()
        network, rows = self.network, dict[str, Features]()
        blocks = featurise(Viewed(pictures, view), network, self.workers, self.batch_size, observer.note)
        with contextlib.closing(blocks):
            for block in blocks:
                _refuse(block)
                own = {pictures.marks[row]: found for row, found in zip(block.rows, block.features, strict=True)}
                ROWS.put(self._digest(view), own)
                rows |= own
                observer.advance(len(own))
        return rows


def _refuse(block: Outside) -> None:
    """Raise ImageUnreadable where a picture was left out: those behind it would move to other rows."""
    if block.skipped:
        raise ImageUnreadable(f"{block.skipped[0].id}: {block.skipped[0].reason}")
