"""What an audit, and a search for similar pictures, are asked to do. Imports nothing heavy."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from headstart.core.heads.feature_choice import ANY, FeatureChoice


@dataclasses.dataclass(frozen=True)
class AuditRequest:
    """An audit of the data set whose features are meant, as a training chooses them: by every model named, all there are
    where none is, joined. `csv` is the file for what is found, None for the runs directory's; `proposals` a list of the
    pictures with the proposed labels, None for none."""

    models: tuple[str, ...] = ()
    dataset: str | None = None
    choice: FeatureChoice = ANY
    csv: Path | None = None
    proposals: Path | None = None
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class SimilarRequest:
    """The `count` pictures of a data set that are most like each of `pictures`: files, folders or patterns."""

    pictures: tuple[str, ...]
    count: int = 10
    models: tuple[str, ...] = ()
    dataset: str | None = None
    choice: FeatureChoice = ANY
