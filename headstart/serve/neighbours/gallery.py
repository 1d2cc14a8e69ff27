"""Small pictures of training rows, made of the very pictures that their features are of, and kept within a bound."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path

from headstart.core.cache.digests import to_hex
from headstart.core.cache.errors import ImageUnreadable
from headstart.core.cache.feature_set import FeatureSet
from headstart.core.extract.pictures.thumbnails import checked_thumbnail
from headstart.pictures.opened import Pictures, opened
from headstart.serve.neighbours.learned import Learned

SIZE = 192
"""The longer side in pixels: 96 on a screen that has two for each."""
MOST_BYTES = 2**24
"""Bytes of thumbnails that are kept; one takes some ten thousand."""


class Gallery:
    """The pictures of the rows of some sets, where they can be opened; nothing is downloaded. Threads may share it."""

    def __init__(self, sets: Sequence[FeatureSet], data_dir: Path) -> None:
        """Raises DataNotFound where the pictures of a set are no longer where they were."""
        self._images: Mapping[str, Pictures] = {found.manifest.digest: Pictures(opened(found, data_dir)) for found in sets}
        self._made: OrderedDict[tuple[str, str], bytes] = OrderedDict()
        self._lock = threading.Lock()

    def thumbnail(self, learned: Learned, row: int) -> bytes:
        """One of the rows of `learned` as a PNG or JPEG file. Raises ImageUnreadable where there is none: no such row, a
        picture that is gone, or another one by now."""
        if learned.digests is None or not 0 <= row < len(learned.ids):
            raise ImageUnreadable(f"row {row}: not there, expected 0 to {len(learned.ids) - 1}")
        source, number = learned.place(row)
        (digest,) = to_hex(learned.digests[row : row + 1])
        return self.picture(source, number, bytes(learned.ids[row]), digest)

    def picture(self, source: FeatureSet, number: int, name: bytes, digest: str) -> bytes:
        """The picture of a set with this id and SHA-256, whose row was `number`, as a PNG or JPEG file. Raises
        ImageUnreadable where it is gone, or another one by now."""
        key = source.manifest.digest, digest
        with self._lock:
            if (found := self._made.get(key)) is not None:
                self._made.move_to_end(key)
                return found
        pictures = self._images[source.manifest.digest]
        made = checked_thumbnail(pictures.images, pictures.row(number, name), SIZE, digest)
        self._keep(key, made)
        return made

    def _keep(self, key: tuple[str, str], made: bytes) -> None:
        with self._lock:
            self._made[key] = made
            while sum(map(len, self._made.values())) > MOST_BYTES:
                self._made.popitem(last=False)
