"""Feature sets as arrays: extracted, or opened where they are kept."""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, overload

import numpy as np
import numpy.typing as npt

from headstart import extraction
from headstart.api.notebook import watching
from headstart.api.spoken import spoken
from headstart.core.cache.arguments import text
from headstart.core.cache.errors import ArgumentInvalid, FeaturesInvalid, FeaturesNotFound
from headstart.core.cache.feature_set import FeatureSet
from headstart.core.cache.key import NamedKey
from headstart.core.cache.places import place
from headstart.core.cache.store import FeatureStore
from headstart.core.extract.backbones import get_backbone
from headstart.core.extract.config import (
    Engine,
    ExecutorConfig,
    ExtractConfig,
    ExtractionRequest,
    OnError,
    Pool,
    Precision,
    Transform,
    Views,
)
from headstart.core.heads import data
from headstart.core.heads.config import RECIPES
from headstart.observer import Observer
from headstart.workspace import Workspace, file, folder, named

if TYPE_CHECKING:
    import pandas as pd

Rows = slice | npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class _Table:
    """Rows in memory: features (N, D) float32, class indices (N,), ids (N,) and the names of their splits (N,)."""

    X: npt.NDArray[np.float32]
    y: npt.NDArray[np.int64]
    ids: npt.NDArray[np.str_]
    split: npt.NDArray[np.str_]

    def part(self, rows: Rows) -> "_Table":
        return _Table(self.X[rows], self.y[rows], self.ids[rows], self.split[rows])


