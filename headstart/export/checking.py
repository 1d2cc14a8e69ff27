"""An exported file run again: from the file alone, and on pictures beside `predict` where its head is at hand."""

from __future__ import annotations

import dataclasses
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from headstart.core.cache.errors import ModelFileDiffers, ModelFileInvalid, RunNotFound
from headstart.core.cache.files import open_regular, sha256_file
from headstart.core.extract.featurise import expand
from headstart.core.heads.runs import RunStore
from headstart.export.files import onnx_file
from headstart.export.files.facts import Facts
from headstart.export.measuring import comparison
from headstart.export.measuring.agreement import TOLERANCES, Agreement
from headstart.export.measuring.reference import exact
from headstart.export.results import Proven
from headstart.export.running.process import Runner, running
from headstart.inference.trained import TrainedHead, of_run
from headstart.observer import Observer
from headstart.requests import CheckRequest
from headstart.workspace import Workspace


def check(workspace: Workspace, request: CheckRequest, observer: Observer) -> Proven:
    """Run a file on the test pictures in it and, where some are given, on those: beside `predict` with the head that the
    file says it was made of, found in the runs directory by its SHA-256.

    Raises ModelFileInvalid for a file that is not ours or can't be run, ModelFileDiffers, ArgumentInvalid where the extra
    `onnx` is not installed, RunNotFound, ImageUnreadable, and what `inference.trained.restore` raises.
    """
    if request.kind == ".onnx":
        onnx_file.check_installed()
    files = expand(request.pictures, observer.note)
    with tempfile.TemporaryDirectory(prefix="headstart-") as folder, running(_checked(request, Path(folder))) as run:
        facts = _facts(request.path, run)
        proven = Proven(request.path, run.by, facts, comparison.prove(request.path, run, facts))
        if not files:
            return proven
        head, found = _beside_predict(workspace, request, facts, files, run, observer)
        return dataclasses.replace(proven, head=head.name, given=found)


def _checked(request: CheckRequest, folder: Path) -> Path:
    """What may be loaded: the file, or for .pt2, which could run anything, a copy whose SHA-256 is the one given. Raises
    ModelFileInvalid."""
    path = request.path
    try:
        descriptor = open_regular(path, onnx_file.MOST_BYTES if request.kind == ".onnx" else None)
        with os.fdopen(descriptor, "rb") as file:
            if request.kind == ".onnx":
                return path
            copy = folder / "model.pt2"
            with copy.open("wb") as into:
                shutil.copyfileobj(file, into)
    except (OSError, ValueError) as error:
        raise ModelFileInvalid(f"{path}: can't be read: {getattr(error, 'strerror', None) or error}") from error
    if (found := sha256_file(copy)) != str(request.sha256).lower():
        raise ModelFileInvalid(f"{path}: its SHA-256 is {found}, not {request.sha256}: nothing of it was loaded")
    return copy


def _facts(path: Path, run: Runner) -> Facts:
    try:
        return Facts.of_texts(run.texts)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        why = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise ModelFileInvalid(
            f"{path}: not a file of ours, or altered ({why}); `headstart export model.onnx` makes a new one"
        ) from error


def _beside_predict(
    workspace: Workspace, request: CheckRequest, facts: Facts, files: Sequence[Path], run: Runner, observer: Observer
) -> tuple[TrainedHead, Agreement]:
    """The head that a file was made of, and how far the file is from it on pictures."""
    head = _head(workspace, request.path, facts.head_sha256)
    if facts.classes != head.checkpoint.classes:
        raise ModelFileDiffers(
            f"{request.path}: its class names are not those of {head.name}, of which it says it was made; export it again"
        )
    reference = exact(workspace, head, request.weights, observer)
    resized = reference.extractor.preprocessing if facts.input == "resized" else None
    ours, theirs = comparison.of_files(run, files, resized), reference.of_files(files, observer.note)
    names, most = [str(file) for file in files], TOLERANCES[facts.precision]
    return head, comparison.hold(request.path, ours, theirs, names, most, "what `predict` gives in fp32", "export it again")


def _head(workspace: Workspace, path: Path, digest: str) -> TrainedHead:
    for run in RunStore(workspace.runs_dir).runs():
        if run.head_sha256 == digest:
            return of_run(workspace, run)
    raise RunNotFound(
        f"{workspace.runs_dir}: no run has the head that {path} was made of (SHA-256 {digest[:12]}…); say where its "
        f"run is with --runs-dir, or give no pictures"
    )
