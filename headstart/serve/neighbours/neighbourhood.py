"""What a service knows of the training pictures of its heads: the nearest ones, and how they look."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from headstart.core.cache.errors import HeadstartError, ImageUnreadable, RunNotFound
from headstart.core.cache.feature_set import FeatureSet
from headstart.core.cache.store import FeatureStore
from headstart.core.extract.pictures.files import printable
from headstart.core.heads.runs import Run
from headstart.serve.neighbours.gallery import Gallery
from headstart.serve.neighbours.learned import Learned, learned
from headstart.serve.neighbours.search import Search
from headstart.workspace import Workspace

KEPT = 2**30
"""Bytes of training features, as float32, that all heads together keep in memory; those of further heads are read from the
disk for each picture."""
MOST = 20
"""Neighbours that may be asked for."""


@dataclasses.dataclass(frozen=True)
class Neighbour:
    """A training picture: its id, its label, the cosine of its features to those of the picture asked about, and the row
    that it is asked for by in `Neighbourhood.thumbnail`, None where it can't be shown."""

    id: str
    label: str
    cosine: float
    row: int | None


class Neighbourhood:
    """The training pictures of one head. Threads may share it."""

    def __init__(self, rows: Learned, classes: Sequence[str], search: Search, gallery: Gallery | None) -> None:
        self._learned, self._classes, self._search = rows, classes, search
        self._gallery = gallery if rows.digests is not None else None

    def nearest(self, features: npt.NDArray[np.float32], count: int) -> list[tuple[Neighbour, ...]]:
        """For each of the features (n, D) the `count` training pictures with the highest cosine, the nearest first. Raises
        FeaturesDamaged where the feature set was changed since."""
        found = self._search.nearest(features, min(count, MOST))
        return [
            tuple(self._neighbour(place, cosine) for place, cosine in zip(*one, strict=True))
            for one in zip(*(values.tolist() for values in found), strict=True)
        ]

    def thumbnail(self, row: int) -> bytes:
        """A PNG or JPEG file of the training picture that a `Neighbour.row` names. Raises ImageUnreadable where there is
        none, or it is another picture by now."""
        if self._gallery is None:
            raise ImageUnreadable("the training pictures are not where they were")
        return self._gallery.thumbnail(self._learned, row)

    def _neighbour(self, place: int, cosine: float) -> Neighbour:
        name = printable(bytes(self._learned.ids[place]).decode("utf-8", "surrogateescape"))
        label = self._classes[int(self._learned.rows.labels[place])]
        return Neighbour(name, label, cosine, place if self._gallery is not None else None)


def neighbourhoods(
    workspace: Workspace, runs: Mapping[str, Run | None], note: Callable[[str], None]
) -> dict[str, Neighbourhood]:
    """Of each run, by the name that its head has, the training pictures, where they are at hand; what is not is noted.
    Heads that learned from the same rows share them."""
    sets = {found.manifest.digest: found for found in FeatureStore(workspace.features_dir).sets()}
    shared: dict[tuple[str, str], tuple[Learned, Search, Gallery | None]] = {}
    found, room = dict[str, Neighbourhood](), KEPT
    for name, run in runs.items():
        try:
            if run is None:
                raise RunNotFound(f"{name}: without its run.json nobody knows what it was trained on")
            key = run.train.digest, run.train.used
            if key not in shared:
                rows = learned(run, sets)
                size = len(rows.ids) * rows.rows.dim * 4
                keep = size <= room
                shared[key] = rows, Search(rows.rows, keep=keep), _gallery(rows, workspace, note)
                room -= size if keep else 0
            rows, search, gallery = shared[key]
            found[name] = Neighbourhood(rows, run.key.classes, search, gallery)
        except HeadstartError as error:
            note(f"{error}; no training pictures are shown for {name}")
    return found


def _gallery(rows: Learned, workspace: Workspace, note: Callable[[str], None]) -> Gallery | None:
    sets: dict[str, FeatureSet] = {part.source.manifest.digest: part.source for part in rows.parts}
    try:
        return Gallery(list(sets.values()), workspace.data_dir)
    except HeadstartError as error:
        note(f"{error}; training pictures are shown without thumbnails")
        return None