class Features:
    """The features of a data set through one backbone, or of a part of it, as arrays.

    X (N, D) float32; y (N,) int64, the index in `classes` of each row's class, -1 where it is unknown; ids (N,) str, the
    picture's path relative to its folder, or its row number; split (N,) str, the split of each row. They are read and
    checked when they are first used, which raises FeaturesDamaged where a file is missing or altered.

    It is an array to numpy (`np.asarray(features)` is X) and, as it stands, a data set to torch's DataLoader: `features[i]`
    is the pair (X[i], y[i]), and `features[a:b]` the pair of arrays.

    >>> features = hs.extract("digits", model="resnet18", weights="random:0", image_size=32)  # doctest: +SKIP
    >>> features.X.shape, features.train.X.shape, features.test.X.shape  # doctest: +SKIP
    ((1797, 512), (1297, 512), (500, 512))
    """

    def __init__(self, sets: Sequence[FeatureSet], limit: int | None = None, part: str = "", table: Any = None) -> None:
        self.sets = tuple(sets)
        self.limit = limit
        self.part = part
        self._table: _Table | None = table

    @property
    def X(self) -> npt.NDArray[np.float32]:  # noqa: N802  # scikit-learn's name
        """The features (N, D) float32."""
        return self._rows.X

    @property
    def y(self) -> npt.NDArray[np.int64]:
        """The classes (N,) int64 as indices in `classes`, -1 where unknown."""
        return self._rows.y

    @property
    def ids(self) -> npt.NDArray[np.str_]:
        """The pictures (N,) str: paths relative to their folder, or row numbers in their split."""
        return self._rows.ids

    @property
    def split(self) -> npt.NDArray[np.str_]:
        """The split (N,) str of each row: train, val, test or all."""
        return self._rows.split

    @property
    def key(self) -> NamedKey:
        """What the features were computed from, by value."""
        return self.sets[0].manifest.named

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, in the order of their indices."""
        return self.key.classes

    @property
    def dim(self) -> int:
        """D, the number of features of a picture."""
        return self.sets[0].manifest.feature_dim

    @property
    def folders(self) -> tuple[Path, ...]:
        """Where the features are kept, a folder for each split."""
        return tuple(found.folder for found in self.sets)

    @property
    def train(self) -> Self:
        """The rows to train on: those of the training split; of a set without splits those that `headstart.train` does not
        hold out with `test_fraction=0.2`. Raises FeaturesNotFound where there are none, FeaturesInvalid where rows without
        splits have no label, or are too few to be divided."""
        return self._parted("train")

    @property
    def val(self) -> Self:
        """The rows that heads are chosen on: those of the validation split. Raises FeaturesNotFound where there is none."""
        return self._parted("val")

    @property
    def test(self) -> Self:
        """The rows to test on: those of the test split; of a set without splits the fifth that `headstart.train` holds out
        with `test_fraction=0.2`; without it, it trains on these rows too. Raises as `train`."""
        return self._parted("test")

    def to_pandas(self) -> "pd.DataFrame":
        """A data frame of the rows: id, split, label (the class's name, None where unknown), then the features f0, f1, …

        Raises ImportError where pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise ImportError("Features.to_pandas needs pandas; `pip install pandas`") from error
        labels = [self.classes[i] if i >= 0 else None for i in self.y.tolist()]
        facts = pd.DataFrame({"id": self.ids, "split": self.split, "label": labels})
        numbers = pd.DataFrame(self.X, columns=[f"f{i}" for i in range(self.dim)])
        return pd.concat([facts, numbers], axis=1)

    def __len__(self) -> int:
        """N. Nothing is read for it where these are all rows that are kept."""
        if self._table is None and self.limit is None:
            return sum(found.manifest.rows for found in self.sets)
        return len(self._rows.y)

    @overload
    def __getitem__(self, place: int) -> tuple[npt.NDArray[np.float32], int]: ...
    @overload
    def __getitem__(self, place: Rows) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]: ...
    def __getitem__(self, place: int | Rows) -> tuple[npt.NDArray[np.float32], int | npt.NDArray[np.int64]]:
        labels = self.y[place]
        return self.X[place], labels if isinstance(labels, np.ndarray) else int(labels)

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        if copy:
            return np.array(self.X, dtype=dtype)
        return self.X if dtype is None else self.X.astype(dtype, copy=False)

    def __repr__(self) -> str:
        key, splits = self.key, self.part or " and ".join(found.manifest.split for found in self.sets)
        return f"Features({key.backbone} {key.dataset} {splits}: {len(self):,} x {self.dim}, {len(self.classes)} classes)"

    @property
    def _rows(self) -> _Table:
        if self._table is None:
            self._table = _read(self.sets, self.limit)
        return self._table

    def _parted(self, part: Literal["train", "val", "test"]) -> Self:
        rows, splits = self._rows, [found.manifest.split for found in self.sets]
        if self.part:
            if self.part != part:
                raise ArgumentInvalid(f"{self!r}: these are the {self.part} rows alone; take .{part} of the whole set")
            return self
        if splits == ["all"] and part != "val":
            own: Rows = np.flatnonzero(self._division()[: len(rows.y)] == part)
        elif part not in splits:
            raise FeaturesNotFound(f"{self.folders[0]}: has no {part} rows; extract, or open, the {part} split too")
        else:
            first = int(np.argmax(rows.split == part))
            own = slice(first, first + int((rows.split == part).sum()))  # a view, not a copy
        return type(self)(self.sets, self.limit, part, rows.part(own))

    def _division(self) -> npt.NDArray[np.str_]:
        """Of each row of a set without splits whether it is to train or to test on, as `headstart.train` has it with
        `test_fraction` 0.2: of all that are kept, however few are asked for, so that no test row is ever a training row."""
        if not self.classes or (self._rows.y < 0).any():
            raise FeaturesInvalid(f"{self.folders[0]}: rows without a label can't be divided into training and test rows")
        numbers = self.sets[0].manifest.row_numbers()
        return np.where(np.isin(numbers, data.testing(self.sets[0], RECIPES["standard"]).rows), "test", "train")


