"""Whether picture files are newer than the features of them, as far as their names, sizes and times say."""

import collections
import dataclasses

import numpy as np

from headstart.core.cache.digests import to_hex
from headstart.core.cache.feature_set import FeatureSet
from headstart.core.cache.known_files import Facts, KnownFiles, read_known_files
from headstart.core.extract.images import Images
from headstart.core.extract.images.contents import Contents

MOST_BYTES = 64 * 2**20
"""Of touched files that are read, to see whether there is another picture in them; of more it is said that they were
touched."""
_STAYS = [0, 1, 3]
"""The facts that a file keeps when it gets another name: size, modification time, inode."""


def newer(images: Images, features: FeatureSet) -> str | None:
    """What has become of the files of a set's split, which are `images` now, since its features were made, in words; None
    where they are what they were. Raises OSError, DataNotFound, DataInvalid."""
    manifest = features.manifest
    whole = manifest.stop >= manifest.provenance.split_rows
    now, rows = images.in_order(manifest.provenance.order), images.rows if whole else min(images.rows, manifest.stop)
    same_rows = rows == manifest.stop and images.classes == manifest.classes
    shards = manifest.shards if same_rows else ()
    stats = [(now.stat(shard.start, shard.stop), shard.inputs_stat) for shard in shards]
    if same_rows and all(mine is not None and mine == theirs for mine, theirs in stats):
        return None
    known = read_known_files(features.folder)
    if known is None:
        return "the files have changed"
    found = _Files.of(now, rows, known)
    if found.added or found.gone:
        return found.words if whole else f"the first {rows:,} pictures are others by now"
    if found.touched_bytes > MOST_BYTES:
        return found.words
    contents = Contents(now, lambda: known)
    if same_rows and all(contents.inputs(shard.start, shard.stop) == shard.inputs for shard in shards):
        return None
    return _of_contents(contents, known, found) if found.touched else "labels or class names have changed"


@dataclasses.dataclass(frozen=True)
class _Files:
    """Files by name: how many are new, gone, and there under another name; and the rows of those that were touched, with
    their bytes in all."""

    added: int
    gone: int
    moved: int
    touched: tuple[int, ...]
    touched_bytes: int

    @classmethod
    def of(cls, images: Images, rows: int, known: KnownFiles) -> "_Files":
        """The first rows, compared with what is remembered. Files that are not there are none."""
        ids, facts = images.ids(0, rows), images.facts(0, rows)
        there, same = known.contents(ids)[1], known.find(ids, facts)[1]
        new = facts[~there & facts.any(axis=1)]
        gone = known.facts[~known.among(ids)]
        moved = (_marks(new) & _marks(gone)).total()
        touched = np.flatnonzero(there & ~same)
        return cls(len(new), len(gone), moved, tuple(touched.tolist()), int(facts[touched, 0].sum()))

    @property
    def words(self) -> str:
        """How many of each."""
        counted = [
            (self.added - self.moved, "added"),
            (self.gone - self.moved, "removed"),
            (self.moved, "moved"),
            (len(self.touched), "touched"),
        ]
        return ", ".join(f"{count:,} {what}" for count, what in counted if count)


def _marks(facts: Facts) -> collections.Counter[bytes]:
    return collections.Counter(row.tobytes() for row in facts[:, _STAYS])


def _of_contents(contents: Contents, known: KnownFiles, found: _Files) -> str:
    """What is to be said of touched files that were read."""
    ids = [contents.images.ids(row, row + 1)[0] for row in found.touched]
    contents.read(found.touched)
    marks = [contents.marks(row, row + 1)[0] for row in found.touched]
    before = to_hex(known.contents(ids)[0])
    count = sum(mark != own for mark, own in zip(marks, before, strict=True))
    return f"{count:,} changed" if count else "labels or class names have changed"
