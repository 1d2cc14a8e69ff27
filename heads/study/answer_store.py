"""Answers on disk, found again by all that they depend on: `answers/` in the runs directory, a file for each question.

    answers/0123456789abcdef.json    format, version, question, created, answers, sha256

A question is a frozen dataclass; the file's name is the start of its digest. A damaged file counts as none.
"""

import dataclasses
import datetime
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from headstart.core.cache.files import canonical_json, pretty_json, read_json, sha256, write_durably
from headstart.core.heads.config import TRAINING_VERSION, TrainConfig
from headstart.core.heads.runs import Run

FOLDER = "answers"
FORMAT, VERSION = "headstart answers", 2


@dataclasses.dataclass(frozen=True)
class Question:
    """What was asked of one head's settings: `train` and `test` name the features by content, `budget` says how much was
    trained for it (see `heads.study.questions.Budget`)."""

    config: TrainConfig
    train: str
    test: str
    budget: Mapping[str, Any]
    training_version: int = TRAINING_VERSION
    kind: str = "study"

    def is_about(self, run: Run) -> bool:
        """Whether its answers hold for the run's head, whatever the seed."""
        config, other = (dataclasses.replace(found, seed=0) for found in (self.config, run.config))
        features = (self.train, self.test) == (run.train.digest, run.test.digest)
        return config == other and features and self.training_version == run.training_version


@dataclasses.dataclass(frozen=True)
class BatchNormQuestion:
    """What was asked of BatchNorm left in training mode: the backbone's features by key, the rows of both splits that were
    read, by content, and the plan. `images` names the test split's images as `Extraction.images` does."""

    key: str
    train_rows: str
    test_rows: str
    images: str
    plan: str
    device: str
    kind: str = "batch norm"


def digest(question: Question | BatchNormQuestion) -> str:
    """64 hexadecimal digits that change when anything does that the answers depend on."""
    return sha256(canonical_json([VERSION, dataclasses.asdict(question)]))


@dataclasses.dataclass(frozen=True)
class AnswerStore:
    """The answers in a runs directory."""

    runs_dir: Path

    def _path(self, question: Question | BatchNormQuestion) -> Path:
        return self.runs_dir / FOLDER / f"{digest(question)[:16]}.json"

    def get(self, question: Question | BatchNormQuestion) -> dict[str, Any] | None:
        """The answers to exactly this question, or None."""
        found = _read(self._path(question))
        return found[1] if found and sha256(canonical_json([VERSION, found[0]])) == digest(question) else None

    def put(self, question: Question | BatchNormQuestion, answers: Mapping[str, Any]) -> None:
        """Keep the answers. Raises OSError."""
        document = {
            "format": FORMAT,
            "version": VERSION,
            "question": dataclasses.asdict(question),
            "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds"),
            "answers": dict(answers),
        }
        content = pretty_json({**document, "sha256": sha256(canonical_json(document))})
        write_durably(self._path(question), content)

    def about(self, run: Run) -> dict[str, Any] | None:
        """The answers that hold for a run's head, of several those of the most seeds, and of these the newest."""
        found = []
        for question, answers, created in self._all("study"):
            asked = Question(**{**question, "config": TrainConfig.from_json(question["config"])})
            if asked.is_about(run):
                found.append((int(asked.budget.get("seeds", 0)), created, answers))
        return max(found, key=lambda it: it[:2])[2] if found else None

    def batch_norm(self, images: str) -> dict[str, Any] | None:
        """The newest BatchNorm answers on test images that `images` names, or None."""
        found = [
            (created, answers) for question, answers, created in self._all("batch norm") if question["images"] == images
        ]
        return max(found, key=lambda it: it[0])[1] if images and found else None

    def _all(self, kind: str) -> Iterator[tuple[dict[str, Any], dict[str, Any], str]]:
        for path in sorted((self.runs_dir / FOLDER).glob("*.json")):
            found = _read(path)
            if found and found[0].get("kind") == kind:
                yield found


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Any], str] | None:
    """Question, answers and time of a file; None where it is not there, damaged or of another version."""
    try:
        found = read_json(path)
        expected = found.pop("sha256")
        if (found["format"], found["version"]) != (FORMAT, VERSION) or sha256(canonical_json(found)) != expected:
            return None
        return dict(found["question"]), dict(found["answers"]), str(found["created"])
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
