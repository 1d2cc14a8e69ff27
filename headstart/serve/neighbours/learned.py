"""The rows that a head was trained on, found again in the features directory: by content, never by a name."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from headstart.core.cache.digests import Digests
from headstart.core.cache.errors import FeaturesInvalid, FeaturesNotFound
from headstart.core.cache.feature_set import FeatureSet
from headstart.core.cache.files import sha256
from headstart.core.cache.row_reader import RowReader
from headstart.core.heads import data
from headstart.core.heads.data import Pair, Parts
from headstart.core.heads.data.reading import in_memory
from headstart.core.heads.runs import Run
from headstart.core.heads.streams.on_disk import OnDisk
from headstart.core.heads.streams.unread import Unread

Rows = npt.NDArray[np.int64]

IN_MEMORY = 2**30
"""Bytes of features, as float32, that are read once to find out how a set was divided."""


@dataclasses.dataclass(frozen=True)
class Part:
    """Rows (n,) of one set, rising, by their numbers in its split."""

    source: FeatureSet
    rows: Rows


@dataclasses.dataclass(frozen=True, eq=False)
class Learned:
    """N rows that a head was trained on, their features on the disk: what is known of each. `digests` (N, 32) are the
    SHA-256 of their pictures, None where the set is too old to have them."""

    parts: tuple[Part, ...]
    rows: OnDisk
    ids: npt.NDArray[np.bytes_]
    digests: Digests | None

    def place(self, row: int) -> tuple[FeatureSet, int]:
        """The set and the row of its split that one of the N is. Raises IndexError."""
        for part in self.parts:
            if 0 <= row < len(part.rows):
                return part.source, int(part.rows[row])
            row -= len(part.rows)
        raise IndexError(row)


def learned(run: Run, sets: Mapping[str, FeatureSet]) -> Learned:
    """The rows that a run's head was trained on; `sets` are those at hand, by digest. Every shard is checked.

    Raises FeaturesNotFound where a set is not at hand or which of its rows were used can't be told, FeaturesInvalid for one
    in an object store, FeaturesDamaged.
    """
    if (source := sets.get(run.train.digest)) is None:
        raise FeaturesNotFound(f"{run.name}: the features that it was trained on, {run.train.folder}, are not there")
    parts = next((parts for parts in _guesses(run, source, sets) if _digest(parts) == run.train.used), None)
    if parts is None:
        raise FeaturesNotFound(
            f"{run.name}: which rows of {run.train.folder} it was trained on can't be told; train it again with "
            f"`headstart train-head`"
        )
    return located(parts)


def _digest(parts: Sequence[Part]) -> str:
    """What `Labelled.digest` is of these rows."""
    images = " ".join(part.source.manifest.images_digest for part in parts)
    return sha256(images.encode(), np.concatenate([part.rows for part in parts]).astype("<i8").tobytes())


def _guesses(run: Run, source: FeatureSet, sets: Mapping[str, FeatureSet]) -> Iterator[tuple[Part, ...]]:
    """Which rows it may have been, the cheapest to find out first: the first ones, all, or those of its training again."""
    rows, limit = source.manifest.row_numbers(), run.config.train_limit
    yield (Part(source, rows if limit is None else rows[rows < limit]),)
    yield (Part(source, rows),)
    divided, test = run.train.digest == run.test.digest, sets.get(run.test.digest)
    val = None if run.val is None else sets.get(run.val.digest)
    if test is None or (run.val is not None and val is None):
        return
    for found in _loaded(run, Pair(source, None if divided else test, val)):
        own, first = found.training.learning.rows, found.first_added
        yield (Part(source, own[:first]), *([Part(val, own[first:])] if val is not None and len(own) > first else []))


def _loaded(run: Run, pair: Pair) -> Iterator[Parts]:
    """The rows as a training divides them: by the pictures' contents alone, else, as it does where it has the features in
    memory, by what the features tell of equal pictures, and by what ids have in common."""
    config = dataclasses.replace(run.config, views=())
    if config.group_by is None:
        yield data.load(pair, config, Unread())
    if sum(one.manifest.rows for one in pair.sets) * pair.train.manifest.feature_dim * 4 <= IN_MEMORY:
        yield data.load(pair, config, in_memory)


def located(parts: tuple[Part, ...]) -> Learned:
    """These rows of sets of one D, and where they are. Raises FeaturesInvalid, FeaturesDamaged."""
    readers, places, first = list[RowReader](), list[Rows](), 0
    labels, ids, digests = list[Rows](), list[npt.NDArray[np.bytes_]](), list[Digests | None]()
    for part in parts:
        reader = RowReader(part.source)
        own = np.searchsorted(part.source.manifest.row_numbers(), part.rows)
        start = 0
        for shard in reader.check():
            inside = own[(own >= start) & (own < start + len(shard.labels))] - start
            start += len(shard.labels)
            labels.append(shard.labels[inside])
            ids.append(shard.ids[inside])
            digests.append(None if shard.digests is None else shard.digests[inside])
        places.append(first + own)
        readers.append(reader)
        first += reader.rows
    if len({reader.dim for reader in readers}) > 1:
        raise FeaturesInvalid(f"{parts[0].source.folder}: its validation set has another D")
    known = [one for one in digests if one is not None]
    rows = OnDisk(readers, np.concatenate(places), np.concatenate(labels))
    return Learned(parts, rows, np.concatenate(ids), np.concatenate(known) if len(known) == len(digests) else None)
