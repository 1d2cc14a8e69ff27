"""Analyses on disk, found again by all that they depend on: `answers/` in the runs directory, a file for each key.

    answers/0123456789abcdef.json    format, version, question, created, answers, sha256

A key is a frozen dataclass; the file's name is the start of its digest. A damaged file counts as none.
"""

import dataclasses
import datetime
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, overload

from headstart.core.cache.files import canonical_json, pretty_json, read_json, sha256, write_durably
from headstart.core.heads.config import TRAINING_VERSION, TrainConfig, stated
from headstart.core.heads.runs import Run
from headstart.core.heads.study import results
from headstart.core.heads.study.analyses import Budget
from headstart.core.heads.study.results import Analyses, BatchNormResults

FOLDER = "answers"
FORMAT, VERSION = "headstart answers", 2


@dataclasses.dataclass(frozen=True)
class AnalysisKey:
    """All that a head's analyses depend on: its settings, the features by content (`train`, as `Run.trained_on`, and
    `test`), and how much was trained. The names of the fields are those in the file."""

    config: TrainConfig
    train: str
    test: str
    budget: Budget
    training_version: int = TRAINING_VERSION
    kind: str = "study"

    def is_about(self, run: Run) -> bool:
        """Whether the analyses hold for the run's head, whatever the seed."""
        config, other = (dataclasses.replace(found, seed=0) for found in (self.config, run.config))
        features = (self.train, self.test) == (run.trained_on, run.test.digest)
        return config == other and features and self.training_version == run.training_version

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "AnalysisKey":
        """The key as a file holds it. Raises KeyError, TypeError for anything else."""
        asked = found["budget"]
        budget = Budget(**{**asked, "epochs": tuple(asked["epochs"]), "sizes": tuple(asked["sizes"])})
        return cls(**{**found, "config": TrainConfig.from_json(found["config"]), "budget": budget})


@dataclasses.dataclass(frozen=True)
class BatchNormKey:
    """All that the BatchNorm experiment depends on: the backbone's features by key, the rows of both splits that were
    read, by content, and the plan. `images` names the test split's images as `Extraction.images` does."""

    key: str
    train_rows: str
    test_rows: str
    images: str
    plan: str
    device: str
    kind: str = "batch norm"


Key = AnalysisKey | BatchNormKey


def digest(key: Key) -> str:
    """64 hexadecimal digits that change when anything does that the results depend on."""
    return sha256(canonical_json([VERSION, dataclasses.asdict(key, dict_factory=stated)]))


@dataclasses.dataclass(frozen=True)
class _Kept:
    """A file's content: the key, the results and when they were made, as JSON values."""

    key: Mapping[str, Any]
    results: Mapping[str, Any]
    created: str


@dataclasses.dataclass(frozen=True)
class AnalysisStore:
    """The analyses in a runs directory."""

    runs_dir: Path

    @overload
    def get(self, key: AnalysisKey) -> Analyses | None: ...
    @overload
    def get(self, key: BatchNormKey) -> BatchNormResults | None: ...
    def get(self, key: Key) -> Analyses | BatchNormResults | None:
        """The results of exactly this key, or None."""
        kept = _read(self._path(key))
        if kept is None or sha256(canonical_json([VERSION, kept.key])) != digest(key):
            return None
        return _analyses(kept) if isinstance(key, AnalysisKey) else _batch_norm(kept)

    @overload
    def put(self, key: AnalysisKey, found: Analyses) -> None: ...
    @overload
    def put(self, key: BatchNormKey, found: BatchNormResults) -> None: ...
    def put(self, key: Key, found: Analyses | BatchNormResults) -> None:
        """Keep the results. Raises OSError."""
        document = {
            "format": FORMAT,
            "version": VERSION,
            "question": dataclasses.asdict(key, dict_factory=stated),
            "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds"),
            "answers": results.to_json(found) if isinstance(found, Analyses) else results.batch_norm_to_json(found),
        }
        write_durably(self._path(key), pretty_json({**document, "sha256": sha256(canonical_json(document))}))

    def about(self, run: Run) -> Analyses | None:
        """The analyses that hold for a run's head, of several those of the most seeds, and of these the newest."""
        found = []
        for kept in self._all("study"):
            key, analyses = _key(kept), _analyses(kept)
            if key and analyses and key.is_about(run):
                found.append((key.budget.seeds, kept.created, analyses))
        return max(found, key=lambda it: it[:2])[2] if found else None

    def batch_norm(self, images: str) -> BatchNormResults | None:
        """The newest BatchNorm results on test images that `images` names, or None."""
        kept = [one for one in self._all("batch norm") if images and one.key["images"] == images]
        return _batch_norm(max(kept, key=lambda one: one.created)) if kept else None

    def _path(self, key: Key) -> Path:
        return self.runs_dir / FOLDER / f"{digest(key)[:16]}.json"

    def _all(self, kind: str) -> Iterator[_Kept]:
        for path in sorted((self.runs_dir / FOLDER).glob("*.json")):
            kept = _read(path)
            if kept and kept.key.get("kind") == kind:
                yield kept


_WRONG = (ValueError, TypeError, KeyError, AttributeError)


def _read(path: Path) -> _Kept | None:
    """A file's content; None where it is not there, damaged or of another version."""
    try:
        found = read_json(path)
        expected = found.pop("sha256")
        if (found["format"], found["version"]) != (FORMAT, VERSION) or sha256(canonical_json(found)) != expected:
            return None
        return _Kept(dict(found["question"]), dict(found["answers"]), str(found["created"]))
    except (OSError, *_WRONG):
        return None


def _key(kept: _Kept) -> AnalysisKey | None:
    try:
        return AnalysisKey.from_json(kept.key)
    except _WRONG:
        return None


def _analyses(kept: _Kept) -> Analyses | None:
    try:
        return results.from_json(kept.results)
    except _WRONG:
        return None


def _batch_norm(kept: _Kept) -> BatchNormResults | None:
    try:
        return results.batch_norm_from_json(kept.results)
    except _WRONG:
        return None
