"""What a review is asked to do. Imports nothing heavy."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from headstart.core.heads.feature_choice import ANY, FeatureChoice


@dataclasses.dataclass(frozen=True)
class ReviewRequest:
    """A review of the data set whose features are meant, as an audit chooses them. `corrections` is the file that decisions
    are added to, None for the runs directory's."""

    models: tuple[str, ...] = ()
    dataset: str | None = None
    choice: FeatureChoice = ANY
    corrections: Path | None = None
    seed: int = 0
