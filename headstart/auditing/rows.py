"""The rows of a data set, whatever its splits, by one backbone or by several."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from headstart.core.cache.corrected_sets import said_of
from headstart.core.cache.corrections import Corrections
from headstart.core.cache.digests import Digests, to_hex
from headstart.core.cache.errors import FeaturesAmbiguous, FeaturesInvalid, FeaturesStale
from headstart.core.cache.feature_set import FeatureSet
from headstart.core.cache.text import listed, safe
from headstart.core.heads.data import Pair, dataset_words
from headstart.core.heads.data.reading import check_finite

Places = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True, eq=False)
class Rows:
    """N rows of all splits, in the order of the first backbone's sets: their ids (N,), labels (N,), -1 where unknown, the
    SHA-256 of their pictures (N, 32), the split that each is of as its place (N,) among `sets`, and its number there (N,).
    `places` are, for each backbone, their places (N,) among the rows of its own sets. Where labels are as people corrected
    them, `decided` (N,) says which were decided on, and `corrected` what must be said of all."""

    pairs: tuple[Pair, ...]
    ids: npt.NDArray[np.bytes_]
    labels: Places
    digests: Digests
    parts: Places
    numbers: Places
    places: tuple[Places, ...]
    left_out: int
    decided: npt.NDArray[np.bool_]
    corrected: str | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def sets(self) -> tuple[FeatureSet, ...]:
        """The first backbone's, one for each split."""
        return self.pairs[0].sets

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names, in index order."""
        return self.sets[0].manifest.classes

    @property
    def models(self) -> tuple[str, ...]:
        """The backbones."""
        return tuple(pair.key.backbone for pair in self.pairs)

    @property
    def testing(self) -> npt.NDArray[np.bool_]:
        """Which rows (N,) are of the test split."""
        return np.array([one.manifest.split == "test" for one in self.sets])[self.parts]

    def features(self, backbone: int) -> npt.NDArray[np.float32]:
        """(N, D) by one of the backbones, read now. Raises FeaturesDamaged, FeaturesInvalid."""
        parts, sets = list[npt.NDArray[np.float32]](), self.pairs[backbone].sets
        if len({one.manifest.feature_dim for one in sets}) > 1:
            raise FeaturesInvalid(f"{sets[0].folder}: its splits have features of different D; extract them anew")
        for source in sets:
            read = source.load()
            parts.append(read.features.astype(np.float32))
            check_finite(source, parts[-1], read.ids)
        whole = parts[0] if len(parts) == 1 else np.concatenate(parts)
        places = self.places[backbone]
        return whole if np.array_equal(places, np.arange(len(whole))) else whole[places]


@dataclasses.dataclass(frozen=True, eq=False)
class _Read:
    ids: npt.NDArray[np.bytes_]
    labels: Places
    digests: Digests
    parts: Places
    numbers: Places

    def keys(self, splits: Sequence[str]) -> list[tuple[str, bytes, str]]:
        marks = to_hex(np.ascontiguousarray(self.digests))
        return list(zip((splits[i] for i in self.parts.tolist()), self.ids.tolist(), marks, strict=True))


def rows_of(pairs: Sequence[Pair]) -> Rows:
    """The rows that all backbones have, the same picture under the same id. Raises FeaturesAmbiguous for several data sets,
    FeaturesStale for sets that don't say which pictures they are of, or whose labels differ, FeaturesInvalid."""
    check_one(pairs)
    read = [_read(pair) for pair in pairs]
    own = [one.keys([found.manifest.split for found in pair.sets]) for one, pair in zip(read, pairs, strict=True)]
    common = set(own[0]).intersection(*own[1:])
    first, base = read[0], np.array([i for i, key in enumerate(own[0]) if key in common], dtype=np.int64)
    if not len(base):
        raise FeaturesInvalid(f"{pairs[0].train.folder}: no picture of it is in {listed(_folders(pairs[1:]))}")
    places = [base]
    for one, pair, keys in zip(read[1:], pairs[1:], own[1:], strict=True):
        at = {key: i for i, key in enumerate(keys)}
        places.append(np.array([at[own[0][i]] for i in base.tolist()], dtype=np.int64))
        if (one.labels[places[-1]] != first.labels[base]).any():
            raise FeaturesStale(
                f"{pair.train.folder}: has other labels than {pairs[0].train.folder} for the same pictures; bring both up "
                f"to date with `headstart extract`"
            )
    left_out = max(len(one.labels) for one in read) - len(base)
    kept = (first.ids[base], first.labels[base], first.digests[base], first.parts[base], first.numbers[base])
    said = said_of(pairs[0].train.manifest)
    return Rows(tuple(pairs), *kept, tuple(places), left_out, np.zeros(len(base), dtype=np.bool_), said)


def decided_on(rows: Rows, found: Corrections) -> Rows:
    """The rows, which are of corrected sets, with those marked whose pictures decisions stand on."""
    marks = to_hex(np.ascontiguousarray(rows.digests))
    return dataclasses.replace(rows, decided=np.array([mark in found.stands for mark in marks], dtype=np.bool_))


def _folders(pairs: Sequence[Pair]) -> list[str]:
    return [pair.train.folder.name for pair in pairs]


def check_one(pairs: Sequence[Pair]) -> None:
    """Raises FeaturesAmbiguous for several data sets, FeaturesStale for other class names."""
    datasets = {pair.key.dataset: dataset_words(pair.key) for pair in pairs}
    if len(datasets) > 1:
        options = ", ".join(f"--dataset {safe(name)}" for name in datasets)
        raise FeaturesAmbiguous(f"features of several data sets are there; say which is meant: {options}")
    if any(pair.key.classes != pairs[0].key.classes for pair in pairs):
        if pairs[0].train.manifest.provenance.corrected:
            raise FeaturesStale(
                f"{listed(_folders(pairs))} have different class names, since corrections made classes that not all of "
                f"them have pictures of; name one backbone with -m"
            )
        raise FeaturesStale(
            f"{listed(_folders(pairs))} have different class names; bring them up to date with `headstart extract`"
        )


def _read(pair: Pair) -> _Read:
    ids, labels, digests, parts, numbers = [], [], [], [], []
    for part, source in enumerate(pair.sets):
        rows = source.load()
        if rows.digests is None:
            raise FeaturesStale(
                f"{source.folder}: is of a version that did not keep which pictures it is of; the `headstart extract` that "
                f"made it brings it up to date"
            )
        if len(rows) and rows.labels.max() >= len(source.manifest.classes):
            raise FeaturesInvalid(f"{source.folder}: label {rows.labels.max()} of {len(source.manifest.classes)} classes")
        ids.append(rows.ids)
        labels.append(rows.labels)
        digests.append(rows.digests)
        parts.append(np.full(len(rows), part, dtype=np.int64))
        numbers.append(source.manifest.row_numbers())
    return _Read(
        np.concatenate(ids),
        np.concatenate(labels),
        np.concatenate(digests),
        np.concatenate(parts),
        np.concatenate(numbers),
    )
