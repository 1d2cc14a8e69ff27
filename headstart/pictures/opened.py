"""The pictures of a feature set: opened where they were when the features were made, and found by their ids."""

from __future__ import annotations

import threading
from pathlib import Path

from headstart.core.cache.errors import DataNotFound, HeadstartError, ImageUnreadable
from headstart.core.cache.feature_set import FeatureSet
from headstart.core.extract import datasets
from headstart.core.extract.images import Images


class Pictures:
    """The pictures of one split, found by their ids: where some came or went since, rows have other numbers."""

    def __init__(self, images: Images) -> None:
        self.images = images
        self._lock = threading.Lock()
        self._by_id: dict[bytes, int] | None = None

    def row(self, number: int, name: bytes) -> int:
        """The row that has an id; it was `number` when the features were made. Raises ImageUnreadable."""
        if number < self.images.rows and self.images.ids(number, number + 1) == [name]:
            return number
        with self._lock:
            if self._by_id is None:
                self._by_id = {one: row for row, one in enumerate(self.images.ids(0, self.images.rows))}
        if (found := self._by_id.get(name)) is None:
            raise ImageUnreadable(f"{self.images.source}: the picture {name.decode('utf-8', 'replace')} is no longer there")
        return found


def opened(source: FeatureSet, data_dir: Path) -> Images:
    """The pictures that a set was made of, where they were then. Raises DataNotFound."""
    manifest, reasons = source.manifest, list[str]()
    for place in datasets.recorded_places(manifest):
        try:
            if datasets.splits(place, manifest.split, data_dir) != (manifest.split,):
                reasons.append(f"{place} is divided in another way by now")
            elif datasets.lacking(place, data_dir) is not None:
                reasons.append(f"{place} would have to be downloaded")
            else:
                images = datasets.open_split(place, manifest.split, data_dir).in_order(manifest.provenance.order)
                count = len(images.classes) if manifest.provenance.corrected else None  # new ones stand behind them
                if images.classes == manifest.classes[:count]:
                    return images
                reasons.append(f"{images.source} has other classes by now")
        except (HeadstartError, OSError) as error:
            reasons.append(str(error))
    raise DataNotFound(f"{source.folder.name}: no pictures of it: {reasons[0]}")
