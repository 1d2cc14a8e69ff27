"""The rows of one feature set as heads take them: read whole, and each of them checked."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from headstart.core.cache.errors import FeaturesInvalid
from headstart.core.cache.feature_set import FeatureSet
from headstart.core.heads.data.labelled import Labelled

Read = Callable[[FeatureSet, int | None], Labelled]
"""The rows of a set, or of its first images where a number is given, with their ids and their numbers in the split. Raises
FeaturesDamaged, FeaturesInvalid."""


def in_memory(source: FeatureSet, limit: int | None = None) -> Labelled:
    """A `Read` of the features too."""
    rows = source.load(limit)
    check_labels(source, rows.labels)
    features = rows.features.astype(np.float32)
    check_finite(source, features, rows.ids)
    numbers = source.manifest.row_numbers()[: len(rows)]
    return Labelled(features, rows.labels, (), numbers, source.manifest.images_digest, ids=rows.ids)


def check_labels(source: FeatureSet, labels: npt.NDArray[np.int64]) -> None:
    """Raise FeaturesInvalid where there are no rows, or one has no label, or none of the set's classes."""
    where, classes = source.folder, len(source.manifest.classes)
    if not len(labels):
        raise FeaturesInvalid(f"{where}: has no rows")
    if classes == 0 or (labels < 0).any():
        count = int((labels < 0).sum())
        raise FeaturesInvalid(
            f"{where}: {count} of {len(labels)} rows have no label; a head needs a label of each row, in a folder one "
            f"sub-folder for each class; `headstart review` gives pictures their labels on a page"
        )
    if (labels >= classes).any():
        raise FeaturesInvalid(f"{where}: label {labels.max()} found, expected 0 to {classes - 1}")


def check_finite(source: FeatureSet, features: npt.NDArray[np.float32], ids: npt.NDArray[np.bytes_]) -> None:
    """Raise FeaturesInvalid where a row's features are not finite, by its id."""
    bad = ~np.isfinite(features).all(axis=1)
    if bad.any():
        name = ids[int(bad.argmax())].decode("utf-8", "replace")
        raise FeaturesInvalid(
            f"{source.folder}: the features of image {name} are not finite; `headstart extract --force` makes them anew"
        )
