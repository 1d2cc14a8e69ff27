"""Trained heads: which ones a request means, what tells them apart, and the backbones they need."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Sequence
from pathlib import Path

from headstart.core.cache.errors import RunNotFound, WeightsMismatch
from headstart.core.extract import plan
from headstart.core.extract.network.extractor import FeatureExtractor
from headstart.core.extract.restore import restore as build
from headstart.core.heads.checkpoint import Checkpoint
from headstart.core.heads.runs import Run, RunStore
from headstart.core.heads.sessions.session import load_head, load_path
from headstart.core.heads.settings import settings_label
from headstart.extraction import warn_if_untrained
from headstart.observer import Observer
from headstart.requests import HeadChoice, InferenceOptions
from headstart.tidying import older_heads
from headstart.workspace import Workspace, options_of


@dataclasses.dataclass(frozen=True)
class TrainedHead:
    """A trained head and, where there is one, its record. `name` tells it from the others of a request."""

    checkpoint: Checkpoint
    run: Run | None
    name: str

    @property
    def title(self) -> str:
        """Backbone and settings, as a column's heading."""
        head = self.checkpoint
        return self.run.title if self.run else f"{head.key.backbone} {settings_label(head.head.config)}"


def of_run(workspace: Workspace, run: Run) -> TrainedHead:
    """A run's head. Raises RunNotFound, RunDamaged."""
    return TrainedHead(load_head(run, RunStore(workspace.runs_dir)), run, run.name)


def called(workspace: Workspace, names: Sequence[str]) -> HeadChoice:
    """The heads that users name as arguments: a run's folder, its head's file, or a run's name in the runs directory. None
    named is the newest run. Raises RunNotFound for a plain name that is none of these."""
    return HeadChoice(paths=tuple(_place(workspace, name) for name in names))


def _place(workspace: Workspace, name: str) -> Path:
    path, run = Path(name), workspace.runs_dir / name
    if path.exists() or path.name != name:
        return path
    if not run.is_dir():
        raise RunNotFound(
            f"{name}: no run in {workspace.runs_dir} is called so, and no folder or file here; `headstart report` has "
            f"their names"
        )
    return run


def choose(workspace: Workspace, choice: HeadChoice, options: InferenceOptions, observer: Observer) -> list[TrainedHead]:
    """The heads that a choice means. Raises RunNotFound, RunDamaged, and WeightsMismatch where a head at a path is not of
    the models named, or weights are given for a model that no head is of."""
    chosen = _at_paths(choice) if choice.paths else [of_run(workspace, run) for run in _newest(workspace, choice)]
    for found in chosen:
        observer.head_chosen(found)
    for name, said in older_heads(workspace, [found.run for found in chosen if found.run is not None]).items():
        observer.note(f"{name}: {said}; `{_trained_anew(workspace, name, chosen)}` trains one on them")
    plan.check_weights_asked(plan.expand_models([found.checkpoint.key.backbone for found in chosen]), options.weights)
    return chosen


def _trained_anew(workspace: Workspace, name: str, chosen: Sequence[TrainedHead]) -> str:
    """The command that trains another head on the features of the data set as they are by now."""
    key = next(found.checkpoint.key for found in chosen if found.run is not None and found.run.name == name)
    own = ("-m", key.backbone, "--dataset", key.dataset)
    return shlex.join(["headstart", "train-head", *own, *options_of(workspace)])


def _newest(workspace: Workspace, choice: HeadChoice) -> list[Run]:
    store = RunStore(workspace.runs_dir)
    runs = store.newest(choice.models) if choice.models or choice.every_model else store.runs()[-1:]
    if not runs:
        raise RunNotFound(f"{workspace.runs_dir}: no trained head; make one with `headstart train-head`")
    return runs


def _at_paths(choice: HeadChoice) -> list[TrainedHead]:
    """The heads at the paths, each with a name of its own: that of its run, or its path where there is no record or two
    runs have one name."""
    paths = list({path.resolve(): path for path in choice.paths}.values())
    loaded = [load_path(path) for path in paths]
    names = [run.name if run else str(path) for path, (_, run) in zip(paths, loaded, strict=True)]
    chosen = [
        TrainedHead(checkpoint, run, name if names.count(name) == 1 else str(path))
        for path, (checkpoint, run), name in zip(paths, loaded, names, strict=True)
    ]
    for found in chosen:
        if choice.models and not any(found.checkpoint.key.is_of(model) for model in choice.models):
            raise WeightsMismatch(
                f"backbone is {found.checkpoint.key.backbone} in the head given, --model asks for "
                f"{', '.join(choice.models)}; leave one of the two options out"
            )
    return chosen


def titles(heads: Sequence[TrainedHead]) -> dict[str, str]:
    """A heading for each head's column, by the head's name: the name itself where two heads have one title."""
    found = [head.title for head in heads]
    return {head.name: head.title if found.count(head.title) == 1 else head.name for head in heads}


def restore(
    workspace: Workspace, head: TrainedHead, weights: Sequence[str], batch_size: int | None, observer: Observer
) -> FeatureExtractor:
    """The backbone that a head needs, with the weights it recorded. Raises what `extract.restore.restore` raises."""
    warn_if_untrained(head.checkpoint.key, observer)
    return restore_again(workspace, head, weights, batch_size, observer)


def restore_again(
    workspace: Workspace, head: TrainedHead, weights: Sequence[str], batch_size: int | None, observer: Observer
) -> FeatureExtractor:
    """The same where it was restored before on another device or in another precision: what was said of its weights is not
    said again. Raises as `restore`."""
    key = head.checkpoint.key
    asked = plan.weights_asked(key.backbone, weights)
    extractor = build(key, head.checkpoint.weights_from, asked, workspace.device, batch_size)
    for remark in extractor.device.notes:
        observer.remark(remark)
    return extractor
