"""Rows that are kept already: found by the SHA-256 of their pictures, and copied out of shards that were checked."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from headstart.core.cache.digests import Digests, Wanted
from headstart.core.cache.errors import FeaturesDamaged
from headstart.core.cache.feature_set import FeatureSet, checked_bytes
from headstart.core.cache.manifest import ShardRecord
from headstart.core.cache.shard import Rows, Shard, decode_shard

Told = Callable[[Shard], Digests | None]
"""What the rows of a shard without digests are of, (n, 32); None where nobody can say."""


@dataclasses.dataclass(frozen=True)
class Source:
    """A shard that may give rows: its file, what vouches for its bytes, and the digest of the key that it must have. `told`
    is what its rows are of (n, 32), where it does not say so itself and it was found out."""

    path: Path
    record: ShardRecord
    key: str
    told: Digests | None = None

    def read(self, tell: Told) -> Rows | None:
        """Its rows, each with what it is of; None where the shard is gone, altered, of another key, or does not say."""
        found = self.asked(tell)
        return None if found is None else found[0]

    def asked(self, tell: Told) -> tuple[Rows, "Source"] | None:
        """The same, and the shard as one that need not be asked for again: what it does not say itself is then `told`."""
        try:
            shard = decode_shard(checked_bytes(self.path, self.record), str(self.path))
        except (FeaturesDamaged, OSError):
            return None
        if shard.key != self.key:
            return None
        if shard.rows.digests is not None:
            return shard.rows, self
        digests = tell(shard) if self.told is None else self.told
        if digests is None:
            return None
        return dataclasses.replace(shard.rows, digests=digests), dataclasses.replace(self, told=digests)


@dataclasses.dataclass
class Known:
    """What was found of the rows of a split, by their contents, and where: in the shards of complete sets, each of which
    is read and checked whole before a row of it is believed. `tell` is asked about shards that have no digests."""

    wanted: Wanted
    tell: Told
    sources: list[Source] = dataclasses.field(default_factory=list)

    def look_in(self, features: FeatureSet) -> int:
        """Look for the contents that were not found yet in a set; how many are there."""
        manifest = features.manifest
        sources = (Source(features.folder / one.file, one, manifest.shard_key) for one in manifest.shards)
        return sum(self.add(source) for source in sources)

    def add(self, source: Source) -> int:
        """Look for them in one shard."""
        asked = source.asked(self.tell)
        if asked is None or asked[0].digests is None:
            return 0
        found = self.wanted.look_in(asked[0].digests, len(self.sources))
        if found:
            self.sources.append(asked[1])
        return found

    def part(self, start: int, stop: int) -> "Known":
        """What was found of the rows `start` to `stop` alone, for another process: it needs nobody to be asked."""
        wanted = self.wanted.part(start, stop)
        used, places = np.unique(wanted.source, return_inverse=True)
        renumbered = (places - np.count_nonzero(used < 0)).astype(np.int32)
        own = dataclasses.replace(wanted, source=renumbered)
        return Known(own, nobody, [self.sources[source] for source in used[used >= 0].tolist()])

    @property
    def complete(self) -> bool:
        """Whether every content was found."""
        return bool((self.wanted.source >= 0).all())

    def fill(self, numbers: npt.NDArray[np.int64], features: npt.NDArray[Any], filled: npt.NDArray[np.bool_]) -> None:
        """Copy the features of the rows `numbers` (n,) that were found `into` (n, D), and say so in `filled` (n,).

        What can't be had any more, since its shard is gone or altered by now, stays as it is.
        """
        wanted = self.wanted
        contents = wanted.content(numbers)
        sources = np.where(filled, -1, wanted.source[contents])
        for source in np.unique(sources[sources >= 0]).tolist():
            rows = self.sources[source].read(self.tell)
            places = np.flatnonzero(sources == source)
            there = wanted.row[contents[places]]
            if rows is None or rows.digests is None or rows.features.shape[1:] != features.shape[1:]:
                continue
            same = (rows.digests[there] == wanted.digest(numbers[places])).all(axis=1)
            if rows.features.dtype == features.dtype:
                features[places[same]] = rows.features[there[same]]
                filled[places[same]] = True


def nobody(shard: Shard) -> Digests | None:
    """A `Told` who knows nothing."""
    return None


def ordered(sets: Sequence[FeatureSet], dataset: str, most_rows: int) -> tuple[list[FeatureSet], int]:
    """The sets to look in: those of the data set, the newest first, then the others, the smallest first, as long as these
    have `most_rows` rows or fewer together; and how many sets that leaves out."""
    own = [found for found in sets if found.manifest.dataset == dataset]
    own.sort(key=lambda found: (found.manifest.version, found.manifest.provenance.created), reverse=True)
    others = sorted((found for found in sets if found.manifest.dataset != dataset), key=lambda found: found.manifest.rows)
    total = np.cumsum([found.manifest.rows for found in others])
    near = int(np.count_nonzero(total <= most_rows))
    return [*own, *others[:near]], len(others) - near
