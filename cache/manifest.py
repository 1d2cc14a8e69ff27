"""The manifest of a snapshot: which pictures a complete feature set holds, where it came from, the SHA-256 of every shard.

It is written last, so its presence means that the set is complete; each run that extends the set replaces it. Ids, labels
and contents of the pictures stand in the shards, whose SHA-256 it has: a million would be too many for JSON.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from headstart.core.cache.change import Change
from headstart.core.cache.errors import FeaturesDamaged, FeaturesOfAnotherVersion
from headstart.core.cache.files import canonical_json, pretty_json, read_json, sha256
from headstart.core.cache.key import FeatureKey, NamedKey
from headstart.core.cache.shard import Skipped
from headstart.core.cache.shard_plan import Part, shard_number

NAME = "manifest.json"
FORMAT = "headstart feature set"
VERSION = 4
READABLE = (1, 2, 3, 4)
"""Version 1 had no `engine` in its provenance: all was computed eagerly. Version 2 had no `order`. Up to version 3 the
names of the data set and its classes were part of the key, and shards had no digests of the pictures. Sets of those
versions are read and give rows; nothing is added to them."""

_NAMES_IN_KEY = 3

Order = Literal["mixed", "stratified", "unknown"]
"""How the rows of a split follow each other. `mixed`: without regard to their classes, so that the first N are a sample.
`stratified`: so that any first N hold the classes in the shares of the whole. `unknown`: perhaps sorted by class."""


@dataclasses.dataclass(frozen=True)
class ShardRecord:
    """What the manifest says of one shard: rows `start` to `stop`, `rows` of them present (the rest is `skipped`).

    `inputs` is the SHA-256 of what went in. `inputs_stat` is a cheap stand-in for it over the files' sizes and
    modification times, or None where there are no files. `elapsed_s` is None where the run that computed the shard
    was killed before it could write a manifest.
    """

    file: str
    start: int
    stop: int
    rows: int
    sha256: str
    inputs: str
    inputs_stat: str | None
    elapsed_s: float | None
    skipped: tuple[Skipped, ...] = ()

    @property
    def part(self) -> Part:
        """The record's place in the plan. Raises ValueError for a name that isn't a shard's."""
        index = shard_number(self.file)
        if index is None:
            raise ValueError(f"{self.file!r} is no shard's name")
        return Part(index, self.start, self.stop)

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "ShardRecord":
        """The record written as JSON. Raises ValueError, TypeError or KeyError."""
        return cls(**{**found, "skipped": tuple(Skipped(**image) for image in found["skipped"])})