def _read(sets: Sequence[FeatureSet], limit: int | None) -> _Table:
    """The first `limit` rows of each set, split after split, put into place: no second copy of all is held."""
    limits = [min(limit or found.manifest.stop, found.manifest.stop) for found in sets]
    counts = [int(np.searchsorted(found.manifest.row_numbers(), n)) for found, n in zip(sets, limits, strict=True)]
    X = np.empty((sum(counts), sets[0].manifest.feature_dim), dtype=np.float32)  # noqa: N806
    labels, ids, splits, done = [], [], [], 0
    for found, stop, count in zip(sets, limits, counts, strict=True):
        rows = found.load(stop)
        X[done : done + count] = rows.features
        labels.append(rows.labels)
        ids += [name.decode("utf-8", "surrogateescape") for name in rows.ids.tolist()]
        splits += [found.manifest.split] * count
        done += count
    return _Table(X, np.concatenate(labels), np.array(ids, dtype=np.str_), np.array(splits, dtype=np.str_))


@spoken
def extract(
    dataset: str | os.PathLike[str] = "cifar10",
    model: str = "resnet50",
    *,
    split: str | None = None,
    no_splits: bool = False,
    limit: int | None = None,
    weights: str = ExtractConfig.weights,
    image_size: int | None = ExtractConfig.image_size,
    shard_rows: int = ExtractConfig.shard_rows,
    precision: Precision = ExtractConfig.precision,
    engine: Engine = ExtractConfig.engine,
    batch_size: int | None = None,
    workers: int = ExtractConfig.workers,
    on_error: OnError = ExtractConfig.on_error,
    force: bool = False,
    frozen: bool = False,
    transform: Transform = ExtractConfig.transform,
    pool: Pool = ExtractConfig.pool,
    layer: str | None = None,
    views: Views | None = None,
    view_seed: int | None = None,
    executor: str = ExecutorConfig.name,
    num: int | None = None,
    address: str | None = None,
    corrections: str | os.PathLike[str] | None = None,
    device: str = ExtractConfig.device,
    features_dir: str | os.PathLike[str] | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    observer: Observer | None = None,
) -> Features:
    """Run a frozen backbone over a data set once, keep the features, and give them: what `headstart extract` does, with the
    same names and defaults. Only what is not there is computed; with frozen, pictures that changed since are an error.

    dataset: as --dataset takes it, and a Path is a folder; image_size in pixels, None: as the weights were made for; limit,
    shard_rows in rows of each split. transform: preset, the weights' own; squash, the whole picture resized to a square;
    auto, by data set. pool: auto, the authors' own; avg, max, cls or cls+avg; layer: an inner one, pooled. views: kept too,
    of each picture mirrored ("flip") or of so many random crops, drawn from view_seed (None: 0). executor: local, this
    process; processes, num of them or one for each GPU; ray, num actors of the cluster at address. corrections: a file of
    decisions on labels, by which labels are given (docs/corrections.md). observer: None is a bar in notebooks.
    Raises OSError and HeadstartError, as `headstart extract` ends with it: ArgumentInvalid before any picture is read.
    >>> features = hs.extract("folder:pets", model="resnet50")  # doctest: +SKIP"""
    way = (weights, image_size, precision, device, batch_size, engine, workers)
    config = ExtractConfig(*way, limit, shard_rows, on_error, force, frozen, transform, pool, layer)
    by, decisions = ExecutorConfig(executor, num, None, address), file("corrections", corrections)
    request = ExtractionRequest((model,), named(dataset), split, (), no_splits, config, views, view_seed, by, decisions)
    get_backbone(model)  # one: "all" would give features of several kinds
    workspace = Workspace(folder(features_dir, "features"), folder(None, "runs"), folder(data_dir, "data"), device)
    _, made = extraction.extracted(workspace, request, watching(observer))
    return Features([found for found in made if not found.manifest.key.view], limit)


@spoken
def open(path: str | os.PathLike[str]) -> Features:  # noqa: A001  # called as headstart.open
    """A kept feature set as arrays, each of its files checked against the SHA-256 in its manifest; see `headstart cache
    ls`.

    Raises FeaturesNotFound where there is no complete set, FeaturesDamaged where a file is missing or altered.

    >>> hs.open("features/cifar10-train-resnet50-0cb4db1c").X.shape  # doctest: +SKIP
    (24000, 2048)
    """
    where = place(text("path", path)).expanduser().absolute()
    found = Features([FeatureStore(where.parent).get(where.name)])
    len(found.X)  # read and checked now
    return found
