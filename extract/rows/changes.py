"""What has changed of a data set since its last snapshot, before anything is done about it."""

import dataclasses

from headstart.core.cache.change import Difference, compared
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
    before, rows = pictures(last), min(job.images.rows, last.manifest.stop)
    if before is None:
        return Changes()
    now = pictures_now(job, contents, max(rows, job.rows))
    difference = compared(before, now)
    return Changes(compared(now, before).gone - difference.copies, difference)