@dataclasses.dataclass(frozen=True)
class Provenance:
    """Where a set came from: nothing here changes a feature's value, all of it helps to understand one.

    `notes` are what must be said wherever a figure from these features stands (a stand-in test set, say).
    `parameters` is the SHA-256 of the backbone's parameters and buffers as they were on the device. `order` says whether
    the first rows are a sample of all. `licence` is that of the weights. `corrected`, of corrected
    copies alone: the digests of their `source` and of the `corrections`.
    """

    split_rows: int
    weights_from: str
    data_from: str
    parameters: str
    device: str
    batch_size: int
    created: str
    versions: Mapping[str, str]
    notes: tuple[str, ...] = ()
    engine: str = "eager"
    order: Order = "unknown"
    licence: str = ""
    corrected: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Manifest:
    """A complete feature set: how its features are computed (`key`), of which pictures (the data set's name, split, class
    names in index order, shards), the feature dimension D, where it came from, and what it changed of the set before it.

    `version` is that of the layout that it was read from.
    """

    key: FeatureKey
    dataset: str
    classes: tuple[str, ...]
    split: str
    feature_dim: int
    dtype: str
    shards: tuple[ShardRecord, ...]
    provenance: Provenance
    change: Change | None = None
    version: int = VERSION

    @property
    def named(self) -> NamedKey:
        """The key with the names, as heads record it."""
        return NamedKey.of(self.key, self.dataset, self.classes)

    @property
    def shard_key(self) -> str:
        """The digest of the key that stands in the shards."""
        return self.named.digest if self.version <= _NAMES_IN_KEY else self.key.digest

    @property
    def rows(self) -> int:
        """N: the rows that are there."""
        return sum(shard.rows for shard in self.shards)

    @property
    def stop(self) -> int:
        """How many rows of the split are covered, skipped ones included."""
        return self.shards[-1].stop

    @property
    def skipped(self) -> int:
        """How many images were left out."""
        return sum(len(shard.skipped) for shard in self.shards)

    @property
    def nbytes(self) -> int:
        """The size of the features alone, in bytes."""
        return self.rows * self.feature_dim * (2 if self.dtype == "float16" else 4)

    @property
    def elapsed_s(self) -> float | None:
        """Seconds spent on all shards; None where a killed run's share is unknown."""
        known = [shard.elapsed_s for shard in self.shards]
        return None if None in known else sum(seconds for seconds in known if seconds is not None)

    @property
    def digest(self) -> str:
        """64 hexadecimal digits that name the snapshot: how it was computed, the class names, and every shard."""
        names = [] if self.version <= _NAMES_IN_KEY else [list(self.classes)]
        return sha256(canonical_json([self.shard_key, *names, *(shard.sha256 for shard in self.shards)]))

    @property
    def images_digest(self) -> str:
        """64 hexadecimal digits that name the images by content, with their order, ids, labels and class names.

        Feature sets of several backbones have the same one where they come from the same images in shards of one size.
        """
        shards = [[shard.start, shard.stop, shard.inputs] for shard in self.shards]
        return sha256(canonical_json([self.split, list(self.classes), shards]))

    def row_numbers(self) -> npt.NDArray[np.int64]:
        """The rows of the split that are there, (N,): all but those left out."""
        there = np.ones(self.stop, dtype=np.bool_)  # setdiff1d takes seconds for a million rows
        there[[image.row for shard in self.shards for image in shard.skipped]] = False
        found: npt.NDArray[np.int64] = np.flatnonzero(there)
        return found

    def to_bytes(self) -> bytes:
        """The manifest as the bytes of its file."""
        facts = {"key_digest": self.key.digest, "digest": self.digest, "rows": self.rows, **dataclasses.asdict(self)}
        facts["change"] = None if self.change is None else self.change.to_json()
        facts["key"] = self.key.to_json()
        for name in [one for one in ("licence", "corrected") if not facts["provenance"][one]]:  # as before there was one
            del facts["provenance"][name]
        document = {"format": FORMAT, "version": facts.pop("version"), **facts}
        return pretty_json({**document, "sha256": sha256(canonical_json(document))})


def read_manifest(folder: Path) -> Manifest:
    """The manifest of the set in `folder`. Raises FileNotFoundError where there is none, FeaturesDamaged for a bad one."""
    path = folder / NAME
    try:
        return _parse(read_json(path))
    except FileNotFoundError:
        raise
    except _AnotherVersion as error:
        raise FeaturesOfAnotherVersion(
            f"{path}: not a manifest of ours ({error}); use the headstart that made it; the `headstart extract` that "
            f"made the set computes it anew, with --force"
        ) from error
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        way_out = "the `headstart extract` that made the set writes it again from its shards"
        raise FeaturesDamaged(f"{path}: not a manifest of ours ({error}); {way_out}") from error


def checked_record(found: Mapping[str, Any]) -> ShardRecord:
    """The record written as JSON, its types and numbers looked at. Raises ValueError, TypeError or KeyError."""
    record = ShardRecord.from_json(found)
    _check_record_types(record, record.part.index)
    _check_rows(record, record.part.index, record.start)
    return record


class _AnotherVersion(ValueError):
    pass


def _parse(found: Any) -> Manifest:
    ours = found.get("format") == FORMAT and type(found.get("version")) is int  # True and 1.0 equal 1
    if not ours or found["version"] not in READABLE:
        kind = _AnotherVersion if ours else ValueError
        raise kind(f"format {found.get('format')!r} version {found.get('version')!r}, expected {FORMAT!r} {VERSION}")
    provenance, old = found["provenance"], found["version"] <= _NAMES_IN_KEY
    named = NamedKey.from_json(found["key"]) if old else None
    names = vars(named) if named else found
    manifest = Manifest(
        key=named.feature_key if named else FeatureKey.from_json(found["key"]),
        dataset=names["dataset"],
        classes=tuple(names["classes"]),
        split=str(found["split"]),
        feature_dim=int(found["feature_dim"]),
        dtype=str(found["dtype"]),
        shards=tuple(ShardRecord.from_json(shard) for shard in found["shards"]),
        provenance=Provenance(**{**provenance, "notes": tuple(provenance["notes"])}),
        change=None if old or found["change"] is None else Change.from_json(found["change"]),
        version=found["version"],
    )
    _check(manifest, found)
    return manifest


