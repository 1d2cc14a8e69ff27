"""The runs directory: one folder for each trained head, `run.json` written last, found again by model and by age."""

import dataclasses
import datetime
import importlib.metadata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from headstart.core.cache.errors import RunDamaged, RunNotFound
from headstart.core.cache.files import make_folder, pretty_json, read_json, sha256, sync_folder, write_durably
from headstart.core.cache.key import NamedKey
from headstart.core.heads.audit.leaks import Apart, WithoutTwins, apart
from headstart.core.heads.config import TRAINING_VERSION, TrainConfig, stated
from headstart.core.heads.curve.record import Curve
from headstart.core.heads.protocol import HELD_OUT, TEST_SPLIT, Protocol
from headstart.core.heads.selection.record import Selection, Tried
from headstart.core.heads.settings import settings_label
from headstart.core.heads.statistics.accuracy import Evaluation, Score
from headstart.core.heads.streams.record import InBlocks

NAME = "run.json"
FORMAT, VERSION = "headstart run", 3
READABLE = (1, 2, 3)
"""Version 1 said neither which images were used nor which version of the training made the head; version 2 had accuracies
alone, and said nothing of how a head was chosen or what it was tested on."""


@dataclasses.dataclass(frozen=True)
class Extraction:
    """The features of one split: which they are, which rows of them were used, and what they cost.

    `digest` names the features and `images` the images that they come from, both by content (`cache.manifest`); `used`
    names the images of the rows that were used, in their order (`Labelled.digest`). `images` and `used` are
    empty in records of version 1. `rows` were extracted, in `elapsed_s` seconds or None where a killed run hides it.
    """

    folder: str
    digest: str
    rows: int
    elapsed_s: float | None
    split: str = ""
    images: str = ""
    used: str = ""


@dataclasses.dataclass(frozen=True)
class Run:
    """A trained head's record. Times in seconds, accuracies as fractions of 1; `notes` belong beside every figure.

    `val_rows` of the training rows were set aside to choose the epoch, beside the `train_rows`.

    `elapsed_s` is the time of the `together` heads that were trained at once. `selection` says what was tried where head or
    settings were chosen, `evaluated_by` on which rows `evaluation` was made. `curve` is the few-shot curve, None where none
    was asked for. `averaged` is how often the probabilities averaged over a test picture and its views were right, None
    where there are none; nothing is chosen by it. `val` are the features of the validation split, None where there is none:
    its rows chose the head and were not trained on, or are among the `train_rows` where a note says so. `kept_views` are
    the sets of views that it was trained or tested on, by content. `in_blocks` says that the features were not in memory
    as a whole, None where they were. `without_twins` is how often it is right on the test pictures that have no twin among
    those it learned from, None where none was known to have one.
    """

    name: str
    created: str
    key: NamedKey
    config: TrainConfig
    train: Extraction
    test: Extraction
    train_rows: int
    val_rows: int
    losses: tuple[float, ...]
    val_accuracies: tuple[float, ...]
    best_epoch: int | None
    elapsed_s: float
    evaluation: Evaluation
    head_sha256: str
    device: str
    notes: tuple[str, ...]
    versions: Mapping[str, str]
    together: int = 1
    training_version: int = TRAINING_VERSION
    selection: Selection | None = None
    evaluated_by: Protocol = TEST_SPLIT
    curve: Curve | None = None
    averaged: Score | None = None
    val: Extraction | None = None
    kept_views: tuple[str, ...] = ()
    in_blocks: InBlocks | None = None
    without_twins: WithoutTwins | None = None

    @property
    def digests(self) -> tuple[str, ...]:
        """The features that it depends on, by content: those trained and tested on, and those of the validation split."""
        return tuple(part.digest for part in (self.train, self.test, self.val) if part)

    @property
    def needed(self) -> tuple[str, ...]:
        """The same, and the views of them."""
        return (*self.digests, *self.kept_views)

    @property
    def apart(self) -> Apart | None:
        """Its accuracy without test pictures that have a twin in training; None where none is known to have one."""
        return apart([self.without_twins], self.evaluation.overall.total, chosen=self.val is not None)

    @property
    def trained_on(self) -> str:
        """The features that the head is made of, by content."""
        return self.train.digest if self.val is None else sha256(self.train.digest.encode(), self.val.digest.encode())

    @property
    def model(self) -> str:
        """The backbone's name."""
        return self.key.backbone

    @property
    def title(self) -> str:
        """The run in a few words."""
        return f"{self.model} {settings_label(self.config)}"

    def to_bytes(self) -> bytes:
        """The record as the bytes of its file. Of a data set without a validation split it says nothing of one."""
        facts = dataclasses.asdict(self, dict_factory=stated)
        return pretty_json({"format": FORMAT, "version": VERSION, **facts, "key": self.key.to_json()})


