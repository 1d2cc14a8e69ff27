"""What a service knows of the training pictures of its heads: the nearest ones, and how they look."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from headstart.core.cache.corrected_sets import store_of
from headstart.core.cache.errors import FeaturesInvalid, HeadstartError, ImageUnreadable, RunNotFound
from headstart.core.cache.feature_set import FeatureSet
from headstart.core.cache.store import FeatureStore
from headstart.core.cache.text import volume
from headstart.core.cache.verify import survey
from headstart.core.extract.pictures.files import printable
from headstart.core.heads.neighbours.search import Search
from headstart.core.heads.runs import Run
from headstart.serve.neighbours.gallery import Gallery
from headstart.serve.neighbours.learned import Learned, learned
from headstart.workspace import Workspace

KEPT = 2**30
"""Bytes of training features, as float32, that all heads together keep in memory; those of further heads are read from the
disk for each picture."""
MOST = 2**30
"""Bytes of one head's: of more than that none are shown, as each picture would take longer than people wait. 24,000 x 2048
took 20 ms in memory and 1.4 s from the disk, on two busy cores."""
ADDRESS = "/v1/thumbnails/{digest}/{row}"
"""Where the picture of a training row is: by the digest of the head's file and its place among the rows learned from."""

LOG = logging.getLogger("headstart.serve")


@dataclasses.dataclass(frozen=True, eq=False)
class Neighbourhood:
    """The training pictures of the head with the digest `digest`, whose class names are `classes`. `gallery` is None where
    they can't be shown. Threads may share it."""

    digest: str
    classes: Sequence[str]
    rows: Learned
    search: Search
    gallery: Gallery | None

    def nearest(self, features: npt.NDArray[np.float32], count: int) -> list[dict[str, Any]] | None:
        """Of features (D,) the `count` training pictures with the highest cosine as JSON objects, the nearest first: `id`,
        `label`, `cosine`, and `thumbnail`, an address or None. None where the features can't be read any more."""
        try:
            places, cosines = self.search.nearest_to(features, count)
        except (HeadstartError, OSError) as error:
            LOG.error("no training pictures: %s", error)
            return None
        return [self._described(*one) for one in zip(places.tolist(), cosines.tolist(), strict=True)]

    def thumbnail(self, row: int) -> bytes:
        """A PNG or JPEG file of a training picture. Raises ImageUnreadable where there is none, or it is another picture by
        now."""
        if self.gallery is None:
            raise ImageUnreadable("the training pictures are not where they were")
        return self.gallery.thumbnail(self.rows, row)

    def _described(self, place: int, cosine: float) -> dict[str, Any]:
        shown = self.gallery is not None and self.rows.digests is not None
        return {
            "id": printable(bytes(self.rows.ids[place]).decode("utf-8", "surrogateescape")),
            "label": self.classes[int(self.rows.rows.labels[place])],
            "cosine": round(cosine, 6),
            "thumbnail": ADDRESS.format(digest=self.digest, row=place) if shown else None,
        }


def neighbourhoods(
    workspace: Workspace, runs: Mapping[str, Run | None], note: Callable[[str], None]
) -> dict[str, Neighbourhood]:
    """Of each head, by its name, the training pictures, where they are at hand; of what is not it is noted why. Heads that
    learned from the same rows share them."""
    stores = (store_of(workspace.features_dir), FeatureStore(workspace.features_dir))
    sets = {one.features.manifest.digest: one.features for store in stores for one in survey(store) if one.features}
    shared: dict[tuple[str, str], tuple[Learned, Search, Gallery | None]] = {}
    found, room = dict[str, Neighbourhood](), KEPT
    for name, run in runs.items():
        try:
            if run is None:
                raise RunNotFound(f"{name}: without its run.json nobody knows what it was trained on")
            key = run.train.digest, run.train.used
            if key not in shared:
                _check_size(run, sets)
                rows = learned(run, sets)
                size = len(rows.ids) * rows.rows.dim * 4
                shared[key] = rows, Search(rows.rows, keep=size <= room), _gallery(rows, workspace, note)
                room -= size if size <= room else 0
            found[name] = Neighbourhood(run.head_sha256, run.key.classes, *shared[key])
        except (HeadstartError, OSError) as error:
            note(f"{error}; {name} answers without its nearest training pictures")
    return found


def _check_size(run: Run, sets: Mapping[str, FeatureSet]) -> None:
    """Raise FeaturesInvalid, before anything is read, for more features than are looked through for a picture."""
    dim = sets[run.train.digest].manifest.feature_dim if run.train.digest in sets else 0
    if (run.train_rows + run.val_rows) * dim * 4 > MOST:
        counts = f"{run.train_rows + run.val_rows:,} x {dim} features"
        raise FeaturesInvalid(f"{run.name}: {counts} are too many to look through for each picture, {volume(MOST)} at most")


def _gallery(rows: Learned, workspace: Workspace, note: Callable[[str], None]) -> Gallery | None:
    sets: dict[str, FeatureSet] = {part.source.manifest.digest: part.source for part in rows.parts}
    try:
        return Gallery(list(sets.values()), workspace.data_dir)
    except HeadstartError as error:
        note(f"{error}; its training pictures are named and not shown")
        return None
