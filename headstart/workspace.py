"""Where a user's work lies."""

import dataclasses
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Workspace:
    """The folders of features, runs and data sets, and the device to compute on."""

    features_dir: Path
    runs_dir: Path
    data_dir: Path
    device: str