def _check(manifest: Manifest, found: Mapping[str, Any]) -> None:
    _check_types(manifest)
    for field, value in (("key_digest", manifest.shard_key), ("digest", manifest.digest), ("rows", manifest.rows)):
        if found[field] != value:
            raise ValueError(f"{field} is {found[field]!r}, its contents give {value!r}")
    done = 0
    for index, shard in enumerate(manifest.shards):
        _check_rows(shard, index, done)
        done = shard.stop
    if not manifest.shards:
        raise ValueError("it lists no shard")
    if manifest.provenance.order not in get_args(Order):
        raise ValueError(f"order is {manifest.provenance.order!r}, expected one of {', '.join(get_args(Order))}")
    if manifest.dtype not in ("float32", "float16") or manifest.feature_dim < 1:
        raise ValueError(f"features of {manifest.feature_dim} {manifest.dtype}, expected 1 or more float32 or float16")
    if sha256(canonical_json({name: value for name, value in found.items() if name != "sha256"})) != found["sha256"]:
        raise ValueError("its own sha256 is another")


def _check_rows(shard: ShardRecord, index: int, start: int) -> None:
    if shard.part != Part(index, start, shard.stop) or shard.rows != shard.stop - start - len(shard.skipped):
        raise ValueError(f"shard {index}, {shard.file}, has rows {shard.start}-{shard.stop}, expected from {start} on")
    left_out = {image.row for image in shard.skipped}
    if len(left_out) != len(shard.skipped) or not all(start <= row < shard.stop for row in left_out):
        raise ValueError(f"shard {index} leaves out rows that are not its own, or one twice")


_COUNT, _TEXT, _NOTHING = (int,), (str,), type(None)
_SHARD_TYPES: Mapping[str, tuple[type, ...]] = {
    **dict.fromkeys(("file", "sha256", "inputs"), _TEXT),
    **dict.fromkeys(("start", "stop", "rows"), _COUNT),
    "inputs_stat": (str, _NOTHING),
    "elapsed_s": (int, float, _NOTHING),
}
_SKIPPED_TYPES: Mapping[str, tuple[type, ...]] = {"row": _COUNT, "id": _TEXT, "reason": _TEXT}
_PROVENANCE_TYPES: Mapping[str, tuple[type, ...]] = {
    **dict.fromkeys(("split_rows", "batch_size"), _COUNT),
    **dict.fromkeys(("weights_from", "data_from", "parameters", "device", "created", "engine", "licence"), _TEXT),
    **dict.fromkeys(("versions", "corrected"), (dict,)),
}


def _check_types(manifest: Manifest) -> None:
    """JSON knows no fields' types; whoever shows or adds them up later relies on them. Raises ValueError."""
    origin = manifest.provenance
    if not all(type(text) is str for text in (manifest.dataset, *manifest.classes)):
        raise ValueError("the names of the data set and of its classes are not all text")
    _expect(origin, _PROVENANCE_TYPES, "provenance")
    if not all(type(text) is str for text in (*origin.notes, *origin.versions.values(), *origin.corrected.values())):
        raise ValueError("provenance: its notes or versions are not all text")
    for index, shard in enumerate(manifest.shards):
        _check_record_types(shard, index)


def _check_record_types(shard: ShardRecord, index: int) -> None:
    _expect(shard, _SHARD_TYPES, f"shard {index}")
    for image in shard.skipped:
        _expect(image, _SKIPPED_TYPES, f"shard {index}, skipped")


def _expect(record: object, types: Mapping[str, tuple[type, ...]], where: str) -> None:
    for name, kinds in types.items():
        if type(value := getattr(record, name)) not in kinds:  # type(), because True is an int
            expected = " or ".join("null" if kind is _NOTHING else kind.__name__ for kind in kinds)
            raise ValueError(f"{where}: {name} is {value!r}, expected {expected}")
