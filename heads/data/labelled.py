"""Features with their labels and weights, in memory."""

import dataclasses
import itertools
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from headstart.core.cache.errors import FeaturesInvalid
from headstart.core.cache.files import sha256


@dataclasses.dataclass(frozen=True)
class Labelled:
    """Features (N, D) float32 and labels (N,) int64 of one part, with what is to be said of it.

    `rows` (N,) are their row numbers in the split that `images` names by content (`Manifest.images_digest`). `weights` (N,)
    float say how much each row counts: a row of weight 2 counts as two, one of weight 0 as none. Without them all count
    alike. `ids` (N,) are the images' ids, None where the rows come from no feature set. Rows with the same number in
    `groups` (N,) int64 belong together (the same pixels, the same animal): they are never on both sides of a division.
    `views` (V, N, D) float32 are the features of V views of each row's picture, which go wherever the row goes.
    Rows that are `judging` (N,) bool are those of a validation split: heads are chosen by them, and not trained on them;
    without them rows are set aside for that. `images` and `rows` name the images of the others then.

    Rows whose features stay on the disk have features (N, 0), and `contents` (N,) uint64, the same number where the picture
    is the same, byte for byte.
    """

    features: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    notes: tuple[str, ...] = ()
    rows: npt.NDArray[np.int64] = dataclasses.field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    images: str = ""
    weights: npt.NDArray[np.float64] | None = None
    ids: npt.NDArray[np.bytes_] | None = None
    groups: npt.NDArray[np.int64] | None = None
    views: npt.NDArray[np.float32] | None = None
    judging: npt.NDArray[np.bool_] | None = None
    contents: npt.NDArray[np.uint64] | None = None

    @property
    def learning(self) -> "Labelled":
        """The rows to learn from: all that do not judge."""
        return self if self.judging is None else self.at(np.flatnonzero(~self.judging))

    @property
    def versions(self) -> int:
        """1 + V: how many features of each picture there are, its own among them."""
        return 1 if self.views is None else 1 + len(self.views)

    @property
    def every(self) -> npt.NDArray[np.float32]:
        """The features ((1 + V) N, D) of the pictures, then those of one view after the other; not copied where they lie so
        in memory, as `at` and `with_views` lay them."""
        if self.views is None:
            return self.features
        block, shape = self.features.base, (self.versions, *self.features.shape)
        if isinstance(block, np.ndarray) and block is self.views.base and block.shape == shape:
            return block.reshape(-1, shape[2])
        return np.concatenate([self.features, self.views.reshape(-1, shape[2])])

    def with_views(self, views: Iterable[npt.NDArray[np.float32]], count: int) -> "Labelled":
        """The rows with `count` views, each (N, D), which are copied one after the other."""
        block = np.empty((1 + count, *self.features.shape), dtype=np.float32)
        for own, features in zip(block, itertools.chain([self.features], views), strict=True):
            own[:] = features
        return dataclasses.replace(self, features=block[0], views=block[1:])

    @property
    def digest(self) -> str:
        """64 hexadecimal digits that name the images of these rows, by content and in their order."""
        return sha256(self.images.encode(), self.rows.astype("<i8").tobytes())

    def at(self, places: npt.NDArray[np.int64]) -> "Labelled":
        """The rows at these places (n,), in their order; none is `judging` where those are all of one kind."""
        judging = None if self.judging is None else self.judging[places]
        found = dataclasses.replace(
            self,
            features=self.features[places],
            labels=self.labels[places],
            rows=self.rows[places] if len(self.rows) else self.rows,
            weights=None if self.weights is None else self.weights[places],
            ids=None if self.ids is None else self.ids[places],
            groups=None if self.groups is None else self.groups[places],
            judging=judging if judging is not None and judging.any() and not judging.all() else None,
            views=None,
            contents=None if self.contents is None else self.contents[places],
        )
        return found if self.views is None else found.with_views((one[places] for one in self.views), len(self.views))


def counted(data: Labelled) -> Labelled:
    """The rows whose weight is above 0. Raises FeaturesInvalid for weights that are not (N,), finite and 0 or more, or all
    of them 0."""
    if data.weights is None:
        return data
    weights = np.asarray(data.weights, dtype=np.float64)
    if weights.shape != data.labels.shape:
        raise FeaturesInvalid(f"sample weights of shape {weights.shape}, expected {data.labels.shape}: one for each row")
    if not np.isfinite(weights).all() or (weights < 0).any():
        row = int((~np.isfinite(weights) | (weights < 0)).argmax())
        raise FeaturesInvalid(f"the sample weight of row {row} is {weights[row]}, expected a finite number, 0 or more")
    if not (used := weights > 0).any():
        raise FeaturesInvalid("all sample weights are 0: there is no row to learn from")
    if used.all():
        return dataclasses.replace(data, weights=weights)
    return dataclasses.replace(data, weights=weights).at(np.flatnonzero(used))
