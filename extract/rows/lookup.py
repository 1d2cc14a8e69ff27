"""Which rows of a job are kept already, in any complete set of the same key in the features directory.

Sets of version 3 and before have no digests of their pictures. A shard of theirs says by one digest what all its rows are
of: where the pictures that have those ids today give that digest, they are what the rows are of, all of them. A shard of
which one picture was changed, moved or left out can't be believed so, and gives no row.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from headstart.core.cache.change import Pictures
from headstart.core.cache.digests import Digests, Wanted, from_hex, inputs_digest
from headstart.core.cache.feature_set import FeatureSet
from headstart.core.cache.known import Known, Source, nobody, ordered
from headstart.core.cache.manifest import Manifest
from headstart.core.cache.shard import Shard
from headstart.core.cache.store import FeatureStore
from headstart.core.cache.verify import survey
from headstart.core.extract.images.contents import Contents
from headstart.core.extract.job import Job

MOST_ROWS = 1_000_000
"""Rows of other data sets that are looked through, the smallest sets first: 4 GB of ResNet50's take seconds to be read and
checked. Sets of the same name are looked through whatever their size."""


@dataclasses.dataclass(frozen=True)
class Found:
    """What a look-up found: the rows that are known, the manifest of the set that gave the first of them (None without
    rows), and how many sets were not looked in since they are too large."""

    known: Known
    origin: Manifest | None
    left_out: int = 0


def look_up(job: Job, store: FeatureStore, contents: Contents, rows: int, begun: Sequence[Source] = ()) -> Found:
    """Look for the first `rows` rows of a job, by content: in complete sets, then in the shards that killed runs have
    `begun`. Pictures are hashed for it where there is something to look in, and else only those that may be equal to each
    other. Raises DataNotFound, DataInvalid, OSError."""
    sets, left_out = ([], 0) if job.config.force else candidates(job, store)
    if sets or begun:
        contents.read(range(rows))
    else:
        contents.read(np.flatnonzero(job.images.may_be_equal()[:rows]).tolist())
    known = Known(Wanted.of(contents.digests(rows)), _Told(job, contents, rows).tell)
    origin: Manifest | None = None
    for found in sets:
        if known.complete:
            break
        parameters = found.manifest.provenance.parameters
        if origin is None or parameters == origin.provenance.parameters:
            origin = found.manifest if known.look_in(found) and origin is None else origin
    for source in begun:
        if not known.complete:
            known.add(source)
    return Found(known, origin, left_out)


def candidates(job: Job, store: FeatureStore) -> tuple[list[FeatureSet], int]:
    """The complete sets that may give rows, in the order to look in them; damaged manifests say nothing."""
    there = [entry.features for entry in survey(store) if entry.features is not None]
    fitting = [found for found in there if found.manifest.key == job.key and found.manifest.dtype == job.dtype]
    return ordered(fitting, job.images.name, MOST_ROWS)


@dataclasses.dataclass
class _Told:
    """What the rows of old shards are of, from what stands under their ids today."""

    job: Job
    contents: Contents
    rows: int
    by_id: Mapping[bytes, str] | None = None

    def tell(self, shard: Shard) -> Digests | None:
        """The digests of a shard's rows (n, 32), where it can be proved."""
        if self.by_id is None:
            ids, marks = self.job.images.ids(0, self.rows), self.contents.marks(0, self.rows)
            self.by_id = dict(zip(ids, marks, strict=True))
        ids = shard.rows.ids.tolist()
        marks = [self.by_id.get(name, "") for name in ids]
        proved = not shard.skipped and inputs_digest(ids, shard.rows.labels, marks) == shard.inputs
        return from_hex(marks) if proved else None


def pictures(features: FeatureSet) -> Pictures | None:
    """The pictures of a snapshot by content; None where it is damaged, or of a layout that does not keep them."""
    digests, labels, files = list[Digests](), list[npt.NDArray[np.int64]](), list[bytes]()
    for record in features.manifest.shards:
        source = Source(features.folder / record.file, record, features.manifest.shard_key)
        rows = source.read(nobody)
        if rows is None or rows.digests is None:
            return None
        digests.append(rows.digests)
        labels.append(rows.labels)
        files += rows.ids.tolist()
    return Pictures(np.concatenate(digests), np.concatenate(labels), features.manifest.classes, _files(files))


def pictures_now(job: Job, contents: Contents, rows: int) -> Pictures:
    """The pictures that a job's first rows are of. Raises DataNotFound, DataInvalid."""
    contents.read(range(rows))
    labels: npt.NDArray[np.int64] = job.images.labels(0, rows)
    return Pictures(contents.digests(rows), labels, job.images.classes, _files(job.images.ids(0, rows)))


def _files(ids: Sequence[bytes]) -> Sequence[bytes]:
    """The ids where they are the names of files; the numbers of rows are none."""
    return () if all(name.isdigit() for name in ids) else ids