_TYPES: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("name", "created", "head_sha256", "device"), str),
    **dict.fromkeys(("train_rows", "val_rows", "training_version"), int),
    "elapsed_s": (int, float),
}


def versions() -> dict[str, str]:
    """The versions of what makes a head."""
    return {name: importlib.metadata.version(name) for name in ("headstart", "torch", "numpy", "scikit-learn")}


def parse(found: Any) -> Run:
    """The run in a parsed `run.json`. Raises ValueError, TypeError, KeyError, AttributeError for anything else."""
    facts = dict(found)
    form, version = facts.pop("format", None), facts.pop("version", None)
    if form != FORMAT or type(version) is not int or version not in READABLE:
        raise ValueError(f"format {form!r} version {version!r}, expected {FORMAT!r} {VERSION}")
    facts = {**_unsaid(facts, version), **facts}
    for field, kind in _TYPES.items():
        if not isinstance(facts[field], kind):
            raise ValueError(f"{field} is {facts[field]!r}, expected {kind}")
    if type(together := facts.get("together", 1)) is not int or together < 1:  # the first records carried none
        raise ValueError(f"together is {together!r}, expected a number of heads")
    read: dict[str, Any] = {
        "key": NamedKey.from_json(facts["key"]),
        "config": TrainConfig.from_json(facts["config"]),
        "train": Extraction(**facts["train"]),
        "test": Extraction(**facts["test"]),
        "val": None if facts.get("val") is None else Extraction(**facts["val"]),
        "evaluation": _evaluation(facts["evaluation"], version),
        "selection": None if facts["selection"] is None else _selection(facts["selection"]),
        "evaluated_by": Protocol.from_json(facts["evaluated_by"]),
        "curve": None if facts.get("curve") is None else Curve.from_json(facts["curve"]),
        "in_blocks": InBlocks.from_json(facts.get("in_blocks")),
        "averaged": None if facts.get("averaged") is None else Score(**facts["averaged"]),
        "without_twins": WithoutTwins.from_json(facts.get("without_twins")),
    }
    facts.setdefault("kept_views", ())
    tuples = {name: tuple(facts[name]) for name in ("losses", "val_accuracies", "notes", "kept_views")}
    return Run(**{**facts, **read, **tuples})


def _unsaid(facts: Mapping[str, Any], version: int) -> dict[str, Any]:
    """What a record of an earlier version does not say, and what was true of all of its time: a set without a test split
    was divided, and then both parts are of one feature set."""
    if version == VERSION:
        return {}
    divided = facts["train"]["digest"] == facts["test"]["digest"]
    unsaid = {"selection": None, "evaluated_by": (HELD_OUT if divided else TEST_SPLIT).to_json()}
    return {"training_version": 1, **unsaid} if version == 1 else unsaid


