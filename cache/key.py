"""The key: how a feature is computed, by value. Which pictures make up a data set is another question (`manifest`)."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from headstart.core.cache.files import canonical_json, sha256
from headstart.core.cache.views import views_in_words

FEATURE_VERSION = 1
"""Raised whenever a change to our code changes what a feature's value is: old sets are then not found again."""

POOLINGS: Mapping[str, str] = {
    "avg": "global average",
    "cls": "class token",
    "cls+avg": "class token and average",
    "max": "global maximum",
}
"""What `pooling` is for each way of pooling that has a name of its own."""
AT = " at "
"""What stands in `pooling` between the way and an inner layer."""


@dataclasses.dataclass(frozen=True)
class FeatureKey:
    """How a feature is computed, by value. Two runs with equal keys give interchangeable features of equal pictures.

    `weights` says where they come from (`IMAGENET1K_V1`, `random:0`, `file`); `weights_sha256` is the SHA-256 of the file
    loaded, or for random weights that of the recipe that draws them. Sizes are in pixels: of the square that the backbone
    sees, and with `resize` of what is cropped to it; `crop` says how (`extract.pictures.preprocess.Preprocessing`). `view`
    says which other picture was made of each (`extract.pictures.views`), empty for the picture as it is.

    A fact that keys did not have once is left out of JSON and digest where it has the value that held before it was one.
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
    feature_version: int = FEATURE_VERSION
    resize: int | None = None
    crop: str = "squash"
    view: str = ""

    def __post_init__(self) -> None:
        # equal keys need one spelling: JSON tells 0 from 0.0, Python doesn't
        for name in ("mean", "std"):
            object.__setattr__(self, name, tuple(float(x) for x in getattr(self, name)))

    @property
    def digest(self) -> str:
        """64 hexadecimal digits that change when any field does."""
        return sha256(canonical_json(_stated(self)))

    @property
    def digest8(self) -> str:
        """The first eight digits, as they stand in folder names."""
        return self.digest[:8]

    @property
    def plain(self) -> "FeatureKey":
        """The same of the pictures as they are."""
        return dataclasses.replace(self, view="")

    @property
    def view_words(self) -> str:
        """The view for people: `flip`, `crop 2 of seed 0`; empty for the pictures as they are, and one that this version
        does not know as it stands in the key."""
        return views_in_words([self.view])

    @property
    def untrained(self) -> bool:
        """True where the backbone's weights are random numbers."""
        return self.weights.startswith("random")

    def is_of(self, model: str) -> bool:
        """Whether these are features of `model`: a backbone, or `timm/NAME.TAG`, whose tag names its published weights; it
        says nothing of random ones and of those of a file."""
        name, _, tag = model.partition(".")
        own = self.untrained or self.weights.partition("#")[0] == "file"
        return model == self.backbone or (name == self.backbone and (own or tag == self.weights))

    @property
    def pool(self) -> str:
        """The name of the way of pooling; `auto` where it has none but the network's own head."""
        words = self.pooling.partition(AT)[0]
        return next((way for way, text in POOLINGS.items() if text == words), "auto")

    @property
    def layer(self) -> str | None:
        """The inner layer whose output is pooled; None for the network's last feature map."""
        return self.pooling.partition(AT)[2] or None

    @property
    def transform(self) -> str:
        """`squash` where the whole picture is resized to a square by the bilinear filter, else `preset`."""
        return "squash" if (self.crop, self.resize, self.interpolation) == ("squash", None, "bilinear") else "preset"

    @property
    def feature_key(self) -> "FeatureKey":
        """The key itself; a `NamedKey` has one too."""
        return self

    def differences(self, other: "FeatureKey") -> list[str]:
        """One `field is ours, not theirs` for each field that differs, in field order; views in words."""
        ours, theirs = ({**dataclasses.asdict(key), "view": key.view_words or None} for key in (self, other))
        return [f"{name} is {ours[name]!r}, not {theirs[name]!r}" for name in ours if ours[name] != theirs[name]]

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return _stated(self)

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "FeatureKey":
        """The key written by `to_json`. Raises ValueError where a field is missing, unknown or of another type."""
        fields = {field.name for field in dataclasses.fields(cls)}
        later = {name for name in _LATER if name not in found}
        if set(found) | later != fields:
            raise ValueError(f"key: fields {sorted((set(found) | later) ^ fields)} are missing or unknown")
        texts = ("backbone", "pooling", "weights", "weights_sha256", "interpolation", "precision")
        _expect(found, texts, str)
        _expect(found, ("image_size", "feature_version"), int)
        _expect(found, [name for name in ("crop", "view") if name in found], str)
        _expect(found, [name for name in ("resize",) if name in found], int)
        _expect(found, ("mean", "std"), (list, tuple))
        _expect_each(found, ("mean", "std"), (int, float))
        return cls(**{**found, **{name: tuple(found[name]) for name in ("mean", "std")}})


@dataclasses.dataclass(frozen=True)
class NamedKey(FeatureKey):
    """A key with the names of a data set and of its classes in index order: what heads and run records say of their
    features. Up to version 3 of the manifest it was the key of a feature set, and its digest stands in those shards."""

    dataset: str = ""
    classes: tuple[str, ...] = ()

    @classmethod
    def of(cls, key: FeatureKey, dataset: str, classes: tuple[str, ...]) -> "NamedKey":
        """A key and the names."""
        return cls(**vars(key.feature_key), dataset=dataset, classes=classes)

    @property
    def feature_key(self) -> FeatureKey:
        """How the features are computed, without any name."""
        return FeatureKey(**{field.name: getattr(self, field.name) for field in dataclasses.fields(FeatureKey)})

    def to_json(self) -> dict[str, Any]:
        """All fields as JSON values, in the order that records have them."""
        fields = _stated(self)
        version = fields.pop("feature_version")
        return {**fields, "feature_version": version}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "NamedKey":
        """As written by `to_json`. Raises ValueError where a field is missing, unknown or of another type."""
        names = ("dataset", "classes")
        if missing := [name for name in names if name not in found]:
            raise ValueError(f"key: fields {sorted(missing)} are missing or unknown")
        key = FeatureKey.from_json({name: value for name, value in found.items() if name not in names})
        _expect(found, ("dataset",), str)
        _expect(found, ("classes",), (list, tuple))
        _expect_each(found, ("classes",), str)
        return cls.of(key, found["dataset"], tuple(found["classes"]))


_LATER: Mapping[str, Any] = {"resize": None, "crop": "squash", "view": ""}
"""The fields that keys did not have once, and what held then."""


def _stated(key: FeatureKey) -> dict[str, Any]:
    """The fields that stand in JSON: an older headstart refuses a key with one that it does not know."""
    fields = dataclasses.asdict(key)
    return {name: value for name, value in fields.items() if name not in _LATER or value != _LATER[name]}


def _expect(found: Mapping[str, Any], names: Sequence[str], kind: type | tuple[type, ...]) -> None:
    for name in names:
        if not isinstance(found[name], kind) or isinstance(found[name], bool):
            raise ValueError(f"key: {name} is {found[name]!r}, expected {kind}")


def _expect_each(found: Mapping[str, Any], names: tuple[str, ...], kind: type | tuple[type, ...]) -> None:
    for name in names:
        if not all(isinstance(x, kind) and not isinstance(x, bool) for x in found[name]):
            raise ValueError(f"key: {name} is {found[name]!r}, expected {kind} in it")
