"""What a command would have to download: said by a dry run instead of being done."""

import dataclasses
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Download:
    """A file, or a data set, that is not here: what it is, whence it would come, and where it would lie."""

    what: str
    url: str
    path: Path