def _evaluation(found: Mapping[str, Any], version: int) -> Evaluation:
    scores = Score(**found["overall"]), {name: Score(**score) for name, score in found["per_class"].items()}
    if version < VERSION:
        return Evaluation(*scores)
    if found.keys() != {field.name for field in dataclasses.fields(Evaluation)}:
        raise ValueError(f"evaluation has the fields {', '.join(found)}")
    for name, value in found["measures"].items():
        if value is not None and type(value) not in (int, float):
            raise ValueError(f"the measure {name} is {value!r}, expected a number or null")
    given, matrix = found["predicted"], found["confusion"]
    if given and (given.keys() != scores[1].keys() or not all(type(count) is int for count in given.values())):
        raise ValueError(f"predicted is {given!r}, expected how many rows got each label")
    if matrix is not None and not (
        {len(matrix), *map(len, matrix)} <= {len(scores[1])} and all(type(count) is int for row in matrix for count in row)
    ):
        raise ValueError(f"confusion is no matrix of counts of {len(scores[1])} classes")
    read = None if matrix is None else tuple(map(tuple, matrix))
    return Evaluation(*scores, found["measures"], given, read, found["confusion_left_out"])


def _selection(found: Mapping[str, Any]) -> Selection:
    tried = tuple(Tried(**{**one, "config": TrainConfig.from_json(one["config"])}) for one in found["tried"])
    numbers = [getattr(one, name) for one in tried for name in ("log_loss", "error", "accuracy", "temperature")]
    if bad := [value for value in (*numbers, found["elapsed_s"]) if type(value) not in (int, float)]:
        raise ValueError(f"selection has {bad[0]!r}, expected a number")
    for name, least, most in (("folds", 1, None), ("rows", 1, None), ("chosen", 0, len(tried) - 1)):
        if type(value := found[name]) is not int or value < least or (most is not None and value > most):
            raise ValueError(f"{name} of the selection is {value!r}, expected {least} or more, of {len(tried)} tried")
    return Selection(**{**found, "tried": tried})


@dataclasses.dataclass(frozen=True)
class RunStore:
    """A runs directory."""

    root: Path

    def new_folder(self, title: str) -> Path:
        """A new folder, named by what was trained and when. Raises OSError."""
        stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%d-%H%M%S")
        base = f"{title.replace(' ', '-').replace('/', '_')}-{stamp}"
        make_folder(self.root)
        for number in range(1000):
            folder = self.root / (f"{base}-{number}" if number else base)
            try:
                folder.mkdir()
            except FileExistsError:
                continue
            sync_folder(self.root)
            return folder
        raise OSError(f"{self.root / base}: a thousand folders of this name are there already")

    def write(self, run: Run) -> Path:
        """Write the record, which makes the run complete; returns its path. Raises OSError."""
        path = self.root / run.name / NAME
        write_durably(path, run.to_bytes())
        return path

    def runs(self) -> list[Run]:
        """Every complete run, oldest first. Raises RunDamaged."""
        found = [read(path) for path in sorted(self.root.glob(f"*/{NAME}"))]
        return sorted(found, key=lambda run: (run.created, run.name))

    def newest(self, models: Sequence[str] = ()) -> list[Run]:
        """The newest run of each of `models`, or of each model that there is. Raises RunNotFound, RunDamaged."""
        found = self.runs()
        latest = {run.model: run for run in found}
        latest |= {model: run for run in found for model in models if run.key.is_of(model)}
        if missing := [model for model in models if model not in latest]:
            there = ", ".join(dict.fromkeys(run.model for run in found)) or "none"
            raise RunNotFound(
                f"{self.root}: no trained head of {', '.join(missing)} (there are: {there}); "
                f"make one with `headstart train-head`"
            )
        if not latest:
            raise RunNotFound(f"{self.root}: no trained head; make one with `headstart train-head`")
        return [latest[model] for model in models or latest]


def read(path: Path) -> Run:
    """The record at `path`. Raises RunNotFound, RunDamaged."""
    try:
        return dataclasses.replace(parse(read_json(path)), name=path.parent.name)
    except FileNotFoundError:
        raise RunNotFound(f"{path}: not there; expected a run's folder or its head.safetensors") from None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise RunDamaged(f"{path}: not a run record of ours ({error}); remove its folder") from error
