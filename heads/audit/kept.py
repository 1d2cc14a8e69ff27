"""What an audit found, kept as `audit.json` below the runs directory, and read where an accuracy or a report is told.

    RUNS_DIR/audit/DATASET/audit.json
    {format, version, created, dataset, models, splits [{split, images, rows}], labels, no_labels, …, groups, sha256}

`images` names the pictures of a split by content, with their labels (`Manifest.images_digest`): what an audit says holds
for these very pictures, whatever the backbone. `groups` are pictures that are the same or nearly, each by the place of its
split and its row number there. A later audit replaces it.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from headstart.core.cache.errors import RunDamaged
from headstart.core.cache.files import canonical_json, make_folder, read_json, sha256, write_durably

NAME = "audit.json"
FORMAT, VERSION = "headstart audit", 1
Member = tuple[int, int]
Numbers = npt.NDArray[np.int64]
Rows = Mapping[str, Numbers]
"""Row numbers by split."""


@dataclasses.dataclass(frozen=True)
class Split:
    """A split that was looked at: the digest of its pictures and labels, and how many of them."""

    split: str
    images: str
    rows: int


@dataclasses.dataclass(frozen=True)
class Confusion:
    """Pictures with a label that are held to be of another class: `count` of `of`."""

    label: str
    taken_for: str
    count: int
    of: int


@dataclasses.dataclass(frozen=True)
class KeptLabels:
    """Of `rows` labels that nobody decided on `expected` are wrong, `low` to `high` at 95 %, and `suspects` are named.
    `confused` are classes, the most frequent first."""

    rows: int
    expected: float
    low: float
    high: float
    suspects: int
    confused: tuple[Confusion, ...] = ()


@dataclasses.dataclass(frozen=True)
class KeptAudit:
    """An audit's totals, and which pictures are the same or nearly. `labels` is None where `no_labels` says why. `copies`
    are pictures in `copy_groups`, `near_pairs` pairs of which `near_by_pixels` were compared by pixels, `conflicting`
    groups of one picture with several labels, `leaked` of `test_rows` test pictures those with a twin, `bursts` runs of
    nearly the same picture with `burst_rows` in them, `small` classes with their numbers of pictures. `csv` is the list
    of all. `corrected` is what must be said of labels that people corrected, by the file `corrections`; None where they are
    as given."""

    created: str
    dataset: str
    models: tuple[str, ...]
    splits: tuple[Split, ...]
    labels: KeptLabels | None
    no_labels: str | None
    copies: int
    copy_groups: int
    near_pairs: int
    near_by_pixels: int
    conflicting: int
    test_rows: int
    leaked: int
    outliers: int
    bursts: int
    burst_rows: int
    small: tuple[tuple[str, int], ...]
    csv: str
    groups: tuple[tuple[Member, ...], ...]
    corrected: str | None = None
    corrections: str | None = None

    def is_of(self, images: Mapping[str, str]) -> bool:
        """Whether it is of these very pictures and labels: the digests by split."""
        return {one.split: one.images for one in self.splits} == dict(images)

    def leaked_of(self, split: str, tested: Numbers, others: Rows | None = None) -> npt.NDArray[np.bool_]:
        """Which test rows of a split, by their numbers (T,), have a twin among `others`: all that are not tested where none
        are given."""
        members = [(of, *one) for of, group in enumerate(self.groups) for one in group]
        of, part, number = np.array(members, dtype=np.int64).reshape(-1, 3).T
        names = [one.split for one in self.splits]
        own = (part == names.index(split)) & np.isin(number, tested)
        known = ~own
        if others is not None:
            known = np.zeros(len(of), dtype=np.bool_)
            for other, rows in others.items():
                known |= (part == names.index(other)) & np.isin(number, rows)
        found: npt.NDArray[np.bool_] = np.isin(tested, number[own & np.isin(of, of[known])])
        return found

    def to_bytes(self) -> bytes:
        """The bytes of its file."""
        document = {"format": FORMAT, "version": VERSION, **dataclasses.asdict(self)}
        return canonical_json({**document, "sha256": sha256(canonical_json(document))}) + b"\n"


def where(runs_dir: Path, dataset: str) -> Path:
    """The file of a data set's audit."""
    return runs_dir / "audit" / dataset / NAME


def keep(runs_dir: Path, found: KeptAudit) -> Path:
    """Write it durably in the place of an earlier one; returns the file. Raises OSError."""
    path = where(runs_dir, found.dataset)
    make_folder(path.parent)
    write_durably(path, found.to_bytes())
    return path


def kept(runs_dir: Path, dataset: str) -> KeptAudit | None:
    """The audit of a data set, None where none was made. Raises RunDamaged, OSError."""
    path = where(runs_dir, dataset)
    try:
        return _parsed(dict(read_json(path)))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, TypeError, KeyError, IndexError) as error:
        raise RunDamaged(f"{path}: not an audit of ours ({error}); remove it, `headstart audit` makes it anew") from error


def _parsed(facts: dict[str, Any]) -> KeptAudit:
    own = facts.pop("sha256", None)
    form, version = facts.pop("format", None), facts.pop("version", None)
    if form != FORMAT or version != VERSION:
        raise ValueError(f"format {form!r} version {version!r}, expected {FORMAT!r} {VERSION}")
    if own != sha256(canonical_json({"format": form, "version": version, **facts})):
        raise ValueError("its SHA-256 is another than it says")
    labels = facts["labels"]
    read = {
        "models": tuple(facts["models"]),
        "splits": tuple(Split(**one) for one in facts["splits"]),
        "labels": None if labels is None else _labels(labels),
        "small": tuple((name, count) for name, count in facts["small"]),
        "groups": tuple(tuple((part, row) for part, row in group) for group in facts["groups"]),
    }
    return KeptAudit(**{**facts, **read})


def _labels(found: Mapping[str, Any]) -> KeptLabels:
    return KeptLabels(**{**found, "confused": tuple(Confusion(**one) for one in found["confused"])})


def members(groups: Sequence[npt.NDArray[np.int64]], parts: npt.NDArray[np.int64], numbers: npt.NDArray[np.int64]) -> Any:
    """Groups of places, as they are kept: `parts` and `numbers` (N,) say the split and the row number of each place."""
    return tuple(tuple(zip(parts[group].tolist(), numbers[group].tolist(), strict=True)) for group in groups)
