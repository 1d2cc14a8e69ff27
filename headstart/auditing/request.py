"""What an audit, and a search for similar pictures, are asked to do. Imports nothing heavy."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from headstart.core.cache.errors import ArgumentInvalid
from headstart.core.heads.feature_choice import ANY, FeatureChoice

ALL, NONE = "all", "none"
"""What `pixels` may be but a number."""


@dataclasses.dataclass(frozen=True)
class AuditRequest:
    """An audit of the data set whose features are meant, as a training chooses them: by every model named, all there are
    where none is, joined. `csv` is the file for what is found, None for the runs directory's; `proposals` a list of the
    pictures with the proposed labels, `parquet` a map of them, None for none. `pixels` says how many pictures, drawn at
    random, are opened to be looked at themselves: "all", "none" or a number. `corrections` is a file of decisions on labels
    (`docs/corrections.md`): labels are looked at as corrected. Raises ArgumentInvalid for other `pixels`."""

    models: tuple[str, ...] = ()
    dataset: str | None = None
    choice: FeatureChoice = ANY
    csv: Path | None = None
    proposals: Path | None = None
    seed: int = 0
    pixels: str = "2000"
    parquet: Path | None = None
    corrections: Path | None = None

    def __post_init__(self) -> None:
        if self.csv is not None and self.proposals is not None and self.csv.absolute() == self.proposals.absolute():
            raise ArgumentInvalid(f"--csv and --list are both {self.csv}; give each a file of its own")
        if self.pixels not in (ALL, NONE) and not (self.pixels.isascii() and self.pixels.isdecimal() and int(self.pixels)):
            raise ArgumentInvalid(f"--pixels: {self.pixels!r}, expected all, none or a number of pictures of 1 or more")


@dataclasses.dataclass(frozen=True)
class SimilarRequest:
    """The `count` pictures of a data set that are most like each of `pictures`: files, folders or patterns."""

    pictures: tuple[str, ...]
    count: int = 10
    models: tuple[str, ...] = ()
    dataset: str | None = None
    choice: FeatureChoice = ANY
