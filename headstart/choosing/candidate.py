"""A backbone that may be chosen: how well heads do on its features of a sample, how fast it is and how large."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from headstart.core.cache.key import NamedKey
from headstart.core.cache.manifest import Manifest
from headstart.core.extract.run import Outcome
from headstart.core.heads.statistics.accuracy import Score


@dataclasses.dataclass(frozen=True)
class Speed:
    """Images per second from file to features, over so many `images`, on the `device` of that name for people. `recorded`:
    when the features were made, by an earlier command; else by this one."""

    images_per_s: float
    images: int
    device: str
    recorded: bool


@dataclasses.dataclass(frozen=True, eq=False)
class Candidate:
    """One backbone. `correct` (N,) says which rows of the sample got their label from heads that did not see them.

    `parameters` are counted up to the pooled features, `flops` are the floating-point operations for one image; a
    multiplication and an addition count as two. `speed` is None where nobody measured it: the rows are those of other sets.
    """

    key: NamedKey
    manifest: Manifest
    folder: str
    parameters: int
    flops: int
    speed: Speed | None
    correct: npt.NDArray[np.bool_]

    @property
    def model(self) -> str:
        """The backbone's name."""
        return self.key.backbone

    @property
    def score(self) -> Score:
        """How many rows got their label."""
        return Score(int(self.correct.sum()), len(self.correct))

    @property
    def nbytes(self) -> int:
        """The parameters in fp32, in bytes."""
        return 4 * self.parameters


def speed_of(outcome: Outcome) -> Speed | None:
    """How fast the features were made: by this run, else as it was recorded; None where rows came from elsewhere, or from a
    run that was killed."""
    manifest = outcome.features.manifest
    if outcome.computed:
        return _speed(outcome.computed, outcome.elapsed_s, manifest, recorded=False)
    if manifest.change is not None or manifest.elapsed_s is None or not manifest.rows:
        return None
    return _speed(manifest.rows, manifest.elapsed_s, manifest, recorded=True)


def _speed(images: int, elapsed_s: float, manifest: Manifest, *, recorded: bool) -> Speed | None:
    """Nothing where the clock stood still."""
    if elapsed_s <= 0:
        return None
    return Speed(images / elapsed_s, images, manifest.provenance.device, recorded)
