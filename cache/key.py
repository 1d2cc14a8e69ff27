"""The key of a feature set: everything about the run that can change a feature's value."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from headstart.core.cache.files import canonical_json, sha256

FEATURE_VERSION = 1
"""Raised whenever a change to our code changes what a feature's value is: old sets are then not found again."""


@dataclasses.dataclass(frozen=True)
class FeatureKey:
    """What a feature was computed from, by value. Two runs with equal keys give interchangeable features.

    `weights` says where they come from (`IMAGENET1K_V1`, `random:0`, `file`); `weights_sha256` is the SHA-256 of the file
    loaded, or for random weights that of the recipe that draws them. Sizes are in pixels.
    """

    backbone: str
    pooling: str
    weights: str
    weights_sha256: str
    image_size: int
    interpolation: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    precision: str
    dataset: str
    classes: tuple[str, ...]
    feature_version: int = FEATURE_VERSION

    def __post_init__(self) -> None:
        # equal keys need one spelling: JSON tells 0 from 0.0, Python doesn't
        for name in ("mean", "std"):
            object.__setattr__(self, name, tuple(float(x) for x in getattr(self, name)))

    @property
    def digest(self) -> str:
        """64 hexadecimal digits that change when any field does."""
        return sha256(canonical_json(dataclasses.asdict(self)))

    @property
    def digest8(self) -> str:
        """The first eight digits, as they stand in folder names."""
        return self.digest[:8]

    @property
    def untrained(self) -> bool:
        """True where the backbone's weights are random numbers."""
        return self.weights.startswith("random")

    def without_dataset(self) -> "FeatureKey":
        """The key without the data set, which no feature depends on."""
        return dataclasses.replace(self, dataset="", classes=())

    def differences(self, other: "FeatureKey") -> list[str]:
        """One `field: ours, not theirs` for each field that differs, in field order."""
        ours, theirs = dataclasses.asdict(self), dataclasses.asdict(other)
        return [f"{name} is {ours[name]!r}, not {theirs[name]!r}" for name in ours if ours[name] != theirs[name]]

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "FeatureKey":
        """The key written by `to_json`. Raises ValueError where a field is missing, unknown or of another type."""
        fields = {field.name for field in dataclasses.fields(cls)}
        if set(found) != fields:
            raise ValueError(f"key: fields {sorted(set(found) ^ fields)} are missing or unknown")
        texts = ("backbone", "pooling", "weights", "weights_sha256", "interpolation", "precision", "dataset")
        _expect(found, texts, str)
        _expect(found, ("image_size", "feature_version"), int)
        _expect(found, ("mean", "std", "classes"), (list, tuple))
        _expect_each(found, ("mean", "std"), (int, float))
        _expect_each(found, ("classes",), str)
        return cls(**{**found, **{name: tuple(found[name]) for name in ("mean", "std", "classes")}})


def _expect(found: Mapping[str, Any], names: tuple[str, ...], kind: type | tuple[type, ...]) -> None:
    for name in names:
        if not isinstance(found[name], kind) or isinstance(found[name], bool):
            raise ValueError(f"key: {name} is {found[name]!r}, expected {kind}")


def _expect_each(found: Mapping[str, Any], names: tuple[str, ...], kind: type | tuple[type, ...]) -> None:
    for name in names:
        if not all(isinstance(x, kind) and not isinstance(x, bool) for x in found[name]):
            raise ValueError(f"key: {name} is {found[name]!r}, expected {kind} in it")
