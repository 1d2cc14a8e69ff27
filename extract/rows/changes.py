"""What has changed of a data set since its last snapshot, before anything is done about it."""

import dataclasses
from collections.abc import Sequence

from headstart.core.cache.change import Difference, Pictures, compared
from headstart.core.cache.digests import to_hex
from headstart.core.cache.feature_set import FeatureSet
from headstart.core.extract.images.contents import Contents
from headstart.core.extract.job import Job
from headstart.core.extract.rows.lookup import pictures, pictures_now


@dataclasses.dataclass(frozen=True)
class Changes:
    """The pictures that are `new`, and what is another with those that were there; None where the snapshot does not say."""

    new: int = 0
    difference: Difference | None = None

    @property
    def words(self) -> str:
        """All of it, in words."""
        if self.difference is None:
            return "its pictures, labels or class names have changed"
        new = [f"{self.new:,} {'picture is' if self.new == 1 else 'pictures are'} new"] if self.new else []
        told = [*new, *self.difference.words]
        return ", ".join(told) or "its classes or the order of its files have changed"


def changes(job: Job, last: FeatureSet, contents: Contents) -> Changes:
    """Of the rows that are asked for, and at least those of the snapshot. Raises DataNotFound, DataInvalid."""
    before, rows = pictures(last), max(job.rows, min(job.images.rows, last.manifest.stop))
    if before is None:
        return Changes()
    now = _now(job, last, contents, rows)
    found = _compared(job, last, contents, (before, now), rows)
    return Changes(compared(now, before).gone - found.copies, found)


def difference(job: Job, last: FeatureSet, contents: Contents, rows: int) -> Difference:
    """What is another in the first `rows` rows than in the snapshot; nothing where that does not say what it is of."""
    before = pictures(last)
    if before is None:
        return Difference()
    return _compared(job, last, contents, (before, _now(job, last, contents, rows)), rows)


def _compared(job: Job, last: FeatureSet, contents: Contents, both: tuple[Pictures, Pictures], rows: int) -> Difference:
    """The difference of the pictures before and now. What stands beyond the first rows by now is not gone."""
    before, now = both
    elsewhere = contents.unread(rows, job.images.rows) - {*to_hex(now.digests)}
    here = [place for place, mark in enumerate(to_hex(before.digests)) if mark not in elsewhere]
    found = compared(_some(before, here), now)
    return dataclasses.replace(found, gone_unreadable=_gone_unreadable(job, last, contents, rows))


def _some(whole: Pictures, places: Sequence[int]) -> Pictures:
    files = [whole.files[place] for place in places] if whole.files else ()
    return Pictures(whole.digests[places], whole.labels[places], whole.classes, files)


def _left_out(last: FeatureSet) -> list[str]:
    """The names of the pictures that a snapshot left out."""
    return [image.id for record in last.manifest.shards for image in record.skipped]


def _now(job: Job, last: FeatureSet, contents: Contents, rows: int) -> Pictures:
    """The pictures that the first rows are of, but for those that were left out before and are what they were, and for
    files that can't be read."""
    now, marks = pictures_now(job, contents, rows), contents.marks(0, rows)
    known = {*contents.remembered([name.encode() for name in _left_out(last)])}
    there = [row for row, mark in enumerate(marks) if mark not in known and not mark.startswith("unreadable")]
    return _some(now, there)


def _gone_unreadable(job: Job, last: FeatureSet, contents: Contents, rows: int) -> int:
    """How many of those that were left out are no longer there, nor under another name among the first rows."""
    left_out = _left_out(last)
    if not left_out:
        return 0
    names = [name.decode("utf-8", "backslashreplace") for name in job.images.ids(0, job.images.rows)]
    there = {*names, *(name.partition("#group=")[0] for name in names)}
    gone = [name for name in left_out if name not in there]
    content = {*contents.marks(0, rows)} if gone else set()
    return sum(mark not in content for mark in contents.remembered([name.encode() for name in gone]))
