"""Feature sets whose rows are known and whose features stay on the disk: what `data.load` divides, and where it is read."""

import hashlib

import numpy as np
import numpy.typing as npt

from headstart.core.cache.feature_set import FeatureSet
from headstart.core.cache.row_reader import RowReader, ShardRows
from headstart.core.heads.data.labelled import Labelled
from headstart.core.heads.data.reading import check_labels
from headstart.core.heads.streams.on_disk import OnDisk

_OWN_GROUPS = b"#group="
"""What stands in the ids of a list with a column of groups (`data.groups`)."""


class Unread:
    """A `Read` of everything but the features, each set checked once; `on_disk` gives the places of rows that were read so.

    Pictures are told by the first eight bytes of the SHA-256 of their content; where a set is too old to have that, none of
    its pictures is the same as another.
    """

    def __init__(self) -> None:
        self._sets: dict[tuple[str, int | None], tuple[RowReader, Labelled]] = {}
        self.grouped = False
        """Whether the ids of a set name groups."""
        self.without_contents = False
        """Whether a set does not know its pictures' contents."""

    def __call__(self, source: FeatureSet, limit: int | None) -> Labelled:
        """The rows (N,) without features: (N, 0). Raises FeaturesDamaged, FeaturesInvalid."""
        key = source.manifest.digest, limit
        if key not in self._sets:
            reader = RowReader(source, limit)
            labels, contents = list[npt.NDArray[np.int64]](), list[npt.NDArray[np.uint64]]()
            for number, shard in enumerate(reader.check()):
                labels.append(shard.labels)
                contents.append(self._contents(shard, (source.manifest.digest, number)))
                self.grouped |= bool(len(shard.ids)) and _OWN_GROUPS in bytes(shard.ids[0])
            every = np.concatenate(labels)
            check_labels(source, every)
            numbers = source.manifest.row_numbers()[: len(every)]
            nothing, images = np.zeros((len(every), 0), dtype=np.float32), source.manifest.images_digest
            found = Labelled(nothing, every, (), numbers, images, contents=np.concatenate(contents))
            self._sets[key] = reader, found
        return self._sets[key][1]

    def on_disk(self, rows: Labelled, *parts: tuple[FeatureSet, int]) -> OnDisk:
        """Where rows (N,) are: so many of them in the first set, in rising order, and those behind them in the next."""
        readers, places, first, done = list[RowReader](), list[npt.NDArray[np.int64]](), 0, 0
        for source, count in parts:
            there = [one for one, _ in self._sets.values() if one.source.manifest.digest == source.manifest.digest]
            readers.append(max(there, key=lambda one: one.rows))
            own = rows.rows[done : done + count]
            places.append(first + np.searchsorted(source.manifest.row_numbers(), own))
            first, done = first + readers[-1].rows, done + count
        return OnDisk(readers, np.concatenate(places), rows.labels)

    def _contents(self, shard: ShardRows, where: tuple[str, int]) -> npt.NDArray[np.uint64]:
        if shard.digests is not None:
            return np.ascontiguousarray(shard.digests[:, :8]).view(np.uint64)[:, 0]
        self.without_contents = True
        start = int.from_bytes(hashlib.sha256(repr(where).encode()).digest()[:7], "little")
        return np.arange(start, start + len(shard.labels), dtype=np.uint64)
