"""Which features are meant, in the words of whoever chooses among several. Imports nothing heavy."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headstart.core.cache.feature_set import FeatureSet

LAST = "last"
"""How `--layer` names a network's last feature map."""


@dataclasses.dataclass(frozen=True)
class FeatureChoice:
    """How the features that are meant were computed, as far as somebody says it: precision, image size in pixels, weights
    by their name or the file that they were in, the start of the key's digest, the transform, the way of pooling, or the
    layer, which is `last` where it is no inner one. None and empty match all."""

    precision: str | None = None
    image_size: int | None = None
    weights: str | None = None
    digest: str = ""
    transform: str | None = None
    pool: str | None = None
    layer: str | None = None

    def matches(self, features: FeatureSet) -> bool:
        """Whether a set was computed so."""
        key, origin = features.manifest.key, features.manifest.provenance.weights_from
        return (
            self.precision in (None, key.precision)
            and self.image_size in (None, key.image_size)
            and self.transform in (None, key.transform)
            and self.pool in (None, key.pool)
            and self.layer in (None, key.layer or LAST)
            and (
                self.weights in (None, key.weights, origin)
                or self.weights == Path(origin).name
                or _is(self.weights, origin)
            )
            and key.digest.startswith(self.digest)
        )

    @property
    def options(self) -> str:
        """What was asked for, as options for people to read."""
        return " ".join(self.words)

    @property
    def words(self) -> tuple[str, ...]:
        """The same as words of a command, which are not quoted yet, but for the key."""
        given = {
            "--precision": self.precision,
            "--image-size": self.image_size,
            "--transform": self.transform,
            "--pool": self.pool,
            "--layer": self.layer,
            "--weights": self.weights,
        }
        return tuple(word for name, value in given.items() if value is not None for word in (name, str(value)))


ANY = FeatureChoice()


def _is(given: str | None, origin: str) -> bool:
    """Whether a path is that of the weights."""
    return given is not None and Path(given).expanduser().absolute() == Path(origin)
